"""Durations as counts on a logarithmic scale: they add up, and percentiles stay true.

A value falls into the bucket between two powers of `GROWTH`, and is later told as the one number
that is at most `ERROR` away from both ends: DDSketch (Masson, Rim, Lee: "DDSketch: a fast and
fully-mergeable quantile sketch with relative-error guarantees", VLDB 2019). Averages of
percentiles, which workers could send instead, would mean nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

ERROR = 0.01
"""A percentile is wrong by at most this part of itself."""

GROWTH = (1 + ERROR) / (1 - ERROR)
LEAST = 1e-6
MOST = 1e6
"""Seconds. What lies outside is counted as if it were this: there are 1,382 buckets at most."""

_LOG = math.log(GROWTH)


class Histogram:
    """How long something took, each time it happened, in seconds."""

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.least = math.inf
        self.most = 0.0
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """It happened once more. What is below 0 (two clocks that disagree) counts as 0."""
        seconds = max(0.0, seconds)
        self.count += 1
        self.sum += seconds
        self.least = min(self.least, seconds)
        self.most = max(self.most, seconds)
        self._buckets[_bucket(seconds)] += 1

    def merge(self, other: Histogram) -> None:
        """Add all that another one has counted."""
        self.count += other.count
        self.sum += other.sum
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        self._buckets.update(other._buckets)

    @property
    def mean(self) -> float | None:
        """The average, exactly; None where nothing was measured."""
        return self.sum / self.count if self.count else None

    def percentile(self, percent: float) -> float | None:
        """The least value that `percent` % of all do not exceed, by nearest rank; None of none.

        It is at most 1 % off; 0 and 100 are exact.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(percent / 100 * self.count - 1e-9))
        if percent <= 0:
            return self.least
        if rank == self.count:
            return self.most
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(self.most, max(self.least, _value(bucket)))
        raise AssertionError("the buckets hold fewer than were counted")

    def bars(self) -> Iterator[tuple[float, float, int]]:
        """From where to where, and how many: the buckets that are not empty, in order."""
        for bucket in sorted(self._buckets):
            yield GROWTH ** (bucket - 1), GROWTH**bucket, self._buckets[bucket]

    def as_json(self) -> dict[str, Any]:
        """Its form in JSON; `from_json` reads it again."""
        if not self.count:
            return {"count": 0}
        return {
            "count": self.count,
            "sum": self.sum,
            "min": self.least,
            "max": self.most,
            "buckets": {str(bucket): self._buckets[bucket] for bucket in sorted(self._buckets)},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """The histogram that was written. Raises KeyError, TypeError or ValueError."""
        made = cls()
        if data["count"]:
            made.count, made.sum = int(data["count"]), float(data["sum"])
            made.least, made.most = float(data["min"]), float(data["max"])
            made._buckets.update({int(key): int(n) for key, n in data["buckets"].items()})
        return made


def _bucket(seconds: float) -> int:
    return math.ceil(math.log(min(MOST, max(LEAST, seconds))) / _LOG)


def _value(bucket: int) -> float:
    """What is `ERROR` away from both ends of the bucket."""
    return 2 * GROWTH**bucket / (GROWTH + 1)
