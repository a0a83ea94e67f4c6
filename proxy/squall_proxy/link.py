"""One direction of a connection as a queue: bytes in flight, in order, and the filters on them.

A fault on a stream of bytes is a function from a chunk to chunks. It may move `due`, the time
before which a chunk must not leave, or cut it into smaller ones, and nothing else: what arrived
stays in the queue as it arrived until it has left. So changing faults is an assignment, and no
change can lose a byte or let one overtake another. There is no I/O and no clock here; `now` is
an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import NamedTuple


class End(Enum):
    """How a stream ends. It queues behind the bytes before it, as on the wire."""

    FIN = "fin"
    RST = "rst"


class Chunk(NamedTuple):
    """Bytes, or the end of the stream, that may leave from `due` on; infinity holds them."""

    data: bytes | End
    due: float


Filter = Callable[[Chunk], Iterable[Chunk]]
Mark = Callable[[], None]
Payload = bytes | End | Mark


class Link:
    """What one direction has taken in and not yet passed on.

    Filters are applied to the head of the queue only, as late as can be: each reckons from the
    time at which a chunk arrived, so the outcome is the same, and a chunk cut into a million
    pieces never stands in memory as a million pieces.
    """

    __slots__ = ("_bitten", "_filters", "_next", "_pieces", "_queue", "_sent", "bites", "held")

    def __init__(self) -> None:
        self.held = 0
        self.bites: list[int] = []
        self._queue: deque[tuple[float, Payload]] = deque()
        self._filters: tuple[tuple[int, Filter], ...] = ()
        self._bitten: set[int] = set()
        self._forget_head()

    def _forget_head(self) -> None:
        self._pieces: Iterator[Chunk] | None = None
        self._next: Chunk | None = None
        self._sent = 0

    @property
    def empty(self) -> bool:
        """Nothing is in flight."""
        return not self._queue

    @property
    def clear(self) -> bool:
        """Nothing is in flight and no filter is set: bytes may bypass the queue."""
        return not self._queue and not self._filters

    def put(self, payload: Payload, now: float) -> None:
        """Take in bytes, an end, or a mark: a call to make once all before it has left."""
        if isinstance(payload, bytes):
            if not payload:
                return
            self.held += len(payload)
        self._queue.append((now, payload))

    def due(self) -> float | None:
        """When the next piece may leave, or None where the queue is empty."""
        if not self._queue:
            return None
        if self._next is None:
            if self._pieces is None:
                self._pieces = self._filtered(*self._queue[0])
            self._next = next(self._pieces)
        return self._next.due

    def pop(self, now: float) -> Payload | None:
        """The next piece that may leave by now, or None."""
        due = self.due()
        if due is None or due > now:
            return None
        payload = self._queue[0][1]
        if isinstance(payload, bytes):
            assert self._next is not None
            piece, self._next = self._next.data, None
            assert isinstance(piece, bytes)
            self._sent += len(piece)
            self.held -= len(piece)
            if self._sent < len(payload):
                return piece
            payload = piece
        self._queue.popleft()
        self._forget_head()
        return payload

    def set_filters(self, filters: Iterable[tuple[int, Filter]]) -> None:
        """Let these filters, each under the number of its fault, act from now on.

        They act on all that is still in flight as if they had been there when it arrived.
        """
        self._filters = tuple(filters)
        if self._sent:
            arrived, payload = self._queue[0]
            assert isinstance(payload, bytes)
            self._queue[0] = (arrived, payload[self._sent :])
        self._forget_head()

    def drop(self) -> int:
        """Forget the bytes and marks in flight, but not the ends; how many bytes that were."""
        dropped, self.held = self.held, 0
        self._queue = deque(item for item in self._queue if isinstance(item[1], End))
        self._forget_head()
        return dropped

    def _filtered(self, arrived: float, payload: Payload) -> Iterator[Chunk]:
        if not isinstance(payload, bytes | End):
            return iter((Chunk(b"", arrived),))
        chunks = iter((Chunk(payload, arrived),))
        for number, apply in self._filters:
            chunks = self._through(number, apply, chunks)
        return chunks

    def _through(self, number: int, apply: Filter, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            for piece in apply(chunk):
                if number not in self._bitten and piece != chunk:
                    self._bitten.add(number)
                    self.bites.append(number)
                yield piece
