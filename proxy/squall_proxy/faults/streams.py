"""Faults on the bytes of a connection: late, slow, in small pieces, held, lost, or too many.

Each gives a function from a chunk to chunks. It may delay them, cut them into smaller ones, hold
them for ever, leave them out, or say that the stream ends here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from squall_proxy.faults.base import (
    Direction,
    Ending,
    Ends,
    How,
    Rate,
    Seconds,
    StreamFault,
    Way,
    check_above_zero,
    check_not_negative,
)
from squall_proxy.link import Chunk, End, Filter

# Throttled bytes leave in portions of so many seconds: fine enough to look like a slow line,
# coarse enough not to wake the loop for every byte.
_PORTION = 0.05

# Shape of the pareto distribution: its mean is 1.5 times its least value, and one in a thousand
# is ten times that.
_PARETO_SHAPE = 3.0


@dataclass(frozen=True)
class Latency(StreamFault):
    """Everything arrives `delay` later, give or take `jitter`, and never reordered.

    `uniform`: up to `jitter` more or less. `normal`: `jitter` is the standard deviation.
    `pareto`: never less than `delay`, as a rule a little more, and now and then very much more;
    `jitter` is what it is more on average.
    """

    name: ClassVar[str] = "latency"
    # A long line is not a slow one: it has room for what is on its way.
    capacity: ClassVar[int] = 4 * 1024 * 1024
    delay: Seconds
    jitter: Seconds = 0.0
    direction: Direction = "both"
    distribution: Literal["uniform", "normal", "pareto"] = "uniform"

    def __post_init__(self) -> None:
        check_not_negative(self, "delay", "jitter")

    def attach(self, rng: Random) -> Filter:
        """Moves each chunk to `delay` and its own share of jitter after its arrival."""
        delay, jitter = self.delay, self.jitter
        if not jitter:

            def later(chunk: Chunk) -> tuple[Chunk, ...]:
                data, due, offset = chunk
                return (Chunk(data, due + delay, offset),)

            return later

        def drawn() -> float:
            match self.distribution:
                case "uniform":
                    return rng.uniform(-jitter, jitter)
                case "normal":
                    return rng.gauss(0.0, jitter)
                case "pareto":
                    return jitter * (_PARETO_SHAPE - 1) * (rng.paretovariate(_PARETO_SHAPE) - 1)

        def late(chunk: Chunk) -> tuple[Chunk, ...]:
            return (Chunk(chunk.data, chunk.due + max(0.0, delay + drawn()), chunk.offset),)

        return late


@dataclass(frozen=True)
class Throttle(StreamFault):
    """Bytes pass at `rate`, as over a slow line."""

    name: ClassVar[str] = "throttle"
    rate: Rate
    direction: Direction = "both"

    def __post_init__(self) -> None:
        check_above_zero(self, "rate")

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
        check_above_zero(self, "interval")

    def attach(self, rng: Random) -> Filter:
        """Cuts chunks into single bytes, `interval` apart."""
        return _paced(portion=1, seconds_per_byte=self.interval)


@dataclass(frozen=True)
class Slicer(StreamFault):
    """Bytes pass in slices of about `average_size`, one `delay` after the other.

    A slice is up to `size_variation` smaller or bigger than the average.
    """

    name: ClassVar[str] = "slicer"
    average_size: int = 64
    size_variation: int = 0
    delay: Seconds = 0.0
    direction: Direction = "both"

    def __post_init__(self) -> None:
        check_above_zero(self, "average_size")
        check_not_negative(self, "size_variation", "delay")
        if self.size_variation >= self.average_size:
            raise ValueError(
                f"slicer: size_variation is {self.size_variation}; it must be less than"
                f" average_size ({self.average_size})"
            )

    def attach(self, rng: Random) -> Filter:
        """Cuts chunks; between two slices of one chunk there is `delay`."""
        average, variation, delay = self.average_size, self.size_variation, self.delay
        free = 0.0

        def slices(data: bytes, due: float, offset: int) -> Iterator[Chunk]:
            nonlocal free
            start, due = 0, max(free, due)
            while start < len(data):
                size = average + (rng.randint(-variation, variation) if variation else 0)
                free = due + delay
                yield Chunk(data[start : start + size], due, offset + start)
                start, due = start + size, free

        def slice_up(chunk: Chunk) -> Iterable[Chunk]:
            data, due, offset = chunk
            return slices(data, due, offset) if isinstance(data, bytes) else (chunk,)

        return slice_up


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
    the request, its answer never arrives. A handshake that was lost stays lost: a connection
    that has been hit hangs until its client leaves it, also when the fault is removed before.
    """

    name: ClassVar[str] = "handshake_blackhole"
    only_new: ClassVar[bool] = True
    swallows: ClassVar[bool] = True
    kills: ClassVar[bool] = True
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
class SlowClose(StreamFault):
    """The end of the connection arrives `delay` later than the bytes before it."""

    name: ClassVar[str] = "slow_close"
    delay: Seconds = 1.0
    direction: Direction = "both"

    def __post_init__(self) -> None:
        check_not_negative(self, "delay")

    def attach(self, rng: Random) -> Filter:
        """Moves the end, and nothing else."""

        def late(chunk: Chunk) -> tuple[Chunk, ...]:
            if isinstance(chunk.data, bytes):
                return (chunk,)
            return (Chunk(chunk.data, chunk.due + self.delay, chunk.offset),)

        return late


@dataclass(frozen=True)
class Timeout(StreamFault):
    """All data are discarded, and the connection ends after `silence`; 0 is never.

    An end that a side makes itself still passes. When the fault is removed the connection ends
    too: what was discarded is missing from it.
    """

    name: ClassVar[str] = "timeout"
    silence: Seconds = 0.0
    direction: Direction = "both"

    def __post_init__(self) -> None:
        check_not_negative(self, "silence")

    def attach(self, rng: Random) -> Filter:
        """Leaves everything out."""
        return _discard

    @property
    def ending(self) -> Ending:
        """By FIN, after the silence."""
        return Ending("fin", silence=self.silence or None, removed=True)


@dataclass(frozen=True)
class ResetPeer(StreamFault):
    """Nothing passes any more, and `delay` later the connection is reset; new ones as well."""

    name: ClassVar[str] = "reset_peer"
    delay: Seconds = 0.0
    side: Ends = "both"
    direction: Direction = "both"

    def __post_init__(self) -> None:
        check_not_negative(self, "delay")

    def attach(self, rng: Random) -> Filter:
        """Holds what comes before the reset."""
        return _hold

    @property
    def ending(self) -> Ending:
        """By RST, after the time."""
        return Ending("rst", self.side, after=self.delay)


@dataclass(frozen=True)
class LimitData(StreamFault):
    """So many `bytes` pass, to the byte, then the connection ends; new ones as well."""

    name: ClassVar[str] = "limit_data"
    bytes: int
    how: How = "fin"
    direction: Direction = "both"

    def __post_init__(self) -> None:
        check_not_negative(self, "bytes")

    def attach(self, rng: Random) -> Filter:
        """Counts the bytes of one direction from here on, and ends the stream behind the last."""
        return _limited(self.bytes, End(self.how))


@dataclass(frozen=True)
class Cut(StreamFault):
    """Connections work, and end after a `lifetime`, or `bytes` in one direction; new ones as well.

    Both are counted from when the fault came into force, or from when the connection came up.
    """

    name: ClassVar[str] = "cut"
    lifetime: Seconds | None = None
    bytes: int | None = None
    how: How = "rst"
    direction: Direction = "both"

    def __post_init__(self) -> None:
        check_not_negative(self, "lifetime", "bytes")
        if self.lifetime is None and self.bytes is None:
            raise ValueError("cut: set `lifetime`, `bytes` or both; to cut at once, use `rst`")

    def ways(self) -> tuple[Way, ...]:
        """None where no bytes are counted: they stay on the fast path."""
        return () if self.bytes is None else super().ways()

    def attach(self, rng: Random) -> Filter:
        """Counts the bytes of one direction from here on, and ends the stream behind the last."""
        assert self.bytes is not None
        return _limited(self.bytes, End(self.how))

    @property
    def ending(self) -> Ending | None:
        """After the time."""
        return None if self.lifetime is None else Ending(self.how, after=self.lifetime)


def _hold(chunk: Chunk) -> tuple[Chunk, ...]:
    return (Chunk(chunk.data, math.inf, chunk.offset),)


def _discard(chunk: Chunk) -> tuple[Chunk, ...]:
    return () if isinstance(chunk.data, bytes) else (chunk,)


def _paced(portion: int, seconds_per_byte: float) -> Filter:
    """Lets one byte after another over a line that needs so long for each."""
    free = 0.0

    def portions(data: bytes, due: float, offset: int) -> Iterator[Chunk]:
        nonlocal free
        for start in range(0, len(data), portion):
            piece = data[start : start + portion]
            free = max(free, due) + len(piece) * seconds_per_byte
            yield Chunk(piece, free, offset + start)

    def pace(chunk: Chunk) -> Iterable[Chunk]:
        nonlocal free
        data, due, offset = chunk
        if not isinstance(data, bytes):
            return (chunk,)
        if len(data) > portion:
            return portions(data, due, offset)
        if free < due:
            free = due
        free += len(data) * seconds_per_byte
        return (Chunk(data, free, offset),)

    return pace


def _limited(limit: int, end: End) -> Filter:
    """Lets so many bytes pass, counted from the first that it sees."""
    last: int | None = None

    def limited(chunk: Chunk) -> tuple[Chunk, ...]:
        nonlocal last
        data, due, offset = chunk
        if not isinstance(data, bytes):
            return (chunk,)
        if last is None:
            last = offset + limit
        room = last - offset
        if room > len(data):
            return (chunk,)
        broken = Chunk(end, due, last)
        return (Chunk(data[:room], due, offset), broken) if room > 0 else (broken,)

    return limited
