"""The harm that can be done to a connection. Each fault is a frozen value that says what.

There are three kinds. A stream fault acts on the bytes of a connection for as long as it is in
force: `attach` gives the function that does it. A cut ends connections, once. A listener fault
meets new connections while it is in force.

To add a fault, write one dataclass and one line in `FAULTS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from random import Random
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from squall_proxy.frames import close_frame
from squall_proxy.http1 import answer
from squall_proxy.link import Chunk, End, Filter

Seconds = Annotated[float, "seconds"]
Rate = Annotated[float, "bytes per second"]
Way = Literal["client_to_server", "server_to_client"]
Direction = Literal["both", "client_to_server", "server_to_client"]

# Throttled bytes leave in portions of so many seconds: fine enough to look like a slow line,
# coarse enough not to wake the loop for every byte.
_PORTION = 0.05


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
class StreamFault(Fault):
    """Acts on the bytes of connections for as long as it is in force."""

    # Held bytes of one direction at which the proxy stops reading: a slow line slows its sender.
    capacity: ClassVar[int] = 64 * 1024
    # The proxy stops reading as soon as it holds something, so that the sender's window closes.
    stops_reading: ClassVar[bool] = False
    # The proxy reads on, whatever it holds already, and in the end discards.
    swallows: ClassVar[bool] = False

    def ways(self) -> tuple[Way, ...]:
        """The directions that it concerns."""
        direction: Direction = getattr(self, "direction", "both")
        if direction == "both":
            return ("client_to_server", "server_to_client")
        return (direction,)

    def attach(self, rng: Random) -> Filter:
        """The function that acts on one direction of one connection."""
        raise NotImplementedError


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


@dataclass(frozen=True)
class Latency(StreamFault):
    """Everything arrives `delay` later, give or take up to `jitter`, and never reordered."""

    name: ClassVar[str] = "latency"
    # A long line is not a slow one: it has room for what is on its way.
    capacity: ClassVar[int] = 4 * 1024 * 1024
    delay: Seconds
    jitter: Seconds = 0.0
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _check_not_negative(self, "delay", "jitter")

    def attach(self, rng: Random) -> Filter:
        """Moves each chunk to `delay` and its own share of jitter after its arrival."""

        def late(chunk: Chunk) -> Iterator[Chunk]:
            spread = rng.uniform(-self.jitter, self.jitter) if self.jitter else 0.0
            yield Chunk(chunk.data, chunk.due + max(0.0, self.delay + spread))

        return late


@dataclass(frozen=True)
class Throttle(StreamFault):
    """Bytes pass at `rate`, as over a slow line."""

    name: ClassVar[str] = "throttle"
    rate: Rate
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _check_above_zero(self, "rate")

    def attach(self, rng: Random) -> Filter:
        """Cuts chunks into portions that leave when a line of this rate has carried them."""
        return _paced(portion=max(1, int(self.rate * _PORTION)), seconds_per_byte=1 / self.rate)


@dataclass(frozen=True)
class Trickle(StreamFault):
    """Bytes pass one at a time, one every `interval`."""

    name: ClassVar[str] = "trickle"
    interval: Seconds = 1.0
    direction: Direction = "both"

    def __post_init__(self) -> None:
        _check_above_zero(self, "interval")

    def attach(self, rng: Random) -> Filter:
        """Cuts chunks into single bytes, `interval` apart."""
        return _paced(portion=1, seconds_per_byte=self.interval)


@dataclass(frozen=True)
class Blackhole(StreamFault):
    """Nothing passes, not even the end of the connection; the sender notices nothing.

    What is sent is held, up to a bound, and passes when the fault is removed. Beyond the bound it
    is discarded, and removing the fault then resets the connection: bytes are missing from it.
    """

    name: ClassVar[str] = "blackhole"
    swallows: ClassVar[bool] = True
    direction: Direction = "both"

    def attach(self, rng: Random) -> Filter:
        """Holds everything."""
        return _hold


@dataclass(frozen=True)
class Stall(StreamFault):
    """The proxy stops reading: nothing passes, and the sender's window closes.

    It takes in one chunk and holds it, so that there is proof that something was stopped.
    """

    name: ClassVar[str] = "stall"
    stops_reading: ClassVar[bool] = True
    direction: Direction = "both"

    def attach(self, rng: Random) -> Filter:
        """Holds the little that is read before reading stops."""
        return _hold


@dataclass(frozen=True)
class HandshakeBlackhole(StreamFault):
    """New connections hang: at once (`tcp`), or when the upgrade should be answered (`upgrade`).

    `tcp`: the connection is accepted, the exchange is not dialled. `upgrade`: the exchange gets
    the request, its answer never arrives.
    """

    name: ClassVar[str] = "handshake_blackhole"
    only_new: ClassVar[bool] = True
    swallows: ClassVar[bool] = True
    phase: Literal["tcp", "upgrade"] = "tcp"

    def ways(self) -> tuple[Way, ...]:
        """Both, or only the answer's."""
        if self.phase == "upgrade":
            return ("server_to_client",)
        return ("client_to_server", "server_to_client")

    def attach(self, rng: Random) -> Filter:
        """Holds everything."""
        return _hold


@dataclass(frozen=True)
class Rst(CutFault):
    """The connection is reset: both sides get a TCP RST, at once."""

    name: ClassVar[str] = "rst"


@dataclass(frozen=True)
class Fin(CutFault):
    """The connection ends without a Close frame: both sides get a TCP FIN."""

    name: ClassVar[str] = "fin"


@dataclass(frozen=True)
class Truncate(CutFault):
    """The next frame is cut in its middle, then both sides get a TCP FIN."""

    name: ClassVar[str] = "truncate"
    direction: Way = "server_to_client"

    @property
    def needs_websocket(self) -> bool:
        """It looks for the beginning of a frame."""
        return True


@dataclass(frozen=True)
class Close(CutFault):
    """The client gets a Close frame with `code` and `reason`, the exchange a TCP FIN."""

    name: ClassVar[str] = "close"
    code: int = 1000
    reason: str = ""

    def __post_init__(self) -> None:
        close_frame(self.code, self.reason)

    @property
    def needs_websocket(self) -> bool:
        """A Close frame stands at a frame boundary."""
        return True


@dataclass(frozen=True)
class Refuse(ListenerFault):
    """New connections are refused by the kernel, or accepted and then reset or closed at once."""

    name: ClassVar[str] = "refuse"
    how: Literal["refused", "reset", "closed"] = "refused"


@dataclass(frozen=True)
class Flap(ListenerFault):
    """New connections work, and are ended `after` they came up.

    With `upgrade` that is when the exchange's 101 was passed on; without, it is when the
    connection was accepted, and the exchange is not dialled at all.
    """

    name: ClassVar[str] = "flap"
    after: Seconds = 0.0
    how: Literal["close", "fin", "rst"] = "close"
    code: int = 1000
    upgrade: bool = True

    def __post_init__(self) -> None:
        _check_not_negative(self, "after")
        if self.how == "close":
            close_frame(self.code)
            if not self.upgrade:
                raise ValueError("flap: a Close frame needs an upgrade; set `how` to fin or rst")

    @property
    def needs_websocket(self) -> bool:
        """Only where it waits for the upgrade."""
        return self.upgrade

    @property
    def dials(self) -> bool:
        """Only where there is to be an upgrade."""
        return self.upgrade


@dataclass(frozen=True)
class Http(ListenerFault):
    """Requests on new connections are answered with `status`; the exchange is not dialled."""

    name: ClassVar[str] = "http"
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    reason: str | None = None

    def __post_init__(self) -> None:
        answer(self.status, self.headers, self.body, self.reason)

    @property
    def needs_websocket(self) -> bool:
        """It answers HTTP requests, so it must read them."""
        return True


FAULTS: Mapping[str, type[Fault]] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Latency,
            Throttle,
            Trickle,
            Blackhole,
            Stall,
            HandshakeBlackhole,
            Rst,
            Fin,
            Truncate,
            Close,
            Refuse,
            Flap,
            Http,
        )
    }
)
"""Every fault, under its name in scenario files."""


def _hold(chunk: Chunk) -> Iterator[Chunk]:
    yield Chunk(chunk.data, math.inf)


def _paced(portion: int, seconds_per_byte: float) -> Filter:
    """Lets one byte after another over a line that needs so long for each."""
    free = 0.0

    def pace(chunk: Chunk) -> Iterator[Chunk]:
        nonlocal free
        if isinstance(chunk.data, End):
            yield chunk
            return
        for start in range(0, len(chunk.data), portion):
            piece = chunk.data[start : start + portion]
            free = max(free, chunk.due) + len(piece) * seconds_per_byte
            yield Chunk(piece, free)

    return pace


def _check_not_negative(fault: Fault, *names: str) -> None:
    for name in names:
        value = getattr(fault, name)
        if not 0 <= value < math.inf:
            raise ValueError(f"{fault.name}: {name} is {value}; it must be 0 or more")


def _check_above_zero(fault: Fault, name: str) -> None:
    value = getattr(fault, name)
    if not 0 < value < math.inf:
        raise ValueError(f"{fault.name}: {name} is {value}; it must be above 0")
