"""Faults of data: silence, gaps, duplicates, messages out of order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from squall.exchange.faults.base import (
    ExchangeFault,
    check_count,
)

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.feeds import Feed
    from squall.exchange.injection import Injection
    from squall.exchange.protocol import Message


@dataclass(frozen=True)
class _ChannelFault(ExchangeFault):
    """A fault of one channel: the named one, or the first one served (of books, where chained)."""

    channel: str | None = None

    prefers_books: ClassVar[bool] = True

    def choose(self, exchange: Exchange, injection: Injection) -> tuple[str, ...]:
        """The channel concerned; it stays the same once it is chosen."""
        if not injection.chosen:
            injection.chosen = self._pick(exchange)[:1]
        return injection.chosen

    def _pick(self, exchange: Exchange) -> tuple[str, ...]:
        if self.channel is not None:
            return (self.channel,)
        served = exchange.broadcast.served()
        books = [channel for channel in served if exchange.dialect.kind(channel) == "book"]
        return tuple(books if books and self.prefers_books else served)


@dataclass(frozen=True)
class StallChannel(_ChannelFault):
    """`count` channels fall silent while all others, acks and heartbeats go on."""

    count: int = 1

    name: ClassVar[str] = "stall_channel"
    prefers_books: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_count("count", self.count)

    def choose(self, exchange: Exchange, injection: Injection) -> tuple[str, ...]:
        """The named channel, or the first ones served, up to `count`."""
        if len(injection.chosen) < self.count:
            others = (c for c in exchange.broadcast.served() if c not in injection.chosen)
            wanted = (*injection.chosen, *self._pick(exchange), *others)
            injection.chosen = tuple(dict.fromkeys(wanted))[: self.count]
        return injection.chosen

    def silences(self, exchange: Exchange, injection: Injection, channel: str) -> bool:
        """Nothing at all, not even a snapshot."""
        return channel in self.choose(exchange, injection)


@dataclass(frozen=True)
class Gap(_ChannelFault):
    """`count` messages of a channel are lost, so that its numbers do not chain."""

    count: int = 1

    name: ClassVar[str] = "gap"

    def __post_init__(self) -> None:
        check_count("count", self.count)

    @property
    def uses(self) -> int | None:
        """One gap."""
        return 1

    def renumber(self, exchange: Exchange, injection: Injection, feed: Feed) -> list[int] | None:
        """The message after the lost ones."""
        chosen = self.choose(exchange, injection)
        if feed.channel not in chosen or not exchange.broadcast.flowing(feed.channel):
            return None
        return [feed.advance(self.count + 1)]


@dataclass(frozen=True)
class Dup(_ChannelFault):
    """`count` messages of a channel are sent twice."""

    count: int = 1

    name: ClassVar[str] = "dup"

    def __post_init__(self) -> None:
        check_count("count", self.count)

    @property
    def uses(self) -> int | None:
        """Over after `count` messages."""
        return self.count

    def renumber(self, exchange: Exchange, injection: Injection, feed: Feed) -> list[int] | None:
        """The same message, and again."""
        if feed.channel not in self.choose(exchange, injection):
            return None
        return [feed.advance()] * 2


@dataclass(frozen=True)
class Reorder(_ChannelFault):
    """Two messages of a channel change places."""

    name: ClassVar[str] = "reorder"

    @property
    def uses(self) -> int | None:
        """One swap."""
        return 1

    def renumber(self, exchange: Exchange, injection: Injection, feed: Feed) -> list[int] | None:
        """The one after the next, then the next."""
        if feed.channel not in self.choose(exchange, injection):
            return None
        later = feed.advance(2)
        return [later, later - 1]


@dataclass(frozen=True)
class _BookFault(_ChannelFault):
    """A fault of one book: the named one, or the first one served."""

    @property
    def uses(self) -> int | None:
        """Once."""
        return 1

    def strikes(self, exchange: Exchange, injection: Injection, feed: Feed) -> bool:
        """Whether this is the book, and somebody follows it."""
        chosen = feed.channel in self.choose(exchange, injection)
        is_book = exchange.dialect.kind(feed.channel) == "book"
        return chosen and is_book and exchange.broadcast.flowing(feed.channel)


@dataclass(frozen=True)
class RestartBook(_BookFault):
    """The service behind a book restarts: a snapshot comes unasked, and its numbers begin anew.

    Bybit: a snapshot whose `u` is 1 (bybit-exchange/docs, v5/websocket/public/orderbook).
    """

    name: ClassVar[str] = "restart_book"

    def alter(
        self, exchange: Exchange, injection: Injection, feed: Feed, number: int, message: Message
    ) -> Message | None:
        """A snapshot."""
        if not self.strikes(exchange, injection, feed):
            return None
        feed.restarted = number
        return exchange.dialect.snapshot(exchange, feed.channel, number)


@dataclass(frozen=True)
class BadChecksum(_BookFault):
    """One message of a book has a checksum that does not fit (Kraken)."""

    name: ClassVar[str] = "bad_checksum"

    def alter(
        self, exchange: Exchange, injection: Injection, feed: Feed, number: int, message: Message
    ) -> Message | None:
        """The same with another checksum."""
        if not self.strikes(exchange, injection, feed):
            return None
        return exchange.dialect.with_bad_checksum(message)
