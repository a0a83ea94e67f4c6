"""Is what the consumer got whole: nothing lost in silence, nothing twice, books mended?"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from squall.checks.base import TOLERANCE, Check, Findings, Seconds, limit, listed, times, when
from squall.checks.disturbance import Disturbance
from squall.checks.liveness import AWAY
from squall.checks.timeline import Timeline
from squall.history import Event
from squall.verdict import Verdict


@dataclass(frozen=True)
class Resynchronises(Check):
    """After a gap in a book, that book is fetched anew, and the other channels are left alone.

    Deribit: `prev_change_id` equals the last `change_id`, otherwise resubscribe. A snapshot over
    HTTP serves as well. Bugs of this kind: ccxt/ccxt#17827, bmoscon/cryptofeed#604.
    """

    name = "resynchronises"
    id = "A15b"

    within: Seconds = 10.0
    """How long the fresh snapshot may take."""

    others: bool = False
    """Whether other channels may be subscribed anew on the way, as a reconnect does."""

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        for known in timeline.disturbances:
            if known.what in ("gap", "bad_checksum") or _loses_change(known):
                for gap in known.fired:
                    self._look_at(gap, known, timeline, findings)
        return findings.verdict(
            f"fetched {times(len(findings.proofs), 'book')} anew after a gap, and only that",
            "no gap was put into a book",
        )

    def _look_at(
        self, gap: Event, known: Disturbance, timeline: Timeline, findings: Findings
    ) -> None:
        channel = gap.get("channel") or known.settings.get("channel")
        deadline = gap.at + self.within
        fresh = _snapshot(gap, channel, timeline, deadline)
        name = channel or "the book"
        if fresh is None and not _has_snapshots(channel, timeline):
            findings.skip(f"{name} is a stream without snapshots, so there is none to take anew")
            return
        if fresh is None:
            if timeline.watched_until < deadline - TOLERANCE:
                findings.skip("the run was over too soon")
                return
            why = f"{name} had a gap {when(gap)}, and no fresh snapshot within {limit(self.within)}"
            late = _snapshot(gap, channel, timeline, timeline.watched_until)
            missed_by = timeline.overdue(deadline, late)
            findings.late(timeline, gap.at, deadline, why, gap, missed_by=missed_by)
            return
        asked = timeline.after(gap, "exchange", "subscribe_requested", until=fresh.at)
        beside = [e for e in asked if channel and set(e["channels"]) - {channel}]
        if beside and not self.others:
            others = sorted({name for e in beside for name in e["channels"]} - {channel})
            why = f"for a gap in {name} {when(gap)} it also subscribed anew to {listed(others)}"
            findings.fail(why, gap, *beside)
        else:
            findings.fine(fresh)


def _loses_change(known: Disturbance) -> bool:
    """Whether it drops changes of books on the line: Deribit's say that they are changes."""
    where = known.settings.get("where") or {}
    return known.what == "drop_message" and where.get("params.data.type") == "change"


# What the venues call their books, in paths and methods of requests for a snapshot.
_BOOK_REQUESTS = ("order_book", "orderbook", "depth")


def _has_snapshots(channel: str | None, timeline: Timeline) -> bool:
    """Whether the channel is a book: trades have gaps too, but nothing to start over from."""
    sent = timeline.of("exchange", "sent")
    return any(e.get("snapshot") and channel in (None, e["channel"]) for e in sent) or any(
        _asks_for_book(e) for e in timeline.of("exchange", "rest", "request")
    )


def _asks_for_book(event: Event) -> bool:
    what = str(event.get("path") or event.get("method"))
    return any(word in what for word in _BOOK_REQUESTS)


def _snapshot(gap: Event, channel: str | None, timeline: Timeline, until: float) -> Event | None:
    for event in timeline.after(gap, "exchange", "sent", "rest", "request", until=until):
        if event.kind == "sent":
            if event.get("snapshot") and channel in (None, event["channel"]):
                return event
        elif _asks_for_book(event):
            return event
    return None


@dataclass(frozen=True)
class NoSilentLoss(Check):
    """The consumer gets every message once, or is told that some are missing.

    Told by `gap`, by a state other than live in between, or by a fresh snapshot, which makes up
    for what it skips. A loss is certain where the exchange sent a message between two delivered
    ones, where a gap was injected between them, or where the numbers leap over a reconnect
    further than they ever did on one connection.
    """

    name = "no_silent_loss"
    id = "A19"
    needs = ("events",)

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        if timeline.adapters > 1:
            findings.skip("several adapters deliver side by side")
        else:
            for channel, delivered in by_channel(timeline.of("adapter", "message")).items():
                self._look_at(Wire(timeline, channel), delivered, findings)
        return findings.verdict(
            f"nothing lost unsaid and nothing twice on {times(len(findings.proofs), 'channel')}",
            "no numbered messages were delivered",
        )

    def _look_at(self, wire: Wire, delivered: Sequence[Event], findings: Findings) -> None:
        problems = list(_problems(wire, delivered))
        for why, earlier, later in problems[:1]:
            more = f" (and {len(problems) - 1} more on this channel)" if len(problems) > 1 else ""
            findings.fail(f"{wire.channel}: {why}{more}", earlier, later)
        if not problems and len(delivered) > 1:
            findings.fine(delivered[-1])


def _problems(wire: Wire, delivered: Sequence[Event]) -> Iterator[tuple[str, Event, Event]]:
    """Each loss that nobody was told of, and each message that came twice."""
    seen: set[int] = set()
    for earlier, later in itertools.pairwise(delivered):
        seen.add(earlier["seq"])
        if later.get("gap") or wire.told_between(earlier, later):
            continue
        if later["seq"] in seen:
            yield f"number {later['seq']} was delivered again {when(later)}", earlier, later
        elif lost := wire.lost_between(earlier, later):
            said = f"{times(lost, 'message')} lost after number {earlier['seq']}"
            yield f"{said}, and nobody was told {when(later)}", earlier, later


def by_channel(events: Iterable[Event]) -> dict[str, list[Event]]:
    """The numbered messages of each channel."""
    found: dict[str, list[Event]] = {}
    for event in events:
        if isinstance(event.get("seq"), int):
            found.setdefault(event["channel"], []).append(event)
    return found


class Wire:
    """What the exchange sent on one channel, to hold what arrived against it."""

    def __init__(self, timeline: Timeline, channel: str) -> None:
        self.channel = channel
        self._order = timeline.order
        sent = by_channel(timeline.of("exchange", "sent")).get(channel, [])
        self._numbers = sorted({event["seq"] for event in sent})
        self._line = {event["seq"]: event.connection for event in sent}
        self._snapshots = {e["seq"]: timeline.order(e) for e in sent if e.get("snapshot")}
        self._gaps = [timeline.order(fired) for fired in _gaps_in(channel, timeline)]
        states = timeline.of("adapter", "state")
        self._away = [timeline.order(e) for e in states if e.get("state") in AWAY]
        self._longest_step = self._regular_steps(sent)

    def _regular_steps(self, sent: Sequence[Event]) -> int | None:
        """The longest step between two numbers on one connection; None where too few were seen."""
        steps = [
            later["seq"] - earlier["seq"]
            for earlier, later in itertools.pairwise(sent)
            if earlier.connection == later.connection
            and not later.get("snapshot")
            and not _any_between(self._gaps, self._order(earlier), self._order(later) + 1)
        ]
        return max(steps) if len(steps) >= 5 and max(steps) > 0 else None

    def told_between(self, earlier: Event, later: Event) -> bool:
        """Whether the consumer could know of a loss between two messages that it got."""
        begin, end = self._order(earlier), self._order(later)
        # A snapshot is sent before it is delivered, perhaps while earlier data are on their way.
        fresh = self._snapshots.get(later["seq"], end) < end
        return fresh or _any_between(self._away, begin, end)

    def lost_between(self, earlier: Event, later: Event) -> int:
        """How many messages between these two certainly did not arrive."""
        a, b = earlier["seq"], later["seq"]
        between = bisect.bisect_left(self._numbers, b) - bisect.bisect_right(self._numbers, a)
        gaps = _any_between(self._gaps, self._order(earlier), self._order(later))
        leap = 0
        if self._longest_step and self._line.get(a) != self._line.get(b):
            leap = (b - a - 1) // self._longest_step
        return max(0, between, int(gaps and b > a), leap)


def _gaps_in(channel: str, timeline: Timeline) -> list[Event]:
    return [
        fired
        for known in timeline.disturbances
        if known.what == "gap" and known.settings.get("channel") in (None, channel)
        for fired in known.fired
    ]


def _any_between(places: Sequence[int], begin: int, end: int) -> bool:
    """Whether one of the ascending places lies between the two."""
    after = bisect.bisect_right(places, begin)
    return after < len(places) and places[after] < end
