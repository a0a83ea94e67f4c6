"""One connection through the proxy: two sides, a relay each way, and how it ends.

What ends it travels as what it is: a FIN stays a FIN, half a close stays half a close, a RST
stays a RST. What the proxy does of its own accord begins in `reset`, `finish`, `half_close` and
`say_goodbye`; why it does so is the business of `Harm`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from squall_proxy.conversation import Conversation
from squall_proxy.deflate import Compression
from squall_proxy.dial import Dial
from squall_proxy.engine import Rule
from squall_proxy.faults import Ends, ListenerFault
from squall_proxy.frames import FrameTracker, close_frame
from squall_proxy.harm import Harm, MakeFilter
from squall_proxy.injection import Injection, Observe
from squall_proxy.link import Break, End
from squall_proxy.relay import Relay
from squall_proxy.side import Side
from squall_proxy.sockets import Address
from squall_proxy.status import Status, Traffic
from squall_proxy.timers import Timer, Timers
from squall_proxy.upgrade import Upgrade

# How long the proxy waits for the client's answer to a Close frame, and then for either side's
# own FIN. A peer that never sends one must not keep a socket here.
CLOSE_TIMEOUT = 5.0


@dataclass(frozen=True)
class Surroundings:
    """What a connection needs from the proxy that it belongs to."""

    upstream: Address
    websocket: bool
    compression: Compression
    observe: Observe
    timers: Timers
    arrived: Callable[[Connection], None]
    repair: Callable[[socket.socket], None]
    closed: Callable[[Connection], None]


class Connection:
    """A client, the server it is connected to, and what passes between them.

    It gets its number from the proxy when it arrives.
    """

    __slots__ = (
        "_around",
        "_closed",
        "_deferred",
        "_dialled",
        "_ended_by",
        "_harm",
        "_orphan",
        "_pending",
        "arrival",
        "client",
        "down",
        "number",
        "observe",
        "over",
        "server",
        "talk",
        "timers",
        "up",
    )

    def __init__(self, around: Surroundings) -> None:
        self.number = 0
        self.arrival = 0.0
        self.over = False  # ended by the proxy: nothing is passed on any more
        self.timers = around.timers
        self.client = Side("client", self)
        self.server = Side("server", self)
        self.up = Relay(self.client, self.server, self)
        self.down = Relay(self.server, self.client, self)
        self.talk: Conversation | None = None
        if around.websocket:
            self.talk = Conversation(self.up, self.down, Upgrade(self), around.compression)
        self._around = around
        self.observe = around.observe
        self._harm: Harm | None = None
        self._deferred: dict[int, tuple[Injection, MakeFilter]] | None = None
        self._dialled: Dial | None = None
        self._ended_by: tuple[str, str] | None = None
        self._orphan: Side | None = None  # the one side that a reset of the other has left
        self._closed = False
        self._pending: dict[str, Timer] | None = None

    # Faults

    @property
    def harm(self) -> Harm:
        """What faults do here."""
        if self._harm is None:
            self._harm = Harm(self)
        if self._deferred:
            self.catch_up()
        return self._harm

    @property
    def met(self) -> Injection | None:
        """The listener's fault that it came up under, while that is in force."""
        return self._harm.met if self._harm else None

    @property
    def mute(self) -> bool:
        """Nothing that the client says now gets an answer, not even a ClientHello."""
        return self._harm is not None and self._harm.mute

    @property
    def traffic(self) -> Traffic:
        """What it has carried so far."""
        came, went = self.client.received, self.server.received
        return Traffic(
            from_client=came,
            to_server=max(0, came - self.up.undelivered),
            from_server=went,
            to_client=max(0, went - self.down.undelivered),
        )

    @property
    def status(self) -> Status:
        """How it stands."""
        return Status(
            number=self.number,
            peer=self.client.peer,
            seconds=self.timers.now() - self.arrival,
            traffic=self.traffic,
            faults=(*(self._harm.faults if self._harm else ()), *(self._deferred or ())),
        )

    @property
    def dialled_from(self) -> Address | None:
        """Its own address in the eyes of the server, while it has one."""
        return self._dialled.address if self._dialled is not None else None

    @property
    def held_by_client(self) -> bool:
        """The client has not left it."""
        return not self.over and not self.client.seen

    def attach(self, injection: Injection, make: MakeFilter) -> None:
        """Put a stream fault in force here, once the connection has come so far."""
        if injection.deferrable:
            self._defer(injection, make)
        else:
            self.harm.aim(injection, partial(self.harm.attach, injection, make))

    def _defer(self, injection: Injection, make: MakeFilter) -> None:
        """Attach it when something comes: to thousands of idle connections at once costs time."""
        if self._deferred is not None:
            self._deferred[injection.id] = (injection, make)
            return
        self._deferred = {injection.id: (injection, make)}
        self.up.defer()
        self.down.defer()

    def catch_up(self) -> None:
        """Attach what was deferred."""
        deferred, self._deferred = self._deferred, None
        for injection, make in (deferred or {}).values():
            self.harm.attach(injection, make)
        self.up.resume()
        self.down.resume()

    def has(self, injection: Injection) -> bool:
        """This stream fault is at work here."""
        if self._deferred and injection.id in self._deferred:
            return True
        return self._harm is not None and self._harm.has(injection)

    def edit(self, injection: Injection, rule: Rule) -> None:
        """Put a rule on messages in force here, once the connection has come so far."""
        self.harm.aim(injection, partial(self.harm.edit, injection, rule))

    def tamper(self, injection: Injection) -> None:
        """Tamper with the upgrade that is to come."""
        self.harm.tamper(injection)

    def change(self, injection: Injection, make: MakeFilter) -> None:
        """The fault has other settings now."""
        if self.has(injection):
            self.harm.attach(injection, make)

    def strike(self, injection: Injection) -> None:
        """Cut this connection, once it has come so far and the place for it is there."""
        self.harm.aim(injection, partial(self.harm.strike, injection))

    def meet(self, injection: Injection | None) -> None:
        """Come up, in the way that the listener's fault leaves open."""
        if injection is not None:
            self.harm.meet(injection)
        self._dial()

    def release(self, injection: Injection) -> None:
        """The fault is removed: what it held flows on."""
        deferred = self._deferred
        if deferred is not None and deferred.pop(injection.id, None) is not None:
            if not deferred:
                self.catch_up()
            return
        if self._harm is None or not self._harm.release(injection):
            return
        if self._harm.dead and not self.held_by_client:
            self._bury()
        self._dial()

    def _bury(self) -> None:
        """The client has left a connection that a fault keeps dead."""
        if not self.over:
            self.harm.let_go()
            self.finish()

    def bitten(self, number: int) -> None:
        """A filter has changed something."""
        self.harm.bitten(number)

    def broken(self, relay: Relay, stop: Break) -> None:
        """A filter has ended the stream."""
        self.harm.broken(relay, stop)

    # Coming up

    def _dial(self) -> None:
        """Connect to the server, unless something stands in the way."""
        met = self.met.fault if self.met else None
        if isinstance(met, ListenerFault) and not met.dials:
            return
        if self.over or self._dialled is not None or self.server.gone:
            return
        if self.up.swallowing:
            self.harm.hold_back()
            return
        if not self.held_by_client:
            # It waited for a server that it no longer wants.
            self.finish()
            return
        try:
            self._dialled = Dial(self._around.upstream, self.server, self)
        except OSError:
            self.unreached()

    def reached(self) -> None:
        """The server is there."""
        self.up.pump()
        if self.over:
            self._settle()

    def unreached(self) -> None:
        """The server is not there: the client gets a FIN, as from Toxiproxy.

        A RST may overtake the news that its own dial went well, and would then look to it like a
        proxy that is not there.
        """
        self.server.gone = True
        self.noticed(self.server, End.FIN)
        self.finish()

    def hung_up(self) -> None:
        """The dial came to nothing."""
        self._settle()

    def _hang_up(self) -> None:
        """End a dial that is under way, or let its end be one."""
        dial = self._dialled
        if dial is not None and dial.under_way and not dial.hang_up():
            self.up.end(End.RST)

    # Coming down

    def reset(self, side: Ends = "both") -> None:
        """End both sides by RST, now, or leave one of them alone; what is in flight is lost."""
        self._take_over(End.RST)
        if side != "both":
            self._orphan = self.server if side == "client" else self.client
        for each in (self.client, self.server):
            if each is not self._orphan:
                each.reset()
        for relay in (self.up, self.down):
            relay.drop()
        self._hang_up()
        self._settle()

    def vanish(self) -> None:
        """End the client's side without a word to it, and the server's by RST."""
        sock = self.client.transport and self.client.transport.get_extra_info("socket")
        if sock:
            self._around.repair(sock)
        self.reset()

    def half_close(self, side: Side) -> None:
        """Send one side a FIN behind what is in flight, and no more; the other way stays open."""
        if self._ended_by is None:
            self._ended_by = ("proxy", "fin")
        (self.down if side is self.client else self.up).end(End.FIN)

    def finish(self) -> None:
        """End both sides by FIN, behind what is in flight."""
        if self.over:
            return
        self._take_over(End.FIN)
        for relay in (self.up, self.down):
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
        if self.over or self.talk is None:
            return
        self._take_over(End.FIN)
        self.down.close_input()
        self.down.insert(close_frame(code, reason))
        self.up.end(End.FIN)
        self.up.close_input(partial(self._await_answer, self.talk.up_frames.tracker))
        self._call("goodbye", CLOSE_TIMEOUT, self._leave)
        if self.client.seen:
            self._leave()

    def shutdown(self) -> None:
        """End both sides as soon as what was written has left."""
        self._take_over(End.FIN)
        for relay in (self.up, self.down):
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
            self._ended_by = ("proxy", how.word)
        if self._harm is not None:
            self._harm.settle()
        if self.talk is not None:
            self.talk.stop()

    def _await_answer(self, frames: FrameTracker, data: bytes) -> None:
        self.up.discarded += len(data)
        frames.feed(data)
        if frames.closed:
            self._leave()

    def _leave(self) -> None:
        self._forget("goodbye")
        self.down.end(End.FIN)

    def _linger(self, side: Side) -> None:
        self._call(side.name, CLOSE_TIMEOUT, side.abort)

    def _settle(self) -> None:
        """Say that the connection is gone, once both sockets are."""
        if self._closed or not self.client.gone or self.server.there:
            return
        if self._dialled is not None and self._dialled.under_way:
            return
        self._closed = True
        if self._pending:
            for name in tuple(self._pending):
                self._forget(name)
        if self._harm is not None:
            self._harm.settle()
            self._harm.forget()
        if self.talk is not None:
            self.talk.stop()
        by, how = self._ended_by or ("proxy", "fin")
        self.observe(
            "closed",
            self.number,
            by=by,
            how=how,
            to_server_bytes=max(0, self.client.received - self.up.undelivered),
            to_client_bytes=max(0, self.server.received - self.down.undelivered),
            seconds=self.timers.now() - self.arrival,
        )
        self._around.closed(self)
        # The garbage collector would take a tenth of the time that a short connection needs.
        for part in (self.client, self.server, self.up, self.down):
            part.forget()

    def _call(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        self._forget(name)
        if self._pending is None:
            self._pending = {}
        self._pending[name] = self.timers.after(seconds, callback)

    def _forget(self, name: str) -> None:
        timer = self._pending.pop(name, None) if self._pending else None
        if timer is not None:
            timer.cancel()

    # What the sides say

    def made(self, side: Side, transport: asyncio.Transport) -> None:
        """The client has come; the server's side is there when the dial is done."""
        if side is self.client:
            side.transport = transport
            self.arrival = self.timers.now()
            self._around.arrived(self)
            self.down.route()

    def ended(self, side: Side, how: End) -> None:
        """Pass the end on, as it is, behind the bytes before it."""
        self.noticed(side, how)
        dead = self._harm is not None and self._harm.dead
        if not self.over and dead and side is self.client:
            self._bury() if how is End.FIN else self.reset()
        elif not self.over:
            relay = self.up if side is self.client else self.down
            if self.talk is not None and how is End.FIN:
                self.talk.end(relay)
            else:
                relay.end(how)
        elif side is self._orphan:
            side.close()
        elif side is self.client and self._pending and "goodbye" in self._pending:
            self._leave()

    def noticed(self, side: Side, how: End) -> None:
        """Its peer has left, seen for the first time perhaps."""
        if side.seen:
            return
        side.seen = True
        word = how.word
        if self._ended_by is None:
            self._ended_by = (side.name, word)
        self.observe(side.closed, self.number, how=word)

    def told(self, side: Side) -> None:
        """A peer that the proxy ends has so long to end its half."""
        if self.over:
            self._linger(side)

    def lost(self, side: Side) -> None:
        """What was on its way there is lost."""
        if not self._closed:
            (self.down if side is self.client else self.up).drop()
            self._settle()
