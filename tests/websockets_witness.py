"""A real client and a real server, `websockets` on both sides of a proxy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from proxy_witness import LOOPS, Events
from squall_proxy import Compression, Proxy

Handler = Callable[[ServerConnection], Awaitable[None]]
Scenario = Callable[[Proxy, str], Awaitable[None]]


def run(
    scenario: Scenario,
    handler: Handler,
    *,
    loop: str = "asyncio",
    compression: Compression = "independent",
    **server: Any,
) -> Events:
    """Run it with a proxy before this server, and the URL that leads there; what was reported."""
    events = Events()

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, close_timeout=1, **server) as listening:
            proxy = Proxy(
                next(iter(listening.sockets)).getsockname(),
                observe=events.observe,
                rng=random.Random(7),
                compression=compression,
            )
            await proxy.start()
            host, port = proxy.address
            try:
                await asyncio.wait_for(scenario(proxy, f"ws://{host}:{port}/ws"), 60)
            finally:
                await proxy.stop()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    return events


def dial(url: str, **how: Any) -> connect:
    """A client of this URL, with no proxy but ours."""
    return connect(url, proxy=None, close_timeout=1, **how)
