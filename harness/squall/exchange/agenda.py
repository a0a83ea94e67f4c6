"""What is to be done later: one queue for everything that the exchange waits for."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Agenda:
    """Deeds by the time at which they fall due; those of one instant keep their order."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def deadline(self) -> float | None:
        """When the next deed falls due."""
        return self._entries[0][0] if self._entries else None

    def at(self, due: float, deed: Callable[[], None]) -> None:
        """Do this then. A deed checks for itself whether it is still wanted."""
        heapq.heappush(self._entries, (due, next(self._order), deed))

    def run(self, now: float) -> None:
        """Do all that has fallen due."""
        while self._entries and self._entries[0][0] <= now:
            heapq.heappop(self._entries)[2]()
