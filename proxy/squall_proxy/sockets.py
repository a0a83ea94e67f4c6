"""What the kernel is asked for beyond the event loop's own interface."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress

from squall_proxy.link import End

Address = tuple[str, int]

# With asyncio's 100 a storm of 1,000 clients waits seconds for SYN retransmissions.
BACKLOG = 4096

# A queue of length 0 takes one connection on Linux, and a few elsewhere.
_FULL = 8

# Linux makes a socket that does not block in one call.
_MADE_NONBLOCKING = hasattr(socket, "SOCK_NONBLOCK")
_STREAM = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)

_NO_LINGER = struct.pack("ii", 1, 0)

# Linux's tcpi_state, the first byte of TCP_INFO (include/net/tcp_states.h).
_STATES_AFTER_FIN = (8, 9, 11)  # CLOSE_WAIT, LAST_ACK, CLOSING
_STATE_CLOSED = 7


def stream_socket(host: str) -> socket.socket:
    """A TCP socket that does not block, for a numeric address of either family."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol spelled out: asyncio sets TCP_NODELAY on no other.
    sock = socket.socket(family, _STREAM, socket.IPPROTO_TCP)
    if not _MADE_NONBLOCKING:
        sock.setblocking(False)
    return sock


def check_numeric(host: str) -> None:
    """Raise OSError for a name: looking it up would block the loop, or need a thread."""
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise OSError(errno.EADDRNOTAVAIL, "not a numeric address", host) from error


def reset(transport: asyncio.Transport) -> None:
    """End a connection by RST, now; asyncio's and uvloop's own `abort` sends a FIN."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def unread_end(transport: asyncio.Transport) -> End | None:
    """Whether the peer has ended its side, seen without reading; None also where not known."""
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return None
    try:
        state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return None
    if state in _STATES_AFTER_FIN:
        return End.FIN
    return End.RST if state == _STATE_CLOSED else None


def dial(remote: Address) -> tuple[socket.socket, bool]:
    """A socket on its way to `remote`, and whether it is there: on loopback it is at once."""
    sock = stream_socket(remote[0])
    try:
        return sock, _connected(sock, remote)
    except BaseException:
        sock.close()
        raise


def _connected(sock: socket.socket, remote: Address) -> bool:
    """Connect; whether it is done, or only under way."""
    failed = sock.connect_ex(remote)
    if failed == errno.EINPROGRESS:
        failed = sock.connect_ex(remote)
    if failed not in (0, errno.EISCONN, errno.EALREADY, errno.EINPROGRESS):
        raise OSError(failed, "cannot connect")
    return failed in (0, errno.EISCONN)


class Listener:
    """A port that stays ours while nobody listens on it.

    A second socket is bound to the port and never listens. While the first is closed the kernel
    answers dials with ECONNREFUSED, nobody else can take the port, and no client on this host
    can be given it as its own and so connect to itself.
    """

    def __init__(
        self,
        host: str,
        port: int,
        factory: Callable[[], asyncio.Protocol],
        make: Callable[[str], socket.socket] = stream_socket,
    ) -> None:
        self._make = make
        if port:
            # SO_REUSEPORT would let two listeners share a port; the first must be told apart.
            self._bound((host, port), shared=False).close()
        self._factory = factory
        self._keeper = self._bound((host, port), shared=True)
        self.address: Address = self._keeper.getsockname()[:2]
        self._listening: socket.socket | None = None
        self._jam: list[socket.socket] = []
        self._serving: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    def open(self) -> None:
        """Listen; the kernel completes connections from here on."""
        if self._listening is None:
            self._listening = self._bound(self.address, shared=True)
            self._listening.listen(BACKLOG)
            self._serving = asyncio.get_running_loop().create_task(self._serve(self._listening))
        self._clear()

    def jam(self) -> None:
        """Listen with a full queue; the kernel leaves dials unanswered from here on."""
        if self._jam:
            return
        self.close()
        listening = self._bound(self.address, shared=True)
        listening.listen(0)
        self._jam.append(listening)
        while len(self._jam) < _FULL:
            self._jam.append(filler := self._make(self.address[0]))
            if not _connected(filler, self.address):
                return

    def _clear(self) -> None:
        while self._jam:
            self._jam.pop().close()

    async def _serve(self, sock: socket.socket) -> None:
        # Not serving yet, it is made without a pause, so `close` finds either all or nothing.
        self._server = await asyncio.get_running_loop().create_server(
            self._factory, sock=sock, backlog=BACKLOG, start_serving=False
        )
        await self._server.start_serving()

    def close(self) -> None:
        """Stop listening; the kernel refuses connections from here on."""
        if self._serving is not None:
            self._serving.cancel()
        if self._server is not None:
            self._server.close()
        if self._listening is not None:
            self._listening.close()
        self._listening = self._serving = self._server = None
        self._clear()

    def release(self) -> None:
        """Give the port back."""
        self.close()
        self._keeper.close()

    def _bound(self, address: Address, *, shared: bool) -> socket.socket:
        sock = self._make(address[0])
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
        except BaseException:
            sock.close()
            raise
        return sock
