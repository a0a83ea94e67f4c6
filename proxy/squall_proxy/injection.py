"""A fault put in force, and the connections that it is meant for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from random import Random
from typing import Any, Literal

from squall_proxy.faults import Fault, Seconds, StreamFault

Observe = Callable[..., None]


@dataclass(frozen=True)
class Target:
    """Which connections a fault is meant for, and from when on in the life of each.

    `all` includes those to come. The others are looked up when the fault is injected, and only
    among connections that the client still holds.
    """

    which: Literal["all", "newest", "oldest"] | int = "all"
    """All, the newest, the oldest, or the number of one."""

    every: int | None = None
    """Of these every so many-th, by their numbers: 3 is for the connections 3, 6, 9..."""

    fraction: float | None = None
    """Of these about so many, 0 to 1: drawn once for each connection, from the seed."""

    after: Seconds = 0.0
    """Not before a connection has lived so long."""

    after_bytes: int = 0
    """Not before a connection has carried so many bytes, both directions together."""

    def __post_init__(self) -> None:
        if self.which not in ("all", "newest", "oldest") and not isinstance(self.which, int):
            raise ValueError(f"target is {self.which!r}; it is all, newest, oldest or a number")
        if self.every is not None and self.every < 1:
            raise ValueError(f"target: every is {self.every}; it must be 1 or more")
        if self.fraction is not None and not 0 <= self.fraction <= 1:
            raise ValueError(f"target: fraction is {self.fraction}; it is from 0 to 1")
        if not 0 <= self.after < math.inf or self.after_bytes < 0:
            raise ValueError("target: after and after_bytes must be 0 or more")

    @property
    def selective(self) -> bool:
        """It is not simply for all connections."""
        return self != Target()

    @property
    def waits(self) -> bool:
        """A connection must have come so far before it is hit."""
        return bool(self.after or self.after_bytes)

    def as_json(self) -> Any:
        """As scenario files write it: a word or a number, or a mapping where there is more."""
        said = {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if getattr(self, item.name) != item.default
        }
        return self.which if set(said) <= {"which"} else {"which": self.which, **said}


ALL = Target()


class Injection:
    """One fault in force. `heal` removes it."""

    def __init__(
        self,
        number: int,
        fault: Fault,
        target: Target,
        observe: Observe,
        remove: Callable[[Injection], None],
        rng: Random,
    ) -> None:
        self.id = number
        self.fault = fault
        self.target = target
        self.active = False
        self._healed = False
        self._observe = observe
        self._remove = remove
        self._bitten: set[int | None] = set()
        self._awaited: set[int] = set()
        # It changes nothing about a connection on which nothing comes in.
        self.deferrable = (
            isinstance(fault, StreamFault)
            and not (fault.swallows or fault.stops_reading or fault.kills or target.waits)
            and fault.ending is None
        )
        self._rng = rng
        self._drawn: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"<Injection {self.id} {self.fault} on {self.target.as_json()}>"

    @property
    def fired(self) -> bool:
        """It has done something to at least one connection."""
        return bool(self._bitten)

    def has_bitten(self, connection: int) -> bool:
        """It has done something to this connection."""
        return connection in self._bitten

    def picks(self, connection: int) -> bool:
        """Whether this one is among those of its target; what chance says, it says for good."""
        every, fraction = self.target.every, self.target.fraction
        if every is not None and connection % every:
            return False
        if fraction is None:
            return True
        if connection not in self._drawn:
            self._drawn[connection] = self._rng.random()
        return self._drawn[connection] < fraction

    def heal(self) -> None:
        """Remove the fault; a second time does nothing."""
        if not self._healed:
            self._healed = True
            self._remove(self)

    def start(self) -> None:
        """Say that it is in force."""
        self.active = True
        self._observe(
            "fault_started",
            fault=self.fault.name,
            id=self.id,
            settings=self.fault.settings(),
            target=self.target.as_json(),
        )

    def change(self, fault: Fault, target: Target | None = None) -> None:
        """Say that it is over and in force again, with other settings."""
        self.end()
        self.fault, self.target = fault, target or self.target
        self.start()

    def bite(self, connection: int | None) -> None:
        """Say that it did something to this connection, the first time it does."""
        if connection not in self._bitten:
            self._bitten.add(connection)
            self._observe("fault_fired", connection, fault=self.fault.name, id=self.id)

    def end(self) -> None:
        """Say that it is over."""
        self.active = False
        self._observe("fault_ended", fault=self.fault.name, id=self.id)

    def forget(self, connection: int) -> None:
        """The connection is gone: nothing need be known of it any more."""
        self._drawn.pop(connection, None)

    def expect(self, connections: Iterable[int]) -> None:
        """A cut is over when it has been through with these."""
        self._awaited = set(connections)
        if not self._awaited:
            self.heal()

    def through(self, connection: int) -> None:
        """The cut has ended this connection, or it ended otherwise."""
        if connection in self._awaited:
            self._awaited.discard(connection)
            if not self._awaited:
                self.heal()
