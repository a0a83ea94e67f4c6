"""What faults are made of: the three kinds, the units of their settings, and how they end a line.

A stream fault acts on the bytes of a connection for as long as it is in force: `attach` gives
the function that does it, and `ending` says when, if ever, it ends the connection. A cut ends
connections, once. A listener fault meets new connections while it is in force.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from random import Random
from typing import Annotated, Any, ClassVar, Literal

from squall_proxy.link import Filter

Seconds = Annotated[float, "seconds"]
Rate = Annotated[float, "bytes per second"]
Way = Literal["client_to_server", "server_to_client"]
Direction = Literal["both", "client_to_server", "server_to_client"]
Ends = Literal["both", "client", "server"]
How = Literal["fin", "rst"]

WAYS: tuple[Way, ...] = ("client_to_server", "server_to_client")


@dataclass(frozen=True)
class Fault:
    """What all faults have in common: a name, and settings that print well."""

    name: ClassVar[str]
    # It meets new connections, and leaves alone those that are open already.
    only_new: ClassVar[bool] = False

    def settings(self) -> dict[str, Any]:
        """The fault's fields as plain values, for events and reports."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @property
    def needs_websocket(self) -> bool:
        """Whether it can only be done where the proxy reads HTTP heads and WebSocket frames."""
        return False


@dataclass(frozen=True)
class Ending:
    """When a stream fault ends a connection that it is on, and how. What is not set, is never."""

    how: How
    side: Ends = "both"
    after: float | None = None
    """Seconds after it came into force there."""

    silence: float | None = None
    """Seconds without a byte in the directions that it concerns."""

    removed: bool = False
    """When it is removed."""


@dataclass(frozen=True)
class StreamFault(Fault):
    """Acts on the bytes of connections for as long as it is in force."""

    # Held bytes of one direction at which the proxy stops reading: a slow line slows its sender.
    capacity: ClassVar[int] = 64 * 1024
    # The proxy stops reading as soon as it holds something, so that the sender's window closes.
    stops_reading: ClassVar[bool] = False
    # The proxy reads on, whatever it holds already, and in the end discards.
    swallows: ClassVar[bool] = False
    # A connection that it has hit stays as it is when the fault is removed.
    kills: ClassVar[bool] = False

    def ways(self) -> tuple[Way, ...]:
        """The directions that it concerns."""
        direction: Direction = getattr(self, "direction", "both")
        return WAYS if direction == "both" else (direction,)

    def attach(self, rng: Random) -> Filter:
        """The function that acts on one direction of one connection."""
        raise NotImplementedError

    @property
    def ending(self) -> Ending | None:
        """When it ends the connections that it is on; None where that is not its business."""
        return None


@dataclass(frozen=True)
class CutFault(Fault):
    """Ends the connections that match when it is injected, once."""


@dataclass(frozen=True)
class ListenerFault(Fault):
    """Meets new connections for as long as it is in force."""

    only_new: ClassVar[bool] = True

    @property
    def dials(self) -> bool:
        """Whether the exchange is dialled for a connection that it meets."""
        return False


def check_not_negative(fault: Fault, *names: str) -> None:
    """Raise ValueError for a setting below 0."""
    for name in names:
        value = getattr(fault, name)
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{fault.name}: {name} is {value}; it must be 0 or more")


def check_above_zero(fault: Fault, *names: str) -> None:
    """Raise ValueError for a setting that is not above 0."""
    for name in names:
        value = getattr(fault, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{fault.name}: {name} is {value}; it must be above 0")
