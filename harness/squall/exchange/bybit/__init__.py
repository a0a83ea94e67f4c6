"""Bybit v5: public, private and trade sockets, and the REST API beside them.

Sources, read in November 2026: github.com/bybit-exchange/docs at 072c197 (2026-07-24),
docs/v5/websocket, docs/v5/ws/connect, docs/v5/error. That one bad topic fails its whole request
with `error:handler not found,topic:…` is told by many who met it, among them users of
orderbook.500.

`wire` spells messages, `topics` knows the names, `data` makes what topics say, `methods` and `rest`
answer requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from squall.exchange.bybit import data, methods, rest, topics, wire
from squall.exchange.bybit.methods import OPERATIONS, State, state
from squall.exchange.bybit.topics import NOTICES
from squall.exchange.core import Exchange
from squall.exchange.manners import Manners
from squall.exchange.orders import Order
from squall.exchange.protocol import (
    CREDITS,
    TESTS,
    Dialect,
    HttpAnswer,
    HttpRequest,
    Message,
    Op,
    Request,
    VenueError,
)
from squall.exchange.session import Session

_NO_EXPIRY = "on bybit a login lasts as long as its connection"
_ABSENT = MappingProxyType(
    {
        "expire_token": _NO_EXPIRY,
        "token_expired": _NO_EXPIRY,
        "token_lifetime": _NO_EXPIRY,
        "expiry_ends_subscriptions": _NO_EXPIRY,
        **dict.fromkeys((*TESTS, "no_ping"), "bybit tests nobody: its clients ping"),
        "bad_checksum": "bybit's books have no checksum",
        **dict.fromkeys(CREDITS, "bybit's sockets have no credits"),
    }
)
_ACTIVE_TIME = re.compile(r"(?:^|&)max_active_time=([0-9]{1,4})(s|m)(?:&|$)")
_SHORTEST, _LONGEST = 30.0, 600.0


class Bybit(Dialect):
    """How Bybit spells requests, replies, topics and data."""

    name = "bybit"
    path = "/v5/public/linear"
    private_path = topics.PRIVATE
    codes = wire.CODES
    errors = wire.ERRORS
    listed = topics.LISTED
    absent = _ABSENT
    manners = Manners(
        login_in_order=True,
        connections_per_address=1000,
        attempt_limit=500,
        attempt_window=300.0,
        ban_lifetime=600.0,
        ban_status=403,
        idle_limit=600.0,
    )

    # --- connections ------------------------------------------------------------------------------

    def serves(self, path: str) -> bool:
        """An endpoint for each category, for private topics, for orders, and for notices."""
        public = path.removeprefix(topics.PUBLIC) in topics.CATEGORIES
        return public or path in (topics.PRIVATE, topics.TRADE, topics.STATUS)

    def opened(self, exchange: Exchange, session: Session) -> None:
        """How long a silent connection lives, clients may say on private endpoints."""
        path, _, query = session.path.partition("?")
        session.state = State(path)
        asked = _ACTIVE_TIME.search(query)
        if asked and not session.state.public:
            seconds = float(asked[1]) * (60 if asked[2] == "m" else 1)
            session.idle_limit = min(max(seconds, _SHORTEST), _LONGEST)

    # --- channels ---------------------------------------------------------------------------------

    def is_private(self, channel: str) -> bool:
        """Whether it is a topic of the private endpoint."""
        found = topics.topic(channel)
        return found is not None and found.private

    def kind(self, channel: str) -> str | None:
        """The topic's kind, `other` for the quiet ones."""
        found = topics.topic(channel)
        return found.kind if found else None

    # --- requests ---------------------------------------------------------------------------------

    def parse(self, text: str) -> Request:
        """Understand a request; what its arguments are worth shows when it is served."""
        op, id, args = wire.decode(text)
        known = OPERATIONS.get(op)
        about = known.op if known else Op.OTHER
        listed = about in (Op.SUBSCRIBE, Op.UNSUBSCRIBE)
        names = tuple(arg for arg in args if isinstance(arg, str)) if listed else ()
        follows = about is Op.SUBSCRIBE and any(map(self.is_private, names))
        return Request(
            op,
            about,
            id,
            {"args": args},
            private=follows or (known is not None and known.private),
            channels=names,
            grant=methods.GRANT if about is Op.AUTH else "",
            material=methods.material(args) if about is Op.AUTH else "",
        )

    def answer(self, exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
        """Carry out a request and spell the reply."""
        known = OPERATIONS.get(request.method)
        if known is None or not known.allowed(state(session)):
            raise wire.failure(10404)
        return (known.run(exchange, session, request),)

    def error(
        self, exchange: Exchange, session: Session, request: Request, error: VenueError
    ) -> str:
        """Spell an error reply."""
        spell = wire.trade_error if state(session).trade else wire.error
        return spell(request.method, request.id, session.number, error)

    # --- data -------------------------------------------------------------------------------------

    def data(self, exchange: Exchange, channel: str, number: int) -> Message:
        """Message `number` of a topic that flows."""
        found = topics.topic(channel)
        assert found is not None, f"{channel} is served, so it exists"
        time = int(exchange.wall_clock * 1000)
        match found.kind:
            case "book":
                restarted = exchange.broadcast.restarted(channel)
                return Message(json.dumps(data.delta(found, number, restarted, time)), number)
            case "trades":
                each = exchange.settings.trades_per_message
                seqs = range((number - 1) * each + 1, number * each + 1)
                return Message(json.dumps(data.trades(found, seqs, time)), seqs[-1])
            case "ticker":
                return Message(json.dumps(data.ticker(found, number, time)))
            case _:
                price = float(topics.SYMBOLS["BTCUSDT"].price(-100))
                order = exchange.account.elsewhere(number, "BTCUSDT", 0.001, price)
                return self._order(exchange, channel, order)

    def snapshot(self, exchange: Exchange, channel: str, number: int) -> Message | None:
        """A book begins with all of its levels; other topics with whatever happens next."""
        found = topics.topic(channel)
        if found is None or found.kind != "book":
            return None
        restarted = exchange.broadcast.restarted(channel)
        time = int(exchange.wall_clock * 1000)
        content = data.snapshot(found, number, restarted, time)
        return Message(json.dumps(content), number, snapshot=True)

    def order_message(self, exchange: Exchange, channel: str, order: Order) -> Message | None:
        """The order, on `order` and what belongs to it."""
        if self.kind(channel) != "orders":
            return None
        return self._order(exchange, channel, order)

    def _order(self, exchange: Exchange, channel: str, order: Order) -> Message:
        time = int(exchange.wall_clock * 1000)
        content: dict[str, Any] = {"id": f"{order.id}-{time}", "topic": channel}
        return Message(
            json.dumps({**content, "creationTime": time, "data": [data.order(order, time)]})
        )

    # --- notices, HTTP ----------------------------------------------------------------------------

    def notice(self, exchange: Exchange, session: Session, locked: bool) -> tuple[str, str] | None:
        """system.status, for those who subscribed to it."""
        if NOTICES not in session.subscriptions:
            return None
        time = int(exchange.wall_clock * 1000)
        content = {
            "id": "maintenance",
            "title": "Planned maintenance",
            "state": "ongoing" if locked else "completed",
            "begin": str(time),
            "end": str(time + 600_000),
            "serviceTypes": [1, 2, 3, 4, 5],
        }
        return NOTICES, json.dumps({"topic": NOTICES, "ts": time, "data": [content]})

    def rest(self, exchange: Exchange, number: int, request: HttpRequest) -> HttpAnswer:
        """GET /v5/market/… and a few private paths."""
        return rest.answer(exchange, request)

    def understand(self, exchange: Exchange, request: HttpRequest) -> Request | None:
        """`GET /v5/market/time` and so on."""
        return Request(f"{request.method} {request.path}")

    def http_error(self, exchange: Exchange, error: VenueError) -> HttpAnswer:
        """Spell an error over HTTP."""
        return wire.rest_error(error, exchange.wall_clock)


__all__ = ["Bybit"]
