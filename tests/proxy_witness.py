"""Raw sockets on both sides of a proxy: what the kernel says arrived, and how it ended.

It shares no code with the proxy, so that the two cannot be wrong together.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Concatenate, Self, TypeVar

import pytest
import uvloop

from frames_witness import built, masked
from squall.virtual_clock import VirtualClockLoop
from squall_proxy import Direction, Proxy

UPGRADE = (
    b"GET /ws/api/v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

TICK = built(b"tick")
TOCK = masked(b"tock")

WAYS: tuple[Direction, ...] = ("both", "client_to_server", "server_to_client")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
    "virtual": VirtualClockLoop,
}

W = TypeVar("W")
Test = Callable[Concatenate[W, ...], Coroutine[Any, Any, None]]


def within(
    world: Callable[[], AbstractAsyncContextManager[W]], *loops: str, patience: float = 30
) -> Callable[[Test[W]], Callable[..., None]]:
    """Run the test on each of these loops (all, if none is named), in a world of its own.

    Further parameters of the test are pytest's to fill in. A test that takes longer than
    `patience` in real seconds, or an hour of virtual ones, hangs.
    """

    def decorate(test: Test[W]) -> Callable[..., None]:
        @pytest.mark.parametrize("loop", loops or tuple(LOOPS))
        def run(loop: str, **given: object) -> None:
            errors: list[dict[str, Any]] = []

            async def main() -> None:
                asyncio.get_running_loop().set_exception_handler(lambda _, e: errors.append(e))
                try:
                    async with world() as made:
                        most = 3600 if loop == "virtual" else patience
                        await asyncio.wait_for(test(made, **given), most)
                finally:
                    # Closed transports are given back by the loop's next rounds.
                    for _ in range(3):
                        await asyncio.sleep(0)

            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(main())
            assert not errors, errors

        _, *given = inspect.signature(test).parameters.values()
        named = inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        run.__signature__ = inspect.Signature([named, *given])  # type: ignore[attr-defined]
        run.__name__ = run.__qualname__ = test.__name__
        run.__module__ = test.__module__
        return run

    return decorate


def on(*loops: str, websocket: bool = True) -> Callable[[Test[World]], Callable[..., None]]:
    """Run the test on each of these loops (all, if none is named), with a proxy of its own."""
    return within(lambda: World.running(websocket=websocket), *loops)


def now() -> float:
    """The loop's clock, without the rounding to milliseconds that uvloop gives it."""
    loop = asyncio.get_running_loop()
    return loop.time() if isinstance(loop, VirtualClockLoop) else time.monotonic()


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
            piece = await self._piece(size - len(data))
            assert piece, f"ended after {data!r}"
            data += piece
        return data

    async def rest(self) -> tuple[bytes, str]:
        """All further bytes, and whether a FIN or a RST ended them."""
        data = b""
        while True:
            try:
                piece = await self._piece(1 << 16)
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

    async def _piece(self, size: int) -> bytes:
        """At most so many bytes; none where a FIN has come."""
        return await asyncio.get_running_loop().sock_recv(self.sock, size)


async def passes(sender: Peer, receiver: Peer, data: bytes) -> None:
    """What the one sends comes to the other, unchanged and soon."""
    await sender.send(data)
    assert await asyncio.wait_for(receiver.read(len(data)), 5) == data


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


class Ends:
    """A raw server, and the clients that a test makes: both ends of what stands between them."""

    def __init__(self, upstream: socket.socket) -> None:
        self.upstream = upstream
        self.peers: list[Peer] = []

    def keep(self, sock: socket.socket) -> Peer:
        peer = Peer(sock)
        self.peers.append(peer)
        return peer

    async def dial_to(self, address: tuple[str, int]) -> Peer:
        """A client, connected to this address."""
        peer = self.keep(socket.socket())
        await asyncio.get_running_loop().sock_connect(peer.sock, address)
        return peer

    async def accept(self) -> Peer:
        """The server's end of the next connection that is made to it."""
        sock, _ = await asyncio.get_running_loop().sock_accept(self.upstream)
        return self.keep(sock)

    async def connect_to(self, address: tuple[str, int]) -> tuple[Peer, Peer]:
        """Both ends of a new connection by way of this address."""
        client = await self.dial_to(address)
        return client, await self.accept()

    def hang_up(self) -> None:
        """Close what is open on either end."""
        for peer in self.peers:
            peer.close()


async def ask_for_upgrade(client: Peer, server: Peer) -> None:
    """Bring the request of a WebSocket handshake to the server."""
    await client.send(UPGRADE)
    assert await server.read(len(UPGRADE)) == UPGRADE


async def switch_protocols(client: Peer, server: Peer) -> None:
    """Make a new connection one of WebSocket."""
    await ask_for_upgrade(client, server)
    await server.send(SWITCH)
    assert await client.read(len(SWITCH)) == SWITCH


@contextlib.contextmanager
def raw_server() -> Iterator[socket.socket]:
    """A listening socket on a free port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        server.setblocking(False)
        yield server


class World(Ends):
    """A server, a proxy in front of it, and clients."""

    def __init__(self, proxy: Proxy, events: Events, upstream: socket.socket) -> None:
        super().__init__(upstream)
        self.proxy = proxy
        self.events = events

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, **settings: Any) -> AsyncIterator[Self]:
        """A proxy with these settings that runs before a raw server."""
        events = Events()
        with raw_server() as upstream:
            address: tuple[str, int] = upstream.getsockname()
            proxy = Proxy(address, observe=events.observe, rng=random.Random(7), **settings)
            await proxy.start()
            made = cls(proxy, events, upstream)
            try:
                yield made
            finally:
                made.hang_up()
                await proxy.stop()

    async def dial(self) -> Peer:
        """A client, connected to the proxy."""
        return await self.dial_to(self.proxy.address)

    async def connect(self) -> tuple[Peer, Peer]:
        """Both ends of a new connection."""
        return await self.connect_to(self.proxy.address)

    async def requested(self) -> tuple[Peer, Peer]:
        """Both ends of a new connection on which an upgrade was asked for, and not answered."""
        client, server = await self.connect()
        await ask_for_upgrade(client, server)
        return client, server

    async def upgrade(self) -> tuple[Peer, Peer]:
        """Both ends of a new WebSocket connection."""
        client, server = await self.connect()
        await switch_protocols(client, server)
        return client, server
