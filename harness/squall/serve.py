"""The mock exchange or the proxy on its own, until Ctrl-C: for a look by hand, and for other tools.

What they see is printed as JSON lines, the events of docs/history.md. Settings and faults are
words of a command line (`delay=200ms`) and are read as a scenario file is.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any, TypeVar

from squall.errors import NetworkError, ScenarioError, did_you_mean
from squall.exchange import ExchangeServer, Settings
from squall.exchange import dialect as dialect_named
from squall.history import Event
from squall.suite import loop_factory
from squall.typed_yaml import build
from squall.yaml_source import Invalid, compose
from squall_proxy import FAULTS, Fault, Proxy

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


def proxy(upstream: str, listen: str, faults: Sequence[str], say: Say) -> None:
    """Run the proxy until Ctrl-C. Raises `NetworkError` where its address cannot be had."""
    there, (host, port) = address(upstream), address(listen)
    chosen = [fault(text) for text in faults]

    async def serve() -> None:
        relay = Proxy(there, observe=_teller("proxy", say), rng=Random(0))
        await _listening(relay.start(host, port), host, port)
        for each in chosen:
            relay.inject(each)
        await _until_told_to_stop()
        await relay.stop()

    _run(serve())


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
        raise NetworkError(
            f"cannot listen on {host}:{port}: {error.strerror or error}. "
            f"Is something else listening there? Without a port, a free one is taken."
        ) from error


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


def _silent(kind: str, connection: int | None = None, /, **detail: Any) -> None:
    """Nobody asked for events."""
