"""What faults do to one connection. Most connections meet none, and have no `Harm`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from squall_proxy.conversation import Conversation
from squall_proxy.engine import Rule
from squall_proxy.faults import (
    Blackhole,
    Close,
    CutFault,
    Ending,
    Ends,
    Fin,
    Flap,
    HalfClose,
    Refuse,
    Rst,
    Stall,
    StreamFault,
    TamperUpgrade,
    Truncate,
    Vanish,
    Way,
)
from squall_proxy.faults.base import How
from squall_proxy.injection import Injection
from squall_proxy.link import Break, End, Filter
from squall_proxy.relay import Relay
from squall_proxy.side import Side
from squall_proxy.timers import Timer, Timers

MakeFilter = Callable[[StreamFault], Filter]


class Victim(Protocol):
    """A connection, as far as harm can be done to it."""

    number: int
    over: bool
    client: Side
    server: Side
    up: Relay
    down: Relay
    talk: Conversation | None
    timers: Timers
    arrival: float

    def reset(self, side: Ends = "both") -> None:
        """End it by RST, now."""

    def vanish(self) -> None:
        """End it without a word to the client."""

    def finish(self) -> None:
        """End it by FIN, behind what is in flight."""

    def half_close(self, side: Side) -> None:
        """Send one side a FIN."""

    def say_goodbye(self, code: int, reason: str = "") -> None:
        """End it by a Close frame."""


class Harm:
    """The faults in force on one connection, and those that are still to come."""

    def __init__(self, victim: Victim) -> None:
        self.met: Injection | None = None
        self.dead = False  # a fault that has hit it will not let go any more
        self._on = victim
        self._injections: dict[int, Injection] = {}
        self._attached: set[int] = set()
        self._timers: dict[int, Timer] = {}
        self._watches: dict[int, tuple[int, Callable[[], None]]] = {}

    @property
    def mute(self) -> bool:
        """Nothing that the client says now gets an answer."""
        if self._on.up.swallowing or self._on.up.stalled:
            return True
        faults = [injection.fault for injection in self._injections.values()]
        return any(
            isinstance(fault, Blackhole | Stall) and "server_to_client" in fault.ways()
            for fault in faults
        )

    @property
    def faults(self) -> tuple[int, ...]:
        """The faults that are meant for it, by number."""
        return tuple(sorted(self._injections))

    def has(self, injection: Injection) -> bool:
        """This fault is at work here."""
        return injection.id in self._attached

    # Taking aim

    def aim(self, injection: Injection, hit: Callable[[], None]) -> None:
        """Call `hit` once the connection has come as far as the target says."""
        self._injections[injection.id] = injection
        target = injection.target
        when = self._on.arrival + target.after
        if when > self._on.timers.now():
            self._at(injection, when, partial(self._aim_by_bytes, injection, hit))
        else:
            self._aim_by_bytes(injection, hit)

    def _aim_by_bytes(self, injection: Injection, hit: Callable[[], None]) -> None:
        if self._carried < injection.target.after_bytes:
            self._watches[injection.id] = (injection.target.after_bytes, hit)
            self._watch()
        else:
            hit()

    @property
    def _carried(self) -> int:
        return self._on.client.received + self._on.server.received

    def _watch(self) -> None:
        for relay in (self._on.up, self._on.down):
            relay.set_watch(partial(self._count, relay) if self._watches else None)

    def _count(self, relay: Relay, data: bytes) -> None:
        """Let pass what comes before the place of the next fault, strike, and go on."""
        nearest = min(place for place, _ in self._watches.values())
        room = nearest - (self._carried - len(data))  # they are counted as received already
        if room > len(data):
            relay.enter(data)
            return
        relay.enter(data[:room])
        for number, (place, hit) in tuple(self._watches.items()):
            if place == nearest and number in self._watches:
                del self._watches[number]
                hit()
        self._watch()
        if data[room:]:
            relay.source.write(data[room:])

    def _at(self, injection: Injection, when: float, call: Callable[[], None]) -> None:
        self._forget(injection.id)
        self._timers[injection.id] = self._on.timers.at(when, call)

    def _forget(self, number: int) -> None:
        timer = self._timers.pop(number, None)
        if timer is not None:
            timer.cancel()

    # Faults on the bytes

    def attach(self, injection: Injection, make: MakeFilter) -> None:
        """Put a stream fault in force here, with a filter of its own for each direction."""
        fault = injection.fault
        assert isinstance(fault, StreamFault)
        self._injections[injection.id] = injection
        self._attached.add(injection.id)
        for way, relay in self._relays():
            if way in fault.ways():
                relay.attach(injection.id, fault, make(fault))
            else:
                relay.detach(injection.id)
        self._forget(injection.id)
        ending, now = fault.ending, self._on.timers.now()
        if ending is None:
            return
        if ending.after is not None:
            self._at(injection, now + ending.after, partial(self._end, injection, ending))
        if ending.silence is not None:
            self._await_silence(injection, ending, now)

    def edit(self, injection: Injection, rule: Rule) -> None:
        """Put a rule on messages in force."""
        if self._on.talk is not None:
            self._on.talk.edit(rule)

    def tamper(self, injection: Injection) -> None:
        """Tamper with the upgrade that is to come."""
        self._injections[injection.id] = injection
        if self._on.talk is not None and isinstance(injection.fault, TamperUpgrade):
            self._on.talk.tamper(injection.id, injection.fault)

    def cut_by(self, number: int, how: How) -> None:
        """A rule on messages ends the connection."""
        injection = self._injections.get(number)
        if injection is not None:
            self.cut(injection, self._on.finish if how == "fin" else self._on.reset)

    def _relays(self) -> tuple[tuple[Way, Relay], ...]:
        return ("client_to_server", self._on.up), ("server_to_client", self._on.down)

    def _await_silence(self, injection: Injection, ending: Ending, since: float) -> None:
        """End the connection when nothing has come in for so long."""
        fault = injection.fault
        assert isinstance(fault, StreamFault)
        assert ending.silence is not None
        heard = max(relay.heard for way, relay in self._relays() if way in fault.ways())
        due = max(since, heard) + ending.silence
        if due <= self._on.timers.now():
            self._end(injection, ending)
        else:
            again = partial(self._await_silence, injection, ending, since)
            self._at(injection, due, again)

    def _end(self, injection: Injection, ending: Ending) -> None:
        if ending.how == "rst":
            self.cut(injection, partial(self._on.reset, ending.side))
        else:
            for relay in (self._on.up, self._on.down):
                relay.detach(injection.id)  # else it would hold the FIN as well
            self.cut(injection, self._on.finish)

    def broken(self, relay: Relay, stop: Break) -> None:
        """A filter has ended the stream: so does the connection, and what followed is lost."""
        injection = self._injections.get(stop.number)
        if injection is not None:
            relay.drop()
            self.cut(injection, self._on.finish if stop.how is End.FIN else self._on.reset)

    def bitten(self, number: int) -> None:
        """A filter has changed something."""
        injection = self._injections.get(number)
        if injection is not None:
            injection.bite(self._on.number)

    def hold_back(self) -> None:
        """The exchange is not dialled: that is what some faults do."""
        for injection in tuple(self._injections.values()):
            fault = injection.fault
            if isinstance(fault, StreamFault) and fault.kills and fault.swallows:
                injection.bite(self._on.number)

    # Cuts

    def meet(self, injection: Injection) -> None:
        """Come up under a listener's fault."""
        self.met = injection
        match injection.fault:
            case Refuse(how=how):
                self.cut(injection, self._on.reset if how == "reset" else self._on.finish)
            case Flap(after=after, upgrade=False):
                self.flap_in(after)

    def flap_in(self, seconds: float) -> None:
        """End the connection in so long."""
        assert self.met is not None
        self._at(self.met, self._on.timers.now() + seconds, partial(self._flap, self.met))

    def _flap(self, injection: Injection) -> None:
        match injection.fault:
            case Flap(how="close", code=code) if self._on.talk:
                goodbye = partial(self._on.say_goodbye, code)
                self._on.talk.down_frames.at_boundary(
                    injection.id, partial(self.cut, injection, goodbye)
                )
            case Flap(how=how):
                self.cut(injection, self._on.reset if how == "rst" else self._on.finish)

    def strike(self, injection: Injection) -> None:
        """Cut this connection, now or when the place for it has come."""
        self._injections[injection.id] = injection
        talk = self._on.talk
        match injection.fault:
            case Rst(side):
                self.cut(injection, partial(self._on.reset, side))
            case Fin():
                self.cut(injection, self._on.finish)
            case Vanish():
                self.cut(injection, self._on.vanish)
            case HalfClose(side):
                end = self._on.client if side == "client" else self._on.server
                self.cut(injection, partial(self._on.half_close, end))
                injection.through(self._on.number)
            case Close(code, reason) if talk:
                goodbye = partial(self._on.say_goodbye, code, reason)
                talk.down_frames.at_boundary(injection.id, partial(self.cut, injection, goodbye))
            case Truncate(direction) if talk:
                frames = talk.up_frames if direction == "client_to_server" else talk.down_frames
                frames.in_frame(injection.id, partial(self.cut, injection, self._on.finish))

    def cut(self, injection: Injection, end: Callable[[], None]) -> None:
        """End the connection on behalf of this fault, unless it is over."""
        if not self._on.over:
            injection.bite(self._on.number)
            end()

    # Letting go

    def release(self, injection: Injection) -> bool:
        """The fault is removed: what it held flows on. Whether it was on this connection."""
        number = injection.id
        if self._injections.get(number) is None and self.met is not injection:
            return False
        fault = injection.fault
        self._forget(number)
        if self._watches.pop(number, None):
            self._watch()
        if isinstance(fault, StreamFault):
            if fault.kills and injection.has_bitten(self._on.number) and not self._on.over:
                self.dead = True
                return True
            if fault.ending and fault.ending.removed and number in self._attached:
                self._end(injection, fault.ending)
        self._injections.pop(number, None)
        self._attached.discard(number)
        if self._on.talk is not None:
            self._on.talk.cancel(number)
        if self.met is injection:
            self.met = None
        for relay in (self._on.up, self._on.down):
            relay.detach(number)
        if self._on.up.broken or self._on.down.broken:
            self._on.reset()
        return True

    def let_go(self) -> None:
        """The client has left: what a fault would never have let through is lost."""
        for relay in (self._on.up, self._on.down):
            relay.drop()
        for injection in tuple(self._injections.values()):
            if isinstance(injection.fault, StreamFault) and injection.fault.kills:
                for relay in (self._on.up, self._on.down):
                    relay.detach(injection.id)

    def settle(self) -> None:
        """The connection is over, or gone: no cut need wait for it, and nothing is due any more."""
        for number in tuple(self._timers):
            self._forget(number)
        for injection in tuple(self._injections.values()):
            if isinstance(injection.fault, CutFault):
                injection.through(self._on.number)

    def forget(self) -> None:
        """The connection is gone."""
        for injection in self._injections.values():
            injection.forget(self._on.number)
