"""The two clocks, and the event loop whose time jumps: a minute of backoff costs microseconds.

Sockets are real, only waiting is not: whenever no socket is ready and the loop would sleep until
its next timer, the clock is put forward to that timer. Data on the loopback device has arrived
before the call that sent it returns, as a rule; on a busy machine the kernel may hand that work
to a thread of its own, so a jump is preceded by a few more looks.

PyPI's `looptime` does the same. It is not used because the pytest plugin that comes with it ends
every test run in which pytest-asyncio is not installed too (seen with 0.9), and Squall must not
bring that to the machines of its users.

An adapter may also ask the process for the time: `following` leads those calls to the same clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import time_machine

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

LOOKS_BEFORE_A_JUMP = 16
RESOLUTION = 1e-6


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A selector loop whose `time()` starts at 0 and moves only when there is nothing to do.

    Nothing on it may wait for another thread or process: with no timer left it waits for its
    sockets in real time, but as long as there is one it will not wait for anybody.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._wall: Callable[[float], None] = lambda now: None
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Put the clock forward."""
        # Without a least step, a timer nearer than float arithmetic can tell would never come.
        self._now += max(seconds, RESOLUTION)
        self._wall(self._now)

    @contextlib.contextmanager
    def following(self, epoch: float) -> Iterator[None]:
        """Let the wall clock follow this loop: `epoch`, in seconds since 1970, is its time now.

        `time-machine` leads every way to ask Python for the wall clock, however it was imported:
        `time.time`, `datetime.now`, `date.today`, `time.localtime` and the like. `time.monotonic`
        follows where it is called by that name; who imported the function itself, and code that
        asks the C library, sees real time. It holds for the whole process, and ends with the
        context.
        """
        origin = self._now
        monotonic = time.monotonic, time.monotonic_ns
        with time_machine.travel(epoch, tick=False) as traveller:
            self._wall = lambda now: traveller.move_to(epoch + now - origin)
            time.monotonic = self.time
            time.monotonic_ns = lambda: round(self.time() * 1e9)
            try:
                yield
            finally:
                self._wall = lambda now: None
                time.monotonic, time.monotonic_ns = monotonic


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


def loop_factory(clock: str) -> LoopFactory:
    """The event loop for a clock; uvloop for the real one, where it is installed."""
    if clock == "virtual":
        return VirtualClockLoop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
