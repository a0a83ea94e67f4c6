"""A history, read once: the lives of connections, the dials, the disturbances.

Checks ask the same few questions: which connections did the adapter hold, what ended them, when
did it dial, what was done to it and for how long. Here they are answered, so that a check is
left with its own rule.

Two events can bear the same time (always so on a virtual clock), so what came first is decided
by the place in the history; times only measure.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from squall.checks.connection import Connection, dialled
from squall.checks.disturbance import EXCHANGE_SILENCES, SILENCES, Disturbance, Silence
from squall.history import Event, History
from squall.service import CUTS, Service

# Times are observed, not exact: what differs by less is simultaneous.
TICK = 0.001


@dataclass(frozen=True)
class Calm:
    """How the service stood while nobody touched anything, at the end of the run."""

    began: Event
    settled: bool
    problems: tuple[str, ...]
    blips: tuple[tuple[Event, tuple[str, ...]], ...]
    counts: Mapping[str, int]


class Timeline:
    """What happened in a run, arranged for asking."""

    def __init__(self, history: History) -> None:
        self.events: Sequence[Event] = list(history)
        self.connections: dict[int, Connection] = {}
        self.disturbances: list[Disturbance] = []
        self._order: dict[int, int] = {}
        self._kinds: dict[tuple[str, str], list[Event]] = {}
        for place, event in enumerate(self.events):
            self._order[id(event)] = place
            self._kinds.setdefault((event.source, event.kind), []).append(event)
            if event.kind.startswith("fault_"):
                self._apply_fault(event)
            if event.source == "scenario":
                self._apply_step(event)
            if event.connection is not None and event.source in ("proxy", "exchange"):
                self._apply_connection(event, event.connection)

    # -- reading -----------------------------------------------------------------------------

    def order(self, event: Event) -> int:
        """The place of the event in the history."""
        return self._order[id(event)]

    def of(self, source: str, *kinds: str) -> list[Event]:
        """The events of these kinds, in order."""
        found = [self._kinds.get((source, kind), []) for kind in kinds]
        return found[0] if len(found) == 1 else list(heapq.merge(*found, key=self.order))

    def after(
        self, mark: Event, source: str, *kinds: str, until: float = math.inf
    ) -> Iterator[Event]:
        """The events of these kinds that came after `mark`, no later than `until`."""
        found = self.of(source, *kinds)
        start = bisect.bisect_right(found, self.order(mark), key=self.order)
        for event in found[start:]:
            if event.at > until + TICK:
                return
            yield event

    def before(self, mark: Event, source: str, *kinds: str) -> list[Event]:
        """The events of these kinds that came before `mark`."""
        found = self.of(source, *kinds)
        return found[: bisect.bisect_left(found, self.order(mark), key=self.order)]

    # -- what the run was --------------------------------------------------------------------

    @cached_property
    def _announced(self) -> Mapping[str, Any]:
        found = self.of("scenario", "run_started")
        return found[0].detail if found else {}

    @property
    def scenario(self) -> Mapping[str, Any]:
        """The scenario, as the run announced it."""
        return self._announced.get("scenario") or {}

    @property
    def adapter(self) -> Mapping[str, Any]:
        """What the run announced of the adapter."""
        return self._announced.get("adapter") or {}

    @property
    def expected(self) -> Mapping[str, Any]:
        """The checks that the run announced, by name."""
        return self._announced.get("expect") or {}

    @cached_property
    def offers(self) -> frozenset[str] | None:
        """What the adapter offers to be judged by; None where the run does not say."""
        if not self.adapter:
            return None
        offers = {*self.adapter.get("supports", ()), *self.adapter.get("commands", ())}
        if self.adapter.get("level", 0) >= 1 or self.of("adapter", "ready"):
            offers.add("events")
        for ready in self.of("adapter", "ready"):
            offers.update(ready.get("commands") or ())
        if self.adapter.get("in_process") is False:
            offers.add("process")
        return frozenset(offers)

    def setting(self, name: str) -> float | None:
        """A number that the adapter was told, such as its `backoff_max`."""
        value = (self.adapter.get("settings") or {}).get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value)

    @cached_property
    def adapters(self) -> int:
        """How many adapters ran side by side."""
        counts = [event.get("adapters", 1) for event in self.of("scenario", "wanted")]
        return max(counts, default=1)

    @property
    def connections_by_design(self) -> int:
        """How many connections all adapters together hold when all is well."""
        return self.adapters * int(self.adapter.get("connections") or 1)

    @cached_property
    def connections_at_work(self) -> int:
        """How many of these were up when the run was first steady.

        An adapter that opens one for each channel may open many, and here has but a few to dial.
        """
        steady = next(iter(self.of("scenario", "steady")), None)
        up = len(self.held(steady)) if steady is not None else 0
        return min(up, self.connections_by_design) or self.connections_by_design

    @cached_property
    def private(self) -> bool:
        """Whether the run had credentials to use."""
        wanted = any(event.get("private") for event in self.of("scenario", "wanted"))
        return wanted or bool(self.of("exchange", "auth_requested"))

    def wanted(self, by: Event) -> frozenset[str]:
        """The channels that the adapter ought to hold when `by` happened."""
        found = self.before(by, "scenario", "wanted")
        return frozenset(found[-1]["channels"]) if found else frozenset()

    # -- its phases --------------------------------------------------------------------------

    @cached_property
    def steady(self) -> Event | None:
        """The first steady state."""
        return next(iter(self.of("scenario", "steady")), None)

    @cached_property
    def stop(self) -> Event | None:
        """When the watching was over: the adapter was asked to stop, or the run broken off."""
        found = self.of("scenario", "stopping", "aborted", "interrupted")
        asked = self.of("adapter", "stop_requested")
        return min((*found[:1], *asked[:1]), key=self.order, default=None)

    @property
    def watched_until(self) -> float:
        """The time up to which the adapter was watched."""
        if self.stop is not None:
            return self.stop.at
        return self.events[-1].at if self.events else 0.0

    @cached_property
    def gone(self) -> Event | None:
        """The exit of the adapter, where it ended before it was asked to."""
        asked = self.of("adapter", "stop_requested")
        exits = (
            self.before(asked[0], "adapter", "exited") if asked else self.of("adapter", "exited")
        )
        return next((event for event in exits if not event.get("expected")), None)

    def watched(self, event: Event) -> bool:
        """Whether it happened while the adapter was watched."""
        return self.stop is None or self.order(event) < self.order(self.stop)

    def stalls(self, begin: float, end: float) -> list[Event]:
        """The times from `begin` to `end` in which the harness itself was held up."""
        return [
            event
            for event in self.of("scenario", "stalled")
            if event.at >= begin and event.at - float(event["seconds"]) <= end
        ]

    @cached_property
    def calm(self) -> Calm | None:
        """How the service stood at the end; None where the run never came so far."""
        settling = self.of("scenario", "settled", "not_settled")
        if not settling:
            return None
        began = settling[-1]
        first, last = self.order(began), self._calm_ends(began)
        service = Service(self.events[: first + 1])
        blips = []
        for event in self.events[first + 1 : last]:
            service.apply(event)
            if event.source in ("proxy", "exchange") and (found := service.problems()):
                blips.append((event, tuple(found)))
        problems, counts = tuple(service.problems()), service.counts()
        return Calm(began, began.kind == "settled", problems, tuple(blips), counts)

    def _calm_ends(self, began: Event) -> int:
        ends = [*self.after(began, "scenario", "calm")][:1]
        if self.stop is not None and self.order(self.stop) > self.order(began):
            ends.append(self.stop)
        return min((self.order(event) for event in ends), default=len(self.events))

    # -- connections -------------------------------------------------------------------------

    def _apply_connection(self, event: Event, number: int) -> None:
        known = self.connections.setdefault(number, Connection(number))
        over = False
        match event.source, event.kind:
            case "proxy", "dialled":
                known.dialled = event
            case "proxy", "upgrade_requested":
                known.requested = known.requested or event
            case "proxy", "upgraded":
                known.upgraded = event
            case "proxy", "upgrade_refused":
                known.refused = event
            case "proxy", "client_closed":
                known.client_closed, over = known.client_closed or event, True
            case "proxy", "server_closed":
                over = True
            case "proxy", "closed":
                known.closed, over = event, True
            case "proxy", "fault_fired":
                known.struck.append(event)
                over = event["fault"] in CUTS
            case "exchange", "closed":
                known.dropped = event
        if over and known.ended is None:
            known.ended = event

    def overdue(self, deadline: float, came: Event | None) -> float:
        """How many seconds after `deadline` it came; where it never did, was still awaited."""
        return (self.watched_until if came is None else came.at) - deadline

    @cached_property
    def dials(self) -> list[Connection]:
        """The WebSocket connections in the order in which they were dialled."""
        found = [c for c in self.connections.values() if c.dialled is not None and c.websocket]
        return sorted(found, key=lambda c: self.order(dialled(c)))

    def dial_after(self, mark: Event, until: float = math.inf) -> Connection | None:
        """The first dial after `mark`, no later than `until`."""
        place = self.order(mark)
        for connection in self.dials:
            dial = dialled(connection)
            if self.order(dial) > place:
                return connection if dial.at <= until + TICK else None
        return None

    def held(self, mark: Event) -> list[Connection]:
        """The upgraded connections that were not over when `mark` happened, oldest first."""
        return [
            connection
            for connection in self.dials
            if connection.upgraded is not None
            and self.order(connection.upgraded) < self.order(mark)
            and (connection.ended is None or self.order(connection.ended) > self.order(mark))
        ]

    def alive(self, event: Event) -> bool:
        """Whether the connection of this event was not over yet."""
        known = self.connections.get(event.connection or 0)
        if known is None or known.ended is None:
            return True
        return self.order(known.ended) > self.order(event)

    # -- disturbances ------------------------------------------------------------------------

    def _apply_fault(self, event: Event) -> None:
        if event.kind == "fault_started":
            self.disturbances.append(Disturbance(event["fault"], event.source, event))
            return
        for known in reversed(self.disturbances):
            same = (known.source, known.what) == (event.source, event["fault"])
            if same and known.started.get("id") == event.get("id"):
                if event.kind == "fault_fired":
                    known.fired.append(event)
                else:
                    known.ended = known.ended or event
                return

    def _apply_step(self, event: Event) -> None:
        if event.kind == "step" and event["do"] == "pause_adapter":
            self.disturbances.append(Disturbance("pause_adapter", "scenario", event, [event]))
        elif event.kind == "step_ended":
            for known in self.disturbances:
                if known.source == "scenario" and known.started["index"] == event["index"]:
                    known.ended = event

    def in_force(self, begin: float, end: float) -> list[Disturbance]:
        """The faults in force at any time from `begin` to `end`."""
        return [known for known in self.disturbances if known.overlaps(begin, end)]

    def blocked(self, begin: float, end: float) -> bool:
        """Whether a fault could keep the adapter from dialling between these times."""
        return any(known.blocks_dialling for known in self.in_force(begin, end))

    @cached_property
    def silences(self) -> list[Silence]:
        """Where the line went dead, or the exchange fell silent, without a word to the adapter."""
        return [
            self._silence(known, onset, self.connections.get(number or 0))
            for known in self.disturbances
            if known.what in (SILENCES if known.source == "proxy" else EXCHANGE_SILENCES)
            for number, onset in self._struck(known).items()
        ]

    def _silence(
        self, disturbance: Disturbance, onset: Event, connection: Connection | None
    ) -> Silence:
        dial = connection.dialled if connection else None
        # A connection that is dialled under the fault is silent from its own beginning.
        since = disturbance.at if dial is None else max(disturbance.at, dial.at)
        return Silence(disturbance, onset, since, connection)

    def _struck(self, disturbance: Disturbance) -> dict[int | None, Event]:
        """The connections that a silence lay on, with its onset there.

        A line on which nothing was sent is none the less dead, though the fault had no byte to
        swallow: there the silence begins with the fault.
        """
        struck = {fired.connection: fired for fired in disturbance.fired}
        if disturbance.what not in ("blackhole", "packet_blackhole"):
            return struck
        held = self.held(disturbance.started)
        match disturbance.started.get("target", "all"):
            case "newest":
                held = held[-1:]
            case "oldest":
                held = held[:1]
            case int(number):
                held = [connection for connection in held if connection.number == number]
        return {connection.number: disturbance.started for connection in held} | struck
