"""How much a connection may ask, and how long it may live.

Deribit counts credits, Binance messages of every kind in a rolling second, and Binance ends every
connection after a day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from squall.exchange.protocol import Op, Request, Trouble, VenueError

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.session import Session

LIFETIME_CODE = 1001
TOO_MANY_CODE = 1008


class Limits:
    """Holds every connection to the venue's limits."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def opened(self, session: Session) -> None:
        """End the connection when its time is over, and say so before."""
        exchange = self._exchange
        lifetime, notice = exchange.manners.connection_lifetime, exchange.manners.shutdown_notice
        if lifetime is None:
            return

        def tell() -> None:
            found = exchange.dialect.notice(exchange, session, True) if session.open else None
            if found is not None:
                exchange.send(found[1], session)

        def end() -> None:
            if session.open:
                reason = "the connection has reached its lifetime"
                exchange.close(session, LIFETIME_CODE, reason)

        if notice is not None:
            exchange.agenda.at(exchange.now + max(0.0, lifetime - notice), tell, session)
        exchange.agenda.at(exchange.now + lifetime, end, session)

    def heard(self, session: Session) -> None:
        """Count a message of any kind, and close the connection where it is one too many."""
        if session.message_limit is None or not session.open:
            return
        count = session.arrivals.add(self._exchange.now)
        if count > session.message_limit:
            self._exchange.observe("limit_exceeded", session.number, rule="messages", count=count)
            self._exchange.close(session, TOO_MANY_CODE, "Too many requests")

    def excess(self, session: Session, request: Request) -> VenueError | None:
        """Take what a request costs; the error where there is not enough."""
        exchange, now = self._exchange, self._exchange.now
        session.requests += 1
        if not exchange.manners.credits:
            return None
        if request.op in (Op.ORDER, Op.CANCEL):
            rule, fits = "matching engine", session.matching.take(1, now)
        else:
            rule, fits = "credits", session.credits.take(exchange.settings.credit_cost, now)
        if fits:
            return None
        exchange.observe("limit_exceeded", session.number, rule=rule, count=session.requests)
        session.condemned = True
        error = exchange.dialect.trouble(Trouble.RATE)
        error.terminates = True
        return error
