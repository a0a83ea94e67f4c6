"""Raw sockets on both sides of a proxy: what the kernel says arrived, and how it ended.

It shares no code with the proxy, so that the two cannot be wrong together.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from squall.virtual_clock import VirtualClockLoop
from squall_proxy import Proxy

UPGRADE = (
    b"GET /ws/api/v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

Test = Callable[["World"], Coroutine[Any, Any, None]]


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
    "virtual": VirtualClockLoop,
}


def on(*loops: str, websocket: bool = True) -> Callable[[Test], Callable[..., None]]:
    """Run the test on each of these loops (all, if none is named), in a world of its own."""

    def decorate(test: Test) -> Callable[..., None]:
        @pytest.mark.parametrize("loop", loops or tuple(LOOPS))
        def run(loop: str) -> None:
            errors: list[dict[str, Any]] = []

            async def main() -> None:
                asyncio.get_running_loop().set_exception_handler(lambda _, e: errors.append(e))
                async with world(websocket=websocket) as made:
                    # An hour of virtual time is nothing; half a minute of real time is a hang.
                    await asyncio.wait_for(test(made), 3600 if loop == "virtual" else 30)

            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(main())
            assert not errors, errors

        run.__name__ = run.__qualname__ = test.__name__
        run.__module__ = test.__module__
        return run

    return decorate


def now() -> float:
    """The loop's clock, without the rounding to milliseconds that uvloop gives it."""
    loop = asyncio.get_running_loop()
    return loop.time() if isinstance(loop, VirtualClockLoop) else time.monotonic()


def frame(text: bytes, opcode: int = 1) -> bytes:
    """A server's frame."""
    if len(text) < 126:
        return bytes((0x80 | opcode, len(text))) + text
    return bytes((0x80 | opcode, 126)) + len(text).to_bytes(2, "big") + text


def masked(text: bytes, opcode: int = 1) -> bytes:
    """A client's frame, under a key of zeros."""
    return bytes((0x80 | opcode, 0x80 | len(text))) + bytes(4) + text


class Peer:
    """One socket of the test's own."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.setblocking(False)
        # Nagle's algorithm waits for the kernel's real clock, which a virtual one would outrun.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.sock.getpeername()
        return host, port

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def send_until_stuck(self, limit: int = 100_000_000) -> int:
        """Send until nobody takes any more; how much was taken, at most."""
        sent = 0
        try:
            while sent < limit:
                await asyncio.wait_for(self.send(bytes(100_000)), 0.3)
                sent += 100_000
        except TimeoutError:
            return sent
        raise AssertionError(f"{limit} bytes were taken")

    async def send_until_refused(self) -> None:
        """Send on and on; the kernel ends it once it has seen a RST."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while True:
                await self.send(bytes(1000))
                await asyncio.sleep(0.001)

    async def read(self, size: int) -> bytes:
        """So many bytes; fails where the stream ends before."""
        data = b""
        while len(data) < size:
            piece = await asyncio.get_running_loop().sock_recv(self.sock, size - len(data))
            assert piece, f"ended after {data!r}"
            data += piece
        return data

    async def rest(self) -> tuple[bytes, str]:
        """All further bytes, and whether a FIN or a RST ended them."""
        data = b""
        while True:
            try:
                piece = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 16)
            except ConnectionResetError:
                return data, "rst"
            if not piece:
                return data, "fin"
            data += piece

    async def hears_nothing(self, seconds: float = 0.1) -> bool:
        """Neither bytes nor an end arrive for so long."""
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 1), seconds)
        except TimeoutError:
            return True
        return False

    def finish(self) -> None:
        """Send a FIN, and go on listening."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Send a RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Events:
    """What the proxy reported, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[str, int | None, dict[str, Any]]] = []
        self.react: Callable[[str, int | None], None] = lambda kind, connection: None
        self._changed = asyncio.Event()

    def observe(self, kind: str, connection: int | None = None, /, **detail: Any) -> None:
        self.all.append((kind, connection, detail))
        self._changed.set()
        self.react(kind, connection)

    def kinds(self, connection: int | None = None) -> list[str]:
        return [kind for kind, number, _ in self.all if connection in (None, number)]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [
            detail | {"connection": number} for found, number, detail in self.all if found == kind
        ]

    async def wait(self, kind: str, nth: int = 1) -> dict[str, Any]:
        while len(self.of(kind)) < nth:
            self._changed.clear()
            await self._changed.wait()
        return self.of(kind)[nth - 1]


class World:
    """A server, a proxy in front of it, and the clients that a test makes."""

    def __init__(self, proxy: Proxy, events: Events, server: socket.socket) -> None:
        self.proxy = proxy
        self.events = events
        self.server = server
        self.peers: list[Peer] = []

    def keep(self, sock: socket.socket) -> Peer:
        peer = Peer(sock)
        self.peers.append(peer)
        return peer

    async def dial(self) -> Peer:
        """A client, connected to the proxy."""
        sock = socket.socket()
        peer = self.keep(sock)
        await asyncio.get_running_loop().sock_connect(sock, self.proxy.address)
        return peer

    async def accept(self) -> Peer:
        """The server's end of the next connection that the proxy makes."""
        sock, _ = await asyncio.get_running_loop().sock_accept(self.server)
        return self.keep(sock)

    async def connect(self) -> tuple[Peer, Peer]:
        """Both ends of a new connection."""
        client = await self.dial()
        return client, await self.accept()

    async def upgrade(self) -> tuple[Peer, Peer]:
        """Both ends of a new WebSocket connection."""
        client, server = await self.connect()
        await client.send(UPGRADE)
        assert await server.read(len(UPGRADE)) == UPGRADE
        await server.send(SWITCH)
        assert await client.read(len(SWITCH)) == SWITCH
        return client, server


@contextlib.asynccontextmanager
async def world(*, websocket: bool = True) -> AsyncIterator[World]:
    """A running proxy before a raw server."""
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server.setblocking(False)
    events = Events()
    address: tuple[str, int] = server.getsockname()
    proxy = Proxy(address, observe=events.observe, rng=random.Random(7), websocket=websocket)
    await proxy.start()
    made = World(proxy, events, server)
    try:
        yield made
    finally:
        for peer in made.peers:
            peer.close()
        await proxy.stop()
        server.close()
        # Closed transports are given back by the loop's next rounds.
        for _ in range(3):
            await asyncio.sleep(0)
