"""Deribit's methods: what each does and answers. One function a method, one table.

A function takes the exchange, the connection and the request, and gives the `result` of the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from squall.exchange.core import Exchange
from squall.exchange.deribit import access, market, params
from squall.exchange.deribit.channels import channel
from squall.exchange.deribit.params import Params
from squall.exchange.deribit.wire import failure
from squall.exchange.orders import Order
from squall.exchange.protocol import Op, Request
from squall.exchange.session import Session

VERSION = "1.2.26"
_KINDS = ("any", "future", "option", "spot", "future_combo", "option_combo")


@dataclass(frozen=True, slots=True)
class Method:
    """A method that needs a connection."""

    op: Op
    run: Callable[[Exchange, Session, Request], Any]


# --- connection ----------------------------------------------------------------------------------


def set_heartbeat(exchange: Exchange, session: Session, request: Request) -> str:
    """public/set_heartbeat"""
    interval = params.number(request.params, "interval")
    minimum = exchange.settings.heartbeat_minimum
    if interval < minimum:
        raise failure(-32602, param="interval", reason=f"must be at least {minimum:g}")
    exchange.heartbeats.set(session, interval)
    return "ok"


def disable_heartbeat(exchange: Exchange, session: Session, request: Request) -> str:
    """public/disable_heartbeat"""
    exchange.heartbeats.set(session, None)
    return "ok"


def hello(exchange: Exchange, session: Session, request: Request) -> dict[str, str]:
    """public/hello"""
    params.text(request.params, "client_name")
    params.text(request.params, "client_version")
    return {"version": VERSION}


def logout(exchange: Exchange, session: Session, request: Request) -> str:
    """private/logout: ends the connection without cancel on disconnect."""
    session.cancel_on_disconnect = False
    exchange.afterwards(lambda: exchange.close(session, 1000, "logout"))
    return "ok"


def switch_cod(enabled: bool, exchange: Exchange, session: Session, request: Request) -> str:
    """private/enable_cancel_on_disconnect, private/disable_cancel_on_disconnect"""
    scope = params.choice(request.params, "scope", "connection", "account", default="connection")
    exchange.account.cancel_on_disconnect(session, enabled, account=scope == "account")
    return "ok"


def get_cod(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """private/get_cancel_on_disconnect"""
    scope = params.choice(request.params, "scope", "connection", "account", default="connection")
    enabled = (
        exchange.account.cancels_by_default if scope == "account" else session.cancel_on_disconnect
    )
    return {"scope": scope, "enabled": enabled}


# --- subscriptions -------------------------------------------------------------------------------


def subscribe(private: bool, exchange: Exchange, session: Session, request: Request) -> list[str]:
    """public/subscribe, private/subscribe: the list of channels *actually* subscribed."""
    asked = params.strings(request.params, "channels")
    raw = any((found := channel(name)) and found.raw and not found.private for name in asked)
    if raw and not request.authenticated and not private:
        raise failure(13778)
    return exchange.broadcast.subscribe(session, asked, request, allowed=private)


def unsubscribe(exchange: Exchange, session: Session, request: Request) -> list[str]:
    """public/unsubscribe, private/unsubscribe: the list of channels that were subscribed."""
    asked = params.strings(request.params, "channels")
    return exchange.broadcast.unsubscribe(session, asked)


def unsubscribe_all(private: bool, exchange: Exchange, session: Session, request: Request) -> str:
    """public/unsubscribe_all, private/unsubscribe_all"""
    is_private = exchange.dialect.is_private
    ended = [name for name in session.subscriptions if private or not is_private(name)]
    exchange.broadcast.unsubscribe(session, ended)
    return "ok"


# --- orders --------------------------------------------------------------------------------------


def trade(direction: str, exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """private/buy, private/sell"""
    found = request.params
    instrument = params.instrument(found)
    amount = params.number(found, "amount")
    if amount <= 0:
        raise failure(-32602, param="amount", reason="must be more than 0")
    kind = params.choice(found, "type", "limit", "market", default="limit")
    price = params.number(found, "price", None if kind == "limit" else market.price(instrument, 0))
    order = exchange.account.place(
        session,
        instrument,
        direction,
        amount,
        price=price,
        type=kind,
        label=params.text(found, "label", ""),
    )
    return {"order": spell(exchange, order), "trades": []}


def cancel(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """private/cancel"""
    order = exchange.account.orders.find(params.text(request.params, "order_id"))
    if order is None or order.state != "open":
        raise failure(11044)
    exchange.account.cancel(order, "user_request")
    return spell(exchange, order)


def cancel_all(exchange: Exchange, session: Session, request: Request) -> int:
    """private/cancel_all: how many there were."""
    orders = list(exchange.account.orders.open())
    for order in orders:
        exchange.account.cancel(order, "user_request")
    return len(orders)


def get_open_orders(exchange: Exchange, session: Session, request: Request) -> list[dict[str, Any]]:
    """private/get_open_orders"""
    return [spell(exchange, order) for order in exchange.account.orders.open()]


def get_order_state(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """private/get_order_state"""
    order = exchange.account.orders.find(params.text(request.params, "order_id"))
    if order is None:
        raise failure(13020)
    return spell(exchange, order)


def spell(exchange: Exchange, order: Order) -> dict[str, Any]:
    """An order as Deribit writes it."""
    started = exchange.settings.epoch - exchange.origin
    filled = order.filled
    return {
        "order_id": order.id,
        "order_state": order.state,
        "order_type": order.type,
        "instrument_name": order.instrument,
        "direction": order.direction,
        "amount": order.amount,
        "filled_amount": filled,
        "price": order.price,
        "average_price": order.price if filled else 0.0,
        "label": order.label,
        "time_in_force": "good_til_cancelled",
        "creation_timestamp": int((started + order.created) * 1000),
        "last_update_timestamp": int((started + order.updated) * 1000),
        "cancel_reason": order.cancel_reason,
        "api": True,
        "post_only": False,
        "reduce_only": False,
        "replaced": False,
        "web": False,
    }


# --- questions that HTTP answers too -------------------------------------------------------------


def get_instruments(exchange: Exchange, found: Params) -> list[dict[str, Any]]:
    """public/get_instruments"""
    currency = params.text(found, "currency", "any")
    kind = params.choice(found, "kind", *_KINDS, default="any")
    return [
        dict(each)
        for each in market.INSTRUMENTS.values()
        if currency in ("any", each["settlement_currency"]) and kind in ("any", each["kind"])
    ]


def get_order_book(exchange: Exchange, found: Params) -> dict[str, Any]:
    """public/get_order_book: the book as its 100ms channel has it at this moment."""
    instrument = params.instrument(found)
    number = exchange.broadcast.number(f"book.{instrument}.100ms")
    timestamp = int(exchange.wall_clock * 1000)
    return {
        **market.ticker(instrument, number, timestamp),
        **market.book(instrument, number),
        "change_id": number,
    }


def get_ticker(exchange: Exchange, found: Params) -> dict[str, Any]:
    """public/ticker"""
    instrument = params.instrument(found)
    number = exchange.broadcast.number(f"ticker.{instrument}.100ms")
    return market.ticker(instrument, number, int(exchange.wall_clock * 1000))


def get_status(exchange: Exchange, found: Params) -> dict[str, Any]:
    """public/status"""
    locked = "true" if exchange.locked else "false"
    return {"locked": locked, "locked_indices": ["btc_usd"] if exchange.locked else []}


Question = Callable[[Exchange, Params], Any]

QUESTIONS: Mapping[str, Question] = MappingProxyType(
    {
        "public/test": lambda exchange, found: {"version": VERSION},
        "public/get_time": lambda exchange, found: int(exchange.wall_clock * 1000),
        "public/status": get_status,
        "public/get_instruments": get_instruments,
        "public/get_order_book": get_order_book,
        "public/ticker": get_ticker,
    }
)


def _question(ask: Question) -> Callable[[Exchange, Session, Request], Any]:
    return lambda exchange, session, request: ask(exchange, request.params)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        **{
            name: Method(Op.TEST if name == "public/test" else Op.OTHER, _question(ask))
            for name, ask in QUESTIONS.items()
        },
        "public/auth": Method(Op.AUTH, access.auth),
        "public/hello": Method(Op.OTHER, hello),
        "public/set_heartbeat": Method(Op.HEARTBEAT, set_heartbeat),
        "public/disable_heartbeat": Method(Op.HEARTBEAT, disable_heartbeat),
        "public/subscribe": Method(Op.SUBSCRIBE, partial(subscribe, False)),
        "private/subscribe": Method(Op.SUBSCRIBE, partial(subscribe, True)),
        "public/unsubscribe": Method(Op.UNSUBSCRIBE, unsubscribe),
        "private/unsubscribe": Method(Op.UNSUBSCRIBE, unsubscribe),
        "public/unsubscribe_all": Method(Op.UNSUBSCRIBE, partial(unsubscribe_all, False)),
        "private/unsubscribe_all": Method(Op.UNSUBSCRIBE, partial(unsubscribe_all, True)),
        "private/buy": Method(Op.ORDER, partial(trade, "buy")),
        "private/sell": Method(Op.ORDER, partial(trade, "sell")),
        "private/cancel": Method(Op.CANCEL, cancel),
        "private/cancel_all": Method(Op.CANCEL, cancel_all),
        "private/get_open_orders": Method(Op.OTHER, get_open_orders),
        "private/get_order_state": Method(Op.OTHER, get_order_state),
        "private/enable_cancel_on_disconnect": Method(Op.OTHER, partial(switch_cod, True)),
        "private/disable_cancel_on_disconnect": Method(Op.OTHER, partial(switch_cod, False)),
        "private/get_cancel_on_disconnect": Method(Op.OTHER, get_cod),
        "private/logout": Method(Op.OTHER, logout),
    }
)
