"""The backend that is somebody else's: a real Toxiproxy, driven through toxiproxy-python.

    adapter ──▶ proxy "ws" ──▶ Toxiproxy ──▶ proxy "behind" ──▶ exchange
            ──▶ proxy "rest" ──▶ exchange

Toxiproxy tells nothing of its connections, so our own proxy stands on either side of it, as a
witness without faults: the one in front sees who dials and who leaves, the one behind sees which
connection reaches the exchange, and what the exchange itself has ended. What was ended on one
side only was ended by Toxiproxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, ClassVar

from squall.backend import HOST, Address, Line, Reach
from squall.embedded import Embedded
from squall.errors import NetworkError
from squall.toxiproxy_client import DEFAULT_URL, URL_VARIABLE, Remote, Toxic
from squall_proxy import (
    Blackhole,
    Direction,
    Fault,
    Fin,
    Injection,
    Latency,
    LimitData,
    Proxy,
    Slicer,
    SlowClose,
    Stall,
    StreamFault,
    Target,
    Throttle,
    Timeout,
    Trickle,
)
from squall_proxy.faults.base import WAYS, Way
from squall_proxy.link import Chunk, End, Filter

_STALE = 1.0
"""Who has left for so long before it came to the exchange never will."""

_AN_HOUR = 3_600_000

_STREAMS: Mapping[Way, str] = {"client_to_server": "upstream", "server_to_client": "downstream"}


def toxics(fault: Fault) -> list[Toxic] | None:
    """What does the same there in each direction; None where nothing does."""
    match fault:
        case Latency(delay, jitter, distribution="uniform"):
            return [Toxic("latency", {"latency": _ms(delay), "jitter": _ms(jitter)})]
        case Throttle(rate) if rate >= 1000:
            return [Toxic("bandwidth", {"rate": round(rate / 1000)})]
        case Trickle(interval):
            return [Toxic("slicer", {"average_size": 1, "delay": round(interval * 1e6)})]
        case Slicer(average, variation, delay):
            sizes = {"average_size": average, "size_variation": variation}
            return [Toxic("slicer", {**sizes, "delay": round(delay * 1e6)})]
        case Blackhole() | Stall():
            # The first holds all data and loses none, the second holds an end without data.
            return [Toxic("bandwidth", {"rate": 0}), Toxic("slow_close", {"delay": _AN_HOUR})]
        case SlowClose(delay):
            return [Toxic("slow_close", {"delay": _ms(delay)})]
        case Timeout(after):
            return [Toxic("timeout", {"timeout": _ms(after)})]
        case LimitData(limit, how="fin"):
            return [Toxic("limit_data", {"bytes": limit})]
    return None


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


_WHY_NOT: Mapping[str, str] = {
    "latency": "its jitter is uniform",
    "throttle": "its rates are whole kB/s",
    "limit_data": "its end is a FIN",
    "rst": "it resets no connection that is open already",
    "reset_peer": "it resets no connection that is open already",
    "cut": "it cannot end a connection after a time",
    "half_close": "a FIN of one side ends both there",
    "handshake_blackhole": "its toxics hit open connections as well",
    "refuse": "a dial is accepted before it, by the witness in front",
    "flap": "it cannot end a connection after a time",
}


class Toxiproxy:
    """A Toxiproxy server as a backend; its address is in TOXIPROXY_URL."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._front = Embedded(replace(line, observe=self._in_front))
        self._behind: Proxy | None = None
        self._remote: Remote | None = None
        self._ids = itertools.count(1)
        self._injections: dict[int, tuple[Injection, list[Callable[[], None]]]] = {}
        self._looks: dict[tuple[str, int], Injection] = {}
        self._live: set[int] = set()
        # Toxiproxy dials the exchange once for each connection, and in their order.
        self._on_their_way: deque[int] = deque()
        self._left: dict[int, float] = {}
        self._number_behind: dict[int, int] = {}
        self._ended_by_exchange: set[int] = set()

    # -- coming and going --------------------------------------------------------------------

    async def start(self, upstream: Address) -> None:
        """Make a proxy in the server, and listen on either side of it."""
        self._behind = Proxy(
            upstream,
            observe=self._seen_behind,
            rng=Random(0),
            listener="behind",
        )
        await self._behind.start(HOST, 0)
        self._remote = Remote.at(os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        through = self._remote.create(f"squall-{os.getpid()}-{id(self):x}", self._behind.address)
        await self._front.start(upstream, through)

    async def stop(self) -> None:
        """Close every listener and connection, and remove the proxy from the server."""
        await self._front.stop()
        if self._remote is not None:
            with contextlib.suppress(NetworkError):
                self._remote.delete()
        if self._behind is not None:
            await self._behind.stop()

    @property
    def ports(self) -> frozenset[int]:
        """The ports at which the adapter meets the witness in front."""
        return self._front.ports

    @property
    def reach(self) -> Reach:
        """How the adapter gets to the witness in front."""
        return self._front.reach

    def connection_from(self, address: Address) -> int | None:
        """The adapter's number of what the witness behind has passed on from this address."""
        assert self._behind is not None
        number = self._behind.connection_from(address)
        if number is None:
            return self._front.connection_from(address)
        return self._number_behind.get(number)

    # -- faults ------------------------------------------------------------------------------

    def lacks(self, fault: Fault, target: Target) -> str | None:
        """Whatever is more than its toxics can do."""
        if not isinstance(fault, Fin) and toxics(fault) is None:
            return _WHY_NOT.get(fault.name, "none of its toxics is like it")
        if target != Target(fraction=target.fraction):
            return "it cannot tell connections apart"
        if isinstance(fault, Fin) and target.fraction is not None:
            return "it ends all connections or none"
        return None

    def inject(self, fault: Fault, target: Target) -> Injection:
        """Add its toxics, or end all connections."""
        lacking = self.lacks(fault, target)
        if lacking is not None:
            raise ValueError(f"Toxiproxy cannot do {fault.name}: {lacking}")
        number, observe = next(self._ids), self._line.observe
        injection = Injection(number, fault, target, observe, self._remove, self._line.rng)
        self._injections[number] = (injection, [])
        injection.start()
        if isinstance(fault, StreamFault):
            self._poison(injection, fault)
        else:
            self._end_all(injection)
        return injection

    def _poison(self, injection: Injection, fault: StreamFault) -> None:
        assert self._remote is not None
        undo = self._injections[injection.id][1]
        toxicity = 1.0 if injection.target.fraction is None else injection.target.fraction
        for way in fault.ways():
            undo.append(self._look(injection, way))
            for count, toxic in enumerate(toxics(fault) or ()):
                name = f"{injection.id}-{_STREAMS[way]}-{count}"
                self._remote.add(name, toxic, _STREAMS[way], toxicity)
                undo.append(partial(self._remote.remove, name))

    def _look(self, injection: Injection, way: Way) -> Callable[[], None]:
        """Watch for what the toxic will meet: it bites unseen."""
        ends = isinstance(injection.fault, SlowClose)
        look, side = _Look(way, ends), "front" if way == WAYS[0] else "behind"
        if side == "front":
            seen = self._front.inject(look, Target())
        else:
            assert self._behind is not None
            seen = self._behind.inject(look)
        self._looks[side, seen.id] = injection
        return seen.heal

    def _end_all(self, injection: Injection) -> None:
        """Taken down and up again, it ends every connection by FIN."""
        assert self._remote is not None
        live = sorted(self._live)
        for connection in live:
            injection.bite(connection)
        self._remote.down_and_up()
        injection.expect(live)

    def heal(self) -> None:
        """Remove every toxic."""
        for injection, _ in tuple(self._injections.values()):
            injection.heal()

    def _remove(self, injection: Injection) -> None:
        _, undo = self._injections.pop(injection.id)
        for each in reversed(undo):
            each()
        injection.end()

    # -- the two witnesses -------------------------------------------------------------------

    def _in_front(self, kind: str, connection: int | None = None, /, **detail: Any) -> None:
        """Tell what happens to the adapter's connections, in the words of the history."""
        if detail.get("fault") == _Look.name:
            self._bitten("front", kind, connection, detail["id"])
            return
        if kind == "dialled" and detail["listener"] == "ws" and connection is not None:
            self._live.add(connection)
            self._on_their_way.append(connection)
        by_exchange = connection in self._ended_by_exchange or connection not in self._live
        if kind == "server_closed" and not by_exchange:
            return  # Toxiproxy has ended it, and the exchange knows nothing yet
        if kind == "closed" and detail["by"] == "server" and not by_exchange:
            detail = {**detail, "by": "proxy"}
        self._line.observe(kind, connection, **detail)
        if kind == "closed" and connection is not None:
            self._forget(connection)

    def _forget(self, connection: int) -> None:
        self._live.discard(connection)
        if connection in self._on_their_way:
            self._left[connection] = asyncio.get_running_loop().time()
        self._ended_by_exchange.discard(connection)
        for injection, _ in tuple(self._injections.values()):
            injection.through(connection)

    def _seen_behind(self, kind: str, number: int | None = None, /, **detail: Any) -> None:
        connection = self._number_behind.get(number or 0)
        if detail.get("fault") == _Look.name:
            self._bitten("behind", kind, connection, detail["id"])
        elif kind == "dialled" and number is not None:
            self._arrived(number)
        elif kind == "server_closed" and connection is not None:
            self._ended_by_exchange.add(connection)
        elif kind == "closed":
            self._number_behind.pop(number or 0, None)

    def _arrived(self, number: int) -> None:
        """Whose connection this is: that which has been on its way for longest."""
        while self._on_their_way:
            connection = self._on_their_way.popleft()
            left = self._left.pop(connection, None)
            if left is None or asyncio.get_running_loop().time() - left < _STALE:
                self._number_behind[number] = connection
                return

    def _bitten(self, side: str, kind: str, connection: int | None, look: int) -> None:
        injection = self._looks.get((side, look))
        if kind == "fault_fired" and injection is not None and injection.active:
            injection.bite(connection)


@dataclass(frozen=True)
class _Look(StreamFault):
    """Changes nothing that could be noticed, but reports that bytes, or an end, have passed."""

    name: ClassVar[str] = "look"
    direction: Direction
    ends: bool

    def attach(self, rng: Random) -> Filter:
        """Marks what it looks for by a time that is no other."""

        def look(chunk: Chunk) -> tuple[Chunk, ...]:
            wanted = isinstance(chunk.data, End) == self.ends
            return (chunk._replace(due=chunk.due - 1e-6),) if wanted else (chunk,)

        return look
