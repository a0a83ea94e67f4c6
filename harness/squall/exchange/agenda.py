"""What is to be done later: one queue for everything that the exchange waits for."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from squall.exchange.session import Session

_FEW = 1024


class Agenda:
    """Deeds by the time at which they fall due; those of one instant keep their order.

    A deed that is `about` a connection is not wanted any more once that is closed. It stays where
    it is until there are twice as many deeds as were wanted last, so that a storm of reconnects
    leaves no trail of checks that fall due in a quarter of an hour.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None], Session | None]] = []
        self._order = itertools.count()
        self._tidy_at = _FEW

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def deadline(self) -> float | None:
        """When the next deed falls due."""
        return self._entries[0][0] if self._entries else None

    def at(self, due: float, deed: Callable[[], None], about: Session | None = None) -> None:
        """Do this then. A deed checks for itself whether it is still wanted."""
        heapq.heappush(self._entries, (due, next(self._order), deed, about))
        if len(self._entries) > self._tidy_at:
            self._tidy()

    def run(self, now: float) -> None:
        """Do all that has fallen due."""
        while self._entries and self._entries[0][0] <= now:
            heapq.heappop(self._entries)[2]()

    def _tidy(self) -> None:
        self._entries = [each for each in self._entries if each[3] is None or each[3].open]
        heapq.heapify(self._entries)
        self._tidy_at = max(_FEW, 2 * len(self._entries))
