"""The least that a venue does for a login, on four WebSocket servers.

`python -m benchmarks.login_servers KIND` prints its port and serves until standard input ends. Two
requests are decoded and answered, and nothing else is done: what is left is the server's own cost.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import uvloop
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from squall_proxy.frames import TEXT, frame, frame_size, masked

BACKLOG = 4096
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Port = Awaitable[int]


def reply(text: str | bytes) -> str:
    """The answer to a request."""
    id = json.loads(text)["id"]
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": {"access_token": "0" * 48}})


async def _listen(make: Callable[[], asyncio.Protocol]) -> int:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0, backlog=BACKLOG)
    return int(server.sockets[0].getsockname()[1])


# --- websockets, as the exchange uses it ----------------------------------------------------------


class SansIO(asyncio.Protocol):
    """`websockets`' sans-I/O half between a transport and a callback."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._wire = ServerProtocol()

    def data_received(self, data: bytes) -> None:
        self._wire.receive_data(data)
        for event in self._wire.events_received():
            if isinstance(event, Request):
                self._wire.send_response(self._wire.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._wire.send_text(reply(bytes(event.data)).encode())
        for piece in self._wire.data_to_send():
            self._transport.write(piece)


# --- a frame path of our own ----------------------------------------------------------------------


class Thin(asyncio.Protocol):
    """The least that can be done in Python: one search for the key, one header a frame."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._rest = b""
        self._upgraded = False

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._upgraded:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
            )
            self._upgraded = True
        at = 0
        while (size := frame_size(data, at)) and at + size <= len(data):
            length = data[at + 1] & 127
            start = at + (8 if length == 126 else 14 if length == 127 else 6)
            key, payload = data[start - 4 : start], data[start : at + size]
            text = masked(payload, key) if any(key) else payload
            self._transport.write(frame(TEXT, reply(text).encode()))
            at += size
        self._rest = data[at:]


# --- two others -----------------------------------------------------------------------------------


async def picows_port() -> int:
    """picows: C on asyncio's transports."""
    import picows

    class Listener(picows.WSListener):  # type: ignore[misc, unused-ignore]
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            transport.send(picows.WSMsgType.TEXT, reply(frame.get_payload_as_bytes()).encode())

    server = await picows.ws_create_server(
        lambda request: Listener(), "127.0.0.1", 0, backlog=BACKLOG
    )
    return int(server.sockets[0].getsockname()[1])


async def aiohttp_port() -> int:
    """aiohttp: a task a connection, C for HTTP and frames."""
    from aiohttp import WSMsgType, web

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(reply(message.data))
        return socket

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG)
    await site.start()
    return int(runner.addresses[0][1])


KINDS: dict[str, Callable[[], Port]] = {
    "websockets": lambda: _listen(SansIO),
    "own frames": lambda: _listen(Thin),
    "picows": picows_port,
    "aiohttp": aiohttp_port,
}


async def serve(kind: str) -> None:
    """Serve until standard input ends."""
    sys.stdout.write(f"{await KINDS[kind]()}\n")
    sys.stdout.flush()
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)
    await over.wait()
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
