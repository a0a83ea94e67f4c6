"""The proxy on its own, until Ctrl-C: for a look by hand, and for other tools.

What it sees is printed as JSON lines, the events of docs/history.md. Faults are words of a command
line (`delay=200ms`) and are read as a scenario file is.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any, TypeVar

from yaml.nodes import Node

from squall.errors import NetworkError, ScenarioError, did_you_mean
from squall.file_keys import read_target
from squall.typed_yaml import build, keys
from squall.virtual_clock import loop_factory
from squall.yaml_source import Invalid, compose
from squall_proxy import FAULTS, Authority, Fault
from squall_proxy.toxiproxy import APIError, Order, ToxiproxyServer, Wish

API_PORT = 8474
"""Where Toxiproxy's clients look for its API."""

T = TypeVar("T")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Line:
    """A proxy that is there from the start: where it leads to, where it listens, its faults."""

    upstream: str | None = None
    listen: str | None = None
    faults: tuple[str, ...] = ()

    tls: Path | None = None
    """It speaks TLS to its clients; the certificate that they must trust is written here."""

    def __post_init__(self) -> None:
        if self.upstream is None and (self.listen or self.faults or self.tls):
            raise NetworkError("a proxy needs --upstream HOST:PORT, too: where does it lead to?")


def proxy(line: Line, api: tuple[str, int] | None, say: Say, *, seed: int, version: str) -> None:
    """Run the proxy until Ctrl-C, with Toxiproxy's API where an address is given for it.

    Raises `NetworkError` where an address cannot be had.
    """
    chosen = [fault(text) for text in line.faults]
    for each in filter(None, (line.upstream, line.listen)):
        address(each)
    authority = None if line.tls is None else _authority(line.tls)

    async def serve() -> None:
        server = ToxiproxyServer(rng=Random(seed), read_order=fault_order, version=version)

        def tell(line: str) -> None:
            try:
                say(line)
            except BrokenPipeError:
                server.log.listen = _unheard  # who has gone must not end it for the others

        server.log.listen = tell
        try:
            if api is not None:
                await listening(server.start(*api), *api)
                host, port = server.address
                server.log.observe("listening", listener="api", host=host, port=port)
            if line.upstream is not None:
                wish = Wish(
                    "proxy",
                    line.listen or "127.0.0.1:0",
                    line.upstream,
                    websocket=True,
                    tls=authority,
                )
                await _stand(server, wish, chosen)
            await until_told_to_stop()
        finally:
            await server.stop()

    run(serve())


async def _stand(server: ToxiproxyServer, wish: Wish, faults: Sequence[Fault]) -> None:
    """Make the proxy of the command line, with its faults."""
    try:
        made = await server.proxies.create(wish)
    except APIError as error:
        raise _cannot_listen(*address(wish.listen), error.message) from error
    for each in faults:
        try:
            made.inject(each)
        except ValueError as error:
            raise ScenarioError(f"--fault: {error}") from None


def _authority(file: Path) -> Authority:
    """A certificate authority for this process. Raises `NetworkError` where the file cannot be."""
    authority = Authority()
    try:
        file.write_bytes(authority.certificate)
    except OSError as error:
        raise NetworkError(f"--tls: cannot write {file}: {error.strerror}") from error
    return authority


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


@dataclass(frozen=True)
class Timing:
    """When a fault that is ordered through a control API begins, and when it ends."""

    delay: Annotated[float, "seconds"] = field(default=0.0, metadata={"key": "in"})
    """How long until it begins."""

    lasting: Annotated[float, "seconds"] | None = None
    """How long it is in force; without it, until it is removed."""


def fault_order(said: Mapping[str, Any]) -> Order:
    """What stands in a scenario's step, and when: `{"do": "rst", "in": "1.25s"}`.

    Raises ValueError.
    """
    name = said.get("do")
    if not isinstance(name, str):
        raise ValueError('name the fault, as a scenario does: {"do": "rst"}')
    if name not in FAULTS:
        raise ValueError(f"unknown fault '{name}'.{did_you_mean(name, FAULTS)}")
    timed = {key: said[key] for key in keys(Timing) if key in said}
    own = {"do", "target", *timed}
    settings = {key: value for key, value in said.items() if key not in own}
    try:
        made = build(FAULTS[name], _composed(settings), name)
        target = read_target(_composed(said.get("target", "all")))
        timing = build(Timing, _composed(timed), name)
    except Invalid as invalid:
        raise ValueError("; ".join(sorted({each.text for each in invalid.problems}))) from None
    return Order(made, target, timing.delay, timing.lasting)


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


def run(serving: Coroutine[Any, Any, None]) -> None:
    """Run this to its end on the fastest loop."""
    with asyncio.Runner(loop_factory=loop_factory("real")) as runner:
        runner.run(serving)


async def listening(start: Awaitable[None], host: str, port: int) -> None:
    """Start something that listens there. Raises `NetworkError` where it cannot."""
    try:
        await start
    except OSError as error:
        raise _cannot_listen(host, port, error.strerror or str(error)) from error


def _cannot_listen(host: str, port: int, why: str) -> NetworkError:
    return NetworkError(
        f"cannot listen on {host}:{port}: {why}. "
        f"Is something else listening there? Port 0 is any free one."
    )


async def until_told_to_stop() -> None:
    """Wait for Ctrl-C, or for SIGTERM."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()


def _unheard(line: str) -> None:
    """Nobody reads any more."""
