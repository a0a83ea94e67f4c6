"""One connection through the proxy: two sides, a relay each way, and how it ends.

What ends it travels as what it is: a FIN stays a FIN, half a close stays half a close, a RST
stays a RST. What the proxy does of its own accord begins in `reset`, `finish` and `say_goodbye`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from squall_proxy import sockets
from squall_proxy.conversation import Conversation
from squall_proxy.faults import (
    Close,
    CutFault,
    Fin,
    Flap,
    Http,
    ListenerFault,
    Refuse,
    Rst,
    StreamFault,
    Truncate,
)
from squall_proxy.frames import FrameTracker, close_frame
from squall_proxy.http1 import HEAD_END, Request, Response, answer, parse_response
from squall_proxy.injection import Injection, Observe
from squall_proxy.link import End, Filter
from squall_proxy.relay import Relay
from squall_proxy.side import Side
from squall_proxy.sockets import Address
from squall_proxy.timers import Timer, Timers

# How long the proxy waits for the client's answer to a Close frame, and then for either side's
# own FIN. A peer that never sends one must not keep a socket here.
CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True)
class Surroundings:
    """What a connection needs from the proxy that it belongs to."""

    upstream: Address
    websocket: bool
    observe: Observe
    timers: Timers
    arrived: Callable[[Connection], None]
    dialling_from: Callable[[Connection, Address], None]
    closed: Callable[[Connection], None]


class Connection:
    """A client, the server it is connected to, and what passes between them.

    It gets its number from the proxy when it arrives.
    """

    def __init__(self, around: Surroundings) -> None:
        self.number = 0
        self.dialled_from: Address | None = None
        self.over = False  # ended by the proxy: nothing is passed on any more
        self.client = Side("client", self)
        self.server = Side("server", self)
        self._around = around
        self._observe = around.observe
        self._timers = around.timers
        self._up = self._relay(self.client, self.server)
        self._down = self._relay(self.server, self.client)
        self._talk: Conversation | None = None
        if around.websocket:
            self._talk = Conversation(self._up, self._down, self._requested, self._answered)
        self._injections: dict[int, Injection] = {}
        self._met: Injection | None = None
        self._dialled = False
        self._dialling: asyncio.Task[None] | None = None  # until the server's side is there
        self._connecting: asyncio.Task[None] | None = None  # while that may be cancelled
        self._seen: set[str] = set()
        self._ended_by: tuple[str, str] | None = None
        self._arrival = 0.0
        self._closed = False
        self._pending: dict[str, Timer] = {}

    def _relay(self, source: Side, sink: Side) -> Relay:
        return Relay(source, sink, self._timers, self._bite, self._notice)

    # Faults

    @property
    def held_by_client(self) -> bool:
        """The client has not left it."""
        return not self.over and "client" not in self._seen

    def attach(self, injection: Injection, make: Callable[[StreamFault], Filter]) -> None:
        """Put a stream fault in force here, with a filter of its own for each direction."""
        fault = injection.fault
        assert isinstance(fault, StreamFault)
        self._injections[injection.id] = injection
        if "client_to_server" in fault.ways():
            self._up.attach(injection.id, fault, make(fault))
        if "server_to_client" in fault.ways():
            self._down.attach(injection.id, fault, make(fault))

    def meet(self, injection: Injection | None) -> None:
        """Come up, in the way that the listener's fault leaves open."""
        self._met = injection
        match injection.fault if injection else None:
            case Refuse(how=how) if injection:
                self._cut(injection, self.reset if how == "reset" else self.finish)
            case Flap(after=after, upgrade=False):
                self._call("flap", after, self._flap)
        self._dial()

    def strike(self, injection: Injection) -> None:
        """Cut this connection, now or when the place for it has come."""
        self._injections[injection.id] = injection
        match injection.fault:
            case Rst():
                self._cut(injection, self.reset)
            case Fin():
                self._cut(injection, self.finish)
            case Close(code, reason) if self._talk:
                goodbye = partial(self.say_goodbye, code, reason)
                self._talk.down_frames.at_boundary(
                    injection.id, partial(self._cut, injection, goodbye)
                )
            case Truncate(direction) if self._talk:
                up = direction == "client_to_server"
                frames = self._talk.up_frames if up else self._talk.down_frames
                frames.in_frame(injection.id, partial(self._cut, injection, self.finish))

    def release(self, injection: Injection) -> None:
        """The fault is removed: what it held flows on."""
        if self._injections.pop(injection.id, None) is None and self._met is not injection:
            return
        if self._talk is not None:
            self._talk.up_frames.cancel(injection.id)
            self._talk.down_frames.cancel(injection.id)
        if self._met is injection:
            self._met = None
            self._forget("flap")
        for relay in (self._up, self._down):
            relay.detach(injection.id)
        if self._up.broken or self._down.broken:
            self.reset()
        self._dial()

    def _bite(self, number: int) -> None:
        injection = self._injections.get(number)
        if injection is not None:
            injection.bite(self.number)

    def _cut(self, injection: Injection, end: Callable[[], None]) -> None:
        if self.over:
            return
        injection.bite(self.number)
        end()

    def _flap(self) -> None:
        injection = self._met
        match injection.fault if injection else None:
            case Flap(how="close", code=code) if injection and self._talk:
                goodbye = partial(self.say_goodbye, code)
                self._talk.down_frames.at_boundary(
                    injection.id, partial(self._cut, injection, goodbye)
                )
            case Flap(how=how) if injection:
                self._cut(injection, self.reset if how == "rst" else self.finish)

    # Coming up

    def _dial(self) -> None:
        """Connect to the server, unless something stands in the way."""
        met = self._met.fault if self._met else None
        if isinstance(met, ListenerFault) and not met.dials:
            return
        if self.over or self._dialled or self._up.swallowing:
            return
        if not self.held_by_client:
            # It waited for a server that it no longer wants.
            self.finish()
            return
        self._dialled = True
        self._dialling = asyncio.get_running_loop().create_task(self._connect())
        self._connecting = self._dialling
        self._dialling.add_done_callback(self._connected)

    async def _connect(self) -> None:
        try:
            sock = await sockets.connect(
                self._around.upstream, partial(self._around.dialling_from, self)
            )
        except OSError:
            self.server.gone = True
            self.ended(self.server, End.RST)
            return
        self._connecting = None
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self.server, sock=sock)
        # Not before: uvloop takes the socket over at the end of that call only, and would close
        # the file descriptor twice if the transport were closed within it.
        self.server.transport = transport
        self._up.pump()

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._dialling = self._connecting = None
        self._settle()

    def _hang_up(self) -> None:
        """End a dial that is under way, or let its end be one."""
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._dialling is not None:
            self._up.end(End.RST)

    def _requested(self, request: Request) -> None:
        self._observe(
            "upgrade_requested",
            self.number,
            method=request.method,
            path=request.path,
            upgrade=request.upgrade,
        )
        injection = self._met
        match injection.fault if injection else None:
            case Http(status, headers, body, reason) if injection and not self.over:
                injection.bite(self.number)
                self._reply(request, answer(status, headers, body, reason))

    def _reply(self, request: Request, reply: bytes) -> None:
        """Answer in the server's stead, and end the connection."""
        self._up.close_input()
        self._down.insert(reply)
        response = parse_response(reply.partition(HEAD_END)[0], request.method)
        if request.upgrade and response is not None:
            self._down.mark(partial(self._refused, response, "proxy"))
        self.finish()

    def _answered(self, response: Response) -> None:
        if not response.upgraded:
            self._refused(response, "exchange")
            return
        self._observe("upgraded", self.number)
        match self._met.fault if self._met else None:
            case Flap(after=after):
                self._call("flap", after, self._flap)

    def _refused(self, response: Response, by: str) -> None:
        self._observe(
            "upgrade_refused",
            self.number,
            status=response.status,
            retry_after=response.retry_after,
            by=by,
        )

    # Coming down

    def reset(self) -> None:
        """End both sides by RST, now; what is in flight is lost."""
        self._take_over(End.RST)
        for side in (self.client, self.server):
            side.reset()
        for relay in (self._up, self._down):
            relay.drop()
        self._hang_up()
        self._settle()

    def finish(self) -> None:
        """End both sides by FIN, behind what is in flight."""
        if self.over:
            return
        self._take_over(End.FIN)
        for relay in (self._up, self._down):
            relay.end(End.FIN)
        for side in (self.client, self.server):
            if side.told:
                self._linger(side)
        self._settle()

    def say_goodbye(self, code: int, reason: str = "") -> None:
        """Send the client a Close frame, and a FIN when it has answered; the server a FIN.

        It is the server's part to close first (RFC 6455 §7.1.1), but not before the client's
        Close frame has come.
        """
        if self.over or self._talk is None:
            return
        self._take_over(End.FIN)
        self._down.close_input()
        self._down.insert(close_frame(code, reason))
        self._up.end(End.FIN)
        self._up.close_input(partial(self._await_answer, self._talk.up_frames.tracker))
        self._call("goodbye", CLOSE_TIMEOUT, self._leave)
        if "client" in self._seen:
            self._leave()

    def shutdown(self) -> None:
        """End both sides as soon as what was written has left."""
        self._take_over(End.FIN)
        for relay in (self._up, self._down):
            relay.drop()
        for side in (self.client, self.server):
            side.close()
        self._hang_up()
        self._settle()

    def abort(self) -> None:
        """Give both sockets back now."""
        for side in (self.client, self.server):
            side.abort()

    def _take_over(self, how: End) -> None:
        """From here on the connection ends because the proxy says so."""
        self.over = True
        if self._ended_by is None:
            self._ended_by = ("proxy", how.value)
        self._forget("flap")
        self._settle_cuts()

    def _await_answer(self, frames: FrameTracker, data: bytes) -> None:
        self._up.discarded += len(data)
        frames.feed(data)
        if frames.closed:
            self._leave()

    def _leave(self) -> None:
        self._forget("goodbye")
        self._down.end(End.FIN)

    def _linger(self, side: Side) -> None:
        self._call(side.name, CLOSE_TIMEOUT, side.abort)

    def _settle_cuts(self) -> None:
        for injection in tuple(self._injections.values()):
            if isinstance(injection.fault, CutFault):
                injection.through(self.number)

    def _settle(self) -> None:
        """Say that the connection is gone, once both sockets are."""
        if self._closed or not self.client.gone or self._dialling or self.server.there:
            return
        self._closed = True
        for name in tuple(self._pending):
            self._forget(name)
        self._settle_cuts()
        by, how = self._ended_by or ("proxy", End.FIN.value)
        self._observe(
            "closed",
            self.number,
            by=by,
            how=how,
            to_server_bytes=max(0, self.client.received - self._up.undelivered),
            to_client_bytes=max(0, self.server.received - self._down.undelivered),
            seconds=self._timers.now() - self._arrival,
        )
        self._around.closed(self)

    def _call(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        self._forget(name)
        self._pending[name] = self._timers.after(seconds, callback)

    def _forget(self, name: str) -> None:
        timer = self._pending.pop(name, None)
        if timer is not None:
            timer.cancel()

    # What the sides say

    def made(self, side: Side, transport: asyncio.Transport) -> None:
        """The client has come; the server's side is there when the dial is done."""
        if side is self.client:
            side.transport = transport
            self._arrival = self._timers.now()
            self._around.arrived(self)
            self._down.pump()

    def ended(self, side: Side, how: End) -> None:
        """Pass the end on, as it is, behind the bytes before it."""
        self._notice(side, how)
        if not self.over:
            (self._up if side is self.client else self._down).end(how)
        elif side is self.client and "goodbye" in self._pending:
            self._leave()

    def _notice(self, side: Side, how: End) -> None:
        if side.name in self._seen:
            return
        self._seen.add(side.name)
        if self._ended_by is None:
            self._ended_by = (side.name, how.value)
        self._observe(f"{side.name}_closed", self.number, how=how.value)

    def told(self, side: Side) -> None:
        """A peer that the proxy ends has so long to end its half."""
        if self.over:
            self._linger(side)

    def lost(self, side: Side) -> None:
        """What was on its way there is lost."""
        (self._down if side is self.client else self._up).drop()
        self._settle()
