"""One direction at work: what one side receives is passed to the other.

While no fault concerns it and nothing is in flight, what `source` receives goes straight into
the transport of `sink`. Otherwise it goes through a `Link`, which says what may leave when.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from squall_proxy.faults import StreamFault
from squall_proxy.link import End, Filter, Link, Mark, Payload
from squall_proxy.side import Feed, Side
from squall_proxy.sockets import unread_end
from squall_proxy.timers import Timer, Timers

# Held bytes at which a fault that must read on begins to discard.
HOLD_LIMIT = 1024 * 1024

# How often a socket that is not read is asked whether its peer has left.
_LOOK_EVERY = 0.25


class Relay:
    """From `source` to `sink`: a stage that looks at the bytes, then faults, then the socket."""

    __slots__ = (
        "_bitten",
        "_capacity",
        "_closed",
        "_ended",
        "_faults",
        "_link",
        "_look",
        "_noticed",
        "_stage",
        "_timer",
        "_timers",
        "discarded",
        "forward",
        "overflowed",
        "sink",
        "source",
        "stalled",
        "swallowing",
    )

    def __init__(
        self,
        source: Side,
        sink: Side,
        timers: Timers,
        bitten: Callable[[int], None],
        noticed: Callable[[Side, End], None],
    ) -> None:
        self.source = source
        self.sink = sink
        self.forward: Feed = self._hold
        self.discarded = 0
        self.stalled = False
        self.swallowing = False
        self.overflowed = False
        self._capacity = StreamFault.capacity
        self._timers = timers
        self._bitten = bitten
        self._noticed = noticed
        self._link = Link()
        self._faults: dict[int, tuple[StreamFault, Filter]] = {}
        self._stage: Feed | None = None
        self._closed = False
        self._ended: End | None = None
        self._timer: Timer | None = None
        self._look: Timer | None = None
        sink.on_flow = self.pump
        source.write = self._hold

    @property
    def undelivered(self) -> int:
        """Bytes that came in and did not go out."""
        return self.discarded + self._link.held

    @property
    def broken(self) -> bool:
        """Bytes from the middle are lost, and nothing hides it any more: only a reset is true."""
        return self.overflowed and not self.swallowing

    def set_stage(self, stage: Feed | None) -> None:
        """Let `stage` see the bytes first; it passes them to `forward`."""
        self._stage = stage
        self._route()

    def attach(self, number: int, fault: StreamFault, apply: Filter) -> None:
        """Put this fault in force, behind those that are."""
        self._faults[number] = (fault, apply)
        self._refilter()

    def detach(self, number: int) -> None:
        """Remove the fault; what it held flows on."""
        if self._faults.pop(number, None) is not None:
            self._refilter()

    def _refilter(self) -> None:
        faults = [fault for fault, _ in self._faults.values()]
        self.stalled = any(fault.stops_reading for fault in faults)
        self.swallowing = any(fault.swallows for fault in faults)
        self._capacity = max((fault.capacity for fault in faults), default=StreamFault.capacity)
        self._link.set_filters((number, apply) for number, (_, apply) in self._faults.items())
        if not self.broken:
            self.pump()

    def mark(self, call: Mark) -> None:
        """Call back once all that was passed on so far has left."""
        if self._direct:
            call()
        else:
            self._link.put(call, self._timers.now())
            self.pump()

    def insert(self, data: bytes) -> None:
        """Put bytes of the proxy's own into the stream."""
        self._link.put(data, self._timers.now())
        self.pump()

    def close_input(self, feed: Feed | None = None) -> None:
        """Pass on nothing that comes from now on; give it to `feed` instead."""
        self._closed = True
        self.forward = self._discard
        self.source.write = feed or self._discard

    def end(self, how: End) -> None:
        """End the stream behind all that is in flight."""
        if self._ended is None or (self._ended, how) == (End.FIN, End.RST):
            self._ended = how
            direct = self._direct
            if not self._closed:
                self.close_input()
            if direct:
                self._deliver(how)
            else:
                self._link.put(how, self._timers.now())
                self.pump()

    def drop(self) -> None:
        """Forget what is in flight: there is nobody to get it, or nobody may."""
        if not self._closed:
            self.close_input()
        if not self._link.empty:
            self.discarded += self._link.drop()
        self.pump()

    def pump(self) -> None:
        """Pass on what may leave by now, and see to it that the rest follows."""
        if not self._link.empty:
            self._pass_on()
        elif self._timer is not None:
            self._arm()
        self._route()
        self._regulate()

    def _pass_on(self) -> None:
        sink, link = self.sink, self._link
        # A sender that is gone has no patience with a receiver that does not read.
        while sink.there and not (sink.blocked and self._ended is not End.RST):
            payload = link.pop(self._timers.now())
            if payload is None:
                break
            self._deliver(payload)
        link.due()  # even where nothing can leave, the filters see what came
        if link.bites:
            bites, link.bites = link.bites, []
            for number in bites:
                self._bitten(number)
        self._arm()

    def _deliver(self, payload: Payload) -> None:
        if isinstance(payload, bytes):
            transport = self.sink.transport
            if transport is not None and not transport.is_closing():
                transport.write(payload)
        elif payload is End.FIN:
            self.sink.finish()
        elif payload is End.RST:
            self.sink.reset()
        else:
            payload()

    def _hold(self, data: bytes) -> None:
        if self.swallowing and self._link.held + len(data) > HOLD_LIMIT:
            self.overflowed = True
            self._discard(data)
            self.drop()
            return
        self._link.put(data, self._timers.now())
        self.pump()

    def _discard(self, data: bytes) -> None:
        self.discarded += len(data)

    def _arm(self) -> None:
        due = None if self.sink.blocked or not self.sink.there else self._link.due()
        if due == math.inf:
            due = None
        # A timer that comes too early costs one look; to replace it would cost more.
        if self._timer is not None and (due is None or due < self._timer.when):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and due is not None:
            self._timer = self._timers.at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.pump()

    @property
    def _direct(self) -> bool:
        """Nothing stands between the source and the sink's transport."""
        return self._link.clear and self.sink.there

    def _route(self) -> None:
        if self._closed:
            return
        transport = self.sink.transport
        self.forward = self._hold
        if transport is not None and self._direct:
            self.forward = transport.write
        self.source.write = self._stage or self.forward

    def _regulate(self) -> None:
        held = self._link.held
        if self.stalled:
            wanted = not held
        elif self.swallowing or self.sink.gone:
            wanted = True
        else:
            wanted = held < self._capacity and not self.sink.blocked
        self.source.read(wanted)
        if self.stalled and not wanted and self._look is None:
            self._look = self._timers.after(_LOOK_EVERY, self._on_look)

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
            self._noticed(self.source, how)
