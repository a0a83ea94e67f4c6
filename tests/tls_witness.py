"""A client that speaks TLS over a raw socket, so that a test sees both: the bytes inside, and how
the kernel says that the connection ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from proxy_witness import LOOPS, Events, Peer, World
from squall_proxy import Authority, Proxy

Test = Callable[["TlsWorld"], Coroutine[Any, Any, None]]


@functools.cache
def authority() -> Authority:
    """One for all tests: keys take time."""
    return Authority()


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the authority, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority().certificate.decode())
    return context


class TlsPeer:
    """The client's end. After `shake_hands` it has the methods of a `Peer`."""

    def __init__(self, below: Peer, context: ssl.SSLContext | None = None) -> None:
        self.below = below
        self.notified = False  # a close_notify has come
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._context = context or trusting()

    async def shake_hands(self, host: str = "127.0.0.1") -> TlsPeer:
        self.tls = self._context.wrap_bio(self._in, self._out, server_hostname=host)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await asyncio.get_running_loop().sock_recv(self.below.sock, 1 << 16)
                if not data:
                    raise ConnectionAbortedError("FIN in the handshake") from None
                self._in.write(data)
            except ssl.SSLError:
                await self._flush()
                raise
            else:
                await self._flush()
                return self

    async def send(self, data: bytes) -> None:
        self.tls.write(data)
        await self._flush()

    async def read(self, size: int) -> bytes:
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
        return await self.below.hears_nothing(seconds)

    def finish(self) -> None:
        """Send a close_notify and a FIN, and go on listening."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.below.sock.send(self._out.read())
        self.below.finish()

    def reset(self) -> None:
        self.below.reset()

    async def _piece(self, size: int) -> bytes:
        """Decrypted bytes; none where a FIN has come."""
        while True:
            try:
                piece = self.tls.read(size)
            except ssl.SSLWantReadError:
                piece = None
            except ssl.SSLZeroReturnError:
                piece = b""
            if piece:
                return piece
            self.notified = self.notified or piece == b""
            data = await asyncio.get_running_loop().sock_recv(self.below.sock, 1 << 16)
            if not data:
                return b""
            self._in.write(data)

    async def _flush(self) -> None:
        if self._out.pending:
            await self.below.send(self._out.read())


class TlsWorld(World):
    """A proxy that speaks TLS before a raw server that does not."""

    async def dial_tls(self, context: ssl.SSLContext | None = None) -> TlsPeer:
        return await TlsPeer(await self.dial(), context).shake_hands()

    async def connect_tls(self) -> tuple[TlsPeer, Peer]:
        client = await self.dial_tls()
        return client, await self.accept()

    async def dial_badly(self) -> str:
        """What a client that verifies says of the handshake."""
        try:
            await self.dial_tls()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ConnectionResetError:
            return "rst"
        except ConnectionAbortedError:
            return "fin"
        return "accepted"


def on(*loops: str, tunnel: bool = False) -> Callable[[Test], Callable[..., None]]:
    """Run the test on each of these loops (all, if none is named), in a world of its own."""

    def decorate(test: Test) -> Callable[..., None]:
        @pytest.mark.parametrize("loop", loops or tuple(LOOPS))
        def run(loop: str) -> None:
            errors: list[dict[str, Any]] = []

            async def main() -> None:
                asyncio.get_running_loop().set_exception_handler(lambda _, e: errors.append(e))
                async with world(tunnel=tunnel) as made:
                    await asyncio.wait_for(test(made), 3600 if loop == "virtual" else 30)

            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(main())
            assert not errors

        run.__name__ = run.__qualname__ = test.__name__
        run.__module__ = test.__module__
        return run

    return decorate


@contextlib.asynccontextmanager
async def world(*, tunnel: bool = False) -> AsyncIterator[TlsWorld]:
    """A running proxy with TLS before a raw server."""
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server.setblocking(False)
    events = Events()
    proxy = Proxy(
        server.getsockname(),
        observe=events.observe,
        rng=random.Random(7),
        tls=authority(),
        tunnel=tunnel,
    )
    await proxy.start()
    made = TlsWorld(proxy, events, server)
    try:
        yield made
    finally:
        for peer in made.peers:
            peer.close()
        await proxy.stop()
        server.close()
        for _ in range(3):
            await asyncio.sleep(0)
