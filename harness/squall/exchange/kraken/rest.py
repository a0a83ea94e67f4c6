"""Kraken's REST API, as far as clients of its sockets ask for it: a function a path, one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from squall.exchange import market
from squall.exchange.core import Exchange
from squall.exchange.kraken import book, data, users, wire
from squall.exchange.kraken.channels import PAIRS
from squall.exchange.kraken.wire import failure
from squall.exchange.protocol import HttpAnswer, HttpRequest, Op, Request

Params = Mapping[str, str]


def answer(exchange: Exchange, number: int, request: HttpRequest) -> HttpAnswer:
    """Answer an HTTP request. Raises VenueError."""
    if request.method == "POST" and request.path in PRIVATE:
        users.check(exchange, request)
        return wire.rest(PRIVATE[request.path](exchange, number))
    public = PUBLIC.get(request.path)
    if request.method not in ("GET", "POST") or public is None:
        raise failure(wire.UNKNOWN_METHOD)
    said = dict(parse_qsl(request.query)) | dict(parse_qsl(request.body.decode("latin-1")))
    return wire.rest(public(exchange, said))


def understand(request: HttpRequest) -> Request:
    """The request as faults see it: to fetch a token is a login."""
    name = f"{request.method} {request.path}"
    if request.path == users.TOKEN_PATH:
        return Request(name, Op.AUTH, grant=users.GRANT, material=users.material(request))
    return Request(name)


def _altname(pair: str) -> str:
    return pair.replace("/", "")


def _wanted(found: Params) -> dict[str, str]:
    """Pairs by the name that REST gives them; all, or those that were asked for."""
    known = {_altname(pair): pair for pair in PAIRS}
    asked = [name.replace("/", "") for name in found.get("pair", "").split(",") if name]
    if not set(asked) <= set(known):
        raise failure(wire.UNKNOWN_PAIR)
    return {name: known[name] for name in asked or known}


def _time(exchange: Exchange, found: Params) -> Any:
    now = exchange.wall_clock
    return {"unixtime": int(now), "rfc1123": wire.moment(now)}


def _status(exchange: Exchange, found: Params) -> Any:
    status = "maintenance" if exchange.locked else "online"
    return {"status": status, "timestamp": wire.moment(exchange.wall_clock)}


def _pairs(exchange: Exchange, found: Params) -> Any:
    return {
        name: {
            "altname": name,
            "wsname": pair,
            "aclass_base": "currency",
            "base": PAIRS[pair].base,
            "aclass_quote": "currency",
            "quote": PAIRS[pair].quote,
            "pair_decimals": PAIRS[pair].decimals,
            "cost_decimals": 5,
            "lot_decimals": market.LOT_DECIMALS,
            "lot_multiplier": 1,
            "leverage_buy": [],
            "leverage_sell": [],
            "fees": [[0, 0.4]],
            "fees_maker": [[0, 0.25]],
            "fee_volume_currency": "USD",
            "ordermin": market.spell(1, market.LOT_DECIMALS),
            "costmin": "0.5",
            "tick_size": market.spell(1, PAIRS[pair].decimals),
            "status": "online",
        }
        for name, pair in _wanted(found).items()
    }


def _assets(exchange: Exchange, found: Params) -> Any:
    names = {each for pair in PAIRS.values() for each in (pair.base, pair.quote)}
    return {
        name: {
            "aclass": "currency",
            "altname": name,
            "decimals": 10,
            "display_decimals": 5,
            "status": "enabled",
        }
        for name in sorted(names)
    }


def _depth(exchange: Exchange, found: Params) -> Any:
    if "pair" not in found:
        raise failure(wire.BAD_ARGUMENTS)
    now = int(exchange.wall_clock)
    return {
        name: {
            side: [[price, amount, now] for price, amount in levels]
            for side, levels in book.levels(
                PAIRS[pair], exchange.broadcast.number(f"book:{pair}")
            ).items()
        }
        for name, pair in _wanted(found).items()
    }


PUBLIC: Mapping[str, Callable[[Exchange, Params], Any]] = MappingProxyType(
    {
        "/0/public/Time": _time,
        "/0/public/SystemStatus": _status,
        "/0/public/AssetPairs": _pairs,
        "/0/public/Assets": _assets,
        "/0/public/Depth": _depth,
    }
)
PRIVATE: Mapping[str, Callable[[Exchange, int], Any]] = MappingProxyType(
    {
        users.TOKEN_PATH: users.fetch,
        "/0/private/Balance": lambda exchange, number: {
            "ZUSD": "1000.0000",
            "XXBT": "1.0000000000",
        },
        "/0/private/OpenOrders": lambda exchange, number: {
            "open": {order.id: data.rest_order(order) for order in exchange.account.orders.open()}
        },
    }
)
