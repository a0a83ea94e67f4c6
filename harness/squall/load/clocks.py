"""The master's clock as a worker sees it, so that a storm has one time on many machines.

Cristian's algorithm (F. Cristian, "Probabilistic clock synchronization", 1989): ask for the time,
take it that the answer was read off half-way, and trust the quickest answer most. It is wrong by at
most half of the quickest round trip. Wall clocks are not needed, and need not agree.
"""

from __future__ import annotations

import math


class Offset:
    """What to add to this process's clock for the master's. Zero until the first answer."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.error = math.inf

    def answered(self, asked: float, theirs: float, now: float) -> None:
        """The master read `theirs` between `asked` and `now`, which are of this process's clock."""
        error = (now - asked) / 2
        if error <= self.error:
            self.error = error
            self.seconds = theirs - (asked + now) / 2
