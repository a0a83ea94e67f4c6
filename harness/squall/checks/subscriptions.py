"""Does the exchange serve what is wanted, once, and nothing else, after all that happened?

What the adapter believes is no evidence: a subscription exists while the exchange serves it on a
connection that the adapter still holds.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from squall.checks.base import Check, Findings, listed, times, when
from squall.checks.timeline import Calm, Timeline
from squall.history import Event
from squall.verdict import Verdict, failed, passed, unknown


@dataclass(frozen=True)
class SubscriptionsRestored(Check):
    """At the end, in the calm, the exchange serves every wanted channel once and nothing else.

    Set equality, not a count. Bugs of this kind: bybit-exchange/pybit#13,
    sammchardy/python-kucoin#102, thrasher-corp/gocryptotrader#650.
    """

    name = "subscriptions_restored"
    id = "A4"

    def _look(self, timeline: Timeline) -> Verdict:
        calm = timeline.calm
        if calm is None:
            return unknown("the run ended before the adapter had time to settle")
        if calm.problems:
            late = "" if calm.settled else f" {calm.began['after']:.1f} s after the heal and later"
            return failed(f"at the end{late}: {listed(list(calm.problems))}", calm.began)
        if calm.settled and calm.blips:
            return _restless(calm, timeline)
        wanted = timeline.wanted(calm.began)
        return passed(
            f"the exchange serves {times(len(wanted), 'wanted channel')}, each as it should, "
            "and nothing else",
            calm.began,
        )


def _restless(calm: Calm, timeline: Timeline) -> Verdict:
    event, problems = calm.blips[0]
    findings = Findings()
    why = f"in the calm, {when(event)}: {listed(list(problems))}, though nothing was done to it"
    findings.late(timeline, calm.began.at, event.at, why, event)
    return findings.verdict("", "")


@dataclass(eq=False)
class _Session:
    """What one connection asked the exchange to serve."""

    opened: Event
    asked: list[Event] = field(default_factory=list)
    served: set[str] = field(default_factory=set)

    @property
    def channels(self) -> int:
        """How many channels were asked for, each as often as it was."""
        return sum(len(event["channels"]) for event in self.asked)

    @property
    def repeats(self) -> int:
        """How many of them had been asked for before on this connection."""
        return self.channels - len({name for event in self.asked for name in event["channels"]})


@dataclass(frozen=True)
class NoDuplicates(Check):
    """No channel is served twice, and restoring costs the same at every reconnect.

    A repeated subscribe alone is no failure: it fails where it grows from reconnect to
    reconnect, draws an error, or is served twice. Bugs of this kind: a list that doubles at
    each reconnect (askmike/deribit-v2-ws#19), two connections after one drop
    (binance/binance-connector-python#505).
    """

    name = "no_duplicates"
    id = "A4b"

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        self._look_at_service(timeline, findings)
        self._look_at_errors(timeline, findings)
        sessions = _complete_sessions(timeline)
        if len(sessions) > 1:
            self._look_at_growth(sessions, findings)
        reconnects = len(sessions) - 1
        return findings.verdict(
            f"nothing is served twice; {sessions[-1].channels if sessions else 0} channels asked "
            f"for in the last of {times(max(reconnects, 0), 'restored reconnect')}",
            "the run ended before the adapter had time to settle",
        )

    def _look_at_service(self, timeline: Timeline, findings: Findings) -> None:
        if (calm := timeline.calm) is None:
            return
        twice = [
            f"{channel} {times(count, 'time')}"
            for channel, count in sorted(calm.counts.items())
            if count > timeline.adapters
        ]
        if twice:
            findings.fail(f"at the end the exchange serves {listed(twice)}", calm.began)
        else:
            findings.fine(calm.began)

    def _look_at_errors(self, timeline: Timeline, findings: Findings) -> None:
        served: dict[int | None, set[str]] = {}
        repeated: dict[tuple[int | None, object], Event] = {}
        for event in timeline.of("exchange", "subscribe_requested", "subscribed", "error"):
            here = served.setdefault(event.connection, set())
            request = (event.connection, event.get("id"))
            if event.kind == "subscribed":
                here.update(event["channels"])
            elif event.kind == "subscribe_requested" and here & set(event["channels"]):
                repeated[request] = event
            elif event.kind == "error" and request in repeated and not event.get("injected"):
                why = f"a repeated subscribe drew the error {event.get('code')} {when(event)}"
                findings.fail(why, repeated[request], event)

    def _look_at_growth(self, sessions: Sequence[_Session], findings: Findings) -> None:
        repeats = [session.repeats for session in sessions]
        requests = [len(session.asked) for session in sessions]
        for counts, what in ((repeats, "repeated channels"), (requests, "subscribe requests")):
            if grows(counts):
                course = listed([str(count) for count in counts], most=8)
                openings = [session.opened for session in sessions]
                why = f"from reconnect to reconnect the {what} grow: {course}"
                return findings.fail(why, *openings)
        return findings.fine(sessions[-1].opened)


def _complete_sessions(timeline: Timeline) -> list[_Session]:
    """The connections on which the present set of wanted channels was restored undisturbed."""
    wanted: frozenset[str] = frozenset()
    for event in timeline.of("scenario", "wanted")[-1:]:
        wanted = frozenset(event["channels"])
    sessions: dict[int | None, _Session] = {}
    interesting = ("opened", "subscribe_requested", "subscribed", "fault_fired")
    for event in timeline.of("exchange", *interesting):
        if event.kind == "opened":
            sessions[event.connection] = _Session(event)
        elif event.connection not in sessions:
            continue
        elif event.kind == "subscribe_requested":
            sessions[event.connection].asked.append(event)
        elif event.kind == "subscribed":
            sessions[event.connection].served.update(event["channels"])
        elif event["fault"] in _ON_SUBSCRIBING:
            del sessions[event.connection]
    return [session for session in sessions.values() if wanted and wanted <= session.served]


# Under these faults of the exchange it is right to ask again.
_ON_SUBSCRIBING = frozenset({"delay_ack", "drop_ack", "error_ack", "partial_ack", "maintenance"})


def grows(counts: Sequence[int]) -> bool:
    """Whether the counts grow on the whole; a retry here and there is no growth."""
    third = len(counts) // 3
    if third == 0:
        return False
    if third == 1:
        return all(a < b for a, b in itertools.pairwise(counts))
    apart = max(counts[:third]) < min(counts[-third:])
    return apart and statistics.median(counts) > min(counts)


@dataclass(frozen=True)
class RemovedStayRemoved(Check):
    """A channel that was unsubscribed does not come back with a reconnect.

    The race is between an unsubscribe and a drop (ccxt/ccxt#27296).
    """

    name = "removed_stay_removed"
    id = "A4c"

    def _look(self, timeline: Timeline) -> Verdict:
        calm = timeline.calm
        if calm is None:
            return unknown("the run ended before the adapter had time to settle")
        removed = _removed(timeline)
        if not removed:
            return unknown("no channel was removed")
        back = sorted(name for name in removed if calm.counts.get(name))
        if back:
            whys = [f"{name}, removed {when(removed[name])}" for name in back]
            return failed(
                f"at the end the exchange still serves {listed(whys)}",
                *(removed[name] for name in back),
            )
        first = min(removed.values(), key=timeline.order)
        again = next(timeline.after(first, "exchange", "opened"), None)
        if again is None:
            return unknown("the adapter never reconnected after a channel was removed")
        return passed(f"{listed(sorted(removed))} stayed away over a reconnect", first, again)


def _removed(timeline: Timeline) -> dict[str, Event]:
    """The channels that are no longer wanted at the end, and when that was said."""
    removed: dict[str, Event] = {}
    before: set[str] = set()
    for event in timeline.of("scenario", "wanted"):
        now = set(event["channels"])
        removed |= dict.fromkeys(before - now, event)
        removed = {name: since for name, since in removed.items() if name not in now}
        before = now
    return removed
