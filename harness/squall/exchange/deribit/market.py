"""Deribit's instruments, and market data that is a pure function of a message's number.

Nothing is stored: message `n` of a channel is computed when somebody is there to get it. A book's
snapshot after `n` messages, followed by changes `n + 1` to `m`, gives the snapshot after `m`.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

DEPTH = 10
_PERPETUALS = {
    "BTC-PERPETUAL": 100_000.0,
    "ETH-PERPETUAL": 4_000.0,
    "SOL_USDC-PERPETUAL": 200.0,
    "XRP_USDC-PERPETUAL": 2.5,
    "BTC_USDC-PERPETUAL": 100_000.0,
    "ETH_USDC-PERPETUAL": 4_000.0,
}
_EXPIRIES = {
    "27MAR26": 1_774_598_400_000,
    "26JUN26": 1_782_460_800_000,
    "25SEP26": 1_790_323_200_000,
    "25DEC26": 1_798_185_600_000,
}
_NO_EXPIRY = 32_503_708_800_000


def _instrument(name: str, kind: str, price: float, expires: int) -> Mapping[str, Any]:
    base = name.partition("-")[0].partition("_")[0]
    quote = "USDC" if "_USDC" in name else "USD"
    settlement = "USDC" if quote == "USDC" else base
    listed: dict[str, Any] = {
        "instrument_name": name,
        "kind": kind,
        "base_currency": base,
        "quote_currency": quote,
        "counter_currency": quote,
        "settlement_currency": settlement,
        "settlement_period": "perpetual" if kind == "future" and expires == _NO_EXPIRY else "month",
        "price_index": f"{base.lower()}_{quote.lower()}",
        "instrument_type": "linear" if quote == "USDC" else "reversed",
        "tick_size": price / 100_000,
        "min_trade_amount": 10.0,
        "contract_size": 10.0,
        "maker_commission": 0.0,
        "taker_commission": 0.0005,
        "creation_timestamp": 1_735_689_600_000,
        "expiration_timestamp": expires,
        "is_active": True,
        "state": "open",
        "instrument_id": zlib.crc32(name.encode()) % 1_000_000,
    }
    if kind == "option":
        listed["strike"] = float(name.split("-")[2])
        listed["option_type"] = {"C": "call", "P": "put"}[name[-1]]
    return MappingProxyType(listed)


def _all() -> Mapping[str, Mapping[str, Any]]:
    listed = {
        name: _instrument(name, "future", price, _NO_EXPIRY) for name, price in _PERPETUALS.items()
    }
    for base in ("BTC", "ETH"):
        price = _PERPETUALS[f"{base}-PERPETUAL"]
        for day, expires in _EXPIRIES.items():
            name = f"{base}-{day}"
            listed[name] = _instrument(name, "future", price, expires)
    for base in ("BTC", "ETH"):
        price = _PERPETUALS[f"{base}-PERPETUAL"]
        for day, expires in _EXPIRIES.items():
            for step in range(-7, 8):
                strike = round(price * (1 + step / 20))
                for side in "CP":
                    name = f"{base}-{day}-{strike}-{side}"
                    listed[name] = _instrument(name, "option", price / 20, expires)
    return MappingProxyType(listed)


INSTRUMENTS = _all()


@functools.cache
def tick_size(instrument: str) -> float:
    """The smallest step of the instrument's price."""
    return float(INSTRUMENTS[instrument]["tick_size"])


def price(instrument: str, number: int) -> float:
    """The last price when message `number` is sent: it sways a few ticks around a middle."""
    return _at(instrument, abs(number % 8 - 4) - 2)


def _at(instrument: str, ticks: int) -> float:
    return round((100_000 + ticks) * tick_size(instrument), 10)


def _level(number: int) -> tuple[str, int]:
    """The side and the level that book change `number` is about: each in its turn."""
    turn = number % (2 * DEPTH)
    return ("bids", "asks")[turn % 2], turn // 2


def _amount(number: int) -> float:
    """What the level holds after change `number`: the deepest one comes and goes."""
    _, level = _level(number)
    if level == DEPTH - 1 and number // (2 * DEPTH) % 2:
        return 0.0
    return 10.0 * (1 + number * 7919 % 500)


def _level_price(instrument: str, side: str, level: int) -> float:
    ticks = 3 + level
    return _at(instrument, -ticks if side == "bids" else ticks)


def book(instrument: str, number: int) -> dict[str, list[tuple[float, float]]]:
    """Both sides of the book after change `number`, best price first."""
    sides: dict[str, list[tuple[float, float]]] = {"bids": [], "asks": []}
    latest = {_level(n): _amount(n) for n in range(number - 2 * DEPTH + 1, number + 1)}
    for (side, level), amount in sorted(latest.items(), key=lambda item: item[0][1]):
        if amount:
            sides[side].append((_level_price(instrument, side, level), amount))
    return sides


def book_change(instrument: str, number: int) -> dict[str, list[list[Any]]]:
    """What change `number` does to the book."""
    side, level = _level(number)
    before, after = _amount(number - 2 * DEPTH), _amount(number)
    action = "delete" if not after else "change" if before else "new"
    sides: dict[str, list[list[Any]]] = {"bids": [], "asks": []}
    if before or after:
        sides[side].append([action, _level_price(instrument, side, level), after])
    return sides


def trade(instrument: str, seq: int, timestamp: int) -> dict[str, Any]:
    """Trade number `seq` of the instrument."""
    return {
        "trade_seq": seq,
        "trade_id": f"{instrument}-{seq}",
        "timestamp": timestamp,
        "tick_direction": seq % 4,
        "price": price(instrument, seq),
        "mark_price": price(instrument, seq),
        "index_price": price(instrument, 0),
        "instrument_name": instrument,
        "direction": "buy" if seq % 2 else "sell",
        "amount": 10.0 * (1 + seq % 9),
    }


def ticker(instrument: str, number: int, timestamp: int) -> dict[str, Any]:
    """The instrument's state when message `number` is sent."""
    return {
        "timestamp": timestamp,
        "instrument_name": instrument,
        "state": "open",
        "last_price": price(instrument, number),
        "mark_price": price(instrument, number),
        "index_price": price(instrument, 0),
        "best_bid_price": _level_price(instrument, "bids", 0),
        "best_bid_amount": 10.0,
        "best_ask_price": _level_price(instrument, "asks", 0),
        "best_ask_amount": 10.0,
        "min_price": _at(instrument, -1_000),
        "max_price": _at(instrument, 1_000),
        "open_interest": 1_000_000.0,
        "settlement_price": price(instrument, 0),
        "stats": {"volume": 1_000.0, "price_change": 0.0, "low": None, "high": None},
    }
