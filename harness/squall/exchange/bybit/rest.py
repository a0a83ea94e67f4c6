"""Bybit's REST API, as far as clients of its sockets ask for it: one function a path, one table."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from squall.exchange.bybit import data, topics, wire
from squall.exchange.bybit.topics import SYMBOLS
from squall.exchange.bybit.wire import failure
from squall.exchange.core import Exchange
from squall.exchange.protocol import HttpAnswer, HttpRequest

Params = Mapping[str, str]
Endpoint = Callable[[Exchange, Params], Any]


def answer(exchange: Exchange, request: HttpRequest) -> HttpAnswer:
    """Answer an HTTP request. Raises VenueError."""
    public = PUBLIC.get(request.path) if request.method == "GET" else None
    private = PRIVATE.get(request.path) if request.method == "GET" else None
    if private is not None:
        _check(exchange, request)
    endpoint = public or private
    if endpoint is None:
        return HttpAnswer(404, "404 page not found\n", "text/plain")
    return wire.rest(endpoint(exchange, dict(parse_qsl(request.query))), exchange.wall_clock)


def _check(exchange: Exchange, request: HttpRequest) -> None:
    """Raise unless signed: HMAC over timestamp, key, window and query (docs/v5/guide)."""
    account, said = exchange.account, request.headers
    names = ("x-bapi-timestamp", "x-bapi-api-key", "x-bapi-recv-window")
    timestamp, key, window = (said.get(name, "") for name in names)
    if account.withdrawn or key != account.key:
        raise failure(10003)
    signed = f"{timestamp}{key}{window}{request.query}".encode()
    if (
        said.get("x-bapi-sign")
        != hmac.new(account.secret.encode(), signed, hashlib.sha256).hexdigest()
    ):
        raise failure(10004)


def _time(exchange: Exchange, found: Params) -> Any:
    now = exchange.wall_clock
    return {"timeSecond": str(int(now)), "timeNano": str(int(now * 1e9))}


def _category(found: Params) -> str:
    category = found.get("category", "")
    if category not in topics.CATEGORIES:
        raise failure(10001, "params error: Category is invalid")
    return category


def _wanted(found: Params) -> list[str]:
    if "symbol" not in found:
        return list(SYMBOLS)
    if found["symbol"] not in SYMBOLS:
        raise failure(10001, "params error: symbol invalid")
    return [found["symbol"]]


def _instruments(exchange: Exchange, found: Params) -> Any:
    category = _category(found)
    listed = [data.instrument_info(name, SYMBOLS[name], category) for name in _wanted(found)]
    mine = listed if category in ("spot", "linear") else []
    return {"category": category, "list": mine, "nextPageCursor": ""}


def _tickers(exchange: Exchange, found: Params) -> Any:
    category = _category(found)
    listed = [
        data.day(name, SYMBOLS[name], exchange.broadcast.number(f"tickers.{name}"))
        for name in _wanted(found)
    ]
    return {"category": category, "list": listed}


def _book(exchange: Exchange, found: Params) -> Any:
    _category(found)
    name, *more = _wanted(found)
    topic = topics.topic(f"orderbook.50.{name}")
    if more or topic is None:
        raise failure(10001, "params error: symbol invalid")
    number = exchange.broadcast.number(topic.name)
    time = int(exchange.wall_clock * 1000)
    message = data.snapshot(topic, number, exchange.broadcast.restarted(topic.name), time)
    return {**message["data"], "ts": time, "cts": time}


PUBLIC: Mapping[str, Endpoint] = MappingProxyType(
    {
        "/v5/market/time": _time,
        "/v5/market/instruments-info": _instruments,
        "/v5/market/tickers": _tickers,
        "/v5/market/orderbook": _book,
    }
)
PRIVATE: Mapping[str, Endpoint] = MappingProxyType(
    {
        "/v5/user/query-api": lambda exchange, found: {"uta": 1, "unified": 1, "readOnly": 0},
        "/v5/account/info": lambda exchange, found: {"unifiedMarginStatus": 5},
        "/v5/account/wallet-balance": lambda exchange, found: {"list": []},
        "/v5/asset/coin/query-info": lambda exchange, found: {"rows": []},
    }
)
