"""Kraken spot, WebSocket v2, and the REST API that gives its tokens.

Sources, read in November 2026: docs.kraken.com, WebSocket v2 with the guides on introduction,
reconnection and book checksum, and REST GetWebSocketsToken; python-kraken-sdk 3.5.1. That a token
which is not good draws `ESession:Invalid session` is seen in knowm/XChange#3683 and #4740.

`wire` spells messages, `channels` knows the names, `book` and `data` make what channels say,
`users` judges signatures and tokens, `methods` and `rest` answer requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from squall.exchange.core import Exchange
from squall.exchange.kraken import book, channels, data, methods, rest, users, wire
from squall.exchange.kraken.methods import METHODS
from squall.exchange.manners import Manners
from squall.exchange.orders import Order
from squall.exchange.protocol import (
    CREDITS,
    TESTS,
    Dialect,
    HttpAnswer,
    HttpRequest,
    Message,
    Request,
    VenueError,
)
from squall.exchange.session import Session

_NO_TEST = "kraken tests nobody: it sends heartbeats that need no answer"
_IN_USE = "a token of kraken stays good for as long as a subscription uses it"
_ABSENT = MappingProxyType(
    {
        **dict.fromkeys(TESTS, _NO_TEST),
        **dict.fromkeys(CREDITS, "kraken's sockets have no credits"),
        "expiry_ends_subscriptions": _IN_USE,
    }
)
_CHECKSUM = re.compile(r'"checksum": ([0-9]+)')
_HEARTBEAT = json.dumps({"channel": "heartbeat"})


class Kraken(Dialect):
    """How Kraken spells requests, replies, channels and data."""

    name = "kraken"
    path = "/v2"
    # A host of its own in reality, with the same path.
    private_path = "/v2"
    codes = wire.CODES
    # Errors are words; a number has none.
    unexplained = wire.INTERNAL
    listed = channels.LISTED
    absent = _ABSENT
    manners = Manners(
        attempt_limit=150,
        attempt_window=600.0,
        ban_lifetime=600.0,
        keepalive_interval=1.0,
        idle_limit=60.0,
    )

    def opened(self, exchange: Exchange, session: Session) -> None:
        """Say how the venue is."""
        exchange.send(self._status(exchange, session, exchange.locked), session)

    # --- channels ---------------------------------------------------------------------------------

    def is_private(self, channel: str) -> bool:
        """Whether it needs a token."""
        return channel in channels.PRIVATE

    def kind(self, channel: str) -> str | None:
        """The channel's kind, `other` for the quiet ones."""
        return channels.kind(channel)

    # --- requests ---------------------------------------------------------------------------------

    def parse(self, text: str) -> Request:
        """Understand a request; what its parameters are worth shows when it is served."""
        method, id, params = wire.decode(text)
        known = METHODS.get(method)
        token = params.get("token")
        request = Request(
            method,
            id=id,
            params=params,
            private=known is not None and known.private,
            access_token=token if isinstance(token, str) else None,
        )
        if known is None:
            return request
        request = replace(request, op=known.op)
        if method not in ("subscribe", "unsubscribe"):
            return request
        names = methods.names(params)
        follows = method == "subscribe" and any(map(self.is_private, names))
        return replace(request, channels=names, private=follows)

    def vouches(self, exchange: Exchange, session: Session, request: Request) -> bool:
        """A token does."""
        return users.live(exchange, request.access_token) is not None

    def answer(self, exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
        """Carry out a request and spell the replies."""
        known = METHODS.get(request.method)
        if known is None:
            raise wire.failure(wire.UNKNOWN_METHOD)
        # A token goes with every private request, whatever the connection has done before.
        if request.private and not self.vouches(exchange, session, request):
            raise wire.failure(wire.BAD_SESSION)
        return known.run(exchange, session, request)

    def error(
        self, exchange: Exchange, session: Session, request: Request, error: VenueError
    ) -> str:
        """Spell an error reply."""
        return wire.error(request.method, request.id, exchange.times(request), error)

    # --- data -------------------------------------------------------------------------------------

    def data(self, exchange: Exchange, channel: str, number: int) -> Message:
        """Message `number` of a channel that flows."""
        family, symbol = channels.parts(channel)
        time = wire.moment(exchange.wall_clock)
        match family:
            case "book":
                return Message(self._book("update", symbol, number, time))
            case "trade":
                each = exchange.settings.trades_per_message
                ids = range((number - 1) * each + 1, number * each + 1)
                return Message(data.trades(symbol, ids, time), ids[-1])
            case "ticker":
                return Message(data.ticker("update", symbol, number, time))
            case _:
                price = float(channels.PAIRS["BTC/USD"].price(-100))
                order = exchange.account.elsewhere(number, "BTC/USD", 0.001, price)
                return Message(data.executions("update", [order], time))

    def snapshot(self, exchange: Exchange, channel: str, number: int) -> Message | None:
        """Books, tickers and orders begin with how things are; trades with the next one."""
        family, symbol = channels.parts(channel)
        time = wire.moment(exchange.wall_clock)
        match family:
            case "book":
                return Message(self._book("snapshot", symbol, number, time), snapshot=True)
            case "ticker":
                return Message(data.ticker("snapshot", symbol, number, time), snapshot=True)
            case channels.EXECUTIONS:
                resting = list(exchange.account.orders.open())
                return Message(data.executions("snapshot", resting, time), snapshot=True)
        return None

    def order_message(self, exchange: Exchange, channel: str, order: Order) -> Message | None:
        """The order, on `executions`."""
        if channel != channels.EXECUTIONS:
            return None
        return Message(data.executions("update", [order], wire.moment(exchange.wall_clock)))

    def envelope(self, session: Session, channel: str, text: str) -> str:
        """News of orders are counted on each connection."""
        if channel != channels.EXECUTIONS:
            return text
        sequence = session.subscriptions[channel] + 1
        return f'{text.removesuffix("}")}, "sequence": {sequence}}}'

    def with_bad_checksum(self, message: Message) -> Message | None:
        """The message, its checksum off by one bit."""
        wrong = _CHECKSUM.sub(lambda found: f'"checksum": {int(found[1]) ^ 1}', message.text)
        return replace(message, text=wrong)

    def _book(self, type: str, symbol: str, number: int, time: str) -> str:
        return book.message(type, symbol, channels.PAIRS[symbol], number, channels.DEPTHS[0], time)

    # --- liveness, notices, HTTP ------------------------------------------------------------------

    def keepalive(self) -> str:
        """heartbeat: about once a second, where something is subscribed and nothing else sent."""
        return _HEARTBEAT

    def notice(self, exchange: Exchange, session: Session, locked: bool) -> tuple[str, str] | None:
        """status, for everybody."""
        return channels.NOTICES, self._status(exchange, session, locked)

    def _status(self, exchange: Exchange, session: Session, locked: bool) -> str:
        content = {
            "system": "maintenance" if locked else "online",
            "api_version": "v2",
            "connection_id": session.number,
            "version": "2.0.0",
        }
        return json.dumps({"channel": channels.NOTICES, "type": "update", "data": [content]})

    def rest(self, exchange: Exchange, number: int, request: HttpRequest) -> HttpAnswer:
        """GET /0/public/…, POST /0/private/…"""
        return rest.answer(exchange, number, request)

    def understand(self, exchange: Exchange, request: HttpRequest) -> Request | None:
        """`GET /0/public/Time` and so on; to fetch a token is a login."""
        return rest.understand(request)

    def http_error(self, exchange: Exchange, error: VenueError) -> HttpAnswer:
        """Spell an error over HTTP."""
        return wire.rest_error(error)


__all__ = ["Kraken"]
