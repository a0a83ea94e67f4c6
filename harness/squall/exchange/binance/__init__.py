"""Binance spot: market streams, the WebSocket API and the REST API beside them.

Sources, read in November 2026: github.com/binance/binance-spot-api-docs at a5e0bc3 (2026-07-21),
web-socket-streams.md, web-socket-api.md, user-data-stream.md, errors.md, CHANGELOG.md. That the
limit of five messages a second is a strict rolling window, closed with 1008, was observed by
https://github.com/nautechsystems/nautilus_trader/issues/5012 and ccxt/ccxt#23525.

`wire` spells messages, `streams` knows the names, `data` makes what streams say, `users` judges
signatures and listenKeys, `methods` and `rest` answer requests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from squall.exchange.binance import data, rest, streams, users, wire
from squall.exchange.binance.methods import API_METHODS, STREAM_METHODS, State, state
from squall.exchange.binance.streams import USER_DATA
from squall.exchange.core import Exchange
from squall.exchange.manners import Manners
from squall.exchange.orders import Order
from squall.exchange.protocol import (
    CREDITS,
    Dialect,
    HttpAnswer,
    HttpRequest,
    Message,
    Op,
    Request,
    RequestId,
    VenueError,
)
from squall.exchange.session import Session

API_PATH = "/ws-api/v3"
FROM_URL = "url"
_KEY_LENGTH = 32
_SHUTDOWN = "!serverShutdown"
_NO_EXPIRY = "a logon lasts as long as its connection; a listenKey has listen_key_lifetime"
_NO_TEST = "binance pings by itself; no client asks it to"
_ABSENT = MappingProxyType(
    {
        "token_lifetime": _NO_EXPIRY,
        "expiry_ends_subscriptions": _NO_EXPIRY,
        **dict.fromkeys(CREDITS, "binance counts messages and has no credits"),
        "bad_checksum": "binance's books have no checksum",
        "restart_book": "binance sends no snapshots, and its numbers never begin anew",
        "heartbeat_set": _NO_TEST,
        "heartbeat_minimum": _NO_TEST,
        "trades_per_message": "a trade stream of binance sends every trade in its own message",
    }
)


class Binance(Dialect):
    """How Binance spot spells requests, replies, streams and data."""

    name = "binance"
    # Clients append /ws, /ws/<streams>, /stream?streams=… themselves.
    path = ""
    private_path = API_PATH
    codes = wire.CODES
    errors = wire.ERRORS
    listed = streams.LISTED
    absent = _ABSENT
    manners = Manners(
        attempt_limit=300,
        attempt_window=300.0,
        ban_lifetime=120.0,
        message_limit=5,
        channel_limit=1024,
        ping_interval=20.0,
        ping_timeout=60.0,
        connection_lifetime=86_400.0,
        shutdown_notice=600.0,
    )

    # --- connections ------------------------------------------------------------------------------

    def serves(self, path: str) -> bool:
        """Raw and combined streams, and the WebSocket API."""
        return path in ("/ws", "/ws/", "/stream", "/stream/", API_PATH) or path.startswith("/ws/")

    def opened(self, exchange: Exchange, session: Session) -> None:
        """Serve the streams that the URL names."""
        path, _, query = session.path.partition("?")
        session.state = State(api=path == API_PATH, combined=path.startswith("/stream"))
        if session.state.api:
            session.message_limit = None
            return
        listed = path.removeprefix("/ws") if path.startswith("/ws") else ""
        listed = listed or "/".join(parse_qs(query).get("streams", []))
        names = [name for name in listed.split("/") if name]
        if names:
            exchange.take(session, _subscription(FROM_URL, Op.SUBSCRIBE, None, names))

    # --- channels ---------------------------------------------------------------------------------

    def is_private(self, channel: str) -> bool:
        """The user data stream is."""
        return channel == USER_DATA

    def kind(self, channel: str) -> str | None:
        """The stream's kind, `other` for those that scenarios do not ask for."""
        if channel == USER_DATA:
            return "orders"
        found = streams.stream(channel)
        return found.kind if found else None

    def flows(self, exchange: Exchange, channel: str) -> bool:
        """Every stream does; that of the user where the settings say so."""
        return channel != USER_DATA or exchange.settings.order_updates

    # --- requests ---------------------------------------------------------------------------------

    def parse(self, text: str) -> Request:
        """Understand a request of either API."""
        method, id, found = wire.decode(text)
        if method in STREAM_METHODS:
            return _on_streams(method, id, found if isinstance(found, list) else [])
        known = API_METHODS.get(method)
        if known is None:
            return Request(method, Op.OTHER, id)
        params = found if isinstance(found, dict) else {}
        user_data = known.op in (Op.SUBSCRIBE, Op.UNSUBSCRIBE)
        proves = known.op is Op.AUTH or method.endswith(".signature")
        return Request(
            method,
            known.op,
            id,
            params,
            private=known.private,
            channels=(USER_DATA,) if user_data else (),
            grant=users.GRANT if proves else "",
            material=users.material(params) if proves else "",
        )

    def vouches(self, exchange: Exchange, session: Session, request: Request) -> bool:
        """A signature does, and so does a listenKey."""
        if request.access_token is not None:
            return users.live_key(exchange, request.access_token) is not None
        return "signature" in request.params and self._refusal(exchange, request) is None

    def unauthorized(self, exchange: Exchange, request: Request) -> VenueError:
        """What is wrong with signature or listenKey, or that there is none."""
        if request.access_token is not None:
            return wire.failure(-1125)
        if "signature" not in request.params:
            return wire.failure(-1002)
        return self._refusal(exchange, request) or wire.failure(-1002)

    def _refusal(self, exchange: Exchange, request: Request) -> VenueError | None:
        try:
            users.check(exchange, request.params, users.payload(request.params))
        except VenueError as error:
            return error
        return None

    def answer(self, exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
        """Carry out a request and spell the reply; a URL gets none."""
        if request.method == FROM_URL:
            STREAM_METHODS["SUBSCRIBE"].run(exchange, session, request)
            return ()
        api = state(session).api
        method = (API_METHODS if api else STREAM_METHODS).get(request.method)
        if method is None:
            raise self._unknown(api, request)
        result = method.run(exchange, session, request)
        spell = wire.api_reply if api else wire.stream_reply
        return (spell(request.id, result),)

    def _unknown(self, api: bool, request: Request) -> VenueError:
        if api:
            return wire.failure(-1999)
        expected = ", ".join(f"`{name}`" for name in STREAM_METHODS)
        return wire.failure(
            2,
            f"Invalid request: unknown variant `{request.method}`, expected one of {expected}"
            " at line 1 column 1",
        )

    def error(
        self, exchange: Exchange, session: Session, request: Request, error: VenueError
    ) -> str | None:
        """Spell an error reply; nobody is told what is wrong with a URL."""
        if request.method == FROM_URL:
            return None
        if state(session).api:
            return wire.api_error(request.id, error, exchange.wall_clock)
        return wire.stream_error(request.id, error)

    # --- data -------------------------------------------------------------------------------------

    def data(self, exchange: Exchange, channel: str, number: int) -> Message:
        """Message `number` of a stream."""
        time = int(exchange.wall_clock * 1000)
        if channel == USER_DATA:
            id = f"elsewhere-{1_000_000 + number}"
            price = float(streams.SYMBOLS["BTCUSDT"].price(-100))
            order = exchange.account.elsewhere(number, "BTCUSDT", 0.001, price, id=id)
            return Message(json.dumps(data.execution_report(order, time)))
        found = streams.stream(channel)
        assert found is not None, f"{channel} is served, so it exists"
        content, seq = data.event(found, number, time)
        return Message(json.dumps(content), seq)

    def snapshot(self, exchange: Exchange, channel: str, number: int) -> Message | None:
        """None: the snapshot of a book is fetched over HTTP."""
        return None

    def order_message(self, exchange: Exchange, channel: str, order: Order) -> Message | None:
        """An executionReport."""
        if channel != USER_DATA:
            return None
        report = data.execution_report(order, int(exchange.wall_clock * 1000))
        return Message(json.dumps(report))

    def envelope(self, session: Session, channel: str, text: str) -> str:
        """Bare on raw streams; with its stream's name or its subscription's id elsewhere."""
        this = state(session)
        if this.api:
            return f'{{"subscriptionId": {this.subscription}, "event": {text}}}'
        if this.combined:
            name = this.listen_key if channel == USER_DATA else channel
            return f'{{"stream": {json.dumps(name)}, "data": {text}}}'
        return text

    def token_ended(self, exchange: Exchange, session: Session) -> None:
        """Say that the user data stream ends, and end it."""
        if USER_DATA not in session.subscriptions:
            return
        time = int(exchange.wall_clock * 1000)
        content: dict[str, Any] = {"e": "eventStreamTerminated", "E": time}
        if not state(session).api:
            key = state(session).listen_key
            content = {"e": "listenKeyExpired", "E": time, "listenKey": key}
        exchange.send(self.envelope(session, USER_DATA, json.dumps(content)), session)
        exchange.broadcast.unsubscribe_private(session)

    # --- notices, HTTP ----------------------------------------------------------------------------

    def notice(self, exchange: Exchange, session: Session, locked: bool) -> tuple[str, str] | None:
        """serverShutdown, in the shape of the connection; that it is over nobody is told."""
        if not locked:
            return None
        event = {"e": "serverShutdown", "E": int(exchange.wall_clock * 1000)}
        if state(session).api:
            return _SHUTDOWN, json.dumps({"event": event})
        if state(session).combined:
            return _SHUTDOWN, json.dumps({"stream": _SHUTDOWN, "data": event})
        return _SHUTDOWN, json.dumps(event)

    def rest(self, exchange: Exchange, number: int, request: HttpRequest) -> HttpAnswer:
        """The REST API."""
        return rest.answer(exchange, number, request)

    def understand(self, exchange: Exchange, request: HttpRequest) -> Request | None:
        """GET /api/v3/depth and so on; to ask for a listenKey is a login."""
        return rest.understand(request)

    def http_error(self, exchange: Exchange, error: VenueError) -> HttpAnswer:
        """Spell an error over HTTP."""
        return wire.http_error(error)


def _on_streams(method: str, id: RequestId, listed: list[Any]) -> Request:
    op = STREAM_METHODS[method].op
    if op is Op.OTHER or not all(isinstance(name, str) for name in listed):
        return Request(method, op, id, {"list": listed})
    return _subscription(method, op, id, listed)


def _subscription(method: str, op: Op, id: RequestId, names: Sequence[str]) -> Request:
    """A request for streams; a long name without an `@` is taken for a listenKey."""
    # ccxt connects to /ws/0, /ws/1 and so on, and subscribes afterwards.
    keys = [name for name in names if len(name) >= _KEY_LENGTH and "@" not in name]
    return Request(
        method,
        op,
        id,
        {"list": list(names)},
        private=bool(keys) and op is Op.SUBSCRIBE,
        channels=tuple(USER_DATA if name in keys else name for name in names),
        access_token=keys[0] if keys else None,
    )


__all__ = ["Binance"]
