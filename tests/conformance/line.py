"""The lines on which probes are run, and raw sockets at both ends of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from proxy_witness import SWITCH, UPGRADE, Events, Peer
from squall.backend import Backend, Line, Redirect
from squall.backends import BACKENDS
from squall_proxy import Fault, Injection, Target
from squall_proxy.mitm import available
from tls_witness import TlsPeer

AnyPeer = Peer | TlsPeer


@dataclass(frozen=True)
class Way:
    """A backend, and a way of getting to it."""

    proxy: str
    tls: bool = False
    redirect: Redirect = "url"

    @property
    def missing(self) -> str | None:
        """Why it cannot be had here; None where it can."""
        if self.proxy == "mitmproxy" and not available():
            return "mitmproxy is not installed"
        if self.proxy == "toxiproxy" and "TOXIPROXY_URL" not in os.environ:
            return "TOXIPROXY_URL names no Toxiproxy server"
        return None


LINES: Mapping[str, Way] = {
    "embedded": Way("embedded"),
    "embedded, TLS": Way("embedded", tls=True),
    "embedded, CONNECT": Way("embedded", tls=True, redirect="http-proxy"),
    "mitmproxy": Way("mitmproxy", tls=True),
    "mitmproxy, CONNECT": Way("mitmproxy", tls=True, redirect="http-proxy"),
}
if "toxiproxy" in BACKENDS:
    LINES = {**LINES, "toxiproxy": Way("toxiproxy")}


class Stage:
    """A backend before a raw server, and the clients that a probe makes."""

    def __init__(self, way: Way, backend: Backend, server: socket.socket, events: Events) -> None:
        self.backend = backend
        self.events = events
        self._way = way
        self._server = server
        self._peers: list[Peer] = []
        self._injections: list[Injection] = []

    def inject(self, fault: Fault, target: Target | None = None) -> Injection:
        injection = self.backend.inject(fault, target or Target())
        self._injections.append(injection)
        return injection

    async def dial(self) -> Peer:
        """A TCP connection to the backend."""
        url = self.backend.reach.variables.get("SQUALL_HTTP_PROXY", self.backend.reach.ws)
        there = urlsplit(url)
        peer = self._keep(socket.socket())
        await asyncio.get_running_loop().sock_connect(peer.sock, (there.hostname, there.port))
        return peer

    async def enter(self, below: Peer) -> AnyPeer:
        """CONNECT and TLS, where the way asks for them."""
        if not self._way.tls:
            return below
        host = urlsplit(self.backend.reach.ws).hostname or ""
        if self._way.redirect == "http-proxy":
            await below.send(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await below.read(1)
            if b" 200 " not in head.partition(b"\r\n")[0]:
                raise ConnectionRefusedError(head.split()[1].decode())
        return await TlsPeer(below, self._trust()).shake_hands(host)

    def _trust(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(
            cadata=Path(self.backend.reach.variables["SQUALL_CA_FILE"]).read_text()
        )
        return context

    async def accept(self) -> Peer:
        """The server's end of the next connection that brings a request."""
        sock, _ = await asyncio.get_running_loop().sock_accept(self._server)
        return self._keep(sock)

    async def requested(self) -> tuple[AnyPeer, Peer]:
        """Both ends of a connection on which an upgrade was asked for, and not answered."""
        client = await self.enter(await self.dial())
        await client.send(UPGRADE)
        while True:
            server = await self.accept()
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = await asyncio.get_running_loop().sock_recv(server.sock, 65536)
                if not piece:
                    break  # a dial for a client that has left
                head += piece
            else:
                return client, server

    async def upgraded(self) -> tuple[AnyPeer, Peer]:
        """Both ends of a WebSocket connection."""
        client, server = await self.requested()
        await server.send(SWITCH)
        assert (await until(client, b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        return client, server

    def clear(self) -> None:
        """Heal everything, and drop what a probe has left open."""
        self.backend.heal()
        self._injections.clear()
        for peer in self._peers:
            peer.close()
        self._peers.clear()
        with contextlib.suppress(BlockingIOError):
            while True:
                self._server.accept()[0].close()

    def _keep(self, sock: socket.socket) -> Peer:
        peer = Peer(sock)
        self._peers.append(peer)
        return peer


async def until(peer: AnyPeer, end: bytes) -> bytes:
    """What the peer hears up to these bytes."""
    heard = b""
    while not heard.endswith(end):
        heard += await peer.read(1)
    return heard


@contextlib.asynccontextmanager
async def stage(way: Way) -> AsyncIterator[Stage]:
    """A running backend before a raw server."""
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    server.setblocking(False)
    events = Events()
    line = Line(events.observe, random.Random(7), tls=way.tls, redirect=way.redirect)
    backend = BACKENDS[way.proxy](line)
    try:
        await backend.start(server.getsockname())
        made = Stage(way, backend, server, events)
        yield made
        made.clear()
    finally:
        await backend.stop()
        server.close()
