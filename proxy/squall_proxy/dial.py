"""The way from the proxy to the server: one dial, and the transport that comes of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from squall_proxy import sockets
from squall_proxy.side import Side
from squall_proxy.sockets import Address


class Caller(Protocol):
    """Who is told what has come of a dial."""

    def reached(self) -> None:
        """The server's side has its transport."""

    def unreached(self) -> None:
        """There is no server."""

    def hung_up(self) -> None:
        """The socket of a dial that came to nothing is closed."""


class Dial:
    """From the first SYN until `side` has its transport, or never will."""

    __slots__ = ("_address", "_caller", "_connecting", "_side", "_sock", "_wrapping", "under_way")

    def __init__(self, remote: Address, side: Side, caller: Caller) -> None:
        """Dial. Raises OSError where that fails at once."""
        self.under_way = True
        self._side = side
        self._caller = caller
        self._address: Address | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._sock, connected = sockets.dial(remote)
        if connected:
            self._wrap()
        else:
            loop = asyncio.get_running_loop()
            self._connecting = loop.create_task(loop.sock_connect(self._sock, remote))
            self._connecting.add_done_callback(self._connected)

    @property
    def address(self) -> Address | None:
        """Where it is dialled from. Who asks first while it lives can ask later, too."""
        if self._address is None:
            with suppress(OSError):
                self._address = self._sock.getsockname()[:2]
        return self._address

    def hang_up(self) -> bool:
        """Give up what is not connected yet; whether that can still be done."""
        return self._connecting is not None and self._connecting.cancel()

    def _connected(self, connecting: asyncio.Task[None]) -> None:
        self._connecting = None
        if not connecting.cancelled():
            error = connecting.exception()
            if error is None:
                self._wrap()
                return
            if not isinstance(error, OSError):
                raise error
            self._caller.unreached()
        self.under_way = False
        self._sock.close()
        self._caller.hung_up()

    def _wrap(self) -> None:
        """Make a transport of the socket."""
        loop = asyncio.get_running_loop()
        self._wrapping = loop.create_connection(lambda: self._side, sock=self._sock)
        self._step()

    def _step(self, _awaited: asyncio.Future[Any] | None = None) -> None:
        """Run the coroutine up to what it awaits, as a task would do for twice the price."""
        try:
            awaited = self._wrapping.send(None)
        except StopIteration as done:
            # Not before: uvloop takes the socket over at the end of that call only, and would
            # close the file descriptor twice if the transport were closed within it.
            self._side.transport = done.value[0]
        else:
            awaited._asyncio_future_blocking = False  # the other half of `Future.__await__`
            awaited.add_done_callback(self._step)
            return
        self.under_way = False
        caller = self._caller
        del self._caller, self._side, self._wrapping
        caller.reached()
