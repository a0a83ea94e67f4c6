"""Squall's proxy as a process of its own: `python -m benchmarks.relay UPSTREAM_PORT [VARIANT]`.

It prints its port. `plain` passes bytes, `stages` has four faults in force that change nothing,
`websocket` follows the conversation, and `rule` looks into every message.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import sys

import uvloop

from squall_proxy import FAULTS, Cut, Latency, Proxy, SlowClose, Throttle


async def main(upstream: int, variant: str) -> None:
    """Relay until killed."""
    websocket = variant in ("websocket", "rule")
    proxy = Proxy(
        ("127.0.0.1", upstream),
        observe=lambda *_, **__: None,
        rng=random.Random(1),
        websocket=websocket,
    )
    await proxy.start()
    if variant == "stages":
        for fault in (Throttle(1e12), SlowClose(1), Cut(bytes=1 << 60), Latency(0.001)):
            proxy.inject(fault)
    if variant == "rule":
        where = {"params.channel": "book.*"}
        proxy.inject(FAULTS["drop_message"](where=where))  # type: ignore[call-arg]
    gc.collect()
    gc.freeze()
    os.write(1, f"{proxy.address[1]}\n".encode())
    await asyncio.Event().wait()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "plain"))
