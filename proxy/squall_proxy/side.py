"""One of the two sockets of a connection, as the event loop sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from squall_proxy.link import End
from squall_proxy.sockets import reset

Feed = Callable[[bytes], None]


class Inflow(Protocol):
    """What passes bytes on to a side."""

    def pump(self) -> None:
        """The side takes them again, or it takes no more."""


class Owner(Protocol):
    """Who is told what happens to a side."""

    def made(self, side: Side, transport: asyncio.Transport) -> None:
        """Its connection is up; the owner sets `transport` when it may be used."""

    def ended(self, side: Side, how: End) -> None:
        """Its peer has ended its half of the connection."""

    def told(self, side: Side) -> None:
        """Its peer was sent a FIN."""

    def lost(self, side: Side) -> None:
        """Its socket is gone."""


class Side(asyncio.Protocol):
    """Hands bytes on, carries half-closes, and is gone when both halves are closed."""

    __slots__ = (
        "_owner",
        "blocked",
        "closed",
        "ended",
        "gone",
        "inflow",
        "name",
        "reading",
        "received",
        "seen",
        "told",
        "transport",
        "write",
    )

    def __init__(self, name: str, owner: Owner) -> None:
        self.name = name
        self.closed = f"{name}_closed"  # the event that its end is
        self.transport: asyncio.Transport | None = None
        self.received = 0
        self.ended = False  # the peer has sent its FIN
        self.told = False  # the peer was sent ours
        self.gone = False  # there is no socket any more
        self.blocked = False  # the peer reads too slowly
        self.seen = False  # its end was reported
        self.inflow: Inflow
        # uvloop looks `data_received` up once for ever, so what changes is one step further on.
        self.write: Feed = _discard
        self._owner = owner
        self.reading = True

    @property
    def there(self) -> bool:
        """There is a socket."""
        return self.transport is not None and not self.gone

    @property
    def peer(self) -> str:
        """The address at the other end."""
        name = self.transport.get_extra_info("peername") if self.transport else None
        return f"{name[0]}:{name[1]}" if name else "gone"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the transport over."""
        # uvloop's transports have the interface, but are no subclass of asyncio's.
        self._owner.made(self, cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on."""
        self.received += len(data)
        self.write(data)

    def eof_received(self) -> bool:
        """Keep the connection open for what goes the other way."""
        if not self.ended:
            self.ended = True
            self._owner.ended(self, End.FIN)
            self._close_if_done()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Without an exception it was closed here; any other end is as good as a reset."""
        self.gone = True
        owner = self._owner
        if exc is not None:
            owner.ended(self, End.RST)
        owner.lost(self)

    def pause_writing(self) -> None:
        """The transport holds as much as it may."""
        self.blocked = True
        self.inflow.pump()

    def resume_writing(self) -> None:
        """The transport has room again."""
        self.blocked = False
        self.inflow.pump()

    def read(self, wanted: bool) -> None:
        """Read from the socket, or stop reading."""
        if wanted is self.reading:
            return
        # After a FIN there is nothing left to read, and resuming would report it again.
        if self.transport is None or self.ended or self.gone or self.transport.is_closing():
            return
        self.reading = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def finish(self) -> None:
        """Send a FIN after what was written."""
        if self.told or self.transport is None or self.gone or self.transport.is_closing():
            return
        self.told = True
        if self.ended:
            # Closing sends the FIN as well, behind what was written.
            self._owner.told(self)
            self.transport.close()
            return
        try:
            self.transport.write_eof()
        except OSError:
            # Reset already, unseen because nothing reads after a FIN.
            self._owner.ended(self, End.RST)
            self.transport.abort()
            return
        self._owner.told(self)
        self._close_if_done()

    def reset(self) -> None:
        """Send a RST."""
        if self.transport is not None and not self.gone:
            reset(self.transport)

    def close(self) -> None:
        """Give the socket back once all that was written has left."""
        if self.transport is not None and not self.gone:
            self.transport.close()

    def abort(self) -> None:
        """Give the socket back now."""
        if self.transport is not None and not self.gone:
            self.transport.abort()

    def forget(self) -> None:
        """Nothing happens here any more: let go of the rest, which need not be found as garbage."""
        del self._owner, self.inflow
        self.write = _discard

    def _close_if_done(self) -> None:
        if self.ended and self.told:
            self.close()


def _discard(data: bytes) -> None:
    pass
