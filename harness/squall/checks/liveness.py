"""Does the adapter notice that the line is dead, does it say so, and does it prove itself alive?

A line goes dead without a FIN or RST: TCP keeps an idle half-open connection ESTABLISHED for ever.
Only a rule of the adapter's own finds it out.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from squall.checks.base import TOLERANCE, Check, Findings, Seconds, limit, span, times, when
from squall.checks.connection import Connection, dialled
from squall.checks.disturbance import Silence
from squall.checks.timeline import TICK, Timeline
from squall.history import Event
from squall.service import SOONEST
from squall.verdict import Verdict

# What an adapter can say of itself while it is not live.
AWAY = frozenset({"connecting", "disconnected", "circuit_open", "gave_up", "stopped"})
_OWNED_UP = re.compile(r"stale|silen|tim(ed |e)?-?out|disconnect|lost|no data|dead|heartbeat", re.I)


@dataclass(frozen=True)
class DetectsSilence(Check):
    """A connection on which nothing arrives any more is left in time.

    It is left when the adapter closes its side, dials anew, or says that it is disconnected.
    Bugs of this kind: aio-libs/aiohttp#8540, ccxt/ccxt#20946, gorilla/websocket#473.
    """

    name = "detects_silence"
    id = "A3"

    within: Seconds = 60.0
    """How long the silence may last unnoticed."""

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        slowest = 0.0
        for silence in _dead_lines(timeline):
            noticed = notice(silence, timeline)
            if noticed is not None and noticed.at <= silence.onset.at + self.within + TOLERANCE:
                findings.fine(noticed)
                slowest = max(slowest, noticed.at - silence.onset.at)
            else:
                self._not_in_time(silence, noticed, timeline, findings)
        return findings.verdict(
            f"noticed {times(len(findings.proofs), 'silent connection')}, "
            f"at the latest after {span(slowest)}",
            "no connection was silent for long enough",
        )

    def _not_in_time(
        self, silence: Silence, noticed: Event | None, timeline: Timeline, findings: Findings
    ) -> None:
        watched = _lasted(silence, timeline)
        if watched < self.within - TOLERANCE:
            findings.skip(f"that of {silence.since:.3f} s ended after {span(watched)}")
            return
        which = f"connection {silence.connection.number}" if silence.connection else "the line"
        findings.late(
            timeline,
            silence.since,
            silence.since + self.within,
            f"the line went silent at {silence.since:.3f} s and for {span(watched)} the adapter "
            f"neither closed {which} nor dialled again; it must notice within "
            f"{limit(self.within)}",
            silence.disturbance.started,
            silence.onset,
            *([noticed] if noticed else []),
            missed_by=min(watched, (noticed.at if noticed else inf) - silence.since) - self.within,
        )


def _dead_lines(timeline: Timeline) -> list[Silence]:
    """Silent lines; where there is none, what fell silent at the exchange."""
    on_the_line = [s for s in timeline.silences if s.disturbance.source == "proxy"]
    return on_the_line or timeline.silences


def _lasted(silence: Silence, timeline: Timeline) -> float:
    """How long the silence was there to be noticed."""
    ends = [silence.disturbance.until, timeline.watched_until]
    if silence.connection is not None:
        over = (silence.connection.cut, _left_by_adapter(silence.connection))
        ends += [event.at for event in over if event is not None]
    return max(0.0, min(ends) - silence.since)


def notice(silence: Silence, timeline: Timeline) -> Event | None:
    """The first sign that the adapter has given the silent connection up, while it was silent.

    What it does when the silence is healed it may do because it was told; what it does at its
    very onset it does because of what went before, as the other dials of several connections.
    """
    onset, ended = silence.onset, silence.disturbance.ended
    states = (e for e in timeline.after(onset, "adapter", "state") if e.get("state") in AWAY)
    signs = [*states, _left_by_adapter(silence.connection), timeline.gone]
    # Of several adapters, another one may have dialled.
    if timeline.adapters == 1:
        signs += timeline.after(onset, "proxy", "dial_lost")
        signs += map(dialled, timeline.dials)
    in_time = [
        sign
        for sign in signs
        if sign is not None
        and sign.at >= onset.at + SOONEST
        and timeline.order(sign) > timeline.order(onset)
        and timeline.watched(sign)
        and (ended is None or timeline.order(sign) < timeline.order(ended))
    ]
    return min(in_time, key=timeline.order, default=None)


def _left_by_adapter(connection: Connection | None) -> Event | None:
    if connection is None:
        return None
    closed = connection.closed
    by_client = closed if closed is not None and closed.get("by") == "client" else None
    return connection.client_closed or by_client


@dataclass(frozen=True)
class KnowsItIsStale(Check):
    """While no fresh data arrive, the consumer can tell.

    Any sign will do: a state other than live, a gap, a log line that names the trouble, a health
    report that is not ok, an exit. What must not happen is that the last known prices go on
    looking fresh (ccxt/ccxt#21731). An adapter that leaves the silent connection knows; it has
    no reason to keep it to itself.
    """

    name = "knows_it_is_stale"
    id = "A14"
    needs = ("events",)

    within: Seconds = 65.0
    """How long the consumer may be left in the dark."""

    knowing: Seconds = 2.0
    """How long, once the adapter has left the connection and no data have come again."""

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        for silence in timeline.silences:
            if _starves(silence):
                self._look_at(silence, timeline, findings)
        return findings.verdict(
            f"{times(len(findings.proofs), 'time')} the consumer was told that data were stale",
            "no data stood still for long enough",
        )

    def _look_at(self, silence: Silence, timeline: Timeline, findings: Findings) -> None:
        deadline = silence.onset.at + self.within
        left = notice(silence, timeline)
        if left is not None:
            deadline = min(deadline, left.at + self.knowing)
        sign = next(_signs_of_staleness(timeline, silence.onset, deadline), None)
        fresh = _fresh_again(silence, timeline)
        if sign is not None:
            findings.fine(sign)
        elif fresh < deadline - TOLERANCE:
            lasted = span(max(0.0, fresh - silence.since))
            findings.skip(f"the silence of {silence.since:.3f} s ended after {lasted}")
        else:
            findings.late(
                timeline,
                silence.since,
                deadline,
                f"data stood still from {silence.since:.3f} s on, and until {deadline:.3f} s "
                "nothing told the consumer so: no state, no gap, no health report",
                silence.disturbance.started,
                silence.onset,
                *([left] if left else []),
                missed_by=fresh - deadline,
            )


def _fresh_again(silence: Silence, timeline: Timeline) -> float:
    """When its data came again on another connection, or it was healed, or the watch ended."""
    ends = [timeline.watched_until]
    silent, healed = silence.connection, silence.disturbance.until
    if silent is None or silent.left is None or silent.left.at > healed:
        ends.append(healed)
    if silent is not None:
        fed = {
            channel
            for event in timeline.of("exchange", "subscribed")
            if event.connection == silent.number
            for channel in event["channels"]
        }
        sent = timeline.after(silence.onset, "exchange", "sent")
        elsewhere = (e.at for e in sent if e.connection != silent.number and e["channel"] in fed)
        ends.extend(itertools.islice(elsewhere, 1))
    return min(ends)


def _starves(silence: Silence) -> bool:
    """Whether the adapter gets no data: not so where only its own words are swallowed."""
    one_way = silence.disturbance.settings.get("direction") == "client_to_server"
    return not one_way and silence.disturbance.what not in ("no_ping", "ignore_close")


def _signs_of_staleness(timeline: Timeline, onset: Event, until: float) -> Iterator[Event]:
    for told in timeline.before(onset, "adapter", "state")[-1:]:
        if told.get("state") in AWAY:
            yield told
    asked = {e.get("id") for e in timeline.of("adapter", "command") if e.get("do") == "health"}
    kinds = ("state", "message", "log", "reply", "exited")
    for event in timeline.after(onset, "adapter", *kinds, until=until):
        if not timeline.watched(event):
            return
        match event.kind:
            case "state" if event.get("state") in AWAY:
                yield event
            case "message" if event.get("gap"):
                yield event
            case "log" if _OWNED_UP.search(str(event.get("message"))):
                yield event
            case "reply" if event.get("id") in asked and not event.get("ok"):
                yield event
            case "exited":
                yield event


@dataclass(frozen=True)
class AnswersHeartbeats(Check):
    """Every test request of the exchange is answered in time.

    Deribit closes a connection that leaves a `test_request` unanswered at once, and cancels its
    orders (docs.deribit.com, public/set_heartbeat). One answer may serve several requests that
    came together.
    """

    name = "answers_heartbeats"
    id = "G-01"

    within: Seconds = 10.0
    """How long an answer may take."""

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        for asked in timeline.of("exchange", "test_requested"):
            self._look_at(asked, timeline, findings)
        for missed in timeline.of("exchange", "heartbeat_missed"):
            disturbed = _disturbed(missed, missed.at - self.within, missed.at, timeline)
            if timeline.watched(missed) and timeline.alive(missed) and not disturbed:
                begin = missed.at - self.within
                why = f"the exchange waited in vain for a heartbeat {when(missed)}"
                findings.late(timeline, begin, missed.at, why, missed)
        return findings.verdict(
            f"answered {times(len(findings.proofs), 'test request')}",
            "no test request could be judged",
        )

    def _look_at(self, asked: Event, timeline: Timeline, findings: Findings) -> None:
        deadline = asked.at + self.within
        answers = timeline.after(asked, "exchange", "test_answered")
        answer = next((a for a in answers if a.connection == asked.connection), None)
        connection = timeline.connections.get(asked.connection or 0)
        ended = connection.ended if connection else None
        if answer is not None and answer.at <= deadline + TICK:
            findings.fine(answer)
        elif ended is not None and ended.at <= deadline:
            findings.skip(f"the connection ended soon after the one {when(asked)}")
        elif _disturbed(asked, asked.at, deadline, timeline):
            findings.skip(f"the line was disturbed after the one {when(asked)}")
        elif timeline.watched_until < deadline:
            findings.skip(f"the run was over soon after the one {when(asked)}")
        else:
            why = (
                f"the test request {when(asked)} on connection {asked.connection} was not "
                f"answered within {limit(self.within)}"
            )
            missed_by = timeline.overdue(deadline, answer)
            findings.late(timeline, asked.at, deadline, why, asked, missed_by=missed_by)


def _disturbed(event: Event, begin: float, end: float, timeline: Timeline) -> bool:
    """Whether a fault of the line was at work on this connection, or the adapter was frozen."""
    return any(
        known.source == "scenario"
        or (known.source == "proxy" and any(f.connection == event.connection for f in known.fired))
        for known in timeline.in_force(begin, end)
    )
