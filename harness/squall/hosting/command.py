"""`squall exchange`: the mock exchange until Ctrl-C, for a look by hand and for load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from squall.errors import NetworkError
from squall.exchange import Dialect, ExchangeServer, Settings
from squall.exchange import dialect as dialect_named
from squall.history import Event
from squall.hosting.control import Control, Crew, Order
from squall.hosting.fleet import Fleet, Say, bind
from squall.hosting.member import Member, Report
from squall.serve import from_words, listening, run, until_told_to_stop


@dataclass(frozen=True)
class Hosting:
    """What the command line says. `api` is where the control port listens, None for none; `thin`
    is whether WebSocket is spoken with Squall's own frames, which costs less; `wall_clock` whether
    timestamps are of this machine's time.
    """

    dialect: str = "deribit"
    host: str = "127.0.0.1"
    port: int = 0
    settings: Sequence[str] = ()
    processes: int = 1
    thin: bool = False
    api: tuple[str, int] | None = None
    events: bool = False
    wall_clock: bool = False


def exchange(hosting: Hosting, say: Say, warn: Say) -> None:
    """Run the exchange until Ctrl-C. `say` gets its addresses, `warn` what goes wrong.

    Raises `ScenarioError` for a wrong setting, `NetworkError` where a port is in use or a process
    has died.
    """
    venue = dialect_named(hosting.dialect)
    settings = from_words(Settings, hosting.settings, "--set", "the exchange")
    _raise_limit()
    if hosting.processes == 1:
        run(_alone(hosting, venue, settings, say, warn))
        return
    sockets = bind(hosting.host, hosting.port, hosting.processes)
    port = sockets[0].getsockname()[1]
    # Loops count on this clock, and so do all processes of a machine.
    origin, key = time.monotonic(), secrets.token_bytes(32)
    settings = _dated(hosting, settings)
    fleet = Fleet(venue, settings, sockets, origin, key, events=hosting.events, thin=hosting.thin)
    run(_together(hosting, venue, settings, fleet, port, say, warn))


async def _alone(hosting: Hosting, venue: Dialect, settings: Settings, say: Say, warn: Say) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()

    def observe(kind: str, connection: int | None = None, /, **detail: Any) -> None:
        event = Event(loop.time() - began, "exchange", kind, connection, detail)
        say(json.dumps(event.as_json(), default=str))

    server = ExchangeServer(
        venue,
        _dated(hosting, settings),
        observe=observe if hosting.events else None,
        rng=Random(0),
        warn=warn,
        thin=hosting.thin,
    )
    await listening(server.start(hosting.host, hosting.port), hosting.host, hosting.port)
    member = Member(server)
    try:
        async with _controlled(hosting, Alone(venue, member)) as control:
            _introduce(hosting, venue, server.credentials, server.address[1], control, say)
            await until_told_to_stop()
    finally:
        member.close()
        await server.stop()


async def _together(
    hosting: Hosting,
    venue: Dialect,
    settings: Settings,
    fleet: Fleet,
    port: int,
    say: Say,
    warn: Say,
) -> None:
    credentials = ExchangeServer(venue, settings, observe=None, rng=Random(0)).credentials
    try:
        await fleet.start(say, warn)
        async with _controlled(hosting, fleet) as control:
            _introduce(hosting, venue, credentials, port, control, say)
            lost, told = (
                asyncio.create_task(fleet.lost()),
                asyncio.create_task(until_told_to_stop()),
            )
            await asyncio.wait((lost, told), return_when=asyncio.FIRST_COMPLETED)
            if not told.done():
                told.cancel()
                raise NetworkError(f"{await lost}: the exchange ends")
            lost.cancel()
    finally:
        await fleet.stop()


class Alone:
    """A crew of one, in this process."""

    def __init__(self, dialect: Dialect, member: Member) -> None:
        self.dialect = dialect
        self._member = member

    def now(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    def inject(self, id: int, order: Order) -> None:
        """It has this fault at `order.at`."""
        self._member.inject(id, order.fault, order.at, order.lasting)

    def heal(self, id: int) -> None:
        """It has not this fault any more, nor will it."""
        self._member.heal(id)

    async def reports(self) -> list[Report]:
        """How it is."""
        return [self._member.report()]


@contextlib.asynccontextmanager
async def _controlled(hosting: Hosting, crew: Crew) -> AsyncIterator[Control | None]:
    if hosting.api is None:
        yield None
        return
    control = Control(crew)
    await listening(control.start(*hosting.api), *hosting.api)
    try:
        yield control
    finally:
        await control.stop()


def _introduce(
    hosting: Hosting,
    venue: Dialect,
    credentials: tuple[str, str],
    port: int,
    control: Control | None,
    say: Say,
) -> None:
    say(f"url     ws://{hosting.host}:{port}{venue.path}")
    say(f"rest    http://{hosting.host}:{port}")
    if control is not None:
        host, api_port = control.address
        say(f"api     http://{host}:{api_port}")
    key, secret = credentials
    say(f"key     {key}")
    say(f"secret  {secret}")


def _dated(hosting: Hosting, settings: Settings) -> Settings:
    """The settings of an exchange that opens at this moment."""
    if not hosting.wall_clock:
        return settings
    return replace(settings, epoch=datetime.now(UTC).timestamp())


def _raise_limit() -> None:
    """Let the process have as many file descriptors as it may."""
    with contextlib.suppress(OSError, ValueError):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
