"""Who may come in: which paths there are, how many connections, how many attempts at them.

Venues count attempts in a rolling window and shut the door on who goes over it: Binance 300 in
5 minutes, Kraken 150 in 10, Bybit 500 in 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from squall.exchange.protocol import HttpAnswer
from squall.exchange.session import Window

if TYPE_CHECKING:
    from squall.exchange.core import Exchange

_NOT_FOUND = HttpAnswer(404, "not found\n", "text/plain")
_TOO_MANY = HttpAnswer(429, "too many connections\n", "text/plain")


class Admission:
    """The venue's door."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._attempts: dict[str, Window] = {}
        self._banned_until: dict[str, float] = {}

    def refusal(self, number: int, path: str, address: str) -> HttpAnswer | None:
        """The answer to a client that may not come in; None where it may."""
        exchange = self._exchange
        if not exchange.dialect.serves(path.partition("?")[0]):
            return _NOT_FOUND
        if ban := self._ban(number, address):
            return ban
        for injection in exchange.injections:
            if refusal := injection.fault.refusal():
                injection.bite(number)
                return refusal
        limit = exchange.manners.connections_per_address
        count = 1 + exchange.crowd[address]
        if limit is not None and count > limit:
            exchange.observe("limit_exceeded", number, rule="connections per address", count=count)
            return _TOO_MANY
        return None

    def _ban(self, number: int, address: str) -> HttpAnswer | None:
        exchange, manners = self._exchange, self._exchange.manners
        if manners.attempt_limit is None:
            return None
        refusal = HttpAnswer(manners.ban_status, "access too frequent\n", "text/plain")
        if exchange.now < self._banned_until.get(address, exchange.now):
            return refusal
        window = self._attempts.setdefault(address, Window(manners.attempt_window))
        count = window.add(exchange.now)
        if count <= manners.attempt_limit:
            return None
        exchange.observe("limit_exceeded", number, rule="connection attempts", count=count)
        self._banned_until[address] = exchange.now + manners.ban_lifetime
        return refusal
