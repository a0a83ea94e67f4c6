"""`--proxy toxiproxy`: the same scenarios, the same verdicts, and a reason for what is lacking.

A real Toxiproxy is used where `python tests/upstream` has built one. Our own server speaks its
language, so it stands in for it everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from proxy_witness import Ends, Events, Peer, raw_server, switch_protocols, within
from squall.backend import Line
from squall.errors import NetworkError
from squall.toxiproxy import Toxiproxy, toxics
from squall.toxiproxy_client import URL_VARIABLE, Toxic
from squall_proxy import (
    FAULTS,
    Blackhole,
    Fault,
    Fin,
    Http,
    Latency,
    LimitData,
    Refuse,
    Rst,
    Target,
    Throttle,
    Timeout,
    Trickle,
)
from toxiproxy_witness import ENVIRONMENT, REAL_SERVER, ROOT

# One for each kind of fault that it can do, and one that needs none.
SCENARIOS = ("stop-when-steady", "end-without-close-frame", "short-blackout")


@contextlib.contextmanager
def running(name: str) -> Iterator[str]:
    """A server of Toxiproxy's API; its address."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    words = [sys.executable, "-m", "squall", "proxy", f"--api-port={port}"]
    if name == "real":
        words = [str(REAL_SERVER), "-host=127.0.0.1", f"-port={port}"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=quiet, stderr=quiet, env=ENVIRONMENT) as server:
        try:
            _await_port(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _await_port(port: int) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
    raise AssertionError(f"nothing listens on {port}")


REAL = pytest.param(
    "real", marks=pytest.mark.skipif(not REAL_SERVER.exists(), reason="no real Toxiproxy")
)


@pytest.fixture(params=["ours", REAL])
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with running(request.param) as address:
        monkeypatch.setenv(URL_VARIABLE, address)
        yield address


class Rig(Ends):
    """The backend, between a raw exchange and raw adapters."""

    def __init__(self, backend: Toxiproxy, events: Events, exchange: socket.socket) -> None:
        super().__init__(exchange)
        self.backend = backend
        self.events = events

    async def connect(self) -> tuple[Peer, Peer]:
        host, _, port = self.backend.reach.ws.removeprefix("ws://").rpartition(":")
        return await self.connect_to((host, int(port)))

    async def upgrade(self) -> tuple[Peer, Peer]:
        client, server = await self.connect()
        await switch_protocols(client, server)
        return client, server


@contextlib.asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    with raw_server() as exchange:
        events = Events()
        backend = Toxiproxy(Line(observe=events.observe, rng=Random(1)))
        made = Rig(backend, events, exchange)
        try:
            await backend.start(exchange.getsockname())
            yield made
        finally:
            made.hang_up()
            await backend.stop()


rigged = within(rig, "asyncio")
"""Run the test with a backend of its own."""


@rigged
async def test_a_connection_has_the_adapters_number_on_both_sides(r: Rig, url: str) -> None:
    for number in (1, 2, 3):
        _, server = await r.connect()
        assert r.backend.connection_from(server.address) == number
    assert r.backend.connection_from(("127.0.0.1", 1)) is None


@rigged
async def test_a_blackhole_holds_data_and_ends_and_loses_nothing(r: Rig, url: str) -> None:
    client, server = await r.upgrade()
    injection = r.backend.inject(Blackhole(), Target())
    await server.send(b"tick")
    await client.send(b"ping")
    server.finish()
    assert await client.hears_nothing(0.3)
    assert await server.hears_nothing(0.1)
    assert (await r.events.wait("fault_fired"))["fault"] == "blackhole"
    assert "server_closed" not in r.events.kinds()
    injection.heal()
    assert await client.rest() == (b"tick", "fin")
    assert r.events.kinds().count("fault_ended") == 1


@rigged
async def test_what_toxiproxy_ends_is_ended_by_the_proxy(r: Rig, url: str) -> None:
    client, _ = await r.upgrade()
    r.backend.inject(Fin(), Target())
    assert await client.rest() == (b"", "fin")
    client.finish()
    assert (await r.events.wait("fault_fired"))["connection"] == 1
    closed = await r.events.wait("closed")
    assert (closed["connection"], closed["by"]) == (1, "proxy")
    assert "server_closed" not in r.events.kinds()
    await r.events.wait("fault_ended")
    await r.upgrade()


@rigged
async def test_what_the_exchange_ends_is_ended_by_the_exchange(r: Rig, url: str) -> None:
    client, server = await r.upgrade()
    server.finish()
    assert await client.rest() == (b"", "fin")
    client.finish()
    assert (await r.events.wait("server_closed"))["connection"] == 1
    assert (await r.events.wait("closed"))["by"] == "server"


@rigged
async def test_latency_is_added_and_taken_away(r: Rig, url: str) -> None:
    client, server = await r.upgrade()
    r.backend.inject(Latency(0.2, direction="server_to_client"), Target())
    began = time.monotonic()
    await server.send(b"tick")
    assert await client.read(4) == b"tick"
    assert time.monotonic() - began >= 0.19
    assert (await r.events.wait("fault_fired"))["connection"] == 1
    r.backend.heal()
    await server.send(b"tock")
    assert await client.read(4) == b"tock"


def test_where_there_is_no_toxiproxy_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:9")

    async def main() -> None:
        backend = Toxiproxy(Line(observe=Events().observe, rng=Random(1)))
        with pytest.raises(NetworkError, match="there is no Toxiproxy at"):
            await backend.start(("127.0.0.1", 1))
        await backend.stop()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_faults_become_toxics() -> None:
    assert toxics(Latency(0.25, 0.05)) == [Toxic("latency", {"latency": 250, "jitter": 50})]
    assert toxics(Throttle(64_000)) == [Toxic("bandwidth", {"rate": 64})]
    assert toxics(Trickle(0.5)) == [Toxic("slicer", {"average_size": 1, "delay": 500_000})]
    assert toxics(Timeout(1.5)) == [Toxic("timeout", {"timeout": 1500})]
    assert toxics(LimitData(9)) == [Toxic("limit_data", {"bytes": 9})]


@pytest.mark.parametrize(
    ("fault", "target", "why"),
    [
        (Latency(0.1), Target(), None),
        (Latency(0.1), Target(fraction=0.5), None),
        (Fin(), Target(), None),
        (Fin(), Target(fraction=0.5), "it ends all connections or none"),
        (Latency(0.1), Target("newest"), "it cannot tell connections apart"),
        (Latency(0.1, 0.1, distribution="pareto"), Target(), "its jitter is uniform"),
        (Throttle(10), Target(), "its rates are whole kB/s"),
        (Rst(), Target(), "it resets no connection that is open already"),
        (Refuse(), Target(), "a dial is accepted before it, by the witness in front"),
        (Http(503), Target(), "none of its toxics is like it"),
        (LimitData(5, how="rst"), Target(), "its end is a FIN"),
    ],
)
def test_what_it_lacks_it_says(fault: Fault, target: Target, why: str | None) -> None:
    backend = Toxiproxy(Line(observe=Events().observe, rng=Random(1)))
    assert backend.lacks(fault, target) == why


def test_its_page_tells_which_faults_it_does() -> None:
    page = (ROOT / "docs" / "toxiproxy.md").read_text(encoding="utf-8")
    table = page.partition("## A real Toxiproxy")[2]
    told = {name for name in FAULTS if f"`{name}`" in table.partition("| all others")[0]}
    can = {"latency", "throttle", "trickle", "slicer", "blackhole", "stall"}
    assert told == can | {"slow_close", "timeout", "limit_data", "fin"}


def test_verdicts_agree_with_those_of_our_own_proxy(url: str, tmp_path: Path) -> None:
    outcomes: dict[str, dict[str, str]] = {}
    for proxy in ("embedded", "toxiproxy"):
        out = tmp_path / proxy
        words = ["run", *SCENARIOS, "--proxy", proxy, "--out", str(out), "--quiet"]
        subprocess.run(
            [sys.executable, "-m", "squall", *words],
            env=ENVIRONMENT | {URL_VARIABLE: url},
            timeout=120,
        )
        results = json.loads((out / "results.json").read_text())
        outcomes[proxy] = {each["name"]: each["outcome"] for each in results["scenarios"]}
    assert outcomes["toxiproxy"] == outcomes["embedded"]
    assert set(outcomes["toxiproxy"].values()) == {"pass"}
