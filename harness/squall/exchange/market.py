"""Market data that is a pure function of a number: what venues spell in their own ways.

Nothing is stored. A book's levels after change `n`, followed by changes `n + 1` to `m`, are its
levels after change `m`, and every change changes something, so that a lost one shows. Prices are
whole ticks and quantities whole lots, so that decimal strings come out exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

DEPTH = 10
LOT_DECIMALS = 4
SIDES = ("bids", "asks")

# The middle price in dollars as it is written: its decimals are those of the tick.
_PRICES = """
BTC 100000.00, ETH 4000.00, SOL 200.00, XRP 2.5000, BNB 700.00, DOGE 0.30000, ADA 0.9000,
LTC 120.00, LINK 20.000, DOT 7.0000, AVAX 40.00, TRX 0.25000, BCH 500.00, UNI 12.000, ATOM 8.0000,
ETC 30.00, XLM 0.40000, FIL 6.0000, NEAR 5.0000, APT 10.000, ARB 0.9000, OP 2.0000, INJ 25.000,
SUI 4.0000, SEI 0.5000, TIA 6.0000, AAVE 300.00, MKR 1800.0, ALGO 0.4000, ICP 12.000, HBAR 0.3000,
GRT 0.25000, SAND 0.6000, MANA 0.5000, AXS 7.0000, EGLD 35.00, THETA 2.5000, FTM 0.8000,
FLOW 0.9000, KAVA 0.5000
"""


@dataclass(frozen=True, slots=True)
class Instrument:
    """What is traded: `middle` is its usual price in ticks of `decimals` places."""

    base: str
    quote: str
    middle: int
    decimals: int

    def price(self, ticks: int) -> str:
        """The price so many ticks from the middle, as a decimal string."""
        return spell(self.middle + ticks, self.decimals)


def instruments(*quotes: str) -> list[Instrument]:
    """Every base against each of these quotes, the first quote first."""
    found = []
    for quote in quotes:
        for line in _PRICES.replace("\n", " ").split(","):
            base, price = line.split()
            whole, _, decimals = price.partition(".")
            found.append(Instrument(base, quote, int(whole + decimals), len(decimals)))
    return found


def spell(units: int, decimals: int) -> str:
    """So many units of the last decimal place, as a decimal string."""
    return f"{Decimal(units).scaleb(-decimals):.{decimals}f}"


def quantity(lots: int) -> str:
    """A quantity as a decimal string."""
    return spell(lots, LOT_DECIMALS)


@dataclass(frozen=True, slots=True)
class Change:
    """One level of a book gets another quantity; none at all for 0 lots."""

    side: str
    ticks: int
    lots: int


def change(number: int) -> Change:
    """Book change `number`: each level in its turn, bids and asks alternately."""
    side, level = _level(number)
    return Change(side, _ticks(side, level), _lots(number))


def book(number: int) -> MappingProxyType[str, list[tuple[int, int]]]:
    """Ticks and lots of both sides after change `number`, best price first."""
    sides: dict[str, list[tuple[int, int]]] = {side: [] for side in SIDES}
    latest = {_level(n): _lots(n) for n in range(number - 2 * DEPTH + 1, number + 1)}
    for (side, level), lots in sorted(latest.items(), key=lambda item: item[0][1]):
        if lots:
            sides[side].append((_ticks(side, level), lots))
    return MappingProxyType(sides)


def last(number: int) -> int:
    """Ticks of the last price when message `number` is sent: it sways around the middle."""
    return abs(number % 8 - 4) - 2


def traded(number: int) -> int:
    """The lots of trade `number`."""
    return 10 * (1 + number % 9)


def bought(number: int) -> bool:
    """Whether the taker of trade `number` bought."""
    return number % 2 == 1


def _level(number: int) -> tuple[str, int]:
    turn = number % (2 * DEPTH)
    return SIDES[turn % 2], turn // 2


def _ticks(side: str, level: int) -> int:
    return -(3 + level) if side == "bids" else 3 + level


def _lots(number: int) -> int:
    """What the level holds after change `number`: the deepest one comes and goes."""
    _, level = _level(number)
    if level == DEPTH - 1 and number // (2 * DEPTH) % 2:
        return 0
    return 1 + number * 7919 % 500


@dataclass(frozen=True, slots=True)
class Summary:
    """What a ticker tells, in ticks and lots."""

    last: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int
    low: int = -50
    high: int = 50
    volume: int = 10_000_000


def summary(number: int) -> Summary:
    """The instrument's state when message `number` is sent."""
    sides = book(number)
    (bid, bid_lots), (ask, ask_lots) = sides["bids"][0], sides["asks"][0]
    return Summary(last(number), bid, bid_lots, ask, ask_lots)
