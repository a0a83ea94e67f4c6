"""Faults of tokens and credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from squall.exchange.faults.base import (
    ExchangeFault,
    Ruling,
    check_count,
    failure,
    injected,
)
from squall.exchange.protocol import Request, Trouble
from squall.exchange.settings import check_close_code

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.injection import Injection


@dataclass(frozen=True)
class ExpireToken(ExchangeFault):
    """Every access token expires now, before its time; refresh tokens stay good."""

    name: ClassVar[str] = "expire_token"

    def begin(self, exchange: Exchange, injection: Injection) -> None:
        """Expire them, and be over."""
        for session in exchange.account.expire_tokens():
            injection.bite(session.number)
        injection.heal()


@dataclass(frozen=True)
class Revoke(ExchangeFault):
    """The credentials are withdrawn: live sessions are closed and every login fails."""

    code: int = 1008

    name: ClassVar[str] = "revoke"

    def __post_init__(self) -> None:
        check_close_code(self.code)

    def begin(self, exchange: Exchange, injection: Injection) -> None:
        """Close the sessions that had logged in."""
        for session in exchange.account.withdraw():
            injection.bite(session.number)
            exchange.close(session, self.code, "API key revoked")

    def end(self, exchange: Exchange, injection: Injection) -> None:
        """The credentials are good again."""
        exchange.account.withdrawn = False

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """No login succeeds."""
        if not request.logs_in:
            return None
        return Ruling(error=injected(exchange.dialect.trouble(Trouble.BAD_CREDENTIALS)))


@dataclass(frozen=True)
class RejectAuth(ExchangeFault):
    """Logins fail with an error code; `times` bounds how many."""

    code: int | None = None
    times: int | None = None

    name: ClassVar[str] = "reject_auth"

    def __post_init__(self) -> None:
        check_count("times", self.times)

    @property
    def uses(self) -> int | None:
        """Over after `times` logins."""
        return self.times

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """A login fails."""
        if not request.logs_in:
            return None
        return Ruling(error=failure(exchange, self.code, "", Trouble.BAD_CREDENTIALS))
