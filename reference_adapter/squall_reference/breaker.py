"""The circuit breaker: after failures in a row, no dial at all for a while, then one trial.

closed ──5 failures──▶ open ──time is over, dial──▶ half open ──stable──▶ closed
                         ▲                               │
                         └───────────failure─────────────┘
"""

from __future__ import annotations

from random import Random


class Breaker:
    """Counts failures in a row. `threshold` None never opens.

    The guide's breaker leaves half open on any one success. Here success is a connection that
    proved stable: one that is accepted and closed at once must not close the circuit.
    """

    def __init__(self, threshold: int | None, open_for: float, rng: Random) -> None:
        self.state = "closed"
        self.failures = 0
        self.open_until: float | None = None
        self._threshold = threshold
        self._open_for = open_for
        self._rng = rng

    def failed(self, now: float) -> None:
        """A dial failed, or its connection was lost before it was stable."""
        self.failures += 1
        tripped = self._threshold is not None and self.failures >= self._threshold
        if self.state == "half_open" or tripped:
            self.state = "open"
            # A bare constant would bring every adapter of an outage back in the same instant.
            self.open_until = now + self._open_for * self._rng.uniform(1.0, 1.25)

    def dialled(self) -> None:
        """The one trial of an open circuit has begun."""
        if self.state == "open":
            self.state = "half_open"
            self.open_until = None

    def succeeded(self) -> None:
        """The connection proved stable."""
        self.state = "closed"
        self.failures = 0
        self.open_until = None
