"""A control port and what a test needs around it: calls without a client, and a raw upstream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy_witness import Ends, Peer, raw_server, within
from squall.serve import fault_order
from squall_proxy.toxiproxy import ToxiproxyServer

ROOT = Path(__file__).parent.parent
REAL_SERVER = ROOT / ".peers" / "bin" / "server"

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        str(ROOT / each) for each in ("harness", "proxy", "reference_adapter")
    ),
}
"""Of a process that is to find our packages where they stand."""

FUZZED_CALLS = int(os.environ.get("SQUALL_FUZZ", "2000"))
"""So many in a full run: SQUALL_FUZZ=100000 pytest tests/test_toxiproxy_server.py -k fuzz"""

PATIENCE = 60 + FUZZED_CALLS / 100


@dataclass(frozen=True)
class Reply:
    """What came back. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One connection to a control port, kept alive between calls."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """One request and its answer; a body that is no bytes is written as JSON."""
        data = (
            b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        )
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return await self.send("\r\n".join((*lines, "", "")).encode() + data, method)

    async def send(self, data: bytes, method: str = "GET") -> Reply:
        """The answer to these bytes."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *fields = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in fields)}
        answer = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                answer += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        elif method != "HEAD":
            answer = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(status.split()[1]), headers, answer)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Bench(Ends):
    """A control port on a free port, and an upstream to lead proxies to."""

    def __init__(self, server: ToxiproxyServer, upstream: socket.socket) -> None:
        super().__init__(upstream)
        self.server = server
        self.caller = Caller(server.address)
        self.call = self.caller.call

    async def proxy(self, name: str = "p", **settings: Any) -> str:
        """A proxy before the upstream; where it listens."""
        host, port = self.upstream.getsockname()
        wish = {"name": name, "upstream": f"{host}:{port}", "listen": "127.0.0.1:0", **settings}
        made = await self.call("POST", "/proxies", wish)
        assert made.status == 201, made.text
        listen: str = made.json["listen"]
        return listen

    async def toxic(self, kind: str, proxy: str = "p", **settings: Any) -> Any:
        """A toxic on a proxy, as the answer shows it."""
        made = await self.call("POST", f"/proxies/{proxy}/toxics", {"type": kind, **settings})
        assert made.status == 200, made.text
        return made.json

    async def connect(self, listen: str) -> tuple[Peer, Peer]:
        """Both ends of a connection through a proxy."""
        host, _, port = listen.rpartition(":")
        return await self.connect_to((host, int(port)))

    async def pair(self) -> tuple[Peer, Peer]:
        """Both ends of a connection through a new proxy `p`."""
        return await self.connect(await self.proxy())


@contextlib.asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """A running control port."""
    with raw_server() as upstream:
        server = ToxiproxyServer(rng=random.Random(3), read_order=fault_order)
        await server.start(port=0)
        made = Bench(server, upstream)
        try:
            yield made
        finally:
            made.caller.close()
            made.hang_up()
            await asyncio.wait_for(server.stop(), 5)


served = within(bench, "asyncio", "uvloop", patience=PATIENCE)
"""Run the test on both loops, with a control port of its own."""
