"""A client that speaks TLS over a raw socket, so that a test sees both: the bytes inside, and how
the kernel says that the connection ended."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Callable

from proxy_witness import Peer, Test, World, within
from squall_proxy import Authority


@functools.cache
def authority() -> Authority:
    """One for all tests: keys take time."""
    return Authority()


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the authority, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority().certificate.decode())
    return context


class TlsPeer(Peer):
    """The client's end. After `shake_hands` what it sends and reads is inside TLS."""

    def __init__(self, below: Peer, context: ssl.SSLContext | None = None) -> None:
        super().__init__(below.sock)
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
                data = await super()._piece(1 << 16)
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

    def finish(self) -> None:
        """Send a close_notify and a FIN, and go on listening."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.below.sock.send(self._out.read())
        self.below.finish()

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
            data = await super()._piece(1 << 16)
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


def on(*loops: str, tunnel: bool = False) -> Callable[[Test[TlsWorld]], Callable[..., None]]:
    """Run the test on each of these loops (all, if none is named), with a proxy of its own."""
    return within(lambda: TlsWorld.running(tls=authority(), tunnel=tunnel), *loops)
