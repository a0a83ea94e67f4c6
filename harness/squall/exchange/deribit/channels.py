"""Deribit's channel names (https://docs.deribit.com, subscriptions).

`book.BTC-PERPETUAL.100ms` is a channel of trades, books, tickers or orders, the kinds that have
steady traffic; a few other families are known and quiet.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from squall.exchange.deribit.market import INSTRUMENTS

NOTICES = "platform_state"
_INTERVALS = ("raw", "100ms", "agg2")
_QUIET = re.compile(
    r"platform_state(\.public_methods_state)?|instrument\.state\.\w+\.\w+|announcements"
    r"|deribit_(price_index|price_ranking|volatility_index)\.\w+|markprice\.options\.\w+"
    r"|estimated_expiration_price\.\w+|perpetual\.[\w-]+\.(raw|100ms|agg2)"
    r"|user\.(portfolio|access_log|lock|mmp_trigger)(\.\w+)?"
    r"|user\.(trades|changes)\.[\w-]+(\.\w+)?\.(raw|100ms|agg2)"
)
_DEPTH = re.compile("1|10|20")
_CURRENCIES = {"any"} | {str(each["settlement_currency"]) for each in INSTRUMENTS.values()}
_KINDS = {"any", "future", "option"}
LISTED: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **{
            kind: [f"{kind}.{instrument}.100ms" for instrument in INSTRUMENTS]
            for kind in ("trades", "book", "ticker")
        },
        "orders": [f"user.orders.{whose}.raw" for whose in ("any.any", *INSTRUMENTS)],
    }
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel by its parts. `instrument` is the one whose data it carries, also where the name
    says `any`; `depth` is set for books that send whole images.
    """

    name: str
    kind: str
    private: bool = False
    raw: bool = False
    instrument: str = ""
    everything: bool = False
    depth: int | None = None


@functools.lru_cache(maxsize=4096)
def channel(name: str) -> Channel | None:
    """The channel of this name, or None where Deribit has none."""
    match name.split("."):
        case ["book" | "ticker" as kind, instrument, interval] if interval in _INTERVALS:
            return _of_instrument(name, kind, instrument, interval)
        case ["book", instrument, _, depth, "100ms" | "agg2" as interval]:
            return _of_instrument(name, "book", instrument, interval, depth)
        case ["quote", instrument]:
            return _of_instrument(name, "ticker", instrument, "100ms")
        case ["trades", instrument, interval] if interval in _INTERVALS:
            return _of_instrument(name, "trades", instrument, interval)
        case ["trades", kind, currency, interval] if _is_group(kind, currency, interval):
            return Channel(name, "trades", raw=interval == "raw", instrument=_ANY)
        case ["user", "orders", instrument, interval] if (
            instrument in INSTRUMENTS and interval in _INTERVALS
        ):
            return Channel(name, "orders", True, interval == "raw", instrument)
        case ["user", "orders", kind, currency, interval] if _is_group(kind, currency, interval):
            return Channel(name, "orders", True, interval == "raw", _ANY, everything=True)
    if _QUIET.fullmatch(name):
        return Channel(name, "other", private=name.startswith("user."))
    return None


_ANY = "BTC-PERPETUAL"


def _of_instrument(
    name: str, kind: str, instrument: str, interval: str, depth: str = ""
) -> Channel | None:
    if instrument not in INSTRUMENTS or not (not depth or _DEPTH.fullmatch(depth)):
        return None
    return Channel(
        name,
        kind,
        raw=interval == "raw",
        instrument=instrument,
        depth=int(depth) if depth else None,
    )


def _is_group(kind: str, currency: str, interval: str) -> bool:
    return kind in _KINDS and currency in _CURRENCIES and interval in _INTERVALS
