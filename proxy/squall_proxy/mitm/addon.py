"""What mitmproxy is taught: where requests lead, and whom to ask about handshakes.

Everything here runs in mitmproxy's process, and this module is the only one that knows its hooks.
An awaited hook holds up the connection that it is about, and no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from mitmproxy import connection, http, tcp, tls
from mitmproxy.proxy import server_hooks
from OpenSSL import SSL

Ask = Callable[..., Awaitable[dict[str, Any]]]
Tell = Callable[..., None]


class Courier:
    """Leads every request to `upstream`; asks before it answers CONNECT or a ClientHello."""

    def __init__(self, upstream: tuple[str, int], ask: Ask, tell: Tell) -> None:
        self._upstream = upstream
        self._ask = ask
        self._tell = tell
        self._gone: dict[str, asyncio.Event] = {}

    def client_connected(self, client: connection.Client) -> None:
        """Remember it, for handshakes that hang until it leaves."""
        self._gone[client.id] = asyncio.Event()

    def client_disconnected(self, client: connection.Client) -> None:
        """Let go what waits for it."""
        self._gone.pop(client.id).set()

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """A tunnel is asked for."""
        request = flow.request
        answer = await self._ask(
            "tunnel", client=_peer(flow.client_conn), host=request.host, port=request.port
        )
        if "status" in answer:
            flow.response = http.Response.make(answer["status"])

    async def tls_start_client(self, data: tls.TlsData) -> None:
        """A ClientHello has come."""
        client = data.context.client
        host = client.sni or (data.context.server.address or ("127.0.0.1", 0))[0]
        answer = await self._ask("hello", client=_peer(client), host=host)
        if "chain" in answer:
            data.ssl_conn = _server(Path(answer["chain"]))
        elif answer.get("hang"):
            await self._gone[client.id].wait()

    def tls_established_client(self, data: tls.TlsData) -> None:
        """The client accepts the certificate."""
        version = data.conn.tls_version or "TLS"
        self._tell("tls_established", client=_peer(data.context.client), version=version)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """It does not, or the handshake was cut."""
        why = (data.conn.error or "the handshake failed").lower()
        self._tell("tls_failed", client=_peer(data.context.client), why=why)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Lead the request to the upstream, which speaks no TLS, and leave its Host as it is."""
        host = flow.request.host_header
        flow.request.scheme = "http"
        flow.request.host, flow.request.port = self._upstream
        flow.request.host_header = host

    async def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """The upstream was dialled; before a byte goes there, it is told on whose behalf."""
        assert data.server.sockname is not None
        await self._ask("linked", client=_peer(data.client), server=list(data.server.sockname[:2]))

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """Forget what has passed: mitmproxy keeps every message, for ever."""
        del flow.messages[:-1]


def _peer(client: connection.Client) -> list[Any]:
    return list(client.peername[:2])


def _server(chain: Path) -> SSL.Connection:
    """A server's end of TLS that shows this certificate."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_privatekey_file(str(chain))
    context.use_certificate_chain_file(str(chain))
    made = SSL.Connection(context)
    made.set_accept_state()
    return made
