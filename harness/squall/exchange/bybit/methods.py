"""Bybit's operations: what each does and answers. One function an operation, one table."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from squall.exchange.bybit import topics, wire
from squall.exchange.bybit.topics import SYMBOLS
from squall.exchange.bybit.wire import failure
from squall.exchange.core import Exchange
from squall.exchange.orders import Order, amount
from squall.exchange.protocol import Op, Request
from squall.exchange.session import Session
from squall.exchange.tokens import fingerprint

GRANT = "client_signature"
SPOT_ARGS = 10
ARGS_LENGTH = 21_000


@dataclass(slots=True)
class State:
    """Which endpoint a connection is on, and the request ids that it has used for orders."""

    path: str
    used: set[object] = field(default_factory=set)

    @property
    def public(self) -> bool:
        """Whether it is for market data."""
        return self.path.startswith(topics.PUBLIC)

    @property
    def trade(self) -> bool:
        """Whether it is for orders."""
        return self.path == topics.TRADE


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: what it is about, what it does, and on which endpoints."""

    op: Op
    run: Callable[[Exchange, Session, Request], str]
    allowed: Callable[[State], bool]
    private: bool = False


def state(session: Session) -> State:
    """What the dialect remembers of the connection."""
    found: State = session.state
    return found


def signature(secret: str, expires: object) -> str:
    """HMAC-SHA256 over `GET/realtime` and the time at which it expires."""
    signed = f"GET/realtime{expires}".encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def material(args: list[Any]) -> str:
    """A fingerprint of what makes a login fresh: a replay has the same one."""
    return fingerprint(*args[1:])


def auth(exchange: Exchange, session: Session, request: Request) -> str:
    """auth: for as long as the connection lives."""
    if session.token is not None:
        raise failure(20001)
    args = request.params["args"]
    if len(args) != 3:
        raise failure(10001)
    key, expires, signed = args
    account = exchange.account
    if key != account.key:
        raise failure(10003)
    if isinstance(expires, bool) or not isinstance(expires, int | float | str):
        raise failure(10001)
    if signed != signature(account.secret, expires):
        raise failure(10004)
    if not _future(expires, exchange.wall_clock * 1000):
        raise failure(10002)
    account.login(session, GRANT, "connection", reusable=False, lifetime=None)
    if state(session).trade:
        return wire.trade_reply("auth", request.id, session.number, {})
    return wire.reply("auth", request.id, session.number)


def _future(expires: float | str, now: float) -> bool:
    try:
        return now < float(expires) < math.inf
    except (ValueError, OverflowError):
        return False


def ping(exchange: Exchange, session: Session, request: Request) -> str:
    """ping: the answer has another form on each kind of endpoint."""
    here, number = state(session), session.number
    now = str(int(exchange.wall_clock * 1000))
    if here.trade:
        return wire.trade_reply("pong", request.id, number, [now])
    if here.public and not here.path.endswith("/option"):
        return wire.reply("ping", request.id, number, "pong")
    return wire.pong(request.id, number, now, private=not here.public)


def subscribe(exchange: Exchange, session: Session, request: Request) -> str:
    """subscribe: all topics or none."""
    asked = _topics(session, request)
    for name in asked:
        if not _serves(state(session), name):
            raise wire.no_topic(name)
    if request.missing:
        wrong = wire.no_topic(asked[-1])
        wrong.injected = True
        raise wrong
    exchange.broadcast.subscribe(session, asked, request, allowed=not state(session).public)
    return wire.reply("subscribe", request.id, session.number, "subscribe" if asked else "")


def unsubscribe(exchange: Exchange, session: Session, request: Request) -> str:
    """unsubscribe"""
    exchange.broadcast.unsubscribe(session, _topics(session, request))
    return wire.reply("unsubscribe", request.id, session.number)


def _topics(session: Session, request: Request) -> tuple[str, ...]:
    args = request.params["args"]
    if not args or len(request.channels) != len(args):
        raise failure(10001)
    if state(session).path.endswith("/spot") and len(args) > SPOT_ARGS:
        raise failure(10001, f"args size >{SPOT_ARGS}")
    if sum(map(len, args)) > ARGS_LENGTH:
        raise failure(10001, f"args length >{ARGS_LENGTH}")
    return request.channels


def _serves(here: State, name: str) -> bool:
    found = topics.topic(name)
    if found is None or found.private == here.public:
        return False
    return (name == topics.NOTICES) == (here.path == topics.STATUS)


# --- orders --------------------------------------------------------------------------------------


def create(exchange: Exchange, session: Session, request: Request) -> str:
    """order.create"""
    found = _order(session, request)
    symbol = _choice(found, "symbol", *SYMBOLS)
    side = _choice(found, "side", "Buy", "Sell")
    kind = _choice(found, "orderType", "Limit", "Market")
    price = _amount(found.get("price")) if kind == "Limit" else float(SYMBOLS[symbol].price(0))
    order = exchange.account.place(
        session,
        symbol,
        side.lower(),
        _amount(found.get("qty")),
        price=price,
        type=kind.lower(),
        label=str(found.get("orderLinkId", "")),
    )
    return _reply(session, request, order)


def cancel(exchange: Exchange, session: Session, request: Request) -> str:
    """order.cancel, by either id."""
    found = _order(session, request)
    for order in exchange.account.orders.open():
        if order.id == found.get("orderId") or order.label == (found.get("orderLinkId") or None):
            exchange.account.cancel(order, "user_request")
            return _reply(session, request, order)
    raise failure(110001)


def _order(session: Session, request: Request) -> Mapping[str, Any]:
    used = state(session).used
    if request.id in used:
        raise failure(20006)
    if request.id is not None:
        used.add(request.id)
    match request.params["args"]:
        case [dict() as found]:
            return found
    raise failure(10001)


def _choice(found: Mapping[str, Any], name: str, *allowed: str) -> str:
    chosen = found.get(name)
    if not isinstance(chosen, str) or chosen not in allowed:
        raise failure(10001)
    return chosen


def _amount(found: Any) -> float:
    value = amount(found)
    if value is None:
        raise failure(10001)
    return value


def _reply(session: Session, request: Request, order: Order) -> str:
    ids = {"orderId": order.id, "orderLinkId": order.label}
    return wire.trade_reply(request.method, request.id, session.number, ids)


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "auth": Operation(Op.AUTH, auth, lambda here: not here.public),
        "ping": Operation(Op.TEST, ping, lambda here: True),
        "subscribe": Operation(Op.SUBSCRIBE, subscribe, lambda here: not here.trade),
        "unsubscribe": Operation(Op.UNSUBSCRIBE, unsubscribe, lambda here: not here.trade),
        "order.create": Operation(Op.ORDER, create, lambda here: here.trade, private=True),
        "order.cancel": Operation(Op.CANCEL, cancel, lambda here: here.trade, private=True),
    }
)
