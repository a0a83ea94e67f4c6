"""The load of a storm as Locust wants it: so many users, so many a second.

Locust asks once a second, and only in the master. That is enough for the load; the faults are led
by `Master`, which looks ten times as often and orders them ahead of time.
"""

from __future__ import annotations

from locust import LoadTestShape

from squall.load.master import Master


class StormShape(LoadTestShape):
    """As many users as the storm has at this time."""

    use_common_options = True
    """`--users` scales the storm; Locust would warn that a shape does not read it."""

    def reset_time(self) -> None:
        """A test is about to begin: Locust's first question comes before it has."""
        super().reset_time()
        self._master.rewind()

    def tick(self) -> tuple[int, float] | None:
        """Users and spawn rate; None when the storm is over."""
        return self._master.load

    @property
    def _master(self) -> Master:
        assert self.runner is not None, "Locust attaches it"
        return Master.of(self.runner.environment)
