"""One process of the exchange: its server, the faults that it was ordered to have, its health.

Orders give the instant on the clock that all processes of a machine share, so that a fault begins
in all of them at once, however long the order was under way.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from squall.exchange import ExchangeFault, ExchangeServer, Injection

LAG_PERIOD = 0.1
LAG_SAMPLES = 100
"""How many periods back the greatest lag is looked for: 10 s."""


@dataclass(frozen=True)
class Report:
    """How a process is. `faults` tells by number whether the fault is in force, and has bitten."""

    process: int
    pid: int
    connections: int
    subscriptions: int
    lag: float
    """The greatest of the last 10 s by which the event loop was late, in seconds."""

    rss_bytes: int
    cpu_seconds: float
    counts: Mapping[str, int]
    faults: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)


class Ordered:
    """A fault that was ordered: still to come, in force, or over."""

    def __init__(self, fault: ExchangeFault) -> None:
        self.fault = fault
        self.injection: Injection | None = None
        self.timers: list[asyncio.TimerHandle] = []


class Member:
    """Carries out what is ordered of a server in this process."""

    def __init__(self, server: ExchangeServer, number: int = 1) -> None:
        self._server = server
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._ordered: dict[int, Ordered] = {}
        self._lags: deque[float] = deque(maxlen=LAG_SAMPLES)
        self._lag_timer = self._loop.call_later(LAG_PERIOD, self._measure, self._loop.time())

    def close(self) -> None:
        """Measure no more, and let nothing more begin."""
        self._lag_timer.cancel()
        for ordered in self._ordered.values():
            for timer in ordered.timers:
                timer.cancel()

    def inject(self, id: int, fault: ExchangeFault, at: float, lasting: float | None) -> None:
        """Put a fault in force at that instant, for so many seconds."""
        ordered = self._ordered[id] = Ordered(fault)
        if at <= self._loop.time():
            self._begin(id, lasting)
        else:
            ordered.timers.append(self._loop.call_at(at, self._begin, id, lasting))

    def heal(self, id: int) -> None:
        """Remove a fault, or see that it never comes."""
        ordered = self._ordered.pop(id, None)
        if ordered is None:
            return
        for timer in ordered.timers:
            timer.cancel()
        if ordered.injection is not None and ordered.injection.in_force:
            self._server.heal(ordered.injection)

    def report(self) -> Report:
        """How things stand."""
        exchange = self._server.exchange
        return Report(
            process=self._number,
            pid=os.getpid(),
            connections=len(self._server.open),
            subscriptions=exchange.broadcast.subscriptions,
            lag=max(self._lags, default=0.0),
            rss_bytes=rss_bytes(),
            cpu_seconds=time.process_time(),
            counts=asdict(exchange.counts),
            faults={
                str(id): (each.injection.in_force, each.injection.fired)
                for id, each in self._ordered.items()
                if each.injection is not None
            },
        )

    def _begin(self, id: int, lasting: float | None) -> None:
        ordered = self._ordered[id]
        injection = ordered.injection = self._server.inject(ordered.fault)
        if lasting is not None and injection.in_force:
            ordered.timers.append(self._loop.call_later(lasting, self._server.heal, injection))

    def _measure(self, before: float) -> None:
        now = self._loop.time()
        self._lags.append(max(0.0, now - before - LAG_PERIOD))
        self._lag_timer = self._loop.call_later(LAG_PERIOD, self._measure, now)


def rss_bytes() -> int:
    """The memory of this process; the most that it ever was where the system tells no more."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
