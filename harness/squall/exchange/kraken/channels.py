"""Kraken's channels, and the pairs that it lists (docs.kraken.com, WebSocket v2).

Kraken names a channel and a symbol apart; the harness writes both as one, `trade:BTC/USD`. Private
channels stand alone: `executions`. A book is one channel whatever depth is asked for: the mock's
books have ten levels a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from squall.exchange.market import Instrument, instruments

EXECUTIONS = "executions"
NOTICES = "status"
PAIRS: Mapping[str, Instrument] = MappingProxyType(
    {f"{each.base}/{each.quote}": each for each in instruments("USD", "EUR", "USDT")}
)
KINDS: Mapping[str, str] = MappingProxyType({"trade": "trades", "book": "book", "ticker": "ticker"})
PRIVATE: Mapping[str, str] = MappingProxyType({EXECUTIONS: "orders", "balances": "other"})
DEPTHS = (10, 25, 100, 500, 1000)
LISTED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **{kind: [f"{channel}:{pair}" for pair in PAIRS] for channel, kind in KINDS.items()},
        "orders": [EXECUTIONS],
    }
)


def name(channel: str, symbol: str) -> str:
    """Channel and symbol as one."""
    return f"{channel}:{symbol}"


def parts(full: str) -> tuple[str, str]:
    """Channel and symbol; private channels have none."""
    channel, _, symbol = full.partition(":")
    return channel, symbol


def kind(full: str) -> str | None:
    """The kind of a channel, or None where there is no such channel."""
    channel, symbol = parts(full)
    if symbol:
        return KINDS.get(channel) if symbol in PAIRS else None
    return PRIVATE.get(full)
