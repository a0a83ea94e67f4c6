"""The exchange on sockets: a thin shell of asyncio protocols around the core.

The wire is spoken without I/O (`wires`), so that Close frames, half-closed and
aborted connections are all in our hands. It needs nothing of the loop but transports and
`call_at`: it runs on asyncio's loop, on uvloop and on a loop of virtual time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import resource
import socket
from collections.abc import Callable, Sequence

from websockets.frames import Opcode

from squall.errors import NetworkError
from squall.exchange.actions import Abort, Action, Answer, Close, Ping, Send
from squall.exchange.core import Exchange
from squall.exchange.faults.base import ExchangeFault
from squall.exchange.injection import Injection, Observe
from squall.exchange.line import Line
from squall.exchange.membership import Membership
from squall.exchange.protocol import Dialect
from squall.exchange.settings import Settings
from squall_proxy.frames import frame

Identify = Callable[[tuple[str, int]], int | None]

# With the default of 100, a thousand clients that come back at once wait for retransmitted SYNs.
BACKLOG = 4096
STOP_TIMEOUT = 2.0
EARLY, ROUNDING = 0.001, 1e-6
SPARE_DESCRIPTORS = 16
"""File descriptors that are kept free of clients: for the control port, logs and modules."""


class ExchangeServer:
    """A mock exchange that listens on a port.

    `observe(kind, connection, **detail)` is told what the exchange sees. `identify` gives the
    proxy's number of a connection by the address that it comes from; where it knows none, or is
    not given, connections are numbered from 1.

    Without `observe` nobody is told anything, which is faster. `warn` gets a line of text when the
    process is out of file descriptors, and when it has some again. `membership` makes the exchange
    one of several processes. `thin` speaks WebSocket with less care and less effort (`wires`),
    unless the settings want an extension granted.
    """

    def __init__(
        self,
        dialect: Dialect,
        settings: Settings,
        *,
        observe: Observe | None,
        rng: random.Random,
        identify: Identify | None = None,
        warn: Callable[[str], None] | None = None,
        membership: Membership | None = None,
        thin: bool = False,
    ) -> None:
        self.settings = settings
        self.exchange = Exchange(
            dialect, settings, observe=observe, act=self._act, rng=rng, membership=membership
        )
        self.lines: dict[int, Line] = {}
        self.open: set[Line] = set()
        self._identify = identify
        self._warn = warn
        self.thin = thin and not settings.permessage_deflate
        self._membership = membership
        self._numbers = (
            itertools.count(membership.number, membership.count)
            if membership
            else itertools.count(1)
        )
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.Handle | None = None
        # uvloop gives no TimerHandle, so no `when()`, for what is due already.
        self._timer_due = 0.0
        self._failure: Exception | None = None
        self._emptied: asyncio.Event | None = None
        self._most_descriptors = _most_descriptors()
        self._full = False
        self._choked: list[Line] = []
        self.gathering = False
        self.gathered: list[Line] = []

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

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, *, bound: socket.socket | None = None
    ) -> None:
        """Listen there, or on a socket that is bound already.

        Raises NetworkError where the address cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        membership = self._membership
        self.exchange.begin(membership.origin if membership else self._loop.time())
        try:
            if bound is not None:
                self._server = await self._loop.create_server(
                    lambda: Line(self), sock=bound, backlog=BACKLOG
                )
            else:
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
        self._settle()
        return injection

    def heal(self, injection: Injection | None = None) -> None:
        """Remove one fault, or all."""
        self.exchange.heal(injection, self.now)
        self._settle()

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
            self._settle()
        except Exception as error:
            self._failure = self._failure or error
            assert self._loop is not None
            self._loop.call_exception_handler(
                {"message": "the mock exchange has a bug", "exception": error}
            )
            return False
        return True

    def choke(self, line: Line) -> None:
        """More waits for this client than it may leave unread."""
        # It may be in the middle of a message to all: the others get it first.
        self._choked.append(line)

    def has_room(self, descriptor: int) -> bool:
        """Whether a connection on this file descriptor may stay.

        The kernel gives the lowest number that is free, so this one tells how many are taken. A
        loop that cannot accept would be told so again and again until it can.
        """
        if descriptor >= self._most_descriptors:
            self.exchange.counts.dials_refused += 1
            if not self._full:
                self._full = True
                self._tell_of_descriptors(
                    "descriptors_exhausted",
                    "the exchange is out of file descriptors: it goes on with the"
                    f" {len(self.open)} connections that it has and drops new ones."
                    f" `ulimit -n` allows {self._most_descriptors + SPARE_DESCRIPTORS:.0f}",
                )
            return False
        if self._full and descriptor < self._most_descriptors - SPARE_DESCRIPTORS:
            self._full = False
            self._tell_of_descriptors(
                "descriptors_free", "the exchange has file descriptors again and takes connections"
            )
        return True

    def gone(self, line: Line) -> None:
        """A TCP connection has ended."""
        self.open.discard(line)
        if self._emptied is not None and not self.open:
            self._emptied.set()

    def _tell_of_descriptors(self, kind: str, text: str) -> None:
        self.exchange.observe(kind, connections=len(self.open))
        if self._warn is not None:
            self._warn(text)

    def _settle(self) -> None:
        """What is to be done after any deed."""
        self.gathering = False
        for line in self.gathered:
            line.send_gathered()
        self.gathered.clear()
        while self._choked:
            self._choked.pop().cut_off()
        self._arm()

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
        now = self.now
        if self._timer_due - now > ROUNDING:
            # uvloop counts whole milliseconds and fires up to one early: once more, not a hundred
            # times with a time-out that is rounded to none.
            assert self._loop is not None
            self._timer = self._loop.call_later(EARLY, self._tick)
            return
        self.gathering = bool(self.settings.batch_interval)
        self.guard(lambda: self.exchange.tick(now))

    def _act(self, action: Action) -> None:
        match action:
            case Send(connections, text):
                if self.settings.permessage_deflate:
                    self._send_deflated(connections, text.encode())
                    return
                data = frame(Opcode.TEXT, text.encode())
                lines = self.lines
                for number in connections:
                    lines[number].write(data)
                self.exchange.counts.bytes_out += len(data) * len(connections)
            case Close(connection, code, reason):
                self.lines[connection].close(code, reason)
            case Abort(connection):
                self.lines[connection].abort()
            case Ping(connection, payload):
                data = frame(Opcode.PING, payload)
                self.lines[connection].write(data)
                self.exchange.counts.bytes_out += len(data)
            case Answer(connection, answer):
                # Who has left in the meantime gets none.
                if connection in self.lines:
                    self.lines[connection].answer(answer)

    def _send_deflated(self, connections: Sequence[int], payload: bytes) -> None:
        """To each what it has agreed on: what was compressed with a context fits nobody else."""
        sent = sum(self.lines[number].say(payload) for number in connections)
        self.exchange.counts.bytes_out += sent


def _most_descriptors() -> float:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit - SPARE_DESCRIPTORS
