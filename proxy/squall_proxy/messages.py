"""A WebSocket message as a value, and the bytes in which it came or is to be sent.

What nobody changes leaves in the very bytes in which it arrived. Payload and JSON are read when
somebody asks for them.
"""

from __future__ import annotations

import json
from typing import Any, Final

from squall_proxy.deflate import inflated
from squall_proxy.faults.base import Way
from squall_proxy.frames import CLOSE, frame, masked

# Messages above this pass without a look; also what a compressed one may inflate to.
MESSAGE_LIMIT = 4 * 1024 * 1024

# A key of zeros masks nothing: what the proxy says in a client's stead can be read in a capture.
_NO_KEY = bytes(4)
_DEFLATED, _MASKED = 0x40, 0x80


class NotRead:
    """Stands for what nobody has asked for yet."""


class NotJson:
    """Stands for the JSON of a message that has none."""


NOT_READ: Final = NotRead()
NOT_JSON: Final = NotJson()


class Message:
    """One message, or one control frame, on its way in one direction."""

    __slots__ = ("_json", "_payload", "final", "frames", "opcode", "way")

    def __init__(self, way: Way, opcode: int, frames: tuple[bytes, ...]) -> None:
        self.way: Way = way
        self.opcode = opcode
        self.frames = frames
        self.final = False  # no further rule may look at it
        self._payload: bytes | NotRead | None = NOT_READ
        self._json: Any = NOT_READ

    @property
    def wire(self) -> bytes:
        """The bytes on the wire."""
        return self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)

    @property
    def control(self) -> bool:
        """It may stand between the fragments of a message (RFC 6455 §5.4)."""
        return self.opcode >= CLOSE

    @property
    def key(self) -> bytes | None:
        """The masking key of its first frame; the server's have none."""
        whole = self.frames[0]
        if not whole[1] & _MASKED:
            return None
        start = _header(whole) - 4
        return whole[start : start + 4]

    @property
    def payload(self) -> bytes | None:
        """What it says, unmasked and inflated; None where that cannot be read."""
        if isinstance(self._payload, NotRead):
            frames = self.frames
            read = _payload(frames[0]) if len(frames) == 1 else b"".join(map(_payload, frames))
            self._payload = inflated(read, MESSAGE_LIMIT) if frames[0][0] & _DEFLATED else read
        return self._payload

    @property
    def json(self) -> Any:
        """The payload as JSON, or NOT_JSON."""
        if self._json is NOT_READ:
            try:
                self._json = json.loads((self.payload or b"").decode())
            except (ValueError, RecursionError):
                self._json = NOT_JSON
        return self._json

    def saying(self, payload: bytes) -> Message:
        """The same message with another payload, in one frame, uncompressed and masked anew."""
        return say(self.way, self.opcode, payload, self.key)

    def in_frames(self, *frames: bytes) -> Message:
        """The same message, cut into other frames."""
        return Message(self.way, self.opcode, frames)

    def broken(self, wire: bytes) -> Message:
        """What is no message any more, sent in its place."""
        broken = Message(self.way, self.opcode, (wire,))
        broken.final = True
        return broken


def say(way: Way, opcode: int, payload: bytes, key: bytes | None = None) -> Message:
    """A message of the proxy's own."""
    return Message(way, opcode, (frame(opcode, payload, key=mask_for(way, key)),))


def mask_for(way: Way, key: bytes | None) -> bytes | None:
    """The key under which a frame in this direction is sent: only clients mask (§5.1)."""
    return (key or _NO_KEY) if way == "client_to_server" else None


def _header(whole: bytes) -> int:
    length = whole[1] & 0x7F
    size = 2 if length < 126 else 4 if length == 126 else 10
    return size + 4 if whole[1] & _MASKED else size


def _payload(whole: bytes) -> bytes:
    start = _header(whole)
    if not whole[1] & _MASKED:
        return whole[start:]
    return masked(whole[start:], whole[start - 4 : start])
