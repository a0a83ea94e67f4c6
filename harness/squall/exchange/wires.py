"""RFC 6455 without I/O, twice: bytes come in, frames and bytes to send come out.

`FaithfulWire` is the sans-I/O half of `websockets`, permessage-deflate (RFC 7692) included.
`ThinWire` is the least that the exchange needs of it, at about a third of its cost a login
(docs/benchmarks-exchange.md): for load, where the other end is a client that is known to be right.
It grants no extension and no subprotocol.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from http import HTTPStatus
from typing import Protocol

from websockets.datastructures import Headers
from websockets.exceptions import ProtocolError
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from squall.exchange import http
from squall.exchange.protocol import HttpAnswer
from squall_proxy.frames import close_frame, frame, frame_size, masked

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
EXTENSIONS = "Sec-WebSocket-Extensions"
BAD_REQUEST = HttpAnswer(400, "no WebSocket handshake (RFC 6455, section 4.2.1)\n", "text/plain")
# RFC 9110, section 15.5.22; RFC 6455, section 4.4.
_UPGRADE_REQUIRED = (
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
_END = b""
SMALLEST_DEFLATED = 64
"""Bytes of the shortest message that is compressed; RFC 7692, section 6 leaves it to the sender."""
# The answer has no parameter that was not asked for; memLevel is what `websockets` itself serves
# with, at half the memory of zlib's default.
_DEFLATE = (ServerPerMessageDeflateFactory(compress_settings={"memLevel": 5}),)
_LONGEST_HEADER = 14
_MOST_IN_CONTROL_FRAMES = 125


class Wire(Protocol):
    """One connection from its upgrade on. An empty piece of `data_to_send` ends our half of it."""

    close_sent: Close | None
    close_rcvd: Close | None
    granted: str
    """The extensions in force, as the answer to the upgrade names them; empty for none."""

    @property
    def is_open(self) -> bool:
        """Upgraded, and no Close frame went either way."""

    def refuse(self, answer: HttpAnswer) -> None:
        """Answer the request for a WebSocket with this."""

    def receive_data(self, data: bytes) -> None:
        """Bytes have come."""

    def frames_received(self) -> list[Frame]:
        """The frames that have come since the last call."""

    def data_to_send(self) -> list[bytes]:
        """What is to be sent, since the last call."""

    def text(self, payload: bytes) -> bytes:
        """The frame of a text message, which must be sent: the next one may build upon it."""

    def close_expected(self) -> bool:
        """Whether the connection is about to end."""

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""

    def fail(self, code: int, reason: str) -> None:
        """End the connection over a mistake of the client."""


class FaithfulWire(ServerProtocol):
    """`websockets`, with the few words that the exchange has for it.

    A message may inflate to `max_size` bytes, compressed or not: a longer one is answered by 1009.
    """

    def __init__(self, *, max_size: int, permessage_deflate: bool = False) -> None:
        super().__init__(max_size=max_size, extensions=_DEFLATE if permessage_deflate else None)
        self.granted = ""

    @property
    def is_open(self) -> bool:
        """Upgraded, and no Close frame went either way."""
        return self.state is OPEN

    def upgrade(self, request: Request) -> bool:
        """Answer the request for a WebSocket; whether it is one."""
        response = self.accept(request)
        self.granted = response.headers.get(EXTENSIONS, "")
        self.send_response(response)
        return response.status_code == HTTPStatus.SWITCHING_PROTOCOLS

    def refuse(self, answer: HttpAnswer) -> None:
        """Answer the request for a WebSocket with this."""
        body = answer.body.encode()
        headers = Headers(http.headers(answer, body))
        phrase = HTTPStatus(answer.status).phrase
        self.send_response(Response(answer.status, phrase, headers, body))

    def frames_received(self) -> list[Frame]:
        """The frames that have come since the last call."""
        return [event for event in self.events_received() if isinstance(event, Frame)]

    def text(self, payload: bytes) -> bytes:
        """The frame of a text message, which must be sent: the next one may build upon it."""
        extensions = self.extensions if len(payload) >= SMALLEST_DEFLATED else None
        return Frame(Opcode.TEXT, payload).serialize(mask=False, extensions=extensions)


class ThinWire:
    """A server's half of RFC 6455, for messages of at most `max_size` bytes."""

    def __init__(self, *, max_size: int) -> None:
        self.close_sent: Close | None = None
        self.close_rcvd: Close | None = None
        self.granted = ""
        self._max_size = max_size
        self._upgraded = False
        self._over = False
        self._rest = b""
        self._message: int | None = None  # bytes of the fragments so far (section 5.4)
        self._frames: list[Frame] = []
        self._writes: list[bytes] = []

    @property
    def is_open(self) -> bool:
        """Upgraded, and no Close frame went either way."""
        return self._upgraded and not self._over and self.close_sent is None

    def upgrade(self, asked: http.Head) -> bool:
        """Answer the request for a WebSocket; whether it is one (section 4.2.1)."""
        headers = asked.headers
        key = headers.get("sec-websocket-key", "")
        is_websocket = "websocket" in _words(headers.get("upgrade", ""))
        if not is_websocket or headers.get("sec-websocket-version", "13") != "13":
            self._writes += [_UPGRADE_REQUIRED, _END]
            self._over = True
            return False
        right = (
            asked.method == "GET"
            and "upgrade" in _words(headers.get("connection", ""))
            and "sec-websocket-version" in headers
            and _is_key(key)
        )
        if not right:
            self.refuse(BAD_REQUEST)
            return False
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest())
        self._writes.append(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        self._upgraded = True
        return True

    def refuse(self, answer: HttpAnswer) -> None:
        """Answer the request for a WebSocket with this."""
        self._writes += [http.serialize(answer), _END]
        self._over = True

    def receive_data(self, data: bytes) -> None:
        """Bytes have come; what follows the end of the conversation is passed over."""
        data = self._rest + data
        at = 0
        while not self._over and (size := frame_size(data, at)):
            if size > self._max_size + _LONGEST_HEADER:
                self.fail(CloseCode.MESSAGE_TOO_BIG, "")
            elif at + size > len(data):
                break
            else:
                self._take(data[at : at + size])
                at += size
        self._rest = b"" if self._over else data[at:]

    def frames_received(self) -> list[Frame]:
        """The frames that have come since the last call."""
        frames, self._frames = self._frames, []
        return frames

    def data_to_send(self) -> list[bytes]:
        """What is to be sent, since the last call."""
        writes, self._writes = self._writes, []
        return writes

    def text(self, payload: bytes) -> bytes:
        """The frame of a text message."""
        return frame(Opcode.TEXT, payload)

    def close_expected(self) -> bool:
        """Whether the connection is about to end."""
        return self._over or self.close_sent is not None

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake."""
        self.close_sent = Close(code, reason)
        self._writes.append(close_frame(code, reason))

    def fail(self, code: int, reason: str) -> None:
        """End the connection over a mistake of the client."""
        if self.close_sent is None:
            self.send_close(code, reason)
        self._writes.append(_END)
        self._over = True

    def _take(self, whole: bytes) -> None:
        first, second = whole[0], whole[1]
        opcode, fin = first & 0x0F, first >= 0x80
        length = second & 0x7F
        start = {126: 8, 127: 14}.get(length, 6)
        if first & 0x70 or second < 0x80 or opcode not in _OPCODES:
            self.fail(CloseCode.PROTOCOL_ERROR, "reserved bits, a reserved opcode, or no mask")
            return
        key, payload = whole[start - 4 : start], whole[start:]
        if any(key):
            payload = masked(payload, key)
        if opcode >= Opcode.CLOSE:
            if not fin or length > _MOST_IN_CONTROL_FRAMES:
                self.fail(CloseCode.PROTOCOL_ERROR, "a control frame in parts, or too long")
                return
        elif (opcode == Opcode.CONT) != (self._message is not None):
            self.fail(CloseCode.PROTOCOL_ERROR, "a fragment out of its message")
            return
        elif not self._fits(len(payload), fin):
            self.fail(CloseCode.MESSAGE_TOO_BIG, "")
            return
        if opcode == Opcode.PING:
            self._writes.append(frame(Opcode.PONG, payload))
        elif opcode == Opcode.CLOSE and not self._part(payload):
            return
        self._frames.append(Frame(Opcode(opcode), payload, fin))

    def _fits(self, size: int, fin: bool) -> bool:
        total = (self._message or 0) + size
        self._message = None if fin else total
        return total <= self._max_size

    def _part(self, payload: bytes) -> bool:
        """The client says goodbye; whether it does so as it should (section 7.4)."""
        try:
            self.close_rcvd = Close.parse(payload)
        except ProtocolError:
            self.fail(CloseCode.PROTOCOL_ERROR, "a Close frame that cannot be read")
            return False
        except UnicodeDecodeError:
            self.fail(CloseCode.INVALID_DATA, "not UTF-8")
            return False
        if self.close_sent is None:
            self.close_sent = self.close_rcvd
            self._writes.append(frame(Opcode.CLOSE, payload))
        self._writes.append(_END)
        self._over = True
        return True


_OPCODES = frozenset(int(opcode) for opcode in Opcode)


def _words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(",")}


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
