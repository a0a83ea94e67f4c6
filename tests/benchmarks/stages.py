"""What it costs to change the faults of many connections at once; CPU milliseconds as JSON.

`python -m benchmarks.stages UPSTREAM_PORT COUNT`.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time

import uvloop

from benchmarks.machine import open_files
from benchmarks.relay import STAGES, unobserved


async def main(upstream: int, count: int) -> None:
    """Open the connections, then install four stages and remove them again."""
    proxy = unobserved(upstream)
    await proxy.start()
    loop = asyncio.get_running_loop()
    transports = []
    echoed = asyncio.Event()

    class Client(asyncio.Protocol):
        """One of those that are connected."""

        def data_received(self, data: bytes) -> None:
            """The last one's byte has come back: all are there."""
            echoed.set()

    for _ in range(count):
        transport, _protocol = await loop.create_connection(Client, *proxy.address)
        transports.append(transport)
    transports[-1].write(b"E")
    await echoed.wait()
    gc.collect()
    gc.freeze()
    begun = time.process_time()
    injections = [proxy.inject(fault) for fault in STAGES]
    installed = time.process_time()
    for injection in injections:
        injection.heal()
    removed = time.process_time()
    figures = {"install": installed - begun, "remove": removed - installed}
    os.write(1, f"{json.dumps({name: value * 1e3 for name, value in figures.items()})}\n".encode())
    for transport in transports:
        transport.abort()
    await proxy.stop()


if __name__ == "__main__":
    open_files()
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
