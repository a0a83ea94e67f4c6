"""Faults of replies: late, lost, wrong or in part."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from squall.exchange.faults.base import (
    ExchangeFault,
    Ruling,
    check_count,
    failure,
)
from squall.exchange.protocol import Op, Request, Trouble
from squall.exchange.settings import Seconds

if TYPE_CHECKING:
    from squall.exchange.core import Exchange


_SPELT = re.compile(r"[/._A-Z]")  # no kind of request has any of these in its name


@dataclass(frozen=True)
class _RequestFault(ExchangeFault):
    """A fault of the replies to one kind of request.

    `method` is any, auth, subscribe, unsubscribe, heartbeat, test, order, cancel, other, or a
    method of the venue as it is spelt there.
    """

    method: str = "any"

    def __post_init__(self) -> None:
        known = {"any", *Op}
        if self.method not in known and not _SPELT.search(self.method):
            raise ValueError(
                f"'{self.method}' is no kind of request. Known: {', '.join(sorted(known))};"
                " or a method as the venue spells it, like private/buy or order.place"
            )

    def concerns(self, request: Request) -> bool:
        """Whether the request is of that kind."""
        logs_in = self.method == Op.AUTH and request.logs_in
        return logs_in or self.method in ("any", request.op, request.method)


@dataclass(frozen=True)
class DelayAck(_RequestFault):
    """Requests of one kind take effect and are answered `delay` later than usual."""

    delay: Seconds = 2.0

    name: ClassVar[str] = "delay_ack"

    def __post_init__(self) -> None:
        _RequestFault.__post_init__(self)
        if self.delay <= 0:
            raise ValueError(f"delay is {self.delay}; it must be more than 0")

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """Later."""
        return Ruling(delay=self.delay) if self.concerns(request) else None


@dataclass(frozen=True)
class DropAck(_RequestFault):
    """Requests of one kind are swallowed: never answered and, unless `carried_out`, not done."""

    times: int | None = 1
    carried_out: bool = False

    name: ClassVar[str] = "drop_ack"

    def __post_init__(self) -> None:
        _RequestFault.__post_init__(self)
        check_count("times", self.times)

    @property
    def uses(self) -> int | None:
        """Over after `times` requests."""
        return self.times

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """Never."""
        if not self.concerns(request):
            return None
        return Ruling(swallowed=True, carried_out=self.carried_out)


@dataclass(frozen=True)
class ErrorAck(_RequestFault):
    """Requests of one kind fail with an error; without `code`, with the venue's internal error."""

    code: int | None = None
    message: str = ""
    times: int | None = 1

    name: ClassVar[str] = "error_ack"

    def __post_init__(self) -> None:
        _RequestFault.__post_init__(self)
        check_count("times", self.times)

    @property
    def uses(self) -> int | None:
        """Over after `times` requests."""
        return self.times

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """An error."""
        if not self.concerns(request):
            return None
        return Ruling(error=failure(exchange, self.code, self.message, Trouble.INTERNAL))


@dataclass(frozen=True)
class PartialAck(ExchangeFault):
    """The last `missing` channels of a subscribe are left out of its ack and are not served.

    Deribit: "subscription may fail without this error, please check the list of subscribed
    channels returned" (error 11052, https://docs.deribit.com/#rpc-error-codes).
    """

    missing: int = 1
    times: int | None = 1

    name: ClassVar[str] = "partial_ack"

    def __post_init__(self) -> None:
        check_count("missing", self.missing)
        check_count("times", self.times)

    @property
    def uses(self) -> int | None:
        """Over after `times` subscribes."""
        return self.times

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """Fewer channels than were asked for."""
        if request.op is not Op.SUBSCRIBE or not request.channels:
            return None
        return Ruling(missing=self.missing)
