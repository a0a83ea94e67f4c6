"""The account's orders. They rest until somebody cancels them; market orders fill at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Order:
    """One order. `connection` is the one that placed it."""

    id: str
    instrument: str
    direction: str
    amount: float
    price: float
    type: str
    label: str
    connection: int
    created: float
    updated: float
    state: str
    cancel_reason: str = ""

    @property
    def filled(self) -> float:
        """How much of it is traded: all or nothing."""
        return self.amount if self.state == "filled" else 0.0


def amount(found: object) -> float | None:
    """What a client wrote for a quantity or a price, as a number or in text; None where that is
    none, or not more than 0.
    """
    try:
        if isinstance(found, bool) or not isinstance(found, int | float | str):
            return None
        value = float(found)
    except (ValueError, OverflowError):
        return None
    return value if 0 < value < math.inf else None


class Orders:
    """Every order that the account ever placed; their ids begin with `prefix`."""

    def __init__(self, prefix: str = "SQ-") -> None:
        self._prefix = prefix
        self._orders: dict[str, Order] = {}

    def place(
        self,
        instrument: str,
        direction: str,
        amount: float,
        *,
        price: float,
        type: str,
        label: str,
        connection: int,
        now: float,
    ) -> Order:
        """A new order, open or, for a market order, filled."""
        order = Order(
            id=f"{self._prefix}{len(self._orders) + 1}",
            instrument=instrument,
            direction=direction,
            amount=amount,
            price=price,
            type=type,
            label=label,
            connection=connection,
            created=now,
            updated=now,
            state="filled" if type == "market" else "open",
        )
        self._orders[order.id] = order
        return order

    def find(self, id: str) -> Order | None:
        """The order with this id."""
        return self._orders.get(id)

    def open(self, *, connection: int | None = None) -> Iterator[Order]:
        """The open orders, of one connection where it is given."""
        for order in list(self._orders.values()):
            if order.state == "open" and connection in (None, order.connection):
                yield order
