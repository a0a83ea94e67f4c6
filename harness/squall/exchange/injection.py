"""Faults in force: which there are, whom they have bitten, and when they are over."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from squall.exchange.faults.base import ExchangeFault

if TYPE_CHECKING:
    from squall.exchange.core import Exchange

Observe = Callable[..., None]


class Injection:
    """One fault in force. `fired` tells whether it has bitten anything yet."""

    def __init__(self, id: int, fault: ExchangeFault, exchange: Exchange) -> None:
        self.id = id
        self.fault = fault
        self.in_force = True
        self.fired = False
        self.chosen: tuple[str, ...] = ()
        self.arrivals: dict[int, deque[float]] = {}
        self._uses = 0
        self._bitten: set[int | None] = set()
        self._exchange = exchange

    def bite(self, connection: int | None) -> None:
        """Note that the fault did something to this connection; it is told once a connection."""
        self.fired = True
        if connection not in self._bitten:
            self._bitten.add(connection)
            self._exchange.observe("fault_fired", connection, fault=self.fault.name, id=self.id)

    def spend(self) -> None:
        """Use the fault once. One that works a number of times is over with the last."""
        self._uses += 1
        if self._uses == self.fault.uses:
            self.heal()

    def heal(self) -> None:
        """Remove the fault."""
        if self.in_force:
            self.in_force = False
            self._exchange.observe("fault_ended", fault=self.fault.name, id=self.id)
            self.fault.end(self._exchange, self)


class Injections:
    """The faults in force, in the order in which they were injected."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._ids = itertools.count(1)
        self._all: list[Injection] = []

    def __iter__(self) -> Iterator[Injection]:
        if not self._all:
            return iter(())
        self._all = [injection for injection in self._all if injection.in_force]
        # A fault may end, or another one begin, while somebody goes through them.
        return (injection for injection in tuple(self._all) if injection.in_force)

    def add(self, fault: ExchangeFault) -> Injection:
        """Put a fault in force."""
        injection = Injection(next(self._ids), fault, self._exchange)
        self._all.append(injection)
        self._exchange.observe(
            "fault_started", fault=fault.name, id=injection.id, settings=asdict(fault), target="all"
        )
        fault.begin(self._exchange, injection)
        return injection
