"""Binance's REST API, as far as clients of its streams ask for it: one function a path, one table.

ccxt asks for exchangeInfo of spot and both futures, for capital configuration and margin pairs
where it has a key; python-binance pings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

from squall.exchange.binance import data, users
from squall.exchange.binance.methods import book, orders_open, symbol
from squall.exchange.binance.streams import SYMBOLS
from squall.exchange.binance.wire import failure
from squall.exchange.core import Exchange
from squall.exchange.protocol import HttpAnswer, HttpRequest, Op, Request

Params = Mapping[str, str]
Endpoint = Callable[[Exchange, int, HttpRequest, Params], Any]

_KEY_PATHS = ("/api/v3/userDataStream", "/sapi/v1/userDataStream", "/fapi/v1/listenKey")


def answer(exchange: Exchange, number: int, request: HttpRequest) -> HttpAnswer:
    """Answer an HTTP request. Raises VenueError."""
    endpoint = ENDPOINTS.get((request.method, request.path))
    if endpoint is None:
        return HttpAnswer(404, "<html>404 Not found</html>\n", "text/html")
    return HttpAnswer(200, json.dumps(endpoint(exchange, number, request, params(request))))


def understand(request: HttpRequest) -> Request:
    """The request as faults see it: to ask for a listenKey is a login."""
    name = f"{request.method} {request.path}"
    if request.path in _KEY_PATHS and request.method == "POST":
        return Request(name, Op.AUTH, grant="api_key")
    return Request(name)


def params(request: HttpRequest) -> Params:
    """The parameters, of query and body alike."""
    body = request.body.decode("latin-1")
    return dict(parse_qsl(request.query)) | dict(parse_qsl(body))


def _signed(endpoint: Endpoint) -> Endpoint:
    """The same for those alone who signed query and body (rest-api.md, "SIGNED Endpoint")."""

    def check(exchange: Exchange, number: int, request: HttpRequest, found: Params) -> Any:
        signed = (request.query + request.body.decode("latin-1")).partition("&signature=")[0]
        key = request.headers.get("x-mbx-apikey")
        users.check(exchange, {**found, "apiKey": key}, signed)
        return endpoint(exchange, number, request, found)

    return check


def _exchange_info(exchange: Exchange, number: int, request: HttpRequest, found: Params) -> Any:
    wanted = {found["symbol"]} if "symbol" in found else set(SYMBOLS)
    if wanted - set(SYMBOLS):
        raise failure(-1121)
    return {
        "timezone": "UTC",
        "serverTime": int(exchange.wall_clock * 1000),
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [
            data.exchange_symbol(name, each) for name, each in SYMBOLS.items() if name in wanted
        ],
    }


def _ticker(exchange: Exchange, number: int, request: HttpRequest, found: Params) -> Any:
    now = int(exchange.wall_clock * 1000)

    def spell(name: str) -> dict[str, Any]:
        seen = exchange.broadcast.number(f"{name.lower()}@ticker")
        return data.ticker_24hr(name, SYMBOLS[name], seen, now)

    if "symbol" in found:
        return spell(symbol(found)[0])
    return [spell(name) for name in SYMBOLS]


def _account(exchange: Exchange, number: int, request: HttpRequest, found: Params) -> Any:
    return {
        "makerCommission": 10,
        "takerCommission": 10,
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "updateTime": int(exchange.wall_clock * 1000),
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": "1000.00000000", "locked": "0.00000000"}
            for asset in ("BTC", "ETH", "USDT")
        ],
        "permissions": ["SPOT"],
        "uid": 1,
    }


def _key(found: Params) -> str:
    return found.get("listenKey", "")


ENDPOINTS: Mapping[tuple[str, str], Endpoint] = MappingProxyType(
    {
        ("GET", "/api/v3/ping"): lambda exchange, number, request, found: {},
        ("GET", "/api/v3/time"): lambda exchange, number, request, found: {
            "serverTime": int(exchange.wall_clock * 1000)
        },
        ("GET", "/api/v3/exchangeInfo"): _exchange_info,
        ("GET", "/api/v3/depth"): lambda exchange, number, request, found: book(
            exchange, number, found
        ),
        ("GET", "/api/v3/ticker/24hr"): _ticker,
        ("GET", "/api/v3/account"): _signed(_account),
        ("GET", "/api/v3/openOrders"): _signed(
            lambda exchange, number, request, found: orders_open(exchange)
        ),
        ("GET", "/fapi/v1/exchangeInfo"): lambda exchange, number, request, found: {"symbols": []},
        ("GET", "/dapi/v1/exchangeInfo"): lambda exchange, number, request, found: {"symbols": []},
        **{
            ("GET", path): lambda exchange, number, request, found: []
            for path in (
                "/sapi/v1/capital/config/getall",
                "/sapi/v1/margin/allPairs",
                "/sapi/v1/margin/isolated/allPairs",
            )
        },
        **{
            ("POST", path): lambda exchange, number, request, found: users.create_key(
                exchange, number, request
            )
            for path in _KEY_PATHS
        },
        **{
            ("PUT", path): lambda exchange, number, request, found: users.keep_key(
                exchange, request, _key(found)
            )
            for path in _KEY_PATHS
        },
        **{
            ("DELETE", path): lambda exchange, number, request, found: users.close_key(
                exchange, request, _key(found)
            )
            for path in _KEY_PATHS
        },
    }
)
