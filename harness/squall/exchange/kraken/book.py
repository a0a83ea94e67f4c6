"""Kraken's books and their checksums (docs.kraken.com, guides, "Book checksum (v2)").

The checksum is the CRC32 over the ten best asks, low to high, then the ten best bids, high to low:
of each level its price and its quantity as they are on the wire, without the point and without
leading zeros. So numbers are written here digit by digit, and never pass through a float.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable

from squall.exchange import market
from squall.exchange.market import Instrument, quantity

CHANGES_PER_MESSAGE = 2
CHECKED = 10
Level = tuple[str, str]


def checksum(asks: Iterable[Level], bids: Iterable[Level]) -> int:
    """The checksum of a book whose sides are given best price first."""
    best = [*list(asks)[:CHECKED], *list(bids)[:CHECKED]]
    digits = "".join(
        figure.replace(".", "").lstrip("0") for price, amount in best for figure in (price, amount)
    )
    return zlib.crc32(digits.encode())


def levels(instrument: Instrument, number: int) -> dict[str, list[Level]]:
    """Both sides after book message `number`, best price first."""
    return {
        side: [(instrument.price(ticks), quantity(lots)) for ticks, lots in found]
        for side, found in market.book(number * CHANGES_PER_MESSAGE).items()
    }


def changes(instrument: Instrument, number: int) -> dict[str, list[Level]]:
    """What book message `number` does: quantity 0 deletes."""
    last = number * CHANGES_PER_MESSAGE
    sides: dict[str, list[Level]] = {side: [] for side in market.SIDES}
    for change in map(market.change, range(last - CHANGES_PER_MESSAGE + 1, last + 1)):
        sides[change.side].append((instrument.price(change.ticks), quantity(change.lots)))
    return sides


def message(
    type: str, symbol: str, instrument: Instrument, number: int, depth: int, time: str
) -> str:
    """Book message `number`: the whole book, or what has changed."""
    whole = levels(instrument, number)
    told = changes(instrument, number) if type == "update" else whole
    sides = ", ".join(f'"{side}": [{_spell(told[side][:depth])}]' for side in market.SIDES)
    check = checksum(whole["asks"], whole["bids"])
    said = f'"symbol": {json.dumps(symbol)}, {sides}, "checksum": {check}, "timestamp": "{time}"'
    return f'{{"channel": "book", "type": "{type}", "data": [{{{said}}}]}}'


def _spell(side: Iterable[Level]) -> str:
    return ", ".join(f'{{"price": {price}, "qty": {amount}}}' for price, amount in side)
