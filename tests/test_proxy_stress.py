"""Thousands of connections at once, and one after the other; with SQUALL_STRESS=1 only."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop

from squall_proxy import Proxy

pytestmark = pytest.mark.skipif(
    "SQUALL_STRESS" not in os.environ, reason="takes a minute; SQUALL_STRESS=1 runs it"
)

AT_ONCE = 5_000
CYCLES = 10_000
TIMEOUT = 300.0
# A client and the proxy's two sides are in this process, the server is in another.
DESCRIPTORS = 3 * AT_ONCE + 500

ECHO = """
import asyncio

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.write = transport.write

    def data_received(self, data):
        self.write(data)

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def echo() -> Iterator[tuple[str, int]]:
    """The address of a server that sends back what it gets."""
    with subprocess.Popen(
        [sys.executable, "-c", ECHO], stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            yield "127.0.0.1", int(running.stdout.readline())
        finally:
            running.kill()


@asynccontextmanager
async def relayed() -> AsyncIterator[Proxy]:
    """A proxy before that server, with no observer to remember anything."""
    with echo() as server:
        proxy = Proxy(server, observe=lambda *_, **__: None, rng=Random(1), websocket=False)
        await proxy.start()
        try:
            yield proxy
        finally:
            await proxy.stop()


async def dial(proxy: Proxy) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, proxy.address)
    return sock


async def echoed(sock: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"E")
    return await loop.sock_recv(sock, 1)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_kilobytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main, TIMEOUT))


async def gone(proxy: Proxy) -> None:
    while proxy.connections:  # noqa: ASYNC110  # nobody is told, see `relayed`
        await asyncio.sleep(0.01)


def test_five_thousand_connections_at_once_are_all_served() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS:
        pytest.skip(f"needs {DESCRIPTORS} file descriptors; this process may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))

    async def main() -> None:
        async with relayed() as proxy:
            clients = await asyncio.gather(*(dial(proxy) for _ in range(AT_ONCE)))
            answers = await asyncio.gather(*(echoed(client) for client in clients))
            assert answers == [b"E"] * AT_ONCE
            assert len(proxy.connections) == AT_ONCE
            for client in clients:
                client.close()
            await gone(proxy)

    try:
        run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_ten_thousand_cycles_of_connect_and_reset_leave_nothing_behind() -> None:
    async def cycle(proxy: Proxy) -> None:
        client = await dial(proxy)
        assert await echoed(client) == b"E"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()

    async def main() -> None:
        async with relayed() as proxy:
            for _ in range(CYCLES // 100):  # until whatever grows once has grown
                await cycle(proxy)
            await gone(proxy)
            gc.collect()
            before = descriptors(), len(asyncio.all_tasks()), resident_kilobytes()
            for _ in range(CYCLES // 50):
                await asyncio.gather(*(cycle(proxy) for _ in range(50)))
            await gone(proxy)
            gc.collect()
            after = descriptors(), len(asyncio.all_tasks()), resident_kilobytes()
            assert after[:2] == before[:2]
            # A leak of one object a connection would be a megabyte.
            assert after[2] - before[2] < 4 * 1024

    run(main())
