"""What the consumer misses: gaps and duplicates, told by the exchange's own numbers.

- An incremental book chains: `prev_change_id` of a change is the `change_id` before it. After a
  gap the book is wrong until the next snapshot, so the channel is subscribed anew and its changes
  are withheld until then.
- Trades count: `trade_seq` rises by one, per instrument.
- Everything else has no number, or is a complete image, and passes.

Numbers outlive connections: the first message of a new one tells what was missed meanwhile.
https://docs.deribit.com/subscriptions/orderbook/bookinstrument_nameinterval
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """What to do with a message.

    `data` is what the consumer has not seen yet; None where nothing is left to deliver.
    `resynchronise`: the channel must be subscribed anew.
    """

    data: Any
    seq: int | None = None
    gap: bool = False
    resynchronise: bool = False


NOTHING = Reading(None)


@dataclass(slots=True)
class _Book:
    last: int
    in_sync: bool = False


@dataclass(slots=True)
class _Trades:
    last: int
    timestamp: float


class Sequences:
    """The last number seen of each channel."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}
        self._trades: dict[tuple[str, str], _Trades] = {}
        self.out_of_sync: set[str] = set()

    def disconnected(self) -> None:
        """A new subscription begins with a snapshot; the numbers are kept for the comparison."""
        for book in self._books.values():
            book.in_sync = False
        self.out_of_sync.clear()

    def forget(self, channel: str) -> None:
        """The consumer no longer wants this channel: what it misses of it is no gap."""
        self._books.pop(channel, None)
        self.out_of_sync.discard(channel)
        for key in [key for key in self._trades if key[0] == channel]:
            del self._trades[key]

    def read(self, channel: str, data: Any) -> Reading:
        """Compare a message with those before it."""
        if channel.startswith("trades.") and isinstance(data, list):
            return self._read_trades(channel, data)
        if channel.startswith("book.") and isinstance(data, Mapping):
            return self._read_book(channel, data)
        return Reading(data)

    def _read_book(self, channel: str, data: Mapping[str, Any]) -> Reading:
        seq, previous = data.get("change_id"), data.get("prev_change_id")
        if not isinstance(seq, int):
            return Reading(data)
        if "type" not in data and previous is None:
            return Reading(data, seq)  # A grouped book: each message is a complete image.
        book = self._books.get(channel)
        if data.get("type") == "snapshot" or previous is None:
            self._books[channel] = _Book(seq, in_sync=True)
            self.out_of_sync.discard(channel)
            return Reading(data, seq, gap=book is not None and book.last != seq)
        if channel in self.out_of_sync or (book is not None and book.in_sync and seq <= book.last):
            return NOTHING
        if book is not None and book.in_sync and previous == book.last:
            book.last = seq
            return Reading(data, seq)
        self._books[channel] = _Book(seq)
        self.out_of_sync.add(channel)
        return Reading(data, seq, gap=True, resynchronise=True)

    def _read_trades(self, channel: str, data: list[Any]) -> Reading:
        fresh: list[Any] = []
        gap = False
        seq: int | None = None
        for trade in data:
            found = trade.get("trade_seq") if isinstance(trade, Mapping) else None
            if not isinstance(found, int):
                fresh.append(trade)
                continue
            key = (channel, str(trade.get("instrument_name")))
            stamp = trade.get("timestamp")
            at = float(stamp) if isinstance(stamp, int | float) else 0.0
            known = self._trades.get(key)
            # A lower number with a later time is no duplicate: the exchange began to count anew.
            if known is not None and found <= known.last and at <= known.timestamp:
                continue
            gap = gap or (known is not None and found != known.last + 1)
            self._trades[key] = _Trades(found, at)
            fresh.append(trade)
            seq = found
        return Reading(fresh, seq, gap) if fresh else NOTHING
