"""A fault put in force, and the connections that it is meant for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from squall_proxy.faults import Fault

Observe = Callable[..., None]


@dataclass(frozen=True)
class Target:
    """Which connections a fault is meant for: `all`, the `newest`, the `oldest`, or a number.

    `all` includes those to come. The others are looked up when the fault is injected, and only
    among connections that the client still holds.
    """

    which: Literal["all", "newest", "oldest"] | int = "all"

    def __post_init__(self) -> None:
        if self.which not in ("all", "newest", "oldest") and not isinstance(self.which, int):
            raise ValueError(f"target is {self.which!r}; it is all, newest, oldest or a number")


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
    ) -> None:
        self.id = number
        self.fault = fault
        self.target = target
        self.active = False
        self._observe = observe
        self._remove = remove
        self._bitten: set[int | None] = set()
        self._awaited: set[int] = set()

    def __repr__(self) -> str:
        return f"<Injection {self.id} {self.fault} on {self.target.which}>"

    @property
    def fired(self) -> bool:
        """It has done something to at least one connection."""
        return bool(self._bitten)

    def heal(self) -> None:
        """Remove the fault; a second time does nothing."""
        self._remove(self)

    def start(self) -> None:
        """Say that it is in force."""
        self.active = True
        self._observe(
            "fault_started",
            fault=self.fault.name,
            id=self.id,
            settings=self.fault.settings(),
            target=self.target.which,
        )

    def bite(self, connection: int | None) -> None:
        """Say that it did something to this connection, the first time it does."""
        if connection not in self._bitten:
            self._bitten.add(connection)
            self._observe("fault_fired", connection, fault=self.fault.name, id=self.id)

    def end(self) -> None:
        """Say that it is over."""
        self.active = False
        self._observe("fault_ended", fault=self.fault.name, id=self.id)

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
