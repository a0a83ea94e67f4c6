"""Binance's requests over WebSocket: what each does and answers. One function a method, two tables.

`STREAM_METHODS` are those of the market streams, `API_METHODS` those of the WebSocket API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from squall.exchange.binance import data, users
from squall.exchange.binance.streams import SYMBOLS, USER_DATA, stream
from squall.exchange.binance.wire import failure
from squall.exchange.core import Exchange
from squall.exchange.market import Instrument
from squall.exchange.orders import Order, amount
from squall.exchange.protocol import Op, Request
from squall.exchange.session import Session

LIST_LIMIT = 5000


@dataclass(slots=True)
class State:
    """What a connection is: market streams, raw or combined, or the WebSocket API.

    `subscription` is the id of the user data stream over the WebSocket API, `listen_key` the key
    under which it came otherwise.
    """

    api: bool
    combined: bool = False
    subscription: int = -1
    listen_key: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what it is about, and what it does."""

    op: Op
    run: Callable[[Exchange, Session, Request], Any]
    private: bool = False


def state(session: Session) -> State:
    """What the dialect remembers of the connection."""
    found: State = session.state
    return found


# --- market streams ------------------------------------------------------------------------------


def subscribe(exchange: Exchange, session: Session, request: Request) -> None:
    """SUBSCRIBE: null, also where a stream does not exist or is left out."""
    channels = _channels(request)
    limit = exchange.manners.channel_limit
    count = len({*session.subscriptions, *channels})
    if limit is not None and count > limit:
        exchange.observe("limit_exceeded", session.number, rule="streams", count=count)
        raise failure(2, f"Invalid request: more than {limit} streams on one connection")
    token = users.live_key(exchange, request.access_token)
    if token is not None:
        state(session).listen_key = token.access
        exchange.account.bind(session, token)
    exchange.broadcast.subscribe(session, channels, request, allowed=token is not None)


def unsubscribe(exchange: Exchange, session: Session, request: Request) -> None:
    """UNSUBSCRIBE: null."""
    exchange.broadcast.unsubscribe(session, _channels(request))


def list_subscriptions(exchange: Exchange, session: Session, request: Request) -> list[str]:
    """LIST_SUBSCRIPTIONS"""
    key = state(session).listen_key
    return [key if name == USER_DATA else name for name in session.subscriptions]


def set_property(exchange: Exchange, session: Session, request: Request) -> None:
    """SET_PROPERTY: `combined` is the only one."""
    name, *values = _list(request)
    _check_property(name)
    if len(values) != 1 or not isinstance(values[0], bool):
        raise failure(1)
    state(session).combined = values[0]


def get_property(exchange: Exchange, session: Session, request: Request) -> bool:
    """GET_PROPERTY"""
    name, *more = _list(request)
    _check_property(name)
    if more:
        raise failure(2, "Invalid request: too many parameters")
    return state(session).combined


def _channels(request: Request) -> tuple[str, ...]:
    if not request.channels:
        raise failure(2, "Invalid request: params must be a list of strings")
    return request.channels


def _check_property(name: object) -> None:
    if not isinstance(name, str):
        raise failure(2, "Invalid request: property name must be a string")
    if name != "combined":
        raise failure(0)


def _list(request: Request) -> list[Any]:
    found = request.params.get("list")
    if not isinstance(found, list) or not found:
        raise failure(2, "Invalid request: property name must be a string")
    return found


STREAM_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "SUBSCRIBE": Method(Op.SUBSCRIBE, subscribe),
        "UNSUBSCRIBE": Method(Op.UNSUBSCRIBE, unsubscribe),
        "LIST_SUBSCRIPTIONS": Method(Op.OTHER, list_subscriptions),
        "SET_PROPERTY": Method(Op.OTHER, set_property),
        "GET_PROPERTY": Method(Op.OTHER, get_property),
    }
)


# --- the WebSocket API ---------------------------------------------------------------------------


def logon(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """session.logon"""
    users.logon(exchange, session, request)
    return status(exchange, session, request)


def status(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """session.status"""
    known = session.authenticated(exchange.now)
    now = int(exchange.wall_clock * 1000)
    return {
        "apiKey": exchange.account.key if known else None,
        "authorizedSince": now if known else None,
        "connectedSince": now,
        "returnRateLimits": True,
        "serverTime": now,
        "userDataStream": USER_DATA in session.subscriptions,
    }


def logout(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """session.logout: the user data stream ends with it."""
    session.token = None
    exchange.broadcast.unsubscribe_private(session)
    return status(exchange, session, request)


def subscribe_user(exchange: Exchange, session: Session, request: Request) -> dict[str, int]:
    """userDataStream.subscribe, on a connection that has logged on."""
    exchange.broadcast.subscribe(session, (USER_DATA,), request, allowed=True)
    state(session).subscription += 1
    return {"subscriptionId": state(session).subscription}


def subscribe_signed(exchange: Exchange, session: Session, request: Request) -> dict[str, int]:
    """userDataStream.subscribe.signature: the request is its own logon."""
    users.logon(exchange, session, request)
    return subscribe_user(exchange, session, request)


def unsubscribe_user(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """userDataStream.unsubscribe"""
    exchange.broadcast.unsubscribe(session, (USER_DATA,))
    return {}


def place(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """order.place"""
    return order_placed(exchange, session, request.params)


def cancel(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """order.cancel"""
    return order_cancelled(exchange, request.params)


def open_orders(exchange: Exchange, session: Session, request: Request) -> list[dict[str, Any]]:
    """openOrders.status"""
    return orders_open(exchange)


def depth(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """depth: the book, as over HTTP."""
    return book(exchange, session.number, request.params)


def server_time(exchange: Exchange, session: Session, request: Request) -> dict[str, int]:
    """time"""
    return {"serverTime": int(exchange.wall_clock * 1000)}


API_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "ping": Method(Op.OTHER, lambda exchange, session, request: {}),
        "time": Method(Op.OTHER, server_time),
        "depth": Method(Op.OTHER, depth),
        "session.logon": Method(Op.AUTH, logon),
        "session.status": Method(Op.OTHER, status),
        "session.logout": Method(Op.OTHER, logout),
        "userDataStream.subscribe": Method(Op.SUBSCRIBE, subscribe_user, private=True),
        "userDataStream.subscribe.signature": Method(Op.SUBSCRIBE, subscribe_signed, private=True),
        "userDataStream.unsubscribe": Method(Op.UNSUBSCRIBE, unsubscribe_user),
        "order.place": Method(Op.ORDER, place, private=True),
        "order.cancel": Method(Op.CANCEL, cancel, private=True),
        "openOrders.status": Method(Op.OTHER, open_orders, private=True),
    }
)


# --- what HTTP does too --------------------------------------------------------------------------


def symbol(params: Mapping[str, Any]) -> tuple[str, Instrument]:
    """The symbol that a request is about."""
    found = params.get("symbol")
    if not isinstance(found, str) or found not in SYMBOLS:
        raise failure(-1121)
    return found, SYMBOLS[found]


def book(exchange: Exchange, number: int, params: Mapping[str, Any]) -> dict[str, Any]:
    """A snapshot of the book, in step with the diffs of the stream that is served."""
    name, instrument = symbol(params)
    limit = _amount(params, "limit", LIST_LIMIT)
    channels = [
        each
        for each in exchange.broadcast.served()
        if (found := stream(each)) and found.kind == "book" and found.symbol == name
    ]
    followed = channels[0] if channels else f"{name.lower()}@depth@100ms"
    content = data.snapshot(instrument, exchange.broadcast.number(followed), int(limit))
    for channel in channels:
        seq = content["lastUpdateId"]
        exchange.observe("sent", number, channel=channel, seq=seq, snapshot=True)
    return content


def order_placed(exchange: Exchange, session: Session, params: Mapping[str, Any]) -> dict[str, Any]:
    """A new order."""
    name, instrument = symbol(params)
    kind = _choice(params, "type", "LIMIT", "MARKET", "LIMIT_MAKER")
    middle = float(instrument.price(0))
    order = exchange.account.place(
        session,
        name,
        _choice(params, "side", "BUY", "SELL").lower(),
        _amount(params, "quantity"),
        price=middle if kind == "MARKET" else _amount(params, "price"),
        type="market" if kind == "MARKET" else "limit",
        label=str(params.get("newClientOrderId", "")),
    )
    return data.order_reply(order, int(exchange.wall_clock * 1000))


def order_cancelled(exchange: Exchange, params: Mapping[str, Any]) -> dict[str, Any]:
    """An open order, by its number or by the client's own mark."""
    for order in exchange.account.orders.open():
        if _is_meant(order, params):
            exchange.account.cancel(order, "user_request")
            return data.order_reply(order, int(exchange.wall_clock * 1000))
    raise failure(-2011)


def orders_open(exchange: Exchange) -> list[dict[str, Any]]:
    """Every open order."""
    now = int(exchange.wall_clock * 1000)
    return [data.order_reply(order, now) for order in exchange.account.orders.open()]


def _is_meant(order: Order, params: Mapping[str, Any]) -> bool:
    if "orderId" in params:
        return str(params["orderId"]) == str(data.order_number(order))
    return bool(order.label) and params.get("origClientOrderId") == order.label


def _choice(params: Mapping[str, Any], name: str, *allowed: str) -> str:
    found = params.get(name)
    if not isinstance(found, str) or found not in allowed:
        raise failure(-1102, f"Mandatory parameter '{name}' was not sent or is malformed.")
    return found


def _amount(params: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = amount(params.get(name, default))
    if value is None:
        raise failure(-1102, f"Mandatory parameter '{name}' was not sent or is malformed.")
    return value
