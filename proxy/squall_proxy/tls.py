"""TLS towards the client, between its socket and the proxy's side of the connection.

`TlsServer` is a protocol to the transport below and a transport to the protocol above, so all
that the proxy does to a plain connection it does to this one too. asyncio's own TLS would not do:
it has no half-closed connections, and nobody can get between its ClientHello and its answer. Here
a FIN stays a FIN (behind a close_notify), a RST stays a RST, and backpressure reaches the socket.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Protocol, cast

from squall_proxy.faults.tls import Defect, TlsCertificate, TlsCut, TlsHang, TunnelRefused
from squall_proxy.sockets import reset
from squall_proxy.tunnel import TunnelRequest

_READ_BYTES = 256 * 1024


class Certificates(Protocol):
    """Where a server's certificates come from."""

    def context(self, host: str, defect: Defect | None = None) -> ssl.SSLContext:
        """What to show a client that asks for `host`: a good certificate, or a defective one."""


class Handshake(Protocol):
    """Who decides about the beginning of a connection, and is told what comes of it."""

    @property
    def held(self) -> bool:
        """Whether the line swallows what is said, just now."""

    def meets(self) -> object:
        """The fault that this connection has met, if any."""

    def fired(self) -> None:
        """That fault has taken effect."""

    def tunnelled(self, host: str, port: int) -> None:
        """The client asked for a tunnel to this host."""

    def established(self, version: str) -> None:
        """The client accepts the certificate, and both have the keys."""

    def failed(self, why: str) -> None:
        """The handshake came to nothing."""


class TlsServer(asyncio.Protocol, asyncio.Transport):
    """The server's end of TLS on one connection."""

    def __init__(
        self,
        above: asyncio.Protocol,
        certificates: Certificates,
        handshake: Handshake,
        tunnel: TunnelRequest | None = None,
    ) -> None:
        super().__init__()
        self._above = above
        self._certificates = certificates
        self._handshake = handshake
        self._tunnel = tunnel
        self._host = "127.0.0.1"  # for clients that name none, as none does that dials an address
        self._below: asyncio.Transport | None = None
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None  # made when the ClientHello has come
        self._waiting: list[bytes] = []  # to be written when the handshake is done
        self._open = False
        self._plain = False  # in the tunnel there was no TLS
        self._deaf = False  # nothing that comes in is looked at any more
        self._told = False  # a FIN was asked for
        self._finished = False  # it was sent, and nothing can follow it
        self._ended = False  # the end was passed on to above
        self._error: Exception | None = None

    # -- a protocol, to the socket below -----------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Bring the side above up; it may write and be cut before the handshake is done."""
        self._below = cast(asyncio.Transport, transport)
        self._above.connection_made(self)

    def data_received(self, data: bytes) -> None:
        """Take in what the client sent."""
        if self._plain:
            self._above.data_received(data)
        elif not self._deaf:
            self._in.write(data)
            self.go_on()

    def eof_received(self) -> bool:
        """Keep the connection open for what goes the other way."""
        if not self._open and not self._deaf and not self._plain:
            self._fail("the client left")
        self._pass_end_on()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the side above."""
        if not self._open and not self._deaf and not self._plain:
            self._deaf = True
            self._handshake.failed("the client reset the connection" if exc else "it was cut")
        self._above.connection_lost(exc or self._error)

    def pause_writing(self) -> None:
        """The socket holds as much as it may."""
        self._above.pause_writing()

    def resume_writing(self) -> None:
        """The socket has room again."""
        self._above.resume_writing()

    # -- the handshake, and what follows it ----------------------------------------------------

    def go_on(self) -> None:
        """Look at what has come in; again, once the line does not hold it any more."""
        if self._deaf or not self._in.pending:
            return
        if not self._open:
            if self._handshake.held:
                return
            if self._tunnel is not None and not self._dig(self._tunnel):
                return
            if not self._greet():
                return
            self._shake_hands()
        if self._open:
            self._read()

    def _dig(self, tunnel: TunnelRequest) -> bool:
        """Answer a CONNECT; whether a ClientHello follows it."""
        rest = tunnel.feed(self._in.read())
        if rest is None:
            return False
        if not tunnel.answered:
            self._answer_connect(tunnel)
        if self._deaf or not rest:
            return False
        self._tunnel = None
        if tunnel.speaks_tls(rest):
            self._in.write(rest)
            return True
        self._plain = True
        self._above.data_received(rest)
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.write(data)
        return False

    def _answer_connect(self, tunnel: TunnelRequest) -> None:
        assert self._below is not None
        if tunnel.target is not None:
            self._host, port = tunnel.target
            self._handshake.tunnelled(self._host, port)
        fault = self._handshake.meets()
        refused = fault.status if isinstance(fault, TunnelRefused) else None
        if refused is not None:
            self._handshake.fired()
        if not self._finished:
            self._below.write(tunnel.answer(refused))
        if refused is not None or tunnel.target is None:
            self._deaf = True
            self._pass_end_on()
            self.close()

    def _greet(self) -> bool:
        """Choose the certificate when the ClientHello comes; False where there is no answer."""
        if self._tls is not None:
            return True
        match self._handshake.meets():
            case TlsHang():
                self._handshake.fired()
                # Deaf, but for the client's own end: it never gets an answer, healed or not.
                self._deaf = True
                return False
            case TlsCut(how):
                self._handshake.fired()
                self._cut(how)
                return False
            case TlsCertificate(kind):
                self._handshake.fired()
                self._tls = self._server(kind)
            case _:
                self._tls = self._server(None)
        return True

    def _server(self, defect: Defect | None) -> ssl.SSLObject:
        context = self._certificates.context(self._host, defect)
        return context.wrap_bio(self._in, self._out, server_side=True)

    def _shake_hands(self) -> None:
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, OSError) as error:
            self._flush()  # the alert
            self._fail(_reason(error))
            self._pass_end_on()
            self.close()
            return
        self._open = True
        self._flush()
        self._handshake.established(self._tls.version() or "TLS")
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.write(data)
        if self._told:
            self._end()

    def _fail(self, why: str) -> None:
        self._deaf = True
        self._handshake.failed(why)

    def _cut(self, how: str) -> None:
        """Answer with half of the server's first flight, then end."""
        self._tls = self._server(None)
        with suppress(ssl.SSLError):  # it wants the client's part
            self._tls.do_handshake()
        self._fail("it was cut")
        flight = self._out.read()
        if self._below is not None and not self._below.is_closing():
            self._below.write(flight[: len(flight) // 2])
        if how == "rst":
            self._error = ConnectionResetError("cut in the TLS handshake")
            reset(self)
        else:
            self._pass_end_on()
            self.write_eof()

    def _read(self) -> None:
        assert self._tls is not None
        while not self._deaf:
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                data = b""
            except ssl.SSLError as error:
                # No record of this connection: the stream is broken for good.
                self._deaf = True
                self._error = error
                self._flush()
                self.abort()
                return
            if not data:
                self._deaf = True
                self._pass_end_on()
                break
            self._above.data_received(data)
        self._flush()

    def _pass_end_on(self) -> None:
        if not self._ended:
            self._ended = True
            self._above.eof_received()

    def _flush(self) -> None:
        said = self._out.read()
        if said and not self._finished and not self.is_closing():
            assert self._below is not None
            self._below.write(said)

    def _end(self) -> None:
        self._say_goodbye()
        self._finished = True
        if self._below is not None:
            self._below.write_eof()

    def _say_goodbye(self) -> None:
        """Send a close_notify; what the client still sends is read on."""
        if self._open and self._tls is not None:
            with suppress(ssl.SSLError):  # it wants the client's own, for which nobody waits
                self._tls.unwrap()
            self._flush()

    # -- a transport, to the side above --------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send; before the handshake is done it waits."""
        if self._plain and self._below is not None:
            self._below.write(data)
            return
        if self._tls is None or not self._open:
            self._waiting.append(bytes(data))
            return
        if self._told or self.is_closing():
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        self._flush()

    def write_eof(self) -> None:
        """Send a FIN behind all that was written."""
        if self._told:
            return
        self._told = True
        if self._open or self._plain or self._deaf or not self._waiting:
            self._end()

    def can_write_eof(self) -> bool:
        """Half-closed connections are carried."""
        return True

    def close(self) -> None:
        """Give the socket back once all that was written has left."""
        if self._below is None or self._below.is_closing():
            return
        if not self._told:
            self._say_goodbye()
        self._deaf = True
        self._below.close()

    def abort(self) -> None:
        """Give the socket back now."""
        if self._below is not None:
            self._below.abort()

    def is_closing(self) -> bool:
        """Whether the socket is on its way out."""
        return self._below is None or self._below.is_closing()

    def pause_reading(self) -> None:
        """Take in no more."""
        if self._below is not None:
            self._below.pause_reading()

    def resume_reading(self) -> None:
        """Take in more."""
        if self._below is not None:
            self._below.resume_reading()

    def is_reading(self) -> bool:
        """Whether it takes in more."""
        return self._below is not None and self._below.is_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket's transport says of itself."""
        return default if self._below is None else self._below.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and have not left."""
        return 0 if self._below is None else self._below.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The marks between which the side above is asked to go on or to wait."""
        return (0, 0) if self._below is None else self._below.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set those marks."""
        if self._below is not None:
            self._below.set_write_buffer_limits(high, low)


def _reason(error: Exception) -> str:
    """`tlsv1 alert unknown ca` from what OpenSSL says."""
    reason = getattr(error, "reason", None)
    return str(reason).lower().replace("_", " ") if reason else str(error)
