"""Squall's proxy as a process of its own: `python -m benchmarks.relay UPSTREAM_PORT [VARIANT]`.

It prints its port. `plain` passes bytes, `stages` has four faults in force that change nothing,
`websocket` follows the conversation, and `rule` looks into every message.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys

import uvloop

from benchmarks.machine import open_files
from squall_proxy import Cut, DropMessage, Latency, Proxy, SlowClose, Throttle

STAGES = (Throttle(1e12), SlowClose(1), Cut(bytes=1 << 60), Latency(0.001))


def unobserved(upstream: int, *, websocket: bool = False) -> Proxy:
    """A proxy before this port that tells nobody what it sees."""
    return Proxy(
        ("127.0.0.1", upstream),
        observe=lambda *_, **__: None,
        rng=random.Random(1),
        websocket=websocket,
    )


async def main(upstream: int, variant: str) -> None:
    """Relay until killed."""
    proxy = unobserved(upstream, websocket=variant in ("websocket", "rule"))
    await proxy.start()
    if variant == "stages":
        for fault in STAGES:
            proxy.inject(fault)
    if variant == "rule":
        proxy.inject(DropMessage(where={"params.channel": "book.*"}))
    gc.collect()
    gc.freeze()
    os.write(1, f"{proxy.address[1]}\n".encode())
    await asyncio.Event().wait()


if __name__ == "__main__":
    open_files()
    uvloop.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "plain"))
