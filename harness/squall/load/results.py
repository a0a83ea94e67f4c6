"""What a storm came to, as a value: verdicts on its thresholds, and the numbers behind them.

It is computed from the storm and from `fleet.json`, which the Locust side rewrites each second: a
storm that broke off is judged by what was kept until then. The first verdict is always
`exercised`: a fleet that never was whole, or a fault that nobody felt, makes the rest unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from squall import __version__
from squall.load.storm import Storm
from squall.load.tally import MEASURES, Tally
from squall.load.thresholds import Window, metric_named
from squall.load.timeline import Phase
from squall.load.witness import Served
from squall.verdict import Outcome, Verdict, passed, unknown, worst
from squall_proxy import CutFault

FLEET = "fleet.json"
FORMAT = 1
RESULTS = "results.json"

INTERRUPTED = 130
_CODES = {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.UNKNOWN: 2}

NUMBERS = (
    "users",
    "restored",
    "dials",
    "peak_dials_per_s",
    "herd_factor",
    "failures",
    "failure_rate_5m",
    "messages",
    "messages_per_s",
)
STATISTICS = ("p50", "p95", "p99", "max", "mean")


@dataclass(frozen=True)
class Fleet:
    """`fleet.json`: how the fleet stands, or stood at the end."""

    tally: Tally = field(default_factory=Tally)
    at: float = 0.0
    """What the storm's clock shows."""

    began: bool = False
    """Whether the fleet was whole, so that the storm's clock runs."""

    ended: bool = False
    why: str = ""
    """Why the storm ended before its time, where it did."""

    users: int = 0
    """How many there are to be."""

    phases: tuple[Phase, ...] = ()
    workers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Fleet | None:
        """What lies in the folder; None where there is nothing, or nothing that can be read."""
        try:
            return cls.from_json(json.loads((folder / FLEET).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fleet:
        """Raises ValueError, KeyError or TypeError where it is none."""
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}")
        return cls(
            tally=Tally.from_json(data["tally"]),
            at=float(data["at"]),
            began=bool(data["began"]),
            ended=bool(data["ended"]),
            why=str(data["why"] or ""),
            users=int(data["users"]),
            phases=tuple(Phase.from_json(each) for each in data["phases"]),
            workers=data["workers"],
        )


@dataclass(frozen=True)
class Judged:
    """A threshold, `exercised` or `witnessed`, and what is to be said about it."""

    name: str
    verdict: Verdict
    value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Its form in results.json."""
        return {
            "threshold": self.name,
            "outcome": str(self.verdict.outcome),
            "why": self.verdict.why,
            "value": self.value,
        }


@dataclass(frozen=True)
class Result:
    """A storm that is over, one way or the other. `why` says what cut it short, if anything did."""

    storm: Storm
    fleet: Fleet
    why: str = ""
    interrupted: bool = False
    remarks: tuple[str, ...] = ()
    served: Served | None = None
    """The last that the exchange said while the storm lasted; None where it is somebody else's."""

    @property
    def window(self) -> Window:
        """The part of the storm that can be judged."""
        lasted = max(0.0, min(self.fleet.at, self.storm.duration))
        complete = not self.why and self.fleet.ended and self.fleet.at >= self.storm.duration
        return Window(lasted, complete, self.why or "it was stopped")

    @property
    def judged(self) -> tuple[Judged, ...]:
        """`exercised`, `witnessed` and every threshold; the last are unknown without a storm."""
        window, tally = self.window, self.fleet.tally
        seen = exercised(self.storm, self.fleet, window)
        judged = [Judged("exercised", seen)]
        if self.served is not None:
            verdict = self.served.judge(tally, len(self.storm.wanted), window.until)
            if not window.complete:
                verdict = unknown(f"{verdict.why}; the storm ended early: {window.why}")
            judged.append(Judged("witnessed", verdict))
        for threshold in self.storm.thresholds:
            if not self.fleet.began:
                judged.append(Judged(str(threshold), unknown("the storm never began")))
                continue
            verdict = threshold.judge(tally, window)
            if verdict.outcome is Outcome.PASS and seen.outcome is not Outcome.PASS:
                verdict = unknown(f"{verdict.why}, but nothing was exercised")
            judged.append(Judged(str(threshold), verdict, threshold.measured(tally, window.until)))
        return tuple(judged)

    @property
    def outcome(self) -> Outcome:
        """The worst of all verdicts."""
        return worst(each.verdict.outcome for each in self.judged)

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 2 unknown, 130 interrupted."""
        return INTERRUPTED if self.interrupted else _CODES[self.outcome]

    def numbers(self) -> dict[str, float | None]:
        """Every metric that a reader may look for, by its name in thresholds."""
        return {name: metric_named(name).of(self.fleet.tally, self.window.until) for name in _all()}

    def as_json(self) -> dict[str, Any]:
        """Its form in results.json."""
        return {
            "format": 1,
            "squall": __version__,
            "storm": self.storm.as_dict(),
            "outcome": str(self.outcome),
            "exit_code": self.exit_code,
            "interrupted": self.interrupted,
            "complete": self.window.complete,
            "why": self.why,
            "seconds": self.window.until,
            "judged": [each.as_json() for each in self.judged],
            "numbers": self.numbers(),
            "reasons": dict(self.fleet.tally.reasons),
            "phases": [phase.as_json() for phase in self.fleet.phases],
            "workers": dict(self.fleet.workers),
            "remarks": list(self.remarks),
        }

    def write(self, folder: Path) -> None:
        """Write results.json."""
        text = json.dumps(self.as_json(), indent=2, ensure_ascii=False)
        (folder / RESULTS).write_text(text + "\n", encoding="utf-8")


def _all() -> Iterator[str]:
    yield from NUMBERS
    yield from (f"{measure}_{statistic}" for measure in MEASURES for statistic in STATISTICS)


def exercised(storm: Storm, fleet: Fleet, window: Window) -> Verdict:
    """The whole fleet was served, every step was taken, and who was to be cut off was."""
    tally = fleet.tally
    if not fleet.began:
        return unknown(
            f"the fleet never was whole: {tally.whole():,} of {storm.users:,} users were served"
            + (f"; {fleet.why}" if fleet.why else "")
        )
    taken = {(phase.do, phase.at) for phase in fleet.phases}
    for step in storm.steps:
        if (step.do, step.at) not in taken or step.at > window.until:
            return unknown(f"{step.do} at {step.at:g} s never came: {window.why}")
    losses = tally.total("lost", 0.0, window.until)
    cuts = [step for step in storm.steps if isinstance(step.action, CutFault)]
    if cuts and not losses:
        return unknown(f"{cuts[0].do} at {cuts[0].at:g} s was felt by nobody")
    whole = f"{tally.whole(0.0):,} users were whole when the storm began"
    return passed(f"{whole}; {losses:,} losses followed" if losses else whole)
