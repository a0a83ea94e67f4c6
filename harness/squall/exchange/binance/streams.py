"""Binance's stream names, and the symbols that it lists (web-socket-streams.md).

A name is a symbol in lower case, `@`, and what is told of it: `btcusdt@trade`. The one private
stream has no name of its own on the wire: it is reached by a listenKey, or over the WebSocket API.
The harness calls it `userData`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from squall.exchange.market import Instrument, instruments

USER_DATA = "userData"
SYMBOLS: Mapping[str, Instrument] = MappingProxyType(
    {each.base + each.quote: each for each in instruments("USDT", "USDC", "FDUSD")}
)
_NAME = re.compile(
    r"(?P<symbol>[a-z0-9]{1,20})@(?:(?P<trade>trade|aggTrade)|(?P<book>depth(?:@100ms)?)"
    r"|(?P<ticker>ticker|miniTicker|bookTicker)|(?P<kline>kline_(?:\d{1,2}[smhdwM]))"
    r"|(?P<depth>depth(?:5|10|20)(?:@100ms)?))"
)
_SPELT = {"trades": "trade", "book": "depth@100ms", "ticker": "ticker"}
LISTED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **{kind: [f"{name.lower()}@{topic}" for name in SYMBOLS] for kind, topic in _SPELT.items()},
        "orders": [USER_DATA],
    }
)
_KINDS = {"trade": "trades", "book": "book", "ticker": "ticker"}


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream by its parts; `topic` is what stands behind the first `@`."""

    name: str
    kind: str
    symbol: str
    topic: str

    @property
    def instrument(self) -> Instrument:
        """What the stream is about."""
        return SYMBOLS[self.symbol]


@functools.lru_cache(maxsize=4096)
def stream(name: str) -> Stream | None:
    """The public stream of this name, or None where there is none."""
    match = _NAME.fullmatch(name)
    if match is None or match["symbol"].upper() not in SYMBOLS:
        return None
    group = match.lastgroup or ""
    return Stream(name, _KINDS.get(group, "other"), match["symbol"].upper(), match[group])
