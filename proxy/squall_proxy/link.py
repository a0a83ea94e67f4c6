"""One direction of a connection as a queue: bytes in flight, in order, and the filters on them.

A fault on a stream of bytes is a function from a chunk to chunks. It may move `due`, the time
before which a chunk must not leave, cut it into smaller ones, leave bytes out, or put an end
where bytes were: the stream breaks there. What arrived stays in the queue as it arrived until it
has left. So changing faults is an assignment, and no change can lose a byte that no fault took,
or let one overtake another. There is no I/O and no clock here; `now` is an argument.
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

    @property
    def word(self) -> str:
        """What events call it; `value` takes five times as long."""
        return "fin" if self is End.FIN else "rst"


class Chunk(NamedTuple):
    """Bytes, or the end of the stream, that may leave from `due` on; infinity holds them.

    `offset` says where in the stream they stand. A filter that counts must go by it: after a
    change of faults it sees again what it saw before and what has not left yet.
    """

    data: bytes | End
    due: float
    offset: int = 0


class Break(NamedTuple):
    """The filter of the fault `number` has ended the stream here."""

    number: int
    how: End


Filter = Callable[[Chunk], Iterable[Chunk]]
Mark = Callable[[], None]
Payload = bytes | End | Mark

# Of a chunk that the filters leave whole, nothing follows its only piece.
_NO_MORE: Iterator[Chunk] = iter(())


class Link:
    """What one direction has taken in and not yet passed on.

    Filters are applied to the head of the queue only, as late as can be: each reckons from the
    time at which a chunk arrived, so the outcome is the same, and a chunk cut into a million
    pieces never stands in memory as a million pieces.
    """

    __slots__ = (
        "_bitten",
        "_breaker",
        "_filters",
        "_next",
        "_offset",
        "_pieces",
        "_queue",
        "_sent",
        "bites",
        "filtered",
        "held",
        "lost",
    )

    def __init__(self) -> None:
        self.held = 0
        self.lost = 0  # bytes that filters left out
        self.filtered = False  # filters say what leaves when
        self.bites: list[int] = []
        self._queue: deque[tuple[float, Payload]] = deque()
        self._filters: tuple[tuple[int, Filter], ...] = ()
        self._bitten: set[int] = set()
        self._breaker = 0
        self._offset = 0
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
        return not self._queue and not self.filtered

    def put(self, payload: Payload, now: float) -> None:
        """Take in bytes, an end, or a mark: a call to make once all before it has left."""
        if isinstance(payload, bytes):
            if not payload:
                return
            self.held += len(payload)
        self._queue.append((now, payload))

    def take(self) -> Payload:
        """The head of a queue that is not empty, where there are no filters."""
        _, payload = self._queue.popleft()
        if isinstance(payload, bytes):
            size = len(payload)
            self.held -= size
            self._offset += size
        self._next = self._pieces = None
        return payload

    def due(self) -> float | None:
        """When the next piece may leave, or None where nothing is left."""
        piece = self._next or self._look()
        return piece.due if piece else None

    def _look(self) -> Chunk | None:
        """Find the next piece, past what filters have left out."""
        while self._next is None:
            if self._pieces is None:
                if not self._queue:
                    return None
                self._filter(*self._queue[0])
            else:
                self._next = next(self._pieces, None)
                if self._next is None:
                    self._finish_head()
        return self._next

    def pop(self, now: float) -> Payload | Break | None:
        """The next piece that may leave by now, or None."""
        next_piece = self._next or self._look()
        if next_piece is None:
            return None
        piece, due, _ = next_piece
        if due > now:
            return None
        payload = self._queue[0][1]
        if not isinstance(payload, bytes):
            self._finish_head()
            return payload
        self._next = None
        if not isinstance(piece, bytes):
            return Break(self._breaker, piece)
        size = len(piece)
        self._sent += size
        self._offset += size
        self.held -= size
        if self._pieces is _NO_MORE:
            self._finish_head()
        return piece

    def set_filters(self, filters: Iterable[tuple[int, Filter]]) -> None:
        """Let these filters, each under the number of its fault, act from now on.

        They act on all that is still in flight as if they had been there when it arrived.
        """
        self._filters = tuple(filters)
        self.filtered = bool(self._filters)
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

    def _finish_head(self) -> None:
        """The head of the queue has left; what of it has not was left out."""
        _, payload = self._queue.popleft()
        if isinstance(payload, bytes):
            missing = len(payload) - self._sent
            if missing:
                self.lost += missing
                self.held -= missing
                self._offset += missing
        self._pieces = self._next = None
        self._sent = 0

    def _filter(self, arrived: float, payload: Payload) -> None:
        """Put the head of the queue through the filters."""
        self._pieces = _NO_MORE
        if not isinstance(payload, bytes) and not isinstance(payload, End):
            self._next = Chunk(b"", arrived)
            return
        chunk, bitten = Chunk(payload, arrived, self._offset), self._bitten
        for at, (number, apply) in enumerate(self._filters):
            pieces = apply(chunk)
            # Most chunks stay whole, and then need no generator.
            if not isinstance(pieces, tuple) or len(pieces) != 1:
                chunks = self._seen(number, chunk, pieces)
                for number, apply in self._filters[at + 1 :]:
                    chunks = self._through(number, apply, chunks)
                self._pieces = chunks
                return
            (piece,) = pieces
            if piece is not chunk:
                if number not in bitten or piece.data is not chunk.data:
                    self._compare(number, chunk, piece)
                chunk = piece
        self._next = chunk

    def _through(self, number: int, apply: Filter, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            yield from self._seen(number, chunk, apply(chunk))

    def _seen(self, number: int, chunk: Chunk, pieces: Iterable[Chunk]) -> Iterator[Chunk]:
        none = True
        for piece in pieces:
            none = False
            self._compare(number, chunk, piece)
            yield piece
        if none:
            self._bite(number)

    def _compare(self, number: int, chunk: Chunk, piece: Chunk) -> None:
        """See what the fault has made of the chunk."""
        if piece != chunk:
            self._bite(number)
            if isinstance(piece.data, End) and not isinstance(chunk.data, End):
                self._breaker = number

    def _bite(self, number: int) -> None:
        if number not in self._bitten:
            self._bitten.add(number)
            self.bites.append(number)
