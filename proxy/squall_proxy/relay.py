"""One direction at work: what one side receives is passed to the other.

While no fault concerns it and nothing is in flight, what `source` receives goes straight into
the transport of `sink`. Otherwise it goes through a `Link`, which says what may leave when.
"""

from __future__ import annotations

import math
from typing import Protocol

from squall_proxy.faults import StreamFault
from squall_proxy.link import Break, End, Filter, Link, Mark, Payload
from squall_proxy.side import Feed, Side
from squall_proxy.sockets import unread_end
from squall_proxy.timers import Timer, Timers

# A look at a member of an enumeration costs as much as a call.
_FIN, _RST = End.FIN, End.RST

# Held bytes at which a fault that must read on begins to discard.
HOLD_LIMIT = 1024 * 1024

# How often a socket that is not read is asked whether its peer has left.
_LOOK_EVERY = 0.25


class Owner(Protocol):
    """Who is told what faults do here."""

    @property
    def timers(self) -> Timers:
        """The loop's timers."""

    def bitten(self, number: int) -> None:
        """The fault of this number has changed something."""

    def broken(self, relay: Relay, stop: Break) -> None:
        """A fault has ended the stream; what followed is still in flight."""

    def catch_up(self) -> None:
        """Attach the faults that were deferred."""

    def noticed(self, side: Side, how: End) -> None:
        """The peer of a side that is not read has left."""


class Relay:
    """From `source` to `sink`: a stage that looks at the bytes, then faults, then the socket."""

    __slots__ = (
        "_capacity",
        "_closed",
        "_ended",
        "_faults",
        "_link",
        "_look",
        "_owner",
        "_stage",
        "_timer",
        "_watch",
        "clogged",
        "deferred",
        "discarded",
        "forward",
        "heard",
        "overflowed",
        "sink",
        "source",
        "stalled",
        "swallowing",
    )

    def __init__(self, source: Side, sink: Side, owner: Owner) -> None:
        self.source = source
        self.sink = sink
        self.forward: Feed = self._hold
        self.deferred = False  # faults will be attached as soon as there is something to do
        self.discarded = 0
        self.heard = -math.inf  # when bytes last came in, while a fault is in force
        self.stalled = False
        self.swallowing = False
        self.overflowed = False
        self.clogged = False  # a stage holds as much as it may
        self._capacity = StreamFault.capacity
        self._owner = owner
        # Most connections live without a fault: what only those need is made when one comes.
        self._link: Link | None = None
        self._faults: dict[int, tuple[StreamFault, Filter]] | None = None
        self._stage: Feed | None = None
        self._watch: Feed | None = None
        self._closed = False
        self._ended: End | None = None
        self._timer: Timer | None = None
        self._look: Timer | None = None
        sink.inflow = self
        source.write = self.forward

    @property
    def undelivered(self) -> int:
        """Bytes that came in and did not go out."""
        link = self._link
        return self.discarded + (link.held + link.lost if link else 0)

    @property
    def broken(self) -> bool:
        """Bytes from the middle are lost, and nothing hides it any more: only a reset is true."""
        return self.overflowed and not self.swallowing

    def set_stage(self, stage: Feed | None) -> None:
        """Let `stage` see the bytes first; it passes them to `forward`."""
        self._stage = stage
        self.route()

    def set_watch(self, watch: Feed | None) -> None:
        """Let `watch` see the bytes even before the stage; it passes them to `enter`."""
        self._watch = watch
        self.route()

    def set_clogged(self, clogged: bool) -> None:
        """Let the sender wait while the stage holds as much as it may."""
        if clogged != self.clogged:
            self.clogged = clogged
            self._regulate()

    def defer(self) -> None:
        """Let the owner catch up before anything passes."""
        self.deferred = True
        if not self._closed:
            self.forward = self._hold
            self.source.write = self._watch or self._stage or self.forward

    def resume(self) -> None:
        """The owner has caught up."""
        self.deferred = False
        if self._faults:
            self._refilter()
        else:
            self.route()

    def enter(self, data: bytes) -> None:
        """Pass bytes on as if there were no watch."""
        if self._closed:
            self.source.write(data)
        else:
            (self._stage or self.forward)(data)

    def attach(self, number: int, fault: StreamFault, apply: Filter) -> None:
        """Put this fault in force, behind those that are, or in the place that it has already."""
        if self._faults is None:
            self._faults = {}
        self._faults[number] = (fault, apply)
        if not self.deferred:
            self._refilter()

    def detach(self, number: int) -> None:
        """Remove the fault; what it held flows on."""
        if self._faults and self._faults.pop(number, None) is not None:
            self._refilter()

    def _refilter(self) -> None:
        faults = self._faults or {}
        self.stalled = self.swallowing = False
        self._capacity = StreamFault.capacity
        for fault, _ in faults.values():
            self.stalled |= fault.stops_reading
            self.swallowing |= fault.swallows
            self._capacity = max(self._capacity, fault.capacity)
        self._queue().set_filters([(number, apply) for number, (_, apply) in faults.items()])
        self.route()
        if not self.broken:
            self.pump()

    def _queue(self) -> Link:
        if self._link is None:
            self._link = Link()
        return self._link

    def _put(self, payload: Payload) -> None:
        self._queue().put(payload, self._owner.timers.now())

    def mark(self, call: Mark) -> None:
        """Call back once all that was passed on so far has left."""
        if self._direct:
            call()
        else:
            self._put(call)
            self.pump()

    def insert(self, data: bytes) -> None:
        """Put bytes of the proxy's own into the stream."""
        self._put(data)
        self.pump()

    def close_input(self, feed: Feed | None = None) -> None:
        """Pass on nothing that comes from now on; give it to `feed` instead."""
        self._closed = True
        self.forward = self._discard
        self.source.write = feed or self._discard

    def end(self, how: End) -> None:
        """End the stream behind all that is in flight."""
        if self._ended is None or (self._ended is _FIN and how is _RST):
            self._ended = how
            direct = self._direct
            if not self._closed:
                self.close_input()
            if direct:
                self._deliver(how)
            else:
                self._put(how)
                self.pump()

    def drop(self) -> None:
        """Forget what is in flight: there is nobody to get it, or nobody may."""
        if not self._closed:
            self.close_input()
        if self._link is None or self._link.empty:
            self._regulate()
        else:
            self.discarded += self._link.drop()
            self.pump()

    def forget(self) -> None:
        """Nothing happens here any more: let go of the rest, which need not be found as garbage."""
        for timer in (self._timer, self._look):
            if timer is not None:
                timer.cancel()
        del self._owner, self.forward

    def pump(self) -> None:
        """Pass on what may leave by now, and see to it that the rest follows."""
        if self.deferred:
            self._owner.catch_up()
        link = self._link
        if link is None:
            self.route()
        elif not link.filtered:
            self._drain(link)
            self.route()
        else:
            self._pass_on(link)  # the way leads through the filters, and stays as it is
        self._regulate()

    def _drain(self, link: Link) -> None:
        """Nothing holds back what is in flight but the sink."""
        if self._timer is not None:
            self._arm(None)
        while not link.empty and self._open:
            self._deliver(link.take())

    @property
    def _open(self) -> bool:
        """The sink takes bytes."""
        sink = self.sink
        if sink.transport is None or sink.gone:
            return False
        # A sender that is gone has no patience with a receiver that does not read.
        return not sink.blocked or self._ended is _RST

    def _pass_on(self, link: Link) -> None:
        now = self._owner.timers.now
        while self._open:
            payload = link.pop(now())
            if payload is None:
                break
            self._deliver(payload)
        due = link.due()  # even where nothing can leave, the filters see what came
        if link.bites:
            bites, link.bites = link.bites, []
            for number in bites:
                self._owner.bitten(number)
        if self._timer is not None or due is not None:
            self._arm(due)

    def _deliver(self, payload: Payload | Break) -> None:
        if isinstance(payload, bytes):
            transport = self.sink.transport
            if transport is not None and not transport.is_closing():
                transport.write(payload)
        elif isinstance(payload, End):
            if payload is _FIN:
                self.sink.finish()
            else:
                self.sink.reset()
        elif isinstance(payload, Break):
            self._owner.broken(self, payload)
        else:
            payload()

    def _hold(self, data: bytes) -> None:
        link, now = self._link or self._queue(), self._owner.timers.now()
        self.heard = now
        if self.swallowing and link.held + len(data) > HOLD_LIMIT:
            self.overflowed = True
            self._discard(data)
            self.drop()
            return
        link.put(data, now)
        if link.filtered or self.deferred or self.sink.there or link.held >= self._capacity:
            self.pump()

    def _discard(self, data: bytes) -> None:
        self.discarded += len(data)

    def _arm(self, due: float | None) -> None:
        if due == math.inf or self.sink.blocked or not self.sink.there:
            due = None
        # A timer that comes too early costs one look; to replace it would cost more.
        if self._timer is not None and (due is None or due < self._timer.when):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer = self._owner.timers.at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.pump()

    @property
    def _direct(self) -> bool:
        """Nothing stands between the source and the sink's transport."""
        return (self._link is None or self._link.clear) and self.sink.there and not self.deferred

    def route(self) -> None:
        """Send what comes in on the shortest way that there is now."""
        if self._closed:
            return
        transport, link = self.sink.transport, self._link
        if transport is None or self.sink.gone or self.deferred or (link and not link.clear):
            self.forward = self._hold
        else:
            self.forward = transport.write
        self.source.write = self._watch or self._stage or self.forward

    def _regulate(self) -> None:
        held = self._link.held if self._link is not None else 0
        if self.stalled:
            wanted = not held
        elif self.swallowing or self.sink.gone:
            wanted = True
        else:
            wanted = held < self._capacity and not self.sink.blocked and not self.clogged
        source = self.source
        if wanted is not source.reading:
            source.read(wanted)
        if self.stalled and not wanted and self._look is None:
            self._look = self._owner.timers.after(_LOOK_EVERY, self._on_look)

    def _on_look(self) -> None:
        """See whether the peer has left, though nothing is read."""
        self._look = None
        transport = self.source.transport
        if not self.stalled or transport is None or not self.source.there:
            return
        how = unread_end(transport)
        if how is None:
            self._regulate()
        else:
            self._owner.noticed(self.source, how)
