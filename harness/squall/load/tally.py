"""What the users of a storm lived through, in numbers that add up: one tally a worker, one for all.

Nothing is averaged before it is added, so what the merged tally says is what one machine would
have said that ran all users. Counts are kept for each tenth of a second (messages for each
second), durations in histograms. An hour makes 36,000 tenths at most, a measure at most 1,382
buckets, whatever the fleet.

Times are seconds on the storm's clock, which shows 0 when the fleet was whole for the first time.
What happened before has times below 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from squall.load.histogram import Histogram

MEASURES = (
    "connect",
    "upgrade",
    "authenticate",
    "subscribe",
    "first_message",
    "outage",
    "recovery",
    "lag",
)
"""What is measured, in seconds: docs/load.md says from when to when."""

PER_SECOND = 10
"""Counts are kept for so many parts of each second."""

EVENTS = ("began", "ended", "dialled", "upgraded", "restored", "lost", "failed")
"""What is counted for each tenth of a second."""

MOST_REASONS = 50
REST = "(something else)"

_FORMAT = 1


class Tally:
    """What users lived through; `at` is always seconds on the storm's clock.

    It belongs to one thread: whoever counts also calls `take`.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Counter[int]] = {name: Counter() for name in EVENTS}
        self.messages: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        self.measures: dict[str, Histogram] = {name: Histogram() for name in MEASURES}

    # -- what happens ------------------------------------------------------------------------

    def began(self, at: float) -> None:
        """A user has begun."""
        self._count("began", at)

    def ended(self, at: float) -> None:
        """A user is no more. One that was whole is `lost` first."""
        self._count("ended", at)

    def dialled(self, at: float) -> None:
        """A user dials, whatever comes of it."""
        self._count("dialled", at)

    def upgraded(self, at: float) -> None:
        """A dial has come to a WebSocket."""
        self._count("upgraded", at)

    def restored(self, at: float) -> None:
        """A user is whole: connected, logged in where it should be, every channel confirmed."""
        self._count("restored", at)

    def lost(self, at: float) -> None:
        """A user that was whole is so no more."""
        self._count("lost", at)

    def failed(self, at: float, why: str) -> None:
        """An adapter failed by its own doing: it gave up, or crashed."""
        self._count("failed", at)
        known = why in self.reasons or len(self.reasons) < MOST_REASONS
        self.reasons[why if known else REST] += 1

    def measured(self, name: str, seconds: float, at: float) -> None:
        """Something of `MEASURES` took so long, and was over now. Raises KeyError."""
        self.measures[name].add(seconds)

    def counted(self, at: float, messages: int, size: int) -> None:
        """So many messages of `size` bytes together have come since the last count."""
        second = math.floor(at)
        self.messages[second] += messages
        self.bytes[second] += size

    def _count(self, name: str, at: float) -> None:
        self.counts[name][math.floor(at * PER_SECOND)] += 1

    # -- adding up ---------------------------------------------------------------------------

    def take(self) -> Tally:
        """All that is in it, which it forgets: what was new since the last time."""
        taken = Tally()
        taken.__dict__, self.__dict__ = self.__dict__, taken.__dict__
        return taken

    def merge(self, other: Tally) -> None:
        """Add all that another one holds."""
        for name in EVENTS:
            self.counts[name].update(other.counts[name])
        self.messages.update(other.messages)
        self.bytes.update(other.bytes)
        for why, times in other.reasons.items():
            known = why in self.reasons or len(self.reasons) < MOST_REASONS
            self.reasons[why if known else REST] += times
        for name in MEASURES:
            self.measures[name].merge(other.measures[name])

    def moved(self, seconds: float) -> Tally:
        """The same, so many seconds later: for who learns afterwards when the storm began."""
        moved = Tally()
        moved.merge(self)
        tenths, whole = round(seconds * PER_SECOND), round(seconds)
        for name in EVENTS:
            moved.counts[name] = _moved(self.counts[name], tenths)
        moved.messages = _moved(self.messages, whole)
        moved.bytes = _moved(self.bytes, whole)
        return moved

    # -- what it says ------------------------------------------------------------------------

    def total(self, name: str, since: float = -math.inf, until: float = math.inf) -> int:
        """How often something of `EVENTS` happened from `since` on and before `until`."""
        first, last = since * PER_SECOND, until * PER_SECOND
        return sum(n for tenth, n in self.counts[name].items() if first <= tenth < last)

    def users(self, at: float = math.inf) -> int:
        """How many users ran at this time."""
        return self.total("began", until=at) - self.total("ended", until=at)

    def whole(self, at: float = math.inf) -> int:
        """How many users were whole at this time."""
        return self.total("restored", until=at) - self.total("lost", until=at)

    def first(self) -> float | None:
        """When something happened for the first time; None where nothing has."""
        return min((min(c) / PER_SECOND for c in self.counts.values() if c), default=None)

    def last(self) -> float | None:
        """When something happened for the last time; None where nothing has."""
        return max(((max(c) + 1) / PER_SECOND for c in self.counts.values() if c), default=None)

    def levels(self, since: float, until: float) -> Iterator[tuple[float, int, int]]:
        """The end of each tenth of a second, how many users then ran, and how many were whole."""
        first, last = math.floor(since * PER_SECOND), math.ceil(until * PER_SECOND)
        users, whole = self.users(first / PER_SECOND), self.whole(first / PER_SECOND)
        counts = self.counts
        for tenth in range(first, last):
            users += counts["began"][tenth] - counts["ended"][tenth]
            whole += counts["restored"][tenth] - counts["lost"][tenth]
            yield (tenth + 1) / PER_SECOND, users, whole

    def within(
        self, name: str, seconds: float, since: float, until: float
    ) -> Iterator[tuple[float, int]]:
        """The end of each tenth of a second, and how often it happened in the `seconds` before.

        What happened before `since` does not count.
        """
        counts, width = self.counts[name], round(seconds * PER_SECOND)
        first, last = math.floor(since * PER_SECOND), math.ceil(until * PER_SECOND)
        window = 0
        for tenth in range(first, last):
            window += counts[tenth]
            if tenth - width >= first:
                window -= counts[tenth - width]
            yield (tenth + 1) / PER_SECOND, window

    def peak(self, name: str, since: float, until: float) -> tuple[int, float]:
        """The most that happened within a second, and when that second ended."""
        ends = self.within(name, 1.0, since, until)
        end, most = max(ends, key=lambda each: each[1], default=(since, 0))
        return most, end

    # -- on the wire and on disk -------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """Its form in JSON; `from_json` reads it again."""
        return {
            "format": _FORMAT,
            "counts": {name: _written(counts) for name, counts in self.counts.items() if counts},
            "messages": _written(self.messages),
            "bytes": _written(self.bytes),
            "reasons": dict(self.reasons),
            "measures": {name: h.as_json() for name, h in self.measures.items() if h.count},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tally:
        """The tally that was written. Raises ValueError where it is none."""
        made = cls()
        try:
            if data["format"] != _FORMAT:
                raise ValueError(f"a tally of format {data['format']!r}; {_FORMAT} is understood")
            for name, counts in data["counts"].items():
                made.counts[name].update(_read(counts))
            made.messages.update(_read(data["messages"]))
            made.bytes.update(_read(data["bytes"]))
            made.reasons.update(data["reasons"])
            for name, histogram in data["measures"].items():
                made.measures[name].merge(Histogram.from_json(histogram))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no tally: {error!r}") from None
        return made


def _moved(counts: Counter[int], by: int) -> Counter[int]:
    return Counter({key + by: n for key, n in counts.items()})


def _written(counts: Counter[int]) -> dict[str, int]:
    return {str(key): counts[key] for key in sorted(counts)}


def _read(counts: Mapping[str, int]) -> dict[int, int]:
    return {int(key): int(n) for key, n in counts.items()}
