"""`--proxy` and `--tls`: how adapters of all kinds get to the exchange, and to nowhere else."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import ssl
import sys
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

import squall.backends
from squall import testbed as world
from squall.backend import Line, Redirect
from squall.backends import BACKENDS
from squall.catalogue import find
from squall.cli import main
from squall.errors import ScenarioError
from squall.exchange import Settings, dialect
from squall.history import History
from squall.manifest import Manifest
from squall.plan import REFERENCE, adapter_named
from squall.profile import load_profile
from squall.run import Result, Run, Setup
from squall.scenario import Scenario, Step
from squall.verdict import Outcome
from squall_proxy import TlsHang
from squall_proxy.mitm import available

ROOT = Path(__file__).resolve().parents[1]

needs_mitmproxy = pytest.mark.skipif(not available(), reason="mitmproxy is not installed")
every_proxy = pytest.mark.parametrize(
    "proxy", ["embedded", pytest.param("mitmproxy", marks=needs_mitmproxy)]
)


def reference(redirect: Redirect = "url") -> Manifest:
    known = adapter_named(REFERENCE)
    path = os.pathsep.join(str(ROOT / each) for each in ("reference_adapter",))
    return Manifest(
        name=known.name,
        command=known.command,
        supports=known.supports,
        redirect=redirect,
        env={"PYTHONPATH": path},
    )


def execute(name: str, manifest: Manifest, **setup: Any) -> Result:
    (scenario,) = find([name])
    run = Run(scenario, manifest, Setup(load_profile("default"), **setup))
    return asyncio.run(run.execute())


def told(result: Result) -> str:
    lines = (f"{j.verdict.outcome:8} {j.check.name}: {j.verdict.why}" for j in result.judged)
    return "\n".join([result.error or "", *lines, result.last_words])


@every_proxy
def test_an_adapter_comes_back_over_tls(proxy: str) -> None:
    result = execute("reset", reference(), tls=True, proxy=proxy)
    assert result.outcome is Outcome.PASS, told(result)
    assert result.history.of("tls_established")


@every_proxy
def test_a_bad_certificate_is_refused_and_a_good_one_taken(proxy: str) -> None:
    result = execute("bad-certificate-wrong-host", reference(), proxy=proxy)
    assert result.outcome is Outcome.PASS, told(result)


@every_proxy
def test_an_adapter_that_is_led_by_an_http_proxy_survives_a_name_without_address(
    proxy: str,
) -> None:
    result = execute("no-route", reference("http-proxy"), proxy=proxy)
    assert result.outcome is Outcome.PASS, told(result)
    assert {event["host"] for event in result.history.of("tunnel_requested")} == {
        "exchange.invalid"
    }


@needs_mitmproxy
def test_behind_mitmproxy_the_events_of_both_proxies_are_one_story() -> None:
    result = execute("truncated-frame", reference(), tls=True, proxy="mitmproxy")
    assert result.outcome is Outcome.PASS, told(result)
    first = [e.kind for e in result.history if (e.source, e.connection) == ("proxy", 1)]
    assert first[:4] == ["dialled", "tls_established", "upgrade_requested", "upgraded"]
    assert first.count("closed") == 1


def test_a_fault_that_the_line_has_no_place_for_is_unsupported() -> None:
    result = execute("no-route", reference())
    assert result.outcome is Outcome.UNSUPPORTED
    assert "http-proxy" in result.why


def test_a_tls_fault_in_a_scenario_without_tls_is_a_mistake_in_it() -> None:
    with pytest.raises(ScenarioError, match=r"tls_hang needs TLS; add `tls: true`"):
        Scenario(
            name="x",
            about="x",
            channels={"trades": 1},
            steps=(Step(TlsHang()),),
            expect={"data_resumes": {}},
        )


# -- what cannot be had --------------------------------------------------------------------------


def test_where_mitmproxy_is_missing_one_message_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(squall.backends, "available", lambda: False)
    assert main(["run", "reset", "half-open", "--proxy", "mitmproxy"]) == 3
    assert capsys.readouterr().err == (
        "--proxy mitmproxy: mitmproxy is not installed; pip install 'squall[mitm]'\n"
    )


def test_a_proxy_of_another_make_does_not_live_in_virtual_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(squall.backends, "available", lambda: True)
    assert main(["run", "reset", "--proxy", "mitmproxy", "--clock", "virtual"]) == 3
    assert "real time" in capsys.readouterr().err


# -- clients of all kinds ------------------------------------------------------------------------

WEBSOCKETS = """
import asyncio, os, websockets
async def main():
    async with websockets.connect(URL) as ws:
        await ws.send(HELLO)
        print(await ws.recv())
asyncio.run(main())
"""
AIOHTTP = """
import asyncio, aiohttp
async def main():
    async with aiohttp.ClientSession(trust_env=True) as session, session.ws_connect(URL) as ws:
        await ws.send_str(HELLO)
        print(await ws.receive_str())
asyncio.run(main())
"""
WEBSOCKET_CLIENT = """
import websocket
ws = websocket.create_connection(URL)
ws.send(HELLO)
print(ws.recv())
ws.close()
"""
CLIENTS = {"websockets": WEBSOCKETS, "aiohttp": AIOHTTP, "websocket": WEBSOCKET_CLIENT}
HELLO = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "public/test", "params": {}})
HARD_CODED = "wss://www.deribit.com/ws/api/v2"


def on_testbed(proxy: str, redirect: Redirect, client: str) -> dict[str, Any]:
    """What a client that knows nothing of Squall but its environment gets from the exchange."""

    async def run() -> dict[str, Any]:
        history = History(asyncio.get_running_loop().time)
        line = Line(history.observer("proxy"), Random(1), tls=True, redirect=redirect)
        backend = BACKENDS[proxy](line)
        testbed = world.Testbed(dialect("deribit"), Settings(), history, Random(1), backend)
        try:
            await testbed.start()
            environment = testbed.environment([], private=False, extra={})
            url = HARD_CODED if redirect == "http-proxy" else environment["SQUALL_URL"]
            program = f"URL = {url!r}; HELLO = {HELLO!r}\n{client}"
            return json.loads(await _output(program, environment))  # type: ignore[no-any-return]
        finally:
            await testbed.stop()

    return asyncio.run(run())


async def _output(program: str, environment: dict[str, str]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    talk: Coroutine[Any, Any, tuple[bytes, bytes]] = process.communicate()
    said, complaint = await asyncio.wait_for(talk, 30)
    assert process.returncode == 0, complaint.decode()
    return said


@every_proxy
@pytest.mark.parametrize("redirect", ["url", "http-proxy"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_gets_to_the_exchange_by_its_environment_alone(
    client: str, redirect: Redirect, proxy: str
) -> None:
    if importlib.util.find_spec(client) is None:
        pytest.skip(f"{client} is not installed")
    answer = on_testbed(proxy, redirect, CLIENTS[client])
    assert answer["id"] == 1
    assert "version" in answer["result"]


def test_nothing_of_the_trust_is_left_behind() -> None:
    async def run() -> Path:
        history = History(asyncio.get_running_loop().time)
        backend = BACKENDS["embedded"](Line(history.observer("proxy"), Random(1), tls=True))
        await backend.start(("127.0.0.1", 9))
        told = backend.reach.variables["SQUALL_CA_FILE"]
        assert ssl.create_default_context(cafile=told).cert_store_stats()["x509_ca"] == 1
        await backend.stop()
        return Path(told)

    assert not asyncio.run(run()).exists()
