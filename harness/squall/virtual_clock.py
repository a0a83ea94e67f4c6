"""An event loop whose time jumps: a minute of backoff costs microseconds.

Sockets are real, only waiting is not: whenever no socket is ready and the loop would sleep until
its next timer, the clock is put forward to that timer. Data on the loopback device has arrived
before the call that sent it returns, as a rule; on a busy machine the kernel may hand that work
to a thread of its own, so a jump is preceded by a few more looks.

PyPI's `looptime` does the same. It is not used because the pytest plugin that comes with it ends
every test run in which pytest-asyncio is not installed too (seen with 0.9), and Squall must not
bring that to the machines of its users.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import Mapping
from typing import Any

LOOKS_BEFORE_A_JUMP = 16
RESOLUTION = 1e-6


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A selector loop whose `time()` starts at 0 and moves only when there is nothing to do.

    Nothing on it may wait for another thread or process: with no timer left it waits for its
    sockets in real time, but as long as there is one it will not wait for anybody.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Put the clock forward."""
        # Without a least step, a timer nearer than float arithmetic can tell would never come.
        self._now += max(seconds, RESOLUTION)


class _JumpingSelector(selectors.BaseSelector):
    def __init__(self, loop: VirtualClockLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._real.select(timeout)
        for _ in range(LOOKS_BEFORE_A_JUMP):
            ready = self._real.select(0)
            if ready:
                return ready
            os.sched_yield()
        self._loop.jump(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
