"""WebSocket frames, as far as a relay must know them: where they begin and end.

To follow a stream only headers are read (RFC 6455 §5.2); payloads are passed over, neither
unmasked nor inflated, and the bytes themselves stay as they are.
"""

from __future__ import annotations

CONTINUATION, TEXT, BINARY = 0x0, 0x1, 0x2
CLOSE, PING, PONG = 0x8, 0x9, 0xA

_LONGEST_HEADER = 14
_LONGEST_REASON = 123  # a control frame's payload is at most 125 bytes (RFC 6455 §5.5)
_RESERVED_CODES = {1005: "a Close frame without a code", 1006: "no Close frame", 1015: "TLS failed"}


def frame_size(data: bytes, start: int = 0) -> int:
    """Bytes of the frame that begins at `start`, or 0 while its header is incomplete."""
    here = len(data) - start
    if here < 2:
        return 0
    second = data[start + 1]
    length, header = second & 0x7F, 2
    if length == 126:
        header = 4
    elif length == 127:
        header = 10
    if here < header:
        return 0
    if header > 2:
        length = int.from_bytes(data[start + 2 : start + header], "big")
    return header + length + (4 if second & 0x80 else 0)


class FrameTracker:
    """Follows a stream of frames and knows whether it stands between two of them."""

    __slots__ = ("_left", "_start", "in_message", "opcode")

    def __init__(self) -> None:
        self.opcode = -1
        self.in_message = False  # a fragment went by, and the last one has not begun (§5.4)
        self._left = 0
        self._start = b""

    @property
    def at_boundary(self) -> bool:
        """The last frame is complete and the next has not begun."""
        return not self._left and not self._start

    @property
    def under_way(self) -> tuple[int, bytes]:
        """What is missing from the last frame, or what went by of the header of the next."""
        return self._left, self._start

    @property
    def closed(self) -> bool:
        """A Close frame went by, the last that its sender may send (RFC 6455 §5.5.1)."""
        return self.opcode == CLOSE and self.at_boundary

    def feed(self, data: bytes) -> None:
        """Follow the stream over these bytes."""
        position, end = self._left, len(data)
        if self._start:
            data = self._start + data
            end = len(data)
            self._start = b""
        while position < end:
            size = frame_size(data, position)
            if not size:
                self._start = data[position:]
                self._left = 0
                return
            first = data[position]
            self.opcode = first & 0x0F
            if not first & 0x08:
                self.in_message = first < 0x80
            position += size
        self._left = position - end

    def boundary(self, data: bytes) -> int | None:
        """Where in these bytes, not yet fed, the frame under way ends; None if not in them.

        Between two frames that is 0.
        """
        left = self._left
        if self._start:
            size = frame_size(self._start + data[:_LONGEST_HEADER])
            if not size:
                return None
            left = size - len(self._start)
        return left if left <= len(data) else None


class Truncation:
    """Lets the first half of one frame pass, and nothing after it."""

    __slots__ = ("_half", "_passed", "_start")

    def __init__(self) -> None:
        self._start = b""
        self._passed = 0
        self._half: int | None = None

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What of these bytes may pass, and whether that was the last of it."""
        if self._half is None:
            self._start += data[: _LONGEST_HEADER - len(self._start)]
            size = frame_size(self._start)
            if not size:
                self._passed += len(data)
                return data, False
            # The part of the header that went ahead cannot be taken back, but is never a frame.
            self._half = max(size // 2, self._passed)
        piece = data[: self._half - self._passed]
        self._passed += len(piece)
        return piece, self._passed == self._half


def masked(payload: bytes, key: bytes) -> bytes:
    """The payload under this masking key, or from under it: it is its own inverse (§5.3)."""
    size = len(payload)
    pad = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")


def frame(
    opcode: int, payload: bytes, *, fin: bool = True, key: bytes | None = None, rsv: int = 0
) -> bytes:
    """A frame as it stands on the wire (RFC 6455 §5.2); nothing is forbidden here."""
    size, bit = len(payload), 0x80 if key is not None else 0
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    if size < 126:
        header = bytes((first, bit | size))
    elif size < 1 << 16:
        header = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if key is None:
        return header + payload
    return header + key + (masked(payload, key) if any(key) else payload)


def close_payload(code: int | None, reason: str = "") -> bytes:
    """What stands in a Close frame; without a code, nothing."""
    if code is None:
        return b""
    if not 0 <= code <= 0xFFFF:
        raise ValueError(f"close code {code} is no number of 16 bits")
    text = reason.encode()
    if len(text) > _LONGEST_REASON:
        raise ValueError(f"close reason has {len(text)} bytes; {_LONGEST_REASON} fit in a frame")
    return code.to_bytes(2, "big") + text


def close_frame(code: int, reason: str = "") -> bytes:
    """A server's Close frame (RFC 6455 §5.5.1), with any code that can stand in one."""
    if code in _RESERVED_CODES:
        raise ValueError(
            f"close code {code} means '{_RESERVED_CODES[code]}' and is never sent"
            " (RFC 6455 §7.4.1); to end a connection without a Close frame, use `fin`"
        )
    return frame(CLOSE, close_payload(code, reason))
