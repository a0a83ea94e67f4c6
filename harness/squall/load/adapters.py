"""Adapters as a load user runs them: the reference adapter, or one of your own.

Your own is any object with a coroutine `run(life)`, which lives until it is cancelled and tells
`life` (see `life`) what happens to it:

    class Mine:
        async def run(self, life: Life) -> None:
            while True:
                life.dialled()
                try:
                    async with connect(URL) as line:
                        life.upgraded()
                        await line.send(SUBSCRIBE)
                        await line.recv()
                        life.restored()
                        async for message in line:
                            life.received(len(message))
                            life.data()
                except (OSError, WebSocketException):
                    life.lost()
                    await asyncio.sleep(random.uniform(0, 5))

A `run` that returns or raises before it is cancelled is an adapter that has failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from squall.load.life import Life
from squall_reference import (
    Action,
    Adapter,
    Credentials,
    Deliver,
    Endpoint,
    Settings,
    StateChanged,
    SyncAdapter,
)
from squall_reference.endpoint import wall_clock

FAREWELL = 1.0
"""Seconds beyond `close_timeout` that an adapter has for its goodbye."""


class AsyncAdapter(Protocol):
    """An adapter on asyncio."""

    async def run(self, life: Life) -> None:
        """Live until cancelled, and tell."""


class BlockingAdapter(Protocol):
    """An adapter for a greenlet of its own."""

    def run(self, life: Life) -> None:
        """Live until `stop` is called, and tell."""

    def stop(self) -> None:
        """End `run` soon."""


class Failed(Exception):
    """The adapter has ended by itself; the message says how."""


@dataclass(frozen=True)
class Reference:
    """How to make a reference adapter, which speaks Deribit. `lag`: both ends share one clock."""

    endpoint: Endpoint
    channels: tuple[str, ...]
    credentials: Credentials | None = None
    settings: Settings = field(default_factory=Settings)
    lag: bool = False

    def on_asyncio(self, rng: Random) -> OnAsyncio:
        """One for an event loop."""
        return OnAsyncio(self, rng)

    def in_greenlet(self, rng: Random) -> InGreenlet:
        """One for a greenlet."""
        return InGreenlet(self, rng)


class OnAsyncio:
    """A reference adapter on asyncio, as a load user runs it."""

    def __init__(self, wanted: Reference, rng: Random) -> None:
        self._wanted = wanted
        self._rng = rng

    async def run(self, life: Life) -> None:
        """Live until cancelled. Raises `Failed` where the adapter gives up."""
        wanted = self._wanted
        adapter = Adapter(
            wanted.endpoint,
            wanted.channels,
            teller(life, lag=wanted.lag),
            credentials=wanted.credentials,
            settings=wanted.settings,
            rng=self._rng,
            observer=life,
        )
        running = asyncio.ensure_future(adapter.run())
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            adapter.stop()
            await asyncio.wait([running], timeout=wanted.settings.close_timeout + FAREWELL)
            raise
        raise Failed("the adapter gave up")


class InGreenlet:
    """A reference adapter that blocks, as a load user runs it."""

    def __init__(self, wanted: Reference, rng: Random) -> None:
        self._wanted = wanted
        self._rng = rng
        self._adapter: SyncAdapter | None = None
        self._stopped = False

    def run(self, life: Life) -> None:
        """Live until stopped. Raises `Failed` where the adapter gives up."""
        if self._stopped:
            return
        wanted = self._wanted
        self._adapter = SyncAdapter(
            wanted.endpoint,
            wanted.channels,
            teller(life, lag=wanted.lag),
            credentials=wanted.credentials,
            settings=wanted.settings,
            rng=self._rng,
            clock=time.monotonic,
            observer=life,
        )
        if self._adapter.run() != 0:
            raise Failed("the adapter gave up")

    def stop(self) -> None:
        """End `run` soon."""
        self._stopped = True
        if self._adapter is not None:
            self._adapter.stop()


def teller(life: Life, *, lag: bool) -> Callable[[Action], None]:
    """Hears what a reference adapter reports, and tells `life`."""

    def tell(action: Action) -> None:
        match action:
            case Deliver(_, data):
                if life.data() and lag:
                    stamped = timestamp(data)
                    if stamped is not None:
                        life.lag(wall_clock() - stamped)
            case StateChanged("connecting"):
                life.dialled()
            case StateChanged("connected", None):
                life.upgraded()
            case StateChanged("connected"):
                life.degraded()
            case StateChanged("authenticated"):
                life.authenticated()
            case StateChanged("live"):
                life.restored()
            case StateChanged("disconnected"):
                life.lost()

    return tell


def timestamp(data: Any) -> float | None:
    """The Unix time in seconds at which Deribit made this data; None where it does not say.

    https://docs.deribit.com/: `timestamp` of trades, books and tickers is in milliseconds.
    """
    last = data[-1] if isinstance(data, list) and data else data
    stamped = last.get("timestamp") if isinstance(last, Mapping) else None
    return stamped / 1000 if isinstance(stamped, int | float) else None
