"""What a storm may cost: `recovery_p99 < 30s`, judged on the tally of all users.

    users                       users that ran when the storm ended
    restored                    the part of them that was whole then
    dials, peak_dials_per_s     dials since the storm began, and the most in any second
    herd_factor                 how crowded the busiest second of redials was (`herd_factor` below)
    failures, failure_rate      adapters that gave up or crashed; the part of all dials
    failure_rate_5m             the same in the worst five minutes (any number of m or s)
    messages, messages_per_s    data that arrived while it lasted
    recovery_p99                p0 to p100, mean, min or max of a measure (`tally.MEASURES`)

Nothing measured is unknown. So is all of a storm that ended early, but for what had gone too far
already: the longest recovery, or the highest peak, can only have grown.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from squall.errors import ScenarioError, did_you_mean
from squall.load.tally import MEASURES, Tally
from squall.verdict import Verdict, failed, passed, unknown

Comparison = Literal["<", "<=", ">", ">=", "=="]
Unit = Literal["", "s", "%"]

HERD = 50
"""Fewer users than this, down at once, are no herd: chance crowds small fleets."""

SPREAD = 5.0
"""Seconds over which a fleet ought to come back: RFC 6455, section 7.2.3."""


@dataclass(frozen=True)
class Window:
    """What is judged: from the storm's beginning until its end, and whether that was reached."""

    until: float
    complete: bool = True
    why: str = ""
    """Why it ended early, where it did."""


@dataclass(frozen=True)
class Threshold:
    """A metric, and what it has to be: in seconds, as a part of 1 (for 100%), or a plain number."""

    metric: str
    comparison: Comparison
    limit: float

    def __post_init__(self) -> None:
        metric_named(self.metric)
        if self.comparison not in get_args(Comparison):
            raise ScenarioError(f"'{self.comparison}' is none of {', '.join(get_args(Comparison))}")
        if not 0 <= self.limit < math.inf:
            raise ScenarioError(f"{self.metric}: {self.limit} is no limit; it must be 0 or more")

    @classmethod
    def parse(cls, text: str) -> Threshold:
        """`recovery_p99 < 30s` as a value. Raises `ScenarioError`."""
        match = _THRESHOLD.fullmatch(text.strip())
        if match is None:
            raise ScenarioError(
                f"'{text}' is no threshold; write METRIC < LIMIT, such as 'recovery_p99 < 30s' "
                f"(also <=, >, >=, ==)"
            )
        name, number, unit = match[1], match[3], match[4]
        factor = metric_named(name).factor(name, number, unit)
        return cls(name, cast(Comparison, match[2]), float(number) * factor)

    def __str__(self) -> str:
        metric = metric_named(self.metric)
        return f"{self.metric} {self.comparison} {metric.exactly(self.limit)}"

    def measured(self, tally: Tally, until: float) -> float | None:
        """What the metric was; None where nothing was measured."""
        return metric_named(self.metric).of(tally, until)

    def judge(self, tally: Tally, window: Window) -> Verdict:
        """Whether the limit was kept."""
        metric = metric_named(self.metric)
        value = metric.of(tally, window.until)
        if value is None:
            return unknown(f"{self}: {metric.why_not}")
        seen = f"{self.metric} was {metric.say(value)}{metric.basis(tally)}"
        holds = _HOLDS[self.comparison](value, self.limit)
        too_much = metric.grows and not holds and self.comparison in ("<", "<=", "==")
        if not window.complete and not (too_much and value >= self.limit):
            return unknown(f"{seen} when the storm ended early: {window.why}")
        if not holds:
            return failed(f"{seen}; it must be {self.comparison} {metric.exactly(self.limit)}")
        return passed(seen)


_THRESHOLD = re.compile(r"([A-Za-z_][\w.]*)\s*(<=|>=|==|<|>)\s*([0-9]+(?:\.[0-9]+)?)\s*(\D\S*)?")
_HOLDS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": lambda value, limit: math.isclose(value, limit, rel_tol=1e-9),
}


# -- metrics -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metric:
    """How a number comes from a tally, and how it is written."""

    of: Callable[[Tally, float], float | None]
    unit: Unit = ""
    why_not: str = "nothing of the kind was measured"
    measure: str | None = None
    grows: bool = False
    """It never falls while a storm goes on."""

    def factor(self, name: str, number: str, unit: str | None) -> float:
        """What a number of this unit is multiplied by. Raises `ScenarioError`."""
        factors, right = _UNITS[self.unit]
        if unit is None and self.unit and float(number) == 0:
            return 0.0
        if (unit or "") not in factors:
            raise ScenarioError(f"{name}: write {' or '.join(f'{number}{u}' for u in right)}")
        return factors[unit or ""]

    def exactly(self, value: float) -> str:
        """The number with its unit, as a threshold has it."""
        return f"{_plain(value * 100)}%" if self.unit == "%" else f"{_plain(value)}{self.unit}"

    def say(self, value: float) -> str:
        """The number with its unit, as short as it is telling."""
        if self.unit == "%":
            return percentage(value)
        if self.unit == "s":
            return duration(value)
        return f"{value:,.0f}" if value == int(value) or value >= 999.5 else f"{value:.3g}"

    def basis(self, tally: Tally) -> str:
        """From how many measurements it comes."""
        if self.measure is None:
            return ""
        return f" ({tally.measures[self.measure].count:,} measured)"


_UNITS: Mapping[Unit, tuple[Mapping[str, float], tuple[str, ...]]] = {
    "": ({"": 1.0, "/s": 1.0}, ("",)),
    "s": ({"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}, ("s", "ms")),
    "%": ({"%": 0.01}, ("%",)),
}


def _plain(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def percentage(part: float) -> str:
    """`99.9%`; what is not all is never shown as 100%, and what is not none never as 0%."""
    for digits in (0, 1, 2, 3):
        said = f"{part:.{digits}%}"
        if part in (0, 1) or float(said[:-1]) not in (0, 100):
            return said
    return "99.999%" if part > 0.5 else "0.001%"


def duration(seconds: float) -> str:
    """`840 ms`, `6.21 s`, `12.5 min`: three digits, in the unit that suits."""
    if seconds < 0.9995:
        return f"{_three(seconds * 1000)} ms"
    if seconds < 599.5:
        return f"{_three(seconds)} s"
    return f"{_three(seconds / 60)} min"


def _three(value: float) -> str:
    """Three digits, however many zeros are at their end."""
    return f"{value:#.3g}".rstrip(".") if 0.01 <= value < 999.5 else f"{value:,.0f}"


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def herd_factor(tally: Tally, until: float, spread: float = SPREAD) -> float | None:
    """How crowded the busiest second of redials was: 1 as it should be, `spread` for a herd.

    The most redials in any one second, over what that second would see if all users that were
    down at once came back evenly over `spread` seconds. RFC 6455, section 7.2.3 asks for a random
    delay of 0 to 5 s. A fleet of 1,000 that does it dials 200 times a second (factor 1); one that
    dials at once, or after the same pause, dials 1,000 times in one second (factor 5); one whose
    jitter is 1 s is such a herd, too. Retries count: an outage that is met with ever more dials
    has no upper bound. A user's very first dial is none. None where fewer than `HERD` were down.
    """
    down, redials = most_down(tally, until), peak_redials(tally, until)
    if down < HERD or not tally.total("lost", 0.0, until):
        return None
    return redials / (down * min(1.0, 1.0 / spread))


def most_down(tally: Tally, until: float) -> int:
    """The most users that were not whole at any one time of the storm."""
    return max((users - whole for _, users, whole in tally.levels(0.0, until)), default=0)


def peak_redials(tally: Tally, until: float) -> int:
    """The most dials in any second of the storm that were not a user's first."""
    dialled = tally.within("dialled", 1.0, 0.0, until)
    began = tally.within("began", 1.0, 0.0, until)
    return max((n - new for (_, n), (_, new) in zip(dialled, began, strict=True)), default=0)


def failure_rate(tally: Tally, until: float, window: float = math.inf) -> float | None:
    """Failures as a part of all dials; of the worst `window` seconds, or of the whole storm.

    The guide's alert is a failure rate above 10 % over five minutes. A storm that is shorter than
    the window is judged as a whole. None where nobody dialled.
    """
    width = min(window, until)
    failures = tally.within("failed", width, 0.0, until)
    dials = tally.within("dialled", width, 0.0, until)
    rates = [
        min(1.0, failed / dialled) if dialled else 1.0
        for (end, failed), (_, dialled) in zip(failures, dials, strict=True)
        if (failed or dialled) and end >= width
    ]
    return max(rates, default=None)


def _messages(tally: Tally, until: float) -> int:
    return sum(n for second, n in tally.messages.items() if 0 <= second < until)


_METRICS: Mapping[str, Metric] = {
    "users": Metric(lambda tally, until: tally.users(until)),
    "restored": Metric(
        lambda tally, until: _ratio(tally.whole(until), tally.users(until)),
        "%",
        "no user ran when the storm ended",
    ),
    "dials": Metric(lambda tally, until: tally.total("dialled", 0.0, until), grows=True),
    "peak_dials_per_s": Metric(
        lambda tally, until: tally.peak("dialled", 0.0, until)[0], grows=True
    ),
    "herd_factor": Metric(herd_factor, "", f"never were {HERD} users or more down at once"),
    "failures": Metric(lambda tally, until: tally.total("failed", 0.0, until), grows=True),
    "failure_rate": Metric(failure_rate, "%", "nobody dialled"),
    "messages": Metric(_messages),
    "messages_per_s": Metric(lambda tally, until: _ratio(_messages(tally, until), until)),
}

_STATISTICS: Mapping[str, Callable[[Tally, str], float | None]] = {
    "mean": lambda tally, measure: tally.measures[measure].mean,
    "min": lambda tally, measure: tally.measures[measure].percentile(0),
    "max": lambda tally, measure: tally.measures[measure].percentile(100),
}


def metric_named(name: str) -> Metric:
    """The metric of this name. Raises `ScenarioError`."""
    if name in _METRICS:
        return _METRICS[name]
    if match := re.fullmatch(r"failure_rate_([1-9][0-9]{0,4})(m|s)", name):
        seconds = int(match[1]) * (60.0 if match[2] == "m" else 1.0)
        return Metric(
            lambda tally, until: failure_rate(tally, until, seconds), "%", "nobody dialled"
        )
    measure, _, statistic = name.rpartition("_")
    if measure in MEASURES:
        why_not = f"no {measure} was measured"
        if statistic in _STATISTICS:
            of = _STATISTICS[statistic]
            grows = statistic == "max"
            return Metric(lambda tally, until: of(tally, measure), "s", why_not, measure, grows)
        match = re.fullmatch(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?|100)", statistic)
        if match:
            percent = float(match[1])
            return Metric(
                lambda tally, until: tally.measures[measure].percentile(percent),
                "s",
                why_not,
                measure,
            )
        raise ScenarioError(
            f"unknown metric '{name}': {measure}_ is followed by p0 to p100, mean, min or max"
        )
    raise ScenarioError(f"unknown metric '{name}'.{did_you_mean(name, _KNOWN)}")


_KNOWN = (*_METRICS, "failure_rate_5m", *(f"{measure}_p99" for measure in MEASURES))
