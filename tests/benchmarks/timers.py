"""How late timers are, in microseconds: prints the median, p99 and the earliest as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import random

import uvloop

from squall_proxy.timers import Timers

COUNT = 1500


async def main() -> None:
    """Set timers for the next second, and see when they fire."""
    timers, rng = Timers.of(asyncio.get_running_loop()), random.Random(1)
    late: list[float] = []
    done = asyncio.Event()

    def fire(when: float) -> None:
        late.append(timers.now() - when)
        if len(late) == COUNT:
            done.set()

    begun = timers.now()
    for _ in range(COUNT):
        when = begun + rng.uniform(0.02, 1.5)
        timers.at(when, lambda when=when: fire(when))  # type: ignore[misc]
    await done.wait()
    timers.release()
    late.sort()
    figures = {"p50": late[COUNT // 2], "p99": late[COUNT * 99 // 100], "least": late[0]}
    os.write(1, f"{json.dumps({name: value * 1e6 for name, value in figures.items()})}\n".encode())


if __name__ == "__main__":
    uvloop.run(main())
