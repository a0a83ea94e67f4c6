"""The numbers of a run: how long each part of a recovery took, and how much it cost.

They are reported, not judged. Detection, dial and recovery are kept apart, for one "recovered
in" hides which of them was slow.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from squall.checks.connection import dialled
from squall.checks.data import Wire, by_channel
from squall.checks.disturbance import Disturbance
from squall.checks.liveness import notice
from squall.checks.timeline import Timeline
from squall.history import Event, History
from squall.service import Service


def metrics(history: History) -> dict[str, Any]:
    """What the run measured; None where there was nothing to measure.

    `disturbances`: for each its name `what`, the time `at`, and the seconds from then to the
    adapter's first reaction (`detection`), to its next `dial`, and until everything was served
    again (`recovery`). `mean_reconnect_time` is the mean from the loss of a connection to the
    next upgrade, `failure_rate` the part of the dials that was not upgraded.
    """
    timeline = Timeline(history)
    dials = timeline.dials
    minutes = timeline.watched_until / 60
    upgraded = [c for c in dials if c.upgraded is not None]
    reconnects = [
        after.upgraded.at - before.ended.at
        for before, after in itertools.pairwise(upgraded)
        if before.ended is not None and after.upgraded is not None
    ]
    restored = timeline.of("exchange", "opened")[1:]
    asked = [
        sum(
            e.connection == opened.connection
            for e in timeline.of("exchange", "subscribe_requested")
        )
        for opened in restored
    ]
    return {
        "disturbances": _disturbances(timeline),
        "dials": len(dials),
        "dials_per_minute": round(len(dials) / minutes, 3) if minutes else None,
        "subscribe_messages_per_reconnect": _mean(asked),
        "mean_reconnect_time": _mean([max(0.0, seconds) for seconds in reconnects]),
        "failure_rate": round(1 - len(upgraded) / len(dials), 3) if dials else None,
        "missed_messages": _missed(timeline),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(statistics.fmean(values), 6) if values else None


def _disturbances(timeline: Timeline) -> list[dict[str, Any]]:
    steadiness = _steadiness(timeline)
    return [_reaction(known, steadiness, timeline) for known in timeline.disturbances]


def _reaction(
    known: Disturbance, steadiness: Sequence[tuple[Event, bool]], timeline: Timeline
) -> dict[str, Any]:
    mark = known.fired[0] if known.fired else known.started
    dial = timeline.dial_after(mark, timeline.watched_until)
    connection = timeline.connections.get(mark.connection or 0)
    left = connection.left if connection is not None else None
    silence = next((s for s in timeline.silences if s.onset is mark), None)
    if silence is not None:
        noticed = notice(silence, timeline)
    else:
        noticed = left if left and _between(mark, left, timeline) else None
    return {
        "what": known.what,
        "at": round(known.at, 6),
        "detection": _seconds(known, noticed),
        "dial": _seconds(known, dialled(dial) if dial else None),
        "recovery": _seconds(known, _recovered(mark, steadiness, timeline)),
    }


def _between(mark: Event, event: Event, timeline: Timeline) -> bool:
    """Whether it came after `mark`, and not because the adapter was asked to stop."""
    return timeline.order(event) > timeline.order(mark) and timeline.watched(event)


def _seconds(known: Disturbance, event: Event | None) -> float | None:
    return None if event is None else round(event.at - known.at, 6)


def _steadiness(timeline: Timeline) -> list[tuple[Event, bool]]:
    """Each event with which the steady state came or went."""
    changes: list[tuple[Event, bool]] = []
    service, steady = Service(), False
    for event in timeline.events:
        if not timeline.watched(event):
            break
        service.apply(event)
        # Data can only bring the steady state, and there are many of them.
        if event.kind == "message" or (event.kind == "sent" and steady):
            continue
        if service.steady != steady:
            steady = not steady
            changes.append((event, steady))
    return changes


def _recovered(
    mark: Event, steadiness: Sequence[tuple[Event, bool]], timeline: Timeline
) -> Event | None:
    """The return of the steady state after `mark`; None where it never went or never came back."""
    lost = False
    for event, steady in steadiness:
        if timeline.order(event) >= timeline.order(mark):
            if steady and lost:
                return event
            lost = lost or not steady
    return None


def _missed(timeline: Timeline) -> int:
    sent = by_channel(e for e in timeline.of("exchange", "sent") if timeline.alive(e))
    arrived = by_channel(timeline.of("adapter", "message")) or sent
    return sum(_lost(Wire(timeline, channel), events) for channel, events in arrived.items())


def _lost(wire: Wire, arrived: Sequence[Event]) -> int:
    pairs = itertools.pairwise(arrived)
    return sum(wire.lost_between(earlier, later) for earlier, later in pairs)
