"""The process: one mitmproxy, told by JSON lines what to do, until its standard input ends.

Line 1 in: `upstream`, `confdir`, `tunnel`. Line 1 out: `port`, or `error`. Then questions go out
(`what`, and a number, `ask`), answers come in (`answer`, the same number), and remarks go out
(`what` alone).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from mitmproxy import options
from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master
from mitmproxy.proxy import server

from squall_proxy.mitm.addon import Courier

_BACKLOG = 4096  # with asyncio's 100 a storm of clients waits seconds for SYN retransmissions
_LISTENS_WITHIN = 10.0
_NEVER = 10 * 365 * 24 * 3600


class Control:
    """Standard input and output."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def line(self) -> dict[str, Any] | None:
        """What the harness says next; None at the end."""
        line = await self._reader.readline()
        said: dict[str, Any] | None = json.loads(line) if line else None
        return said

    async def listen(self) -> None:
        """Hand answers to who asked, until the end."""
        while (said := await self.line()) is not None:
            asked = self._asked.pop(said["answer"])
            if not asked.done():
                asked.set_result(said)

    async def ask(self, what: str, **detail: Any) -> dict[str, Any]:
        """Put a question and wait for its answer."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        self.tell(what, ask=number, **detail)
        return await self._asked[number]

    def tell(self, what: str, **detail: Any) -> None:
        """Say something to which there is no answer."""
        self._write({"what": what, **detail})

    def started(self, **detail: Any) -> None:
        """Say how starting went."""
        self._write(detail)

    @staticmethod
    def _write(said: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            sys.stdout.buffer.write(json.dumps(said).encode() + b"\n")
            sys.stdout.buffer.flush()


async def main() -> None:
    """Run until standard input ends."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    control = Control(reader)
    told = await control.line()
    if told is None:
        return
    upstream = (str(told["upstream"][0]), int(told["upstream"][1]))
    server.TCP_TIMEOUT = _NEVER  # it would end a connection that is silent for ten minutes
    master = Master(
        options.Options(confdir=told["confdir"], listen_host="127.0.0.1", listen_port=0)
    )
    proxies = proxyserver.Proxyserver()
    courier = Courier(upstream, control.ask, control.tell)
    # The courier goes first: where it has chosen a certificate, TlsConfig makes none.
    master.addons.add(core.Core(), courier, proxies, next_layer.NextLayer(), tlsconfig.TlsConfig())
    master.options.update(
        websocket=False,
        http2=False,
        connection_strategy="lazy",
        upstream_cert=False,
        keep_host_header=True,
        mode=["regular" if told["tunnel"] else "reverse:http://{}:{}".format(*upstream)],
    )
    running = asyncio.create_task(master.run())
    try:
        port = await asyncio.wait_for(_listening(proxies), _LISTENS_WITHIN)
    except (OSError, TimeoutError) as error:
        control.started(error=str(error) or "it does not listen")
    else:
        control.started(port=port)
        await control.listen()
    await _stop(proxies, master)
    await asyncio.wait([running], timeout=1.0)


async def _listening(proxies: proxyserver.Proxyserver) -> int:
    """Wait until it listens, let many dial at once, and say on which port."""
    while not proxies.listen_addrs():
        for instance in proxies.servers:
            if instance.last_exception is not None:
                raise OSError(str(instance.last_exception))
        await asyncio.sleep(0.005)
    for instance in proxies.servers:
        for each in instance._servers:
            for bound in each.sockets:
                again = socket.socket(fileno=os.dup(bound.fileno()))
                again.listen(_BACKLOG)
                again.close()
    port: int = proxies.listen_addrs()[0][1]
    return port


async def _stop(proxies: proxyserver.Proxyserver, master: Master) -> None:
    """Close listeners and connections; `shutdown` alone does neither (mitmproxy #6829, #6245)."""
    await proxies.servers.update([])
    for handler in tuple(proxies.connections.values()):
        for transport in tuple(handler.transports.values()):
            if transport.handler is not None:
                transport.handler.cancel("stopping")
    master.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
