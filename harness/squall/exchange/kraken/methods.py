"""Kraken's methods: what each does and answers. One function a method, one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from squall.exchange.core import Exchange
from squall.exchange.kraken import channels, users, wire
from squall.exchange.kraken.channels import PAIRS
from squall.exchange.kraken.wire import failure
from squall.exchange.orders import Order, amount
from squall.exchange.protocol import Op, Request
from squall.exchange.session import Session


@dataclass(frozen=True, slots=True)
class Method:
    """A method: what it is about, and what it does."""

    op: Op
    run: Callable[[Exchange, Session, Request], Sequence[str]]
    private: bool = False


def names(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The channels that a subscription is about, known or not."""
    channel, symbols = params.get("channel"), params.get("symbol")
    if not isinstance(channel, str):
        return ()
    if channel in channels.PRIVATE:
        return (channel,)
    listed = symbols if isinstance(symbols, list) else []
    return tuple(channels.name(channel, each) for each in listed if isinstance(each, str))


def ping(exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
    """ping"""
    return (wire.reply("pong", request.id, exchange.times(request)),)


# --- subscriptions -------------------------------------------------------------------------------


def subscribe(exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
    """subscribe: an answer for each symbol."""
    asked = _asked(request)
    private = asked[0] in channels.PRIVATE
    accepted = exchange.broadcast.subscribe(session, asked, request, allowed=private)
    if private and accepted:
        users.hold(exchange, session, request.access_token)
    return [
        _confirmed(exchange, request, full)
        if full in accepted
        else _refused(exchange, session, request, full)
        for full in dict.fromkeys(asked)
    ]


def unsubscribe(exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
    """unsubscribe: an answer for each symbol."""
    asked = _asked(request)
    exchange.broadcast.unsubscribe(session, asked)
    if not any(map(exchange.dialect.is_private, session.subscriptions)):
        users.release(exchange, session)
    return [_confirmed(exchange, request, full) for full in dict.fromkeys(asked)]


def _asked(request: Request) -> tuple[str, ...]:
    channel = request.params.get("channel")
    if channel not in (*channels.KINDS, *channels.PRIVATE):
        raise failure(wire.NO_CHANNEL)
    depth = request.params.get("depth", channels.DEPTHS[0])
    if not request.channels or isinstance(depth, bool) or depth not in channels.DEPTHS:
        raise failure(wire.BAD_ARGUMENTS)
    return request.channels


def _confirmed(exchange: Exchange, request: Request, full: str) -> str:
    channel, symbol = channels.parts(full)
    result: dict[str, Any] = {"channel": channel}
    if symbol:
        result["symbol"] = symbol
    if channel == "book":
        result["depth"] = request.params.get("depth", channels.DEPTHS[0])
    if request.op is Op.SUBSCRIBE:
        result["snapshot"] = request.params.get("snapshot", channel != "trade")
    return wire.reply(request.method, request.id, exchange.times(request), result)


def _refused(exchange: Exchange, session: Session, request: Request, full: str) -> str:
    _, symbol = channels.parts(full)
    wrong = failure(wire.NO_SYMBOL, f"{wire.NO_SYMBOL} {symbol}")
    if channels.kind(full) is not None:
        wrong = failure(wire.UNAVAILABLE)
        wrong.injected = True
    exchange.report_error(session.number, request, wrong)
    return wire.error(request.method, request.id, exchange.times(request), wrong, symbol or None)


# --- orders --------------------------------------------------------------------------------------


def add_order(exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
    """add_order"""
    found = request.params
    symbol = _choice(found, "symbol", *PAIRS)
    kind = _choice(found, "order_type", "limit", "market")
    middle = float(PAIRS[symbol].price(0))
    order = exchange.account.place(
        session,
        symbol,
        _choice(found, "side", "buy", "sell"),
        _amount(found, "order_qty"),
        price=middle if kind == "market" else _amount(found, "limit_price"),
        type=kind,
        label=str(found.get("cl_ord_id", "")),
    )
    return _ordered(exchange, request, order)


def cancel_order(exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
    """cancel_order: an answer for each order, by Kraken's ids or the client's own."""
    ids = [*_listed(request, "order_id"), *_listed(request, "cl_ord_id")]
    if not ids:
        raise failure(wire.BAD_ARGUMENTS)
    replies: list[str] = []
    for id in ids:
        replies += _cancelled(exchange, session, request, id)
    return replies


def _cancelled(exchange: Exchange, session: Session, request: Request, id: str) -> Sequence[str]:
    for order in exchange.account.orders.open():
        if id in (order.id, order.label or None):
            exchange.account.cancel(order, "User requested")
            return _ordered(exchange, request, order)
    wrong = failure(wire.UNKNOWN_ORDER)
    exchange.report_error(session.number, request, wrong)
    return (wire.error(request.method, request.id, exchange.times(request), wrong),)


def cancel_all(exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
    """cancel_all: how many there were."""
    orders = list(exchange.account.orders.open())
    for order in orders:
        exchange.account.cancel(order, "User requested")
    result = {"count": len(orders)}
    return (wire.reply(request.method, request.id, exchange.times(request), result),)


def _ordered(exchange: Exchange, request: Request, order: Order) -> Sequence[str]:
    result = {"order_id": order.id, "cl_ord_id": order.label}
    return (wire.reply(request.method, request.id, exchange.times(request), result),)


def _listed(request: Request, name: str) -> list[str]:
    found = request.params.get(name, [])
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _choice(params: Mapping[str, Any], name: str, *allowed: str) -> str:
    found = params.get(name)
    if not isinstance(found, str) or found not in allowed:
        raise failure(wire.BAD_ARGUMENTS)
    return found


def _amount(params: Mapping[str, Any], name: str) -> float:
    found = params.get(name)
    # Kraken takes numbers alone, not text.
    value = None if isinstance(found, str) else amount(found)
    if value is None:
        raise failure(wire.BAD_ARGUMENTS)
    return value


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "ping": Method(Op.TEST, ping),
        "subscribe": Method(Op.SUBSCRIBE, subscribe),
        "unsubscribe": Method(Op.UNSUBSCRIBE, unsubscribe),
        "add_order": Method(Op.ORDER, add_order, private=True),
        "cancel_order": Method(Op.CANCEL, cancel_order, private=True),
        "cancel_all": Method(Op.CANCEL, cancel_all, private=True),
    }
)
