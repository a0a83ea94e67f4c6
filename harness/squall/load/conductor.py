"""How a storm is led: the fleet gathers, then the storm's clock runs, then it is over.

    gathering ──every user is whole──▶ storm ──duration──▶ over
        └──────── patience ────────▶ over, and why ◀── a worker, the line is lost

It is told the time and how the fleet stands, and answers with the faults to order. Times come in on
the test's clock, which began with the test. The storm's clock shows 0 at the first whole second of
the test's clock after the fleet was whole: counts, kept by tenths and seconds, can then be moved
from one clock to the other. No I/O.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from squall.load.storm import Storm, StormStep
from squall.load.timeline import Phase, Timeline


@dataclass(frozen=True)
class Fleet:
    """How the fleet stands: users that run, users that are whole, and workers that are gone."""

    users: int
    whole: int
    lost_workers: Sequence[str] = ()


class Conductor:
    """Leads one storm, once. `began` is when, on the test's clock; `why` it ended too early."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.began: float | None = None
        self.over = False
        self.why = ""
        self._timeline = Timeline(storm)

    @property
    def phases(self) -> list[Phase]:
        """What was ordered, on the storm's clock."""
        return self._timeline.phases

    def at(self, now: float) -> float | None:
        """The storm's clock; None before the fleet was whole."""
        return None if self.began is None else now - self.began

    def load(self, now: float) -> tuple[int, float]:
        """How many users there are to be, and how many come or go each second."""
        at = self.at(now)
        if at is None:
            return self.storm.users, self.storm.spawn_rate
        return self._timeline.load(at)

    def look(self, now: float, fleet: Fleet) -> tuple[StormStep, ...]:
        """The faults to order now; afterwards look whether it is `over`."""
        if self.over:
            return ()
        if fleet.lost_workers:
            self.end(_lost(fleet.lost_workers))
            return ()
        if self.began is None and not self._gathered(now, fleet):
            return ()
        at = self.at(now)
        assert at is not None
        if self._timeline.over(at):
            self.end("")
            return ()
        return self._timeline.due(at)

    def end(self, why: str) -> None:
        """It is over; `why`, where that is too early."""
        if not self.over:
            self.over, self.why = True, why

    def _gathered(self, now: float, fleet: Fleet) -> bool:
        if min(fleet.users, fleet.whole) >= self.storm.users:
            self.began = float(math.ceil(now))
            return True
        if now > self.storm.build_up:
            self.end(
                f"the storm never began: {now:.0f} s after the start {fleet.whole:,} of "
                f"{self.storm.users:,} users were connected and served. Is the exchange up, and "
                f"does it let so many in?"
            )
        return False


def _lost(workers: Sequence[str]) -> str:
    count = f"{len(workers)} workers are" if len(workers) > 1 else "a worker is"
    return f"{count} gone in mid-storm, and their users with them: {', '.join(workers)}"
