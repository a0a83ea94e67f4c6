"""Does the adapter dial again, and do the data come back?

Three times that one "recovered after" would blur, each with its own rule: until a silence is
noticed (`liveness`), until the next dial, and until data flow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from squall.checks.base import TOLERANCE, Check, Findings, Seconds, limit, listed, span, times, when
from squall.checks.connection import Connection, dialled
from squall.checks.timeline import TICK, Timeline
from squall.history import Event
from squall.service import Service
from squall.verdict import Verdict

# A retry may sit out the whole of the adapter's longest pause, and then needs to connect.
AFTER_BACKOFF = 10.0


def _exit_of(gone: Event) -> str:
    return f"the adapter exited with status {gone['status']} {when(gone)}"


@dataclass(frozen=True)
class DataResumes(Check):
    """After the heal, data of every wanted channel arrive again.

    An adapter that reports what it delivers is judged by that; for any other, what the exchange
    sent it on live connections counts. 30 s is the guide's alert for the time of a reconnection.
    """

    name = "data_resumes"
    id = "A1"

    within: Seconds = 30.0
    """How long after the heal the last channel may be silent."""

    backoff: bool = True
    """Allow the adapter's `backoff_max` plus 10 s where that is longer."""

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        for healed in timeline.of("scenario", "healed"):
            self._look_after(healed, timeline, findings)
        slowest = max((event.at for event in findings.proofs), default=0.0)
        return findings.verdict(
            f"every wanted channel sent data again, the last one at {slowest:.3f} s",
            "no data could be looked for after a heal",
        )

    def allowed(self, backoff_max: float | None) -> float:
        """How long the data may take, for an adapter with this longest pause between dials."""
        if backoff_max is None or not self.backoff:
            return self.within
        return max(self.within, backoff_max + AFTER_BACKOFF)

    def _look_after(self, healed: Event, timeline: Timeline, findings: Findings) -> None:
        allowed = self.allowed(timeline.setting("backoff_max"))
        deadline = healed.at + allowed
        first = dict(_first_data(timeline, healed, deadline))
        silent = sorted(timeline.wanted(healed) - first.keys())
        asked = timeline.of("adapter", "stop_requested")[:1]
        if asked and timeline.order(asked[0]) < timeline.order(healed):
            findings.skip("the adapter had been stopped before the heal")
        elif not silent:
            findings.fine(*first.values())
        elif timeline.gone is not None and timeline.gone.at <= deadline:
            why = f"{_exit_of(timeline.gone)}, and {listed(silent)} sent no more data"
            findings.fail(why, timeline.gone, healed)
        elif timeline.watched_until < deadline - TOLERANCE:
            findings.skip(
                f"{listed(silent)} sent no data, but the run was over "
                f"{span(max(0.0, timeline.watched_until - healed.at))} after the heal, "
                f"and {limit(allowed)} are allowed"
            )
        elif _served_but_quiet(timeline, silent, healed, deadline):
            findings.skip(f"the exchange had nothing to send on {listed(silent)}")
        else:
            why = f"no data of {listed(silent)} within {limit(allowed)} of the heal {when(healed)}"
            later = dict(_first_data(timeline, healed, timeline.watched_until))
            came = [later.get(channel) for channel in silent]
            missed_by = max(timeline.overdue(deadline, each) for each in came)
            findings.late(timeline, healed.at, deadline, why, healed, missed_by=missed_by)


def _first_data(timeline: Timeline, mark: Event, until: float) -> Iterator[tuple[str, Event]]:
    """The first datum of each channel after `mark`, by the nearest witness to the consumer."""
    reported = {event["channel"] for event in timeline.before(mark, "adapter", "message")}
    seen: set[str] = set()
    for event in timeline.after(mark, "adapter", "message", until=until):
        if event["channel"] in reported - seen:
            seen.add(event["channel"])
            yield event["channel"], event
    for event in timeline.after(mark, "exchange", "sent", until=until):
        if event["channel"] not in reported | seen and timeline.alive(event):
            seen.add(event["channel"])
            yield event["channel"], event


def _served_but_quiet(
    timeline: Timeline, silent: list[str], healed: Event, deadline: float
) -> bool:
    served = Service(event for event in timeline.events if event.at <= deadline).counts()
    sent = {event["channel"] for event in timeline.after(healed, "exchange", "sent")}
    return all(served[channel] and channel not in sent for channel in silent)


@dataclass(frozen=True)
class Reconnects(Check):
    """After each cut the adapter dials again soon, and the upgrade follows.

    Judged where no other fault kept it from dialling. A connection that is cut soon after an
    earlier failure may be followed by a longer pause, for backoff starts again only once a
    connection has proved stable: then the adapter's `backoff_max` plus 10 s counts. RFC 6455
    section 7.2.3 asks for a random first delay of 0 to 5 s.
    """

    name = "reconnects"
    id = "A2"

    within: Seconds = 10.0
    """How long after a cut the next dial may take."""

    upgrade: Seconds = 5.0
    """How much longer the upgrade may take."""

    backoff_max: Seconds = 60.0
    """The longest pause between dials, where the adapter's settings name none."""

    stable: Seconds = 60.0
    """A connection that lived so long lets the backoff start again."""

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        troubled = False
        slowest = 0.0
        for connection in timeline.dials:
            cut = connection.lost
            if cut is not None and timeline.watched(cut):
                fresh = not troubled or cut.at - dialled(connection).at >= self.stable
                allowed = self.within if fresh else self._with_backoff(timeline)
                self._look_after(cut, connection, allowed, timeline, findings)
                slowest = max(slowest, *(e.at - cut.at for e in findings.proofs[-1:]), 0.0)
            troubled = troubled or cut is not None or connection.upgraded is None
        return findings.verdict(
            f"dialled again after {times(len(findings.proofs), 'cut')}, "
            f"at the latest after {span(slowest)}",
            "no live connection was cut while dialling was possible",
        )

    def _with_backoff(self, timeline: Timeline) -> float:
        backoff_max = timeline.setting("backoff_max")
        longest = self.backoff_max if backoff_max is None else backoff_max
        return max(self.within, longest + AFTER_BACKOFF)

    def _look_after(
        self,
        cut: Event,
        connection: Connection,
        allowed: float,
        timeline: Timeline,
        findings: Findings,
    ) -> None:
        if (ready := _made_before(cut, timeline)) is not None:
            return findings.fine(dialled(ready))
        what = f"after connection {connection.number} was cut {when(cut)}"
        dial = timeline.dial_after(cut)
        came = dialled(dial) if dial is not None else None
        deadline = cut.at + allowed
        if dial is None or dialled(dial).at > deadline + TICK:
            what = f"{what} the adapter did not dial again within {limit(allowed)}"
        else:
            came = next(timeline.after(cut, "proxy", "upgraded"), None)
            deadline += self.upgrade
            if came is not None and came.at <= deadline + TICK:
                return findings.fine(dialled(dial))
            what = f"{what} the adapter dialled {when(dialled(dial))}, but no upgrade followed"
        if timeline.gone is not None and timeline.gone.at <= deadline:
            findings.fail(f"{what}: {_exit_of(timeline.gone)}", cut, timeline.gone)
        elif _hindered(cut, deadline, timeline):
            findings.skip("another fault kept it from connecting")
        elif timeline.watched_until < deadline - TOLERANCE:
            findings.skip("the run was over too soon")
        else:
            missed_by = timeline.overdue(deadline, came)
            findings.late(timeline, cut.at, deadline, what, cut, missed_by=missed_by)
        return None


def _made_before(cut: Event, timeline: Timeline) -> Connection | None:
    """The connection that took over before the break; no other dial is owed then."""
    held = timeline.held(cut)
    return held[-1] if len(held) >= timeline.connections_by_design else None


def _hindered(cut: Event, until: float, timeline: Timeline) -> bool:
    again = timeline.after(cut, "proxy", "fault_fired", until=until)
    return timeline.blocked(cut.at, until) or next(again, None) is not None
