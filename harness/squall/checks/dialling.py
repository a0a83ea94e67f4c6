"""How often, how soon and how many at once: the manners of dialling.

Everything here must put up with jitter, for jitter is good manners too. Where a rule could fail
an adapter that backs off at random (`random(0, min(cap, base * 2**n))`, "full jitter" of the AWS
Architecture Blog), its docstring says how improbable that is.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from squall.checks.base import TOLERANCE, Check, Findings, Seconds, limit, span, times, when
from squall.checks.connection import Connection, dialled
from squall.checks.timeline import Timeline
from squall.history import Event
from squall.verdict import Outcome, Verdict, failed, passed, unknown, unsupported


@dataclass(frozen=True)
class NoStorm(Check):
    """The adapter does not dial again and again.

    Each dial that replaces a healthy connection which the run itself has cut is the run's doing
    and not counted. Full jitter from 1 s up to 60 s exceeds the default with a probability below
    1e-6. Where the adapter names a shorter `backoff_max`, the limit grows to what full jitter up
    to that needs. Real storms are larger by orders: 11 000 connections in 12 s (ccxt), 5 a
    second for minutes (nautechsystems/nautilus_trader#1989).
    """

    name = "no_storm"
    id = "A8"

    dials: int = 10
    """So many dials are decent in any `per`."""

    handful: int = 5
    """So many more, for retries that may come at once (Kraken: "instantly, a handful")."""

    per: Seconds = 60.0
    """The length of the rolling window."""

    def _look(self, timeline: Timeline) -> Verdict:
        counted = [dialled(c) for c in _unprovoked(timeline) if timeline.watched(dialled(c))]
        most = self._limit(timeline.setting("backoff_max")) * timeline.connections_at_work
        if not counted:
            return unknown("no dial was seen")
        worst = _busiest(counted, self.per)
        lasted = worst[-1].at - worst[0].at
        seen = f"{times(len(worst), 'dial')} within {span(lasted)} from {worst[0].at:.3f} s on"
        if len(worst) > most:
            return failed(f"{seen}; {most} in any {limit(self.per)} are decent", *worst)
        return passed(f"never more than {seen}", worst[0], worst[-1])

    def _limit(self, backoff_max: float | None) -> int:
        needed = _full_jitter_needs(self.per, backoff_max) if backoff_max is not None else 0
        return max(self.dials, needed) + self.handful


def _busiest(events: Sequence[Event], per: float) -> Sequence[Event]:
    """The most events that any window of this length holds."""
    begin, end, first = 0, 0, 0
    for last, event in enumerate(events):
        while event.at - events[first].at >= per:
            first += 1
        if last + 1 - first > end - begin:
            begin, end = first, last + 1
    return events[begin:end]


_SHORTEST_CAP = 0.5


def _full_jitter_needs(per: float, cap: float) -> int:
    """So many waits of `random(0, cap)` fit into `per` with a probability below 1e-8.

    The sum of k of them is below `per` with a probability of at most (per/cap)**k / k!.
    """
    ratio = math.log(per / max(cap, _SHORTEST_CAP))
    k = 1
    while k * ratio - math.lgamma(k + 1) > math.log(1e-8):
        k += 1
    return k


def _unprovoked(timeline: Timeline) -> list[Connection]:
    """The dials, without the first one after each cut that the run made."""
    cuts = [c.cut for c in timeline.dials if c.cut is not None and c.upgraded is not None]
    provoked = {timeline.dial_after(cut) for cut in cuts}
    return [connection for connection in timeline.dials if connection not in provoked]


@dataclass(frozen=True)
class BackoffGrows(Check):
    """While dials fail, the pauses between them grow.

    Fails on two patterns over a dozen pauses or more: those that stay tiny, and those that stay
    the same though they are short. A pause of `enough` need not grow any more. Full jitter with
    a base of 1 s and a cap of 5 s or more fails with a probability below 1e-6: of nine pauses,
    all but the first three would have to be below a fifth of the cap. A dial fails when it is not
    upgraded, or when its connection ends within `stable`; one that the run itself cut has not.
    """

    name = "backoff_grows"

    tiny: Seconds = 1.0
    """Pauses below this are none, for whoever is dialled."""

    enough: Seconds = 5.0
    """Pauses of this length need not grow."""

    stable: Seconds = 10.0
    """A connection that lives so long has not failed."""

    def _look(self, timeline: Timeline) -> Verdict:
        if timeline.connections_by_design > 1:
            return unsupported("several connections dial on their own: no pause is between two")
        cap = timeline.setting("backoff_max")
        longest_first = sorted(self._streaks(timeline), key=len, reverse=True)
        verdicts = [
            self._judge(streak, math.inf if cap is None else cap) for streak in longest_first
        ]
        for outcome in (Outcome.FAIL, Outcome.PASS):
            for verdict in verdicts:
                if verdict.outcome is outcome:
                    return verdict
        return verdicts[0] if verdicts else unknown("no dial failed")

    def _streaks(self, timeline: Timeline) -> list[list[_Pause]]:
        """The pauses between failed dials, cut where a dial did not fail."""
        streaks: list[list[_Pause]] = [[]]
        for connection, following in itertools.pairwise(timeline.dials):
            end, again = self._failed(connection), dialled(following)
            if end is None or not timeline.watched(again):
                streaks.append([])
            else:
                streaks[-1].append(_Pause(max(0.0, again.at - end.at), again))
        return [streak for streak in streaks if streak]

    def _failed(self, connection: Connection) -> Event | None:
        """The end of a dial that came to nothing; None where it served for a while."""
        end = connection.refused or connection.ended
        by_the_run = any(event["fault"] not in _REFUSALS for event in connection.struck)
        if end is None or by_the_run:
            return None
        served = connection.upgraded is not None and end.at - connection.upgraded.at >= self.stable
        return None if served else end

    def _judge(self, streak: Sequence[_Pause], cap: float) -> Verdict:
        pauses = [pause.seconds for pause in streak]
        dials = [pause.dial for pause in streak]
        said = f"{times(len(pauses), 'pause')} between failed dials"
        middle, high = statistics.median(pauses), max(pauses)
        enough, tiny = min(self.enough, 0.8 * cap), min(self.tiny, 0.2 * cap)
        if len(pauses) >= _FEWEST_TO_FAIL and high < enough and _all_the_same(pauses):
            return failed(f"{said}, all of about {span(middle)}: they do not grow", *dials)
        if len(pauses) >= _FEWEST_TO_FAIL and _stay_below(tiny, pauses):
            return failed(f"{said}, half of them below {middle:.3f} s: they do not grow", *dials)
        if high >= enough or _grow(pauses):
            return passed(f"{said}, growing from {span(pauses[0])} to {span(high)}", *dials)
        return unknown(f"{said} of up to {span(high)}: whether they grow cannot be told", *dials)


@dataclass(frozen=True)
class _Pause:
    """The time from the end of a failed dial to the next dial."""

    seconds: float
    dial: Event


# Faults that make a dial fail; what other faults end had been a connection.
_REFUSALS = frozenset(
    {
        "refuse",
        "flap",
        "http",
        "handshake_blackhole",
        "latency",
        "tls_certificate",
        "tls_hang",
        "tls_cut",
        "tunnel_refused",
    }
)
_FEWEST_TO_FAIL = 12
_FEWEST_TO_GROW = 6
_NOISE = 0.02  # seconds; what a busy machine adds to a pause of none


def _all_the_same(pauses: Sequence[float]) -> bool:
    # The first one may be at once by design. Eleven uniform values lie within a fifth of their
    # largest with a probability of 1e-7.
    rest = sorted(pauses[1:])
    highest = rest[-1 - len(rest) // 10] if len(rest) >= 30 else rest[-1]
    return rest[0] > 0.8 * highest


def _stay_below(tiny: float, pauses: Sequence[float]) -> bool:
    # A handful of instant retries is nobody's harm; one hiccup in ten does not make a backoff.
    rest = sorted(pauses[3:])
    half = len(pauses) // 2
    early, late = statistics.median(pauses[:half]), statistics.median(pauses[half:])
    return rest[int(0.9 * len(rest))] < tiny and late < 2 * max(early, _NOISE)


def _grow(pauses: Sequence[float]) -> bool:
    if len(pauses) < _FEWEST_TO_GROW:
        return False
    late = statistics.median(pauses[-(len(pauses) // 3) :])
    return late >= 2 * statistics.median(pauses[:3]) and late > 2 * _NOISE


@dataclass(frozen=True)
class HonoursRetryAfter(Check):
    """After a refusal with `Retry-After`, no dial comes before that time is over.

    RFC 9110 section 10.2.3. Bugs of this kind: ten dials in 0.1 s, or one a second, in the face
    of a 503 with `Retry-After: 10` (pybit, websocket-client).
    """

    name = "honours_retry_after"
    id = "A8b"

    def _look(self, timeline: Timeline) -> Verdict:
        if timeline.connections_by_design > 1:
            return unsupported("of several connections, it is unknown which one was refused")
        findings = Findings()
        for connection in timeline.dials:
            asked = _retry_after(connection.refused)
            if connection.refused is None or asked is None:
                continue
            refused = connection.refused
            over = refused.at + asked
            dial = timeline.dial_after(refused, over - 2 * TOLERANCE)
            if dial is not None and timeline.watched(dialled(dial)):
                early = dialled(dial)
                findings.fail(
                    f"refused with Retry-After {limit(asked)} {when(refused)}, the adapter dialled "
                    f"again after {span(early.at - refused.at)}",
                    refused,
                    early,
                )
            elif timeline.watched_until < over:
                findings.skip("the run was over before the time was")
            else:
                findings.fine(refused)
        return findings.verdict(
            f"waited as asked after {times(len(findings.proofs), 'refusal')}",
            "no refusal named a time to wait",
        )


def _retry_after(refused: Event | None) -> float | None:
    try:
        return float(refused["retry_after"]) if refused else None
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True)
class Spread(Check):
    """Adapters that lost their connections together do not come back together.

    Of a fleet that was cut at once, no second may see more than `share`, and two standard
    deviations more, for chance crowds small fleets. Without jitter it is all of them. Where each
    waits a random 0 to 5 s (RFC 6455 section 7.2.3), a fifth is to be expected in a second, and
    the default fails with a probability below 1e-5. The strict profile asks for 20 %, which
    takes a spread of some 10 s.
    """

    name = "spread"
    id = "A8c"

    share: float = 0.5
    """The part of the fleet that may dial within any one second."""

    fleet: int = 20
    """Fewer adapters than this are no herd."""

    def _look(self, timeline: Timeline) -> Verdict:
        cut = _mass_cut(timeline, self.fleet)
        if not cut:
            return unknown(f"never were {self.fleet} connections or more cut at once")
        place = timeline.order(cut[0])
        again = [dialled(c) for c in timeline.dials if timeline.order(dialled(c)) > place]
        # Each adapter's first dial; what follows are retries.
        first = again[: len(cut)]
        if len(first) < len(cut):
            return unknown(f"of {len(cut)} adapters only {len(first)} dialled again", *first)
        crowd = _busiest(first, 1.0)
        part = f"{len(crowd)} of {len(cut)} adapters"
        seen = f"{part} dialled within a second from {crowd[0].at:.3f} s on"
        by_chance = 2 * math.sqrt(len(cut) * self.share * (1 - self.share))
        if len(crowd) > self.share * len(cut) + by_chance:
            return failed(f"{seen}; {self.share:.0%} may, and a few more by chance", *crowd)
        return passed(f"never more than {seen}", *crowd)


def _mass_cut(timeline: Timeline, fleet: int) -> Sequence[Event]:
    """The ends of the connections in the largest group that was cut within one second."""
    ends = [c.lost for c in timeline.dials if c.lost is not None and timeline.watched(c.lost)]
    group = _busiest(sorted(ends, key=timeline.order), 1.0)
    return group if len(group) >= fleet else []


@dataclass(frozen=True)
class PacesRequests(Check):
    """The adapter stays within the exchange's limits, counted as the exchange counts.

    A rolling window, not a fixed second: a token bucket lets nine messages pass in a first
    second that allows five (nautechsystems/nautilus_trader#5012).
    """

    name = "paces_requests"
    id = "A7"

    def _look(self, timeline: Timeline) -> Verdict:
        exceeded = [e for e in timeline.of("exchange", "limit_exceeded") if timeline.watched(e)]
        if exceeded:
            first = exceeded[0]
            return failed(
                f"exceeded the limit '{first.get('rule')}' {times(len(exceeded), 'time')}, first "
                f"{when(first)}, counted {first.get('count')}",
                *exceeded,
            )
        requests = timeline.of("exchange", "request", "subscribe_requested")
        if not requests:
            return unknown("the exchange saw no request")
        return passed(f"{times(len(requests), 'request')}, none beyond a limit", requests[0])
