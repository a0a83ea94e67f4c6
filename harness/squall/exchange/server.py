"""The exchange on sockets: a thin shell of asyncio protocols around the core.

The wire is spoken by the sans-I/O half of `websockets`, so that Close frames, half-closed and
aborted connections are all in our hands. It needs nothing of the loop but transports and
`call_at`: it runs on asyncio's loop, on uvloop and on a loop of virtual time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from squall.errors import NetworkError
from squall.exchange import http
from squall.exchange.actions import Abort, Action, Answer, Close, Ping, Send
from squall.exchange.core import Exchange
from squall.exchange.faults.base import ExchangeFault
from squall.exchange.injection import Injection, Observe
from squall.exchange.protocol import Dialect, HttpAnswer, HttpRequest
from squall.exchange.settings import Settings

Identify = Callable[[tuple[str, int]], int | None]

# With the default of 100, a thousand clients that come back at once wait for retransmitted SYNs.
BACKLOG = 4096
STOP_TIMEOUT = 2.0
END_OF_HEAD = b"\r\n\r\n"
MAX_HEAD_BYTES = 65_536
NO_LENGTH = HttpAnswer(411, "length required\n", "text/plain")
TOO_LONG = HttpAnswer(413, "too long\n", "text/plain")


class ExchangeServer:
    """A mock exchange that listens on a port.

    `observe(kind, connection, **detail)` is told what the exchange sees. `identify` gives the
    proxy's number of a connection by the address that it comes from; where it knows none, or is
    not given, connections are numbered from 1.
    """

    def __init__(
        self,
        dialect: Dialect,
        settings: Settings,
        *,
        observe: Observe,
        rng: random.Random,
        identify: Identify | None = None,
    ) -> None:
        self.settings = settings
        self.exchange = Exchange(dialect, settings, observe=observe, act=self._act, rng=rng)
        self.lines: dict[int, Line] = {}
        self.open: set[Line] = set()
        self._identify = identify
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        # uvloop gives no TimerHandle, so no `when()`, for what is due already.
        self._timer_due = 0.0
        self._failure: Exception | None = None
        self._emptied: asyncio.Event | None = None

    # --- for the harness --------------------------------------------------------------------------

    @property
    def credentials(self) -> tuple[str, str]:
        """Key and secret of the venue's one account."""
        return self.exchange.account.key, self.exchange.account.secret

    def secrets(self) -> list[tuple[str, str]]:
        """What must never be printed, each with what it is: the key's secret and every token."""
        return [("the API secret", self.credentials[1]), *self.exchange.account.tokens.secrets()]

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None, "it listens only between start() and stop()"
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen. Raises NetworkError where the address cannot be used."""
        self._loop = asyncio.get_running_loop()
        self.exchange.begin(self._loop.time())
        try:
            self._server = await self._loop.create_server(
                lambda: Line(self), host, port, backlog=BACKLOG
            )
        except OSError as error:
            raise NetworkError(
                f"the exchange cannot listen on {host}:{port}: {error.strerror or error}."
                " Port 0 takes any free one."
            ) from error
        self._arm()

    async def stop(self) -> None:
        """Close the listener and every connection. Raises what went wrong inside, once."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
        if self.open:
            self._emptied = asyncio.Event()
            for line in tuple(self.open):
                line.abort()
            await asyncio.wait_for(self._emptied.wait(), STOP_TIMEOUT)
        if server is not None:
            await server.wait_closed()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def inject(self, fault: ExchangeFault) -> Injection:
        """Put a fault in force, at once."""
        injection = self.exchange.inject(fault, self.now)
        self._arm()
        return injection

    def heal(self, injection: Injection | None = None) -> None:
        """Remove one fault, or all."""
        self.exchange.heal(injection, self.now)
        self._arm()

    # --- for the lines ----------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The loop's time."""
        return (self._loop or asyncio.get_running_loop()).time()

    def number(self, peer: tuple[str, int]) -> int:
        """The number of the connection that comes from this address."""
        known = self._identify(peer) if self._identify else None
        return next(self._numbers) if known is None else known

    def guard(self, deed: Callable[[], None]) -> bool:
        """Do this and set the timer anew. What goes wrong is kept for `stop`, and is logged."""
        try:
            deed()
        except Exception as error:
            self._failure = self._failure or error
            assert self._loop is not None
            self._loop.call_exception_handler(
                {"message": "the mock exchange has a bug", "exception": error}
            )
            return False
        self._arm()
        return True

    def gone(self, line: Line) -> None:
        """A TCP connection has ended."""
        self.open.discard(line)
        if self._emptied is not None and not self.open:
            self._emptied.set()

    def _arm(self) -> None:
        deadline = self.exchange.deadline
        if self._loop is None or self._server is None or deadline is None:
            return
        if self._timer is not None:
            if self._timer_due <= deadline:
                return
            self._timer.cancel()
        self._timer_due = deadline
        self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        # uvloop fires up to a millisecond early: nothing is due then, and the timer is set anew.
        self.guard(lambda: self.exchange.tick(self.now))

    def _act(self, action: Action) -> None:
        match action:
            case Send(connections, text):
                frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
                for number in connections:
                    self.lines[number].write(frame)
            case Close(connection, code, reason):
                self.lines[connection].close(code, reason)
            case Abort(connection):
                self.lines[connection].abort()
            case Ping(connection, payload):
                frame = Frame(Opcode.PING, payload).serialize(mask=False)
                self.lines[connection].write(frame)
            case Answer(connection, answer):
                # Who has left in the meantime gets none.
                if connection in self.lines:
                    self.lines[connection].answer(answer)


class Line(asyncio.Protocol):
    """One TCP connection: first HTTP, then WebSocket frames."""

    def __init__(self, server: ExchangeServer) -> None:
        self._server = server
        self._wire = ServerProtocol(max_size=server.settings.max_message_bytes)
        self._transport: asyncio.Transport
        self._number: int | None = None
        self._peer = ("", 0)
        self._head: bytes | None = b""
        self._asking: http.Head | None = None
        self._body = b""
        self._upgraded = False
        self._fragments: list[bytes] = []
        self._withheld: list[bytes] = []
        self._ended_by_us = False
        self._patience: asyncio.TimerHandle | None = None

    # --- what the loop tells ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # uvloop's transports are none of asyncio's classes; they only behave like them.
        self._transport = cast(asyncio.Transport, transport)
        self._peer = transport.get_extra_info("peername")[:2]
        self._server.open.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if not self._server.guard(lambda: self._receive(data)):
            self.abort()

    def eof_received(self) -> None:
        """The client has closed its half; without a Close frame there is nothing to wait for."""

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
        """Send a frame. A client that does not read is cut off, as a venue does."""
        if self._transport.is_closing():
            return
        self._transport.write(frame)
        unsent = self._transport.get_write_buffer_size()
        if unsent > self._server.settings.max_unsent_bytes:
            observe = self._server.exchange.observe
            observe("limit_exceeded", self._number, rule="unsent bytes", count=unsent)
            self.abort()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, or give the answer that was withheld."""
        if self._wire.state is OPEN:
            self._ended_by_us = True
            self._wire.send_close(code, reason)
            self._flush(self._wire.data_to_send())
        self._flush(self._withheld)
        self._give_up_later()

    def answer(self, answer: HttpAnswer) -> None:
        """Answer the HTTP request, and be done."""
        if not self._transport.is_closing():
            self._transport.write(http.serialize(answer))
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
            self._asking = http.head(head + end) if end else None
            if self._asking is None:
                self._feed(head + end)
        if self._asking is not None:
            self._take_body(self._asking, data)
        elif self._upgraded and data:
            self._feed(data)

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
        for event in self._wire.events_received():
            if isinstance(event, Request):
                self._open(event)
            elif isinstance(event, Frame):
                self._take(event)
        self._flush(self._wire.data_to_send())
        if self._wire.close_expected() and not self._withheld:
            self._give_up_later()
            if self._upgraded:
                self._server.exchange.closing(self._numbered, self._server.now)

    def _open(self, request: Request) -> None:
        number = self._number = self._server.number(self._peer)
        exchange, now = self._server.exchange, self._server.now
        refusal = exchange.admit(number, request.path, self._peer[0], now)
        if refusal is not None:
            self._refuse(refusal)
            return
        response = self._wire.accept(request)
        self._wire.send_response(response)
        self._flush(self._wire.data_to_send())
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._upgraded = True
            self._server.lines[number] = self
            exchange.connected(number, request.path, self._peer[0], now)

    def _refuse(self, answer: HttpAnswer) -> None:
        body = answer.body.encode()
        headers = Headers(http.headers(answer, body))
        phrase = HTTPStatus(answer.status).phrase
        self._wire.send_response(Response(answer.status, phrase, headers, body))

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
        for data in writes:
            if self._transport.is_closing():
                return
            if data:
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
