"""The way to the exchange: TLS that is verified, and an HTTP CONNECT proxy."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from squall_reference import Action, Adapter, Endpoint, Settings, StateChanged, SyncAdapter
from test_reference_venue import Venue, run, stir, until

TICKER = "ticker.BTC-PERPETUAL.100ms"
QUICK = Settings(first_delay_max=0.02, backoff_base=0.02, backoff_max=0.05, breaker_failures=None)

needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of its own authority for 127.0.0.1, and a server's context with it."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return cert, context


async def states(endpoint: Endpoint, last: str, *, blocking: bool = False) -> list[str]:
    """The states of an adapter up to the first time that it is in the `last` one."""
    told: list[str] = []
    loop = asyncio.get_running_loop()

    def report(action: Action) -> None:
        if isinstance(action, StateChanged):
            told.append(action.state)
            loop.call_soon_threadsafe(stir)

    kind = SyncAdapter if blocking else Adapter
    adapter = kind(endpoint, [TICKER], report, settings=QUICK)
    if isinstance(adapter, SyncAdapter):
        running = asyncio.create_task(asyncio.to_thread(adapter.run))
    else:
        running = asyncio.create_task(adapter.run())
    await until(lambda: last in told)
    found = told[: told.index(last) + 1]
    adapter.stop()
    assert await running == 0
    return found


@needs_openssl
@pytest.mark.parametrize("blocking", [False, True], ids=["asyncio", "blocking"])
def test_a_certificate_that_is_vouched_for_is_taken(tmp_path: Path, blocking: bool) -> None:
    async def scene() -> None:
        ca_file, context = certificate(tmp_path)
        async with Venue(context) as venue:
            endpoint = Endpoint(venue.url, ca_file=str(ca_file))
            found = await states(endpoint, "live", blocking=blocking)
            assert found == ["connecting", "connected", "live"]

    run(scene())


@needs_openssl
@pytest.mark.parametrize("blocking", [False, True], ids=["asyncio", "blocking"])
def test_any_other_certificate_is_refused_again_and_again(tmp_path: Path, blocking: bool) -> None:
    async def scene() -> None:
        _, context = certificate(tmp_path)
        async with Venue(context) as venue:
            found = await states(Endpoint(venue.url), "disconnected", blocking=blocking)
            assert found == ["connecting", "disconnected"]
            assert venue.opened == 0

    run(scene())


@asynccontextmanager
async def connect_proxy(asked: list[str]) -> AsyncIterator[str]:
    """An HTTP CONNECT proxy that notes what it is asked for."""
    pumps: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        target = head.split()[1]
        asked.append(target)
        host, _, port = target.partition(":")
        onward_reader, onward_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for way in (pump(reader, onward_writer), pump(onward_reader, writer)):
            task = asyncio.create_task(way)
            pumps.add(task)

    server = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.wait(pumps)


def test_a_proxy_is_used_where_one_is_given() -> None:
    async def scene() -> None:
        asked: list[str] = []
        async with Venue() as venue, connect_proxy(asked) as proxy:
            await states(Endpoint(venue.url, http_proxy=proxy), "live")
            assert asked == [f"127.0.0.1:{venue.port}"]

    run(scene())


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "ws_proxy", "all_proxy", "socks_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scene() -> None:
        async with Venue() as venue:
            await states(Endpoint(venue.url), "live")

    run(scene())
