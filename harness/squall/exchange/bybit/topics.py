"""Bybit's topics, and the symbols that it lists (docs/v5/websocket/public and /private).

A topic is a family, perhaps a depth or an interval, and a symbol: `orderbook.50.BTCUSDT`. Private
topics stand alone: `order`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from squall.exchange.market import Instrument, instruments

PUBLIC = "/v5/public/"
PRIVATE = "/v5/private"
TRADE = "/v5/trade"
STATUS = "/v5/public/misc/status"
CATEGORIES = ("spot", "linear", "inverse", "option")
NOTICES = "system.status"
ORDERS = "order"
SYMBOLS: Mapping[str, Instrument] = MappingProxyType(
    {each.base + each.quote: each for each in instruments("USDT", "USDC")}
)
_SPELT = {"trades": "publicTrade", "book": "orderbook.50", "ticker": "tickers"}
LISTED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **{kind: [f"{family}.{symbol}" for symbol in SYMBOLS] for kind, family in _SPELT.items()},
        "orders": [ORDERS],
    }
)
_PRIVATE = re.compile(
    r"(?:order|execution|position)(?:\.(?:spot|linear|inverse|option))?|wallet|greeks|dcp"
)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic by its parts; `symbol` is empty for private ones."""

    name: str
    kind: str
    symbol: str = ""
    private: bool = False

    @property
    def instrument(self) -> Instrument:
        """What the topic is about."""
        return SYMBOLS[self.symbol]


@functools.lru_cache(maxsize=4096)
def topic(name: str) -> Topic | None:
    """The topic of this name, or None where there is none."""
    match name.split("."):
        case ["publicTrade", symbol] if symbol in SYMBOLS:
            return Topic(name, "trades", symbol)
        case ["orderbook", "1" | "50" | "200" | "1000", symbol] if symbol in SYMBOLS:
            return Topic(name, "book", symbol)
        case ["tickers", symbol] if symbol in SYMBOLS:
            return Topic(name, "ticker", symbol)
    if name == NOTICES:
        return Topic(name, "other")
    if _PRIVATE.fullmatch(name):
        return Topic(name, "orders" if name.startswith(ORDERS) else "other", private=True)
    return None
