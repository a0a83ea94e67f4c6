"""How many connections the adapter holds at a time."""

from __future__ import annotations

from dataclasses import dataclass

from squall.checks.base import Check, Findings, Seconds, span, times
from squall.checks.connection import Connection
from squall.checks.timeline import Timeline
from squall.service import CUTS
from squall.verdict import Verdict, passed, unknown


@dataclass(frozen=True)
class OneConnection(Check):
    """The adapter holds no more connections than it does by design.

    Two layers that both reconnect, or an old socket that nobody closes, deliver everything twice
    (robtaussig/react-use-websocket#65, binance/binance-connector-python#505). A connection
    counts while it could carry data. One on whose line a fault lies is excused while the adapter
    waits for the answer to its Close frame: until 0.5 s after the fault is healed.
    """

    name = "one_connection"
    id = "A6"
    always = True

    handover: Seconds = 0.0
    """How long a planned move to a new connection may keep the old one."""

    def _look(self, timeline: Timeline) -> Verdict:
        changes = sorted(self._changes(timeline), key=lambda change: change[0])
        if not changes:
            return unknown("no connection was ever upgraded")
        allowed = timeline.connections_by_design
        held: dict[int, Connection] = {}
        begun: float | None = None
        for at, connection in [*changes, (timeline.watched_until, None)]:
            if begun is not None and at - begun > self.handover + _CLOSING:
                return self._too_many(begun, at, held, timeline)
            if connection is None:
                break
            if held.pop(connection.number, None) is None:
                held[connection.number] = connection
            if len(held) <= allowed:
                begun = None
            elif begun is None:
                begun = at
        upgrades = [c.upgraded for c in timeline.dials if c.upgraded is not None]
        return passed(
            f"never more than {times(allowed, 'connection')} at a time, "
            f"{len(upgrades)} one after the other",
            *upgrades,
        )

    def _changes(self, timeline: Timeline) -> list[tuple[float, Connection]]:
        """When each connection begins and ceases to count."""
        changes = []
        for connection in timeline.dials:
            if connection.upgraded is None or not timeline.watched(connection.upgraded):
                continue
            begin, end = connection.upgraded.at, timeline.watched_until
            if connection.ended is not None and timeline.watched(connection.ended):
                end = connection.ended.at
            for a, b in _without(begin, end, _excused(connection, timeline)):
                changes += [(a, connection), (b, connection)]
        return changes

    def _too_many(
        self, begin: float, end: float, held: dict[int, Connection], timeline: Timeline
    ) -> Verdict:
        numbers = ", ".join(str(number) for number in sorted(held))
        evidence = [c.upgraded for c in held.values() if c.upgraded is not None]
        findings = Findings()
        findings.late(
            timeline,
            begin,
            end,
            f"connections {numbers} were open side by side for {span(end - begin)} from "
            f"{begin:.3f} s on; {times(timeline.connections_by_design, 'connection')} at a time "
            "is what this adapter needs",
            *evidence,
        )
        return findings.verdict("", "")


# To close a connection takes a few round trips, and the next one may be dialled meanwhile.
_CLOSING = 1.0
_AFTER_HEAL = 0.5


def _excused(connection: Connection, timeline: Timeline) -> list[tuple[float, float]]:
    """When a fault on its line kept the connection from being closed properly."""
    silent = [
        (silence.since, silence.disturbance.until)
        for silence in timeline.silences
        if silence.connection is connection
    ]
    slow = [
        (fired.at, known.until)
        for known in timeline.disturbances
        if known.source == "proxy" and known.what not in CUTS
        for fired in known.fired
        if fired.connection == connection.number
    ]
    return [(begin, end + _AFTER_HEAL) for begin, end in silent + slow]


def _without(
    begin: float, end: float, gaps: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The parts of the time from `begin` to `end` that lie in no gap."""
    parts = []
    for gap_begin, gap_end in sorted(gaps):
        if gap_begin > begin:
            parts.append((begin, min(gap_begin, end)))
        begin = max(begin, gap_end)
    parts.append((begin, end))
    return [(a, b) for a, b in parts if b > a]
