"""What a check is: a rule with its parameters, which reads a run and gives a verdict.

A check never touches anything: it is a function of the history, so it says the same live and,
years later, from disk. The rule comes last; first it is asked whether it can be judged at all.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from squall.checks.timeline import Timeline
from squall.history import Event, History
from squall.service import Service
from squall.verdict import Verdict, failed, passed, unknown, unsupported

Seconds = Annotated[float, "seconds"]

MOST_EVIDENCE = 12

# A limit and the time for which a scenario keeps a fault up are often the same number.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Check(ABC):
    """A rule that an adapter must keep, with its thresholds.

    `needs` is what the adapter must offer so that the rule can be judged: `events` (level 1),
    `request` (level 2), `process`. `always` rules are judged in every run. `steady_first` rules
    speak of an adapter that once worked; without a steady state they say UNKNOWN.
    """

    name: ClassVar[str]
    id: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    always: ClassVar[bool] = False
    steady_first: ClassVar[bool] = True

    @abstractmethod
    def _look(self, timeline: Timeline) -> Verdict:
        """The verdict on a run that can be judged."""

    def judge(self, history: History) -> Verdict:
        """The verdict on a run."""
        return self.verdict(Timeline(history))

    def verdict(self, timeline: Timeline) -> Verdict:
        """The verdict on a run that is already arranged as a timeline."""
        offers = timeline.offers
        missing = [] if offers is None else [need for need in self.needs if need not in offers]
        if missing:
            return unsupported(f"the adapter does not offer {' and '.join(missing)}")
        if self.steady_first and timeline.steady is None:
            return unknown(f"never steady: {_why_not_steady(timeline)}")
        verdict = self._look(timeline)
        return dataclasses.replace(verdict, evidence=verdict.evidence[:MOST_EVIDENCE])

    def as_dict(self) -> dict[str, Any]:
        """The parameters, durations in seconds: what `run_started` tells of this check."""
        return dataclasses.asdict(self)


def _why_not_steady(timeline: Timeline) -> str:
    if timeline.gone is not None:
        return f"the adapter exited with status {timeline.gone['status']} {when(timeline.gone)}"
    if not timeline.dials:
        return "the adapter did not dial"
    end = timeline.order(timeline.stop) if timeline.stop else len(timeline.events)
    service = Service(timeline.events[:end])
    return listed(service.problems()) or "the channels were served, but sent no data"


@dataclass
class Findings:
    """What a check has found so far.

    One failure fails it, one doubt leaves it unknown. What could not be judged is kept, to say
    why nothing was seen.
    """

    failures: list[tuple[str, tuple[Event, ...]]] = field(default_factory=list)
    doubts: list[tuple[str, tuple[Event, ...]]] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    proofs: list[Event] = field(default_factory=list)

    def fail(self, why: str, *evidence: Event) -> None:
        """The rule was broken."""
        self.failures.append((why, evidence))

    def doubt(self, why: str, *evidence: Event) -> None:
        """It may have been broken; what was seen does not suffice to tell."""
        self.doubts.append((why, evidence))

    def skip(self, why: str) -> None:
        """Here there was nothing to judge."""
        self.unjudged.append(why)

    def fine(self, *evidence: Event) -> None:
        """The rule was put to the test, and kept."""
        self.proofs.extend(evidence)

    def late(
        self,
        timeline: Timeline,
        begin: float,
        end: float,
        why: str,
        *evidence: Event,
        missed_by: float = 0.0,
    ) -> None:
        """Something did not come in time: a failure, unless the harness itself was held up.

        `missed_by` is for how many seconds after `end` it still had not come. What held the
        harness up for less than half as long does not explain that.
        """
        stalls = timeline.stalls(begin, end + missed_by)
        if not stalls or 2 * sum(float(each["seconds"]) for each in stalls) < missed_by:
            self.fail(why, *evidence)
            return
        stall = stalls[0]
        held_up = f"the harness was held up for {span(stall['seconds'])} {when(stall)}"
        self.doubt(f"{held_up}, so this proves nothing: {why}", stall, *evidence)

    def verdict(self, praise: str, nothing: str) -> Verdict:
        """`praise` if the rule was kept, `nothing` if there was no occasion to keep it."""
        if self.failures:
            return failed(*_first_of(self.failures))
        if self.doubts:
            return unknown(*_first_of(self.doubts))
        if not self.proofs:
            reasons = dict.fromkeys(self.unjudged)
            return unknown(nothing + (f": {listed(list(reasons))}" if reasons else ""))
        return passed(praise, *self.proofs)


def _first_of(found: list[tuple[str, tuple[Event, ...]]]) -> tuple[Any, ...]:
    why, evidence = found[0]
    more = f" (and {len(found) - 1} more like this)" if len(found) > 1 else ""
    return (why + more, *evidence)


# -- how sentences say it --------------------------------------------------------------------


def when(event: Event) -> str:
    """`at 3.204 s`."""
    return f"at {event.at:.3f} s"


def span(seconds: float) -> str:
    """A length of time that was measured: `60.0 s`, `0.52 s`."""
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"


def limit(seconds: float) -> str:
    """A length of time that is demanded: `60 s`."""
    return f"{seconds:g} s"


def times(count: int, what: str) -> str:
    """`1 dial`, `2 dials`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def listed(names: list[str], most: int = 4) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
