"""The clock and the timers of a loop: the one place that knows how exact they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Timers:
    """Calls functions at a time of the loop's clock, late perhaps, but never early."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # uvloop's time() is this same clock cut to whole milliseconds: what is stamped with it
        # could be up to 1 ms early (https://github.com/MagicStack/uvloop/issues/739).
        uvloop = type(loop).__module__.partition(".")[0] == "uvloop"
        self.now: Callable[[], float] = time.monotonic if uvloop else loop.time

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once `when` has come."""
        return Timer(self, when, callback)

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in so many seconds, counted from now."""
        return Timer(self, self.now() + seconds, callback)

    def start(self, timer: Timer) -> asyncio.TimerHandle:
        """Have the loop call `timer.fire` at about the right time."""
        return self._loop.call_at(timer.when, timer.fire)


class Timer:
    """One call to come; `cancel` takes it back."""

    __slots__ = ("_callback", "_handle", "_timers", "when")

    def __init__(self, timers: Timers, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self._timers = timers
        self._callback = callback
        self._handle = timers.start(self)

    def fire(self) -> None:
        """Make the call if its time has come; uvloop is up to 1.3 ms ahead of it."""
        if self._timers.now() < self.when:
            self._handle = self._timers.start(self)
        else:
            self._callback()

    def cancel(self) -> None:
        """Do not make the call."""
        self._handle.cancel()
