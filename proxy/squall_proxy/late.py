"""What rules have put off: messages and ends of directions, until they are due."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from squall_proxy.faults.base import WAYS, Way
from squall_proxy.messages import Message


class Late(NamedTuple):
    """A message that leaves when it is due, on behalf of a rule; without one, the end.

    Number 0 is nobody's: it is late because something before it is.
    """

    due: float
    order: int
    number: int
    way: Way
    message: Message | None


class LateQueue:
    """All that is late in both directions, the first due first."""

    def __init__(self) -> None:
        self._heap: list[Late] = []
        self._order = itertools.count()
        self._bytes: dict[Way, int] = dict.fromkeys(WAYS, 0)

    def __bool__(self) -> bool:
        return bool(self._heap)

    def __iter__(self) -> Iterator[Late]:
        return iter(self._heap)

    @property
    def due(self) -> float | None:
        """When the first leaves; None where nothing does by itself."""
        return self._heap[0].due if self._heap and self._heap[0].due < math.inf else None

    def bytes(self, way: Way) -> int:
        """How much of this direction is late."""
        return self._bytes[way]

    def has(self, way: Way) -> bool:
        """Something of this direction is late."""
        return any(each.way == way for each in self._heap)

    def last_due(self, way: Way) -> float | None:
        """When the last of this direction leaves; None where nothing does by itself."""
        dues = [each.due for each in self._heap if each.way == way and each.due < math.inf]
        return max(dues, default=None)

    def put(self, due: float, number: int, way: Way, message: Message | None) -> None:
        """Let this leave when it is due, behind what is due at the same time."""
        heapq.heappush(self._heap, Late(due, next(self._order), number, way, message))
        self._bytes[way] += len(message.wire) if message else 0

    def pop(self, now: float) -> Late | None:
        """The first that is due by now."""
        if not self._heap or self._heap[0].due > now:
            return None
        return self._out(heapq.heappop(self._heap))

    def take(self, wanted: Callable[[Late], bool]) -> list[Late]:
        """Those that are wanted, in the order in which they came."""
        taken = [self._out(each) for each in self._heap if wanted(each)]
        self._heap = [each for each in self._heap if not wanted(each)]
        heapq.heapify(self._heap)
        return sorted(taken, key=lambda late: late.order)

    def _out(self, late: Late) -> Late:
        self._bytes[late.way] -= len(late.message.wire) if late.message else 0
        return late
