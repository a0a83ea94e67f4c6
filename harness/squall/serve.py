"""The mock exchange or the proxy on its own, until Ctrl-C: for a look by hand, and for other tools.

What they see is printed as JSON lines, the events of docs/history.md. Settings and faults are
words of a command line (`delay=200ms`) and are read as a scenario file is.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from yaml.nodes import Node

from squall.errors import NetworkError, ScenarioError, did_you_mean
from squall.exchange import ExchangeServer, Settings
from squall.exchange import dialect as dialect_named
from squall.history import Event
from squall.scenario_file import read_target
from squall.suite import loop_factory
from squall.typed_yaml import build
from squall.yaml_source import Invalid, compose
from squall_proxy import FAULTS, Fault, Target
from squall_proxy.toxiproxy import APIError, ToxiproxyServer, Wish

API_PORT = 8474
"""Where Toxiproxy's clients look for its API."""

T = TypeVar("T")
Observe = Callable[..., None]
Say = Callable[[str], None]


def exchange(
    dialect: str, host: str, port: int, settings: Sequence[str], say: Say, *, events: bool
) -> None:
    """Run the mock exchange until Ctrl-C. Raises `NetworkError` where the port is in use."""
    venue, chosen = dialect_named(dialect), from_words(Settings, settings, "--set", "the exchange")

    async def serve() -> None:
        observe = _teller("exchange", say) if events else _silent
        server = ExchangeServer(venue, chosen, observe=observe, rng=Random(0))
        await _listening(server.start(host, port), host, port)
        bound = server.address[1]
        key, secret = server.credentials
        say(f"url     ws://{host}:{bound}{venue.path}")
        say(f"rest    http://{host}:{bound}")
        say(f"key     {key}")
        say(f"secret  {secret}")
        await _until_told_to_stop()
        await server.stop()

    _run(serve())


@dataclass(frozen=True)
class Line:
    """A proxy that is there from the start: where it leads to, where it listens, its faults."""

    upstream: str | None = None
    listen: str | None = None
    faults: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.upstream is None and (self.listen or self.faults):
            raise NetworkError("a proxy needs --upstream HOST:PORT, too: where does it lead to?")


def proxy(line: Line, api: tuple[str, int] | None, say: Say, *, seed: int, version: str) -> None:
    """Run the proxy until Ctrl-C, with Toxiproxy's API where an address is given for it.

    Raises `NetworkError` where an address cannot be had.
    """
    chosen = [fault(text) for text in line.faults]
    for each in filter(None, (line.upstream, line.listen)):
        address(each)

    async def serve() -> None:
        server = ToxiproxyServer(rng=Random(seed), read_fault=fault_and_target, version=version)

        def tell(line: str) -> None:
            try:
                say(line)
            except BrokenPipeError:
                server.log.listen = _unheard  # who has gone must not end it for the others

        server.log.listen = tell
        try:
            if api is not None:
                await _listening(server.start(*api), *api)
                host, port = server.address
                server.log.observe("listening", listener="api", host=host, port=port)
            if line.upstream is not None:
                await _stand(server, line.upstream, line.listen or "127.0.0.1:0", chosen)
            await _until_told_to_stop()
        finally:
            await server.stop()

    _run(serve())


async def _stand(
    server: ToxiproxyServer, upstream: str, listen: str, faults: Sequence[Fault]
) -> None:
    """Make the proxy of the command line, under a name of its own, with its faults."""
    try:
        made = await server.proxies.create(Wish("proxy", listen, upstream, websocket=True))
    except APIError as error:
        raise _cannot_listen(*address(listen), error.message) from error
    for each in faults:
        made.inject(each)


def address(text: str) -> tuple[str, int]:
    """`127.0.0.1:9000` as host and port. Raises `NetworkError`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise NetworkError(f"'{text}' is no address; write HOST:PORT, such as 127.0.0.1:9000")
    return host.strip("[]"), int(port)


def fault(text: str) -> Fault:
    """A fault of the line from `latency delay=200ms jitter=50ms`. Raises `ScenarioError`."""
    try:
        name, *settings = shlex.split(text)
    except ValueError as error:
        raise ScenarioError(f"--fault {text!r}: name a fault, such as 'rst': {error}") from None
    if name not in FAULTS:
        raise ScenarioError(f"--fault: unknown fault '{name}'.{did_you_mean(name, FAULTS)}")
    return from_words(FAULTS[name], settings, "--fault", name)


def fault_and_target(said: Mapping[str, Any]) -> tuple[Fault, Target]:
    """What stands in a scenario's step: `{"do": "rst", "target": "newest"}`. Raises ValueError."""
    name = said.get("do")
    if not isinstance(name, str):
        raise ValueError('name the fault, as a scenario does: {"do": "rst"}')
    if name not in FAULTS:
        raise ValueError(f"unknown fault '{name}'.{did_you_mean(name, FAULTS)}")
    settings = {key: value for key, value in said.items() if key not in ("do", "target")}
    try:
        made = build(FAULTS[name], _composed(settings), name)
        return made, read_target(_composed(said.get("target", "all")))
    except Invalid as invalid:
        raise ValueError("; ".join(sorted({each.text for each in invalid.problems}))) from None


def _composed(value: object) -> Node:
    """JSON is read as YAML is: there the values have units."""
    return compose(json.dumps(value, ensure_ascii=False), "is empty")


def from_words(cls: type[T], words: Sequence[str], option: str, what: str) -> T:
    """The dataclass `what` whose fields are written `key=value`. Raises `ScenarioError`."""
    lines = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ScenarioError(f"{option}: '{word}' is not written key=value")
        lines.append(f"{key}: {value}")
    try:
        return build(cls, compose("\n".join(lines) or "{}", "is empty"), what)
    except Invalid as invalid:
        problems = sorted(set(invalid.problems))
        raise ScenarioError("\n".join(f"{option}: {each.text}" for each in problems)) from None


def _run(serving: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory("real")) as runner:
        runner.run(serving)


async def _listening(start: Awaitable[None], host: str, port: int) -> None:
    try:
        await start
    except OSError as error:
        raise _cannot_listen(host, port, error.strerror or str(error)) from error


def _cannot_listen(host: str, port: int, why: str) -> NetworkError:
    return NetworkError(
        f"cannot listen on {host}:{port}: {why}. "
        f"Is something else listening there? Port 0 is any free one."
    )


async def _until_told_to_stop() -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()


def _teller(source: str, say: Say) -> Observe:
    loop = asyncio.get_running_loop()
    began = loop.time()

    def observe(kind: str, connection: int | None = None, /, **detail: Any) -> None:
        event = Event(loop.time() - began, source, kind, connection, detail)
        say(json.dumps(event.as_json(), default=str))

    return observe


def _unheard(line: str) -> None:
    """Nobody reads any more."""


def _silent(kind: str, connection: int | None = None, /, **detail: Any) -> None:
    """Nobody asked for events."""
