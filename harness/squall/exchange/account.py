"""The one account of the venue: its credentials, tokens and orders."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from squall.exchange.faults.base import injected
from squall.exchange.orders import Order, Orders
from squall.exchange.protocol import Request, Trouble
from squall.exchange.signed_tokens import SignedTokens
from squall.exchange.tokens import Token, Tokens

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.session import Session


class Account:
    """Who may do what, and what was ordered."""

    def __init__(self, exchange: Exchange) -> None:
        rng = exchange.rng
        self._exchange = exchange
        self.key = f"{rng.getrandbits(32):08x}"
        self.secret = f"{rng.getrandbits(160):040x}"
        member = exchange.membership
        self.tokens = Tokens(rng) if member is None else SignedTokens(rng, member)
        self.orders = Orders("SQ-" if member is None else f"SQ-{member.number}-")
        self.withdrawn = False
        self.last_nonce = 0
        self.cancels_by_default = False

    # --- tokens -----------------------------------------------------------------------------------

    def login(
        self, session: Session, grant: str, scope: str, *, reusable: bool, lifetime: float | None
    ) -> Token:
        """Log the connection in with a new token; `reusable` ones are valid on any connection."""
        token = self._issue(session.number, scope, lifetime, reusable=reusable, refreshable=True)
        self.bind(session, token)
        self._succeeded(session.number, grant, token, lifetime)
        return token

    def grant(self, number: int, grant: str, scope: str, lifetime: float) -> Token:
        """A token for any connection, asked for over HTTP on connection `number`."""
        token = self._issue(number, scope, lifetime, reusable=True, refreshable=False)
        self._succeeded(number, grant, token, lifetime)
        return token

    def renew(self, number: int, grant: str, token: Token, lifetime: float) -> None:
        """The token lives for so long from now on; connection `number` asked for it over HTTP."""
        token.expires_at = self._exchange.now + lifetime
        self._succeeded(number, grant, token, lifetime)

    def bind(self, session: Session, token: Token) -> None:
        """From now on the connection lives on this token."""
        session.token = token
        if self.cancels_by_default:
            self._cancel_with(session)
        self._watch_token(session, token)

    def _issue(
        self, number: int, scope: str, lifetime: float | None, *, reusable: bool, refreshable: bool
    ) -> Token:
        now = self._exchange.now
        if self.withdrawn:
            raise injected(self._exchange.dialect.trouble(Trouble.BAD_CREDENTIALS))
        expires_at = math.inf if lifetime is None else now + lifetime
        bound_to = None if reusable else number
        return self.tokens.issue(scope, bound_to, expires_at, now, refreshable=refreshable)

    def _succeeded(self, number: int, grant: str, token: Token, lifetime: float | None) -> None:
        self._exchange.counts.logins += 1
        self._exchange.observe(
            "auth_succeeded",
            number,
            grant_type=grant,
            expires_in=lifetime,
            token=token.fingerprint,
        )

    def _watch_token(self, session: Session, token: Token) -> None:
        exchange, expires_at = self._exchange, token.expires_at

        def check() -> None:
            if token.expires_at > expires_at:
                self._watch_token(session, token)
            elif not token.live(exchange.now):
                self._expired(session, token)

        if math.isfinite(expires_at):
            exchange.agenda.at(expires_at, check, session)

    def authorise(self, session: Session, request: Request) -> None:
        """Raise the venue's error unless the request may be carried out.

        It may on a connection that had logged in when the request came (on some venues: when it is
        served), or with a token of its own.
        """
        now, in_order = self._exchange.now, self._exchange.manners.login_in_order
        token = session.token
        fits = request.authenticated or (in_order and session.authenticated(now))
        if request.access_token is not None:
            token = self.tokens.find(request.access_token)
            fits = (
                token is not None and token.live(now) and token.connection in (None, session.number)
            )
        if not fits:
            error = self._exchange.dialect.unauthorized(self._exchange, request)
            raise injected(error) if token is not None and token.expired_by_fault else error

    def expire_tokens(self) -> list[Session]:
        """End the life of every access token; the connections that lived on one."""
        now = self._exchange.now
        concerned = [s for s in self._exchange.live_sessions() if s.authenticated(now)]
        self.tokens.expire(now)
        for session in concerned:
            assert session.token is not None
            self._expired(session, session.token)
        return concerned

    def withdraw(self) -> list[Session]:
        """The credentials are no longer good, nor any token; the connections that had logged in."""
        self.withdrawn = True
        self.tokens.revoke(self._exchange.now)
        return [s for s in self._exchange.live_sessions() if s.token is not None]

    def _expired(self, session: Session, token: Token) -> None:
        exchange = self._exchange
        if not session.open or session.token is not token or token.end_reported:
            return
        token.end_reported = True
        exchange.observe("token_expired", session.number, token=token.fingerprint)
        exchange.dialect.token_ended(exchange, session)

    # --- orders -----------------------------------------------------------------------------------

    def place(
        self,
        session: Session,
        instrument: str,
        direction: str,
        amount: float,
        *,
        price: float,
        type: str,
        label: str,
    ) -> Order:
        """Place an order."""
        exchange = self._exchange
        order = self.orders.place(
            instrument,
            direction,
            amount,
            price=price,
            type=type,
            label=label,
            connection=session.number,
            now=exchange.now,
        )
        exchange.observe("order_placed", session.number, order=order.id, label=label)
        exchange.afterwards(lambda: exchange.broadcast.order_changed(order))
        return order

    def elsewhere(
        self, number: int, instrument: str, unit: float, price: float, *, id: str = "SQ-ELSEWHERE"
    ) -> Order:
        """The order that news `number` tells of where somebody trades from another place.

        It is always the same, amended, unless it has an `id`; its amount is one to nine `unit`s.
        """
        exchange = self._exchange
        return Order(
            id=id,
            instrument=instrument,
            direction="buy",
            amount=unit * (1 + number % 9),
            price=price,
            type="limit",
            label="elsewhere",
            connection=0,
            created=exchange.origin,
            updated=exchange.now,
            state="open",
        )

    def cancel(self, order: Order, reason: str) -> None:
        """Cancel an open order."""
        exchange = self._exchange
        order.state, order.cancel_reason, order.updated = "cancelled", reason, exchange.now
        exchange.observe(
            "order_cancelled", order.connection, order=order.id, label=order.label, reason=reason
        )
        exchange.afterwards(lambda: exchange.broadcast.order_changed(order))

    def cancel_on_disconnect(self, session: Session, enabled: bool, *, account: bool) -> None:
        """Whether the orders of this connection die with it; for `account`, of later ones too."""
        if account:
            self.cancels_by_default = enabled
        if enabled:
            self._cancel_with(session)
        else:
            session.cancel_on_disconnect = False

    def disconnected(self, session: Session) -> None:
        """The connection is gone, and with it what was bound to it."""
        self.tokens.close(session.number)
        if session.cancel_on_disconnect:
            self._cancel_all_of(session, "cancel_on_disconnect")

    def _cancel_with(self, session: Session) -> None:
        if not session.cancel_on_disconnect:
            session.cancel_on_disconnect = True
            self._watch(session, session.last_heard)

    def _watch(self, session: Session, since: float) -> None:
        """Long silence counts as a disconnect (support.deribit.com, cancel on disconnect)."""
        exchange = self._exchange
        limit = exchange.settings.inactivity_limit

        def check() -> None:
            if not (session.open and session.cancel_on_disconnect):
                return
            silent = exchange.now >= session.last_heard + limit
            if silent:
                self._cancel_all_of(session, "inactivity")
            self._watch(session, exchange.now if silent else session.last_heard)

        exchange.agenda.at(since + limit, check, session)

    def _cancel_all_of(self, session: Session, reason: str) -> None:
        for order in self.orders.open(connection=session.number):
            self.cancel(order, reason)
        self._exchange.finish()
