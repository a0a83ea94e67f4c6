"""Faults of the venue as a whole: its heartbeats, its manners, its opening hours."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar, Literal

from squall.exchange.faults.base import (
    Excess,
    ExchangeFault,
    Ruling,
    check_count,
    injected,
)
from squall.exchange.protocol import HttpAnswer, Request, Trouble
from squall.exchange.settings import Seconds, check_close_code

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.injection import Injection


@dataclass(frozen=True)
class NoPing(ExchangeFault):
    """The venue's heartbeats and test requests stop; everything else goes on."""

    name: ClassVar[str] = "no_ping"
    silences_heartbeats: ClassVar[bool] = True


@dataclass(frozen=True)
class TestBurst(ExchangeFault):
    """`count` test requests back to back on every connection that has a heartbeat."""

    __test__: ClassVar[bool] = False  # pytest takes what is called Test... for tests

    count: int = 5

    name: ClassVar[str] = "test_burst"

    def __post_init__(self) -> None:
        check_count("count", self.count)

    def begin(self, exchange: Exchange, injection: Injection) -> None:
        """Send them, and be over."""
        for session in exchange.live_sessions():
            if session.heartbeat is not None:
                injection.bite(session.number)
                for _ in range(self.count):
                    exchange.heartbeats.test(session, provoked=True)
        injection.heal()


@dataclass(frozen=True)
class IgnoreClose(ExchangeFault):
    """A client's Close frame is never answered and the TCP connection stays open."""

    name: ClassVar[str] = "ignore_close"
    ignores_close: ClassVar[bool] = True

    def end(self, exchange: Exchange, injection: Injection) -> None:
        """Answer the goodbyes at last."""
        for session in exchange.live_sessions():
            if session.said_goodbye:
                exchange.close(session, 1000, "")


@dataclass(frozen=True)
class Notice(ExchangeFault):
    """Planned maintenance is announced to those who subscribed to such notices; healing ends it."""

    name: ClassVar[str] = "notice"
    locks: ClassVar[bool] = True

    def begin(self, exchange: Exchange, injection: Injection) -> None:
        """Announce it."""
        for session in exchange.broadcast.announce(locked=True):
            injection.bite(session.number)

    def end(self, exchange: Exchange, injection: Injection) -> None:
        """Announce that it is over."""
        exchange.broadcast.announce(locked=False)


@dataclass(frozen=True)
class Maintenance(ExchangeFault):
    """Requests fail for `grace`, then sessions are closed; upgrades are refused with HTTP 503.

    Whom the venue tells of maintenance is told when it begins and when it is over.
    """

    grace: Seconds = 1.0
    retry_after: Seconds | None = None
    code: int = 1001

    name: ClassVar[str] = "maintenance"
    locks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_close_code(self.code)

    def begin(self, exchange: Exchange, injection: Injection) -> None:
        """Say so, and give the sessions their time."""
        exchange.broadcast.announce(locked=True)

        def close() -> None:
            for session in exchange.live_sessions() if injection.in_force else ():
                injection.bite(session.number)
                exchange.close(session, self.code, "maintenance")

        exchange.agenda.at(exchange.now + self.grace, close)

    def end(self, exchange: Exchange, injection: Injection) -> None:
        """Say that it is over."""
        exchange.broadcast.announce(locked=False)

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """Every request fails."""
        return Ruling(error=injected(exchange.dialect.trouble(Trouble.MAINTENANCE)))

    def refusal(self) -> HttpAnswer | None:
        """Nobody comes in."""
        return _refusal(503, self.retry_after)


@dataclass(frozen=True)
class Limit(ExchangeFault):
    """A client that sends more than `count` messages in any rolling `per` is closed with `code`.

    Pings and pongs count, as Binance counts them; it closes with 1008 "Too many requests"
    (https://github.com/nautechsystems/nautilus_trader/issues/5012).
    """

    count: int = 5
    per: Seconds = 1.0
    code: int = 1008

    name: ClassVar[str] = "limit"

    def __post_init__(self) -> None:
        check_count("count", self.count)
        if self.per <= 0:
            raise ValueError(f"per is {self.per}; it must be more than 0")
        check_close_code(self.code)

    def excess(self, injection: Injection, connection: int, now: float) -> Excess | None:
        """Count what arrived in the window that ends now."""
        arrivals = injection.arrivals.setdefault(connection, deque())
        arrivals.append(now)
        while arrivals[0] <= now - self.per:
            arrivals.popleft()
        return Excess(len(arrivals), self.code) if len(arrivals) > self.count else None


@dataclass(frozen=True)
class Ban(ExchangeFault):
    """Upgrades are refused with an HTTP status; live sessions go on."""

    status: Literal[429, 418, 403] = 429
    retry_after: Seconds | None = None

    name: ClassVar[str] = "ban"

    def refusal(self) -> HttpAnswer | None:
        """Nobody comes in."""
        return _refusal(self.status, self.retry_after)


def _refusal(status: int, retry_after: float | None) -> HttpAnswer:
    phrase = HTTPStatus(status).phrase
    return HttpAnswer(status, f"{status} {phrase}\n", "text/plain", retry_after)
