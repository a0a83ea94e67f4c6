"""One TCP connection of the exchange: first HTTP, then WebSocket frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request

from squall.exchange import http
from squall.exchange.protocol import HttpAnswer, HttpRequest
from squall.exchange.wires import BAD_REQUEST, FaithfulWire, ThinWire, Wire

if TYPE_CHECKING:
    from squall.exchange.server import ExchangeServer

END_OF_HEAD = b"\r\n\r\n"
MAX_HEAD_BYTES = 65_536
NO_LENGTH = HttpAnswer(411, "length required\n", "text/plain")
TOO_LONG = HttpAnswer(413, "too long\n", "text/plain")


class Line(asyncio.Protocol):
    """One TCP connection: first HTTP, then WebSocket frames."""

    def __init__(self, server: ExchangeServer) -> None:
        self._server = server
        settings = server.settings
        self._wire: Wire = (
            ThinWire(max_size=settings.max_message_bytes)
            if server.thin
            else FaithfulWire(
                max_size=settings.max_message_bytes,
                permessage_deflate=settings.permessage_deflate,
            )
        )
        self._transport: asyncio.Transport
        self._number: int | None = None
        self._peer = ("", 0)
        self._head: bytes | None = b""
        self._asking: http.Head | None = None
        self._body = b""
        self._upgraded = False
        self._fragments: list[bytes] = []
        self._withheld: list[bytes] = []
        self._gathered: list[bytes] = []
        self._ended_by_us = False
        self._patience: asyncio.TimerHandle | None = None

    # --- what the loop tells ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # uvloop's transports are none of asyncio's classes; they only behave like them.
        self._transport = cast(asyncio.Transport, transport)
        self._peer = transport.get_extra_info("peername")[:2]
        self._transport.set_write_buffer_limits(self._server.settings.max_unsent_bytes)
        self._server.open.add(self)
        self._server.exchange.counts.dials += 1
        if not self._server.has_room(transport.get_extra_info("socket").fileno()):
            self.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._server.exchange.counts.bytes_in += len(data)
        if not self._server.guard(lambda: self._receive(data)):
            self.abort()

    def eof_received(self) -> None:
        """The client has closed its half; without a Close frame there is nothing to wait for."""

    def pause_writing(self) -> None:
        """More waits to be sent than the client may leave unread."""
        self._server.choke(self)

    def resume_writing(self) -> None:
        """It reads again: too late."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self._patience is not None:
            self._patience.cancel()
        if self._upgraded:
            self._server.guard(self._report_end)
        elif self._number is not None:
            self._server.lines.pop(self._number, None)
        self._server.gone(self)

    # --- what the exchange wants ------------------------------------------------------------------

    def write(self, frame: bytes) -> None:
        """Send a frame, together with others where the exchange gathers them."""
        if self._server.gathering:
            if not self._gathered:
                self._server.gathered.append(self)
            self._gathered.append(frame)
        elif not self._transport.is_closing():
            self._transport.write(frame)

    def say(self, payload: bytes) -> int:
        """Send a text message as this connection has agreed on it; the bytes that it takes."""
        frame = self._wire.text(payload)
        self.write(frame)
        return len(frame)

    def send_gathered(self) -> None:
        """Send in one piece what was gathered."""
        if self._gathered and not self._transport.is_closing():
            self._transport.write(b"".join(self._gathered))
        self._gathered.clear()

    def cut_off(self) -> None:
        """The client does not read: end the connection, as a venue does."""
        if self._transport.is_closing():
            return
        if self._upgraded:
            unsent = self._transport.get_write_buffer_size()
            self._server.exchange.overflowed(self._numbered, unsent, self._server.now)
        else:
            self.abort()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, or give the answer that was withheld."""
        if self._wire.is_open:
            self._ended_by_us = True
            self._wire.send_close(code, reason)
            self._flush(self._wire.data_to_send())
        self._flush(self._withheld)
        self._give_up_later()

    def answer(self, answer: HttpAnswer) -> None:
        """Answer the HTTP request, and be done."""
        if not self._transport.is_closing():
            data = http.serialize(answer)
            self._server.exchange.counts.bytes_out += len(data)
            self._transport.write(data)
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        if not self._transport.is_closing():
            self._ended_by_us = True
            self._transport.abort()

    @property
    def _numbered(self) -> int:
        assert self._number is not None, "a connection has its number before it is upgraded"
        return self._number

    # --- in between -------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        if self._head is not None:
            # What follows the head must wait for the answer: it is frames only after an upgrade.
            head, end, data = (self._head + data).partition(END_OF_HEAD)
            if not end and len(head) < MAX_HEAD_BYTES:
                self._head = head
                return
            self._head = None
            asking = http.head(head + end) if end else None
            if asking is None or asking.upgrades:
                self._take_head(asking, head + end)
            else:
                self._asking = asking
        if self._asking is not None:
            self._take_body(self._asking, data)
        elif self._upgraded and data:
            self._feed(data)

    def _take_head(self, asking: http.Head | None, data: bytes) -> None:
        """Somebody asks for a WebSocket, or for nothing that can be understood."""
        if isinstance(self._wire, ThinWire):
            wire = self._wire
            if asking is None:
                wire.refuse(BAD_REQUEST)
            else:
                self._open(asking.target, partial(wire.upgrade, asking))
            self._finish()
        elif isinstance(self._wire, FaithfulWire):
            faithful = self._wire
            faithful.receive_data(data)
            for event in faithful.events_received():
                if isinstance(event, Request):
                    self._open(event.path, partial(faithful.upgrade, event))
            self._finish()

    def _take_body(self, head: http.Head, data: bytes) -> None:
        self._body += data
        if head.length is None:
            self.answer(NO_LENGTH)
        elif head.length > self._server.settings.max_message_bytes:
            self.answer(TOO_LONG)
        elif self._number is None and len(self._body) >= head.length:
            self._serve(head.request(self._body[: head.length]))

    def _serve(self, request: HttpRequest) -> None:
        number = self._number = self._server.number(self._peer)
        self._server.lines[number] = self
        self._server.exchange.http(number, request, self._server.now)

    def _feed(self, data: bytes) -> None:
        self._wire.receive_data(data)
        for frame in self._wire.frames_received():
            self._take(frame)
        self._finish()

    def _finish(self) -> None:
        self._flush(self._wire.data_to_send())
        if self._wire.close_expected() and not self._withheld:
            self._give_up_later()
            if self._upgraded:
                self._server.exchange.closing(self._numbered, self._server.now)

    def _open(self, path: str, upgrade: Callable[[], bool]) -> None:
        number = self._number = self._server.number(self._peer)
        exchange, now = self._server.exchange, self._server.now
        refusal = exchange.admit(number, path, self._peer[0], now)
        if refusal is not None:
            self._wire.refuse(refusal)
            return
        upgraded = upgrade()
        self._flush(self._wire.data_to_send())
        if upgraded:
            self._upgraded = True
            self._server.lines[number] = self
            exchange.connected(number, path, self._peer[0], now, self._wire.granted)

    def _take(self, frame: Frame) -> None:
        exchange, number, now = self._server.exchange, self._numbered, self._server.now
        match frame.opcode:
            case Opcode.CLOSE:
                if not self._ended_by_us and not exchange.answers_close(number, now):
                    *earlier, farewell, end = self._wire.data_to_send()
                    self._flush(earlier)
                    self._withheld = [farewell, end]
            case Opcode.PING:
                exchange.heard(number, now)
            case Opcode.PONG:
                exchange.ponged(number, bytes(frame.data), now)
            case _:
                self._fragments.append(bytes(frame.data))
                if frame.fin:
                    self._read(b"".join(self._fragments), number, now)
                    self._fragments.clear()

    def _read(self, message: bytes, number: int, now: float) -> None:
        try:
            text = message.decode()
        except UnicodeDecodeError:
            self._wire.fail(CloseCode.INVALID_DATA, "not UTF-8")
        else:
            self._server.exchange.received(number, text, now)

    def _flush(self, writes: list[bytes]) -> None:
        self.send_gathered()
        for data in writes:
            if self._transport.is_closing():
                return
            if data:
                self._server.exchange.counts.bytes_out += len(data)
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()

    def _give_up_later(self) -> None:
        if self._patience is None:
            timeout = self._server.settings.close_timeout
            self._patience = asyncio.get_running_loop().call_later(timeout, self._transport.abort)

    def _report_end(self) -> None:
        del self._server.lines[self._numbered]
        code, reason, by = self._end()
        self._server.exchange.disconnected(self._numbered, code, reason, by, self._server.now)

    def _end(self) -> tuple[int, str, str]:
        """Code, reason, and who ended the connection: client, exchange, or network."""
        sent, received = self._wire.close_sent, self._wire.close_rcvd
        if received is not None and not self._ended_by_us:
            return received.code, received.reason, "client"
        if sent is not None:
            return sent.code, sent.reason, "exchange"
        return CloseCode.ABNORMAL_CLOSURE, "", "exchange" if self._ended_by_us else "network"
