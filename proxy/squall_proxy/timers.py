"""The clock and the timers of a loop: the one place that knows how exact they are.

A loop's own timers are up to 1.3 ms early or a millisecond late, because epoll counts whole
milliseconds (https://github.com/MagicStack/uvloop/issues/739). On the real clock of Linux a
timerfd, which counts nanoseconds, rings instead: one for each loop, before one heap of timers.
Elsewhere, and where the clock is virtual, the loop's own timers ring.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import math
import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import ClassVar, Protocol


class Timer:
    """One call to come; `cancel` takes it back."""

    __slots__ = ("_callback", "_timers", "when")

    def __init__(self, timers: Timers, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self._timers = timers
        self._callback: Callable[[], None] | None = callback

    @property
    def over(self) -> bool:
        """It was cancelled, or its call has been made."""
        return self._callback is None

    def fire(self) -> None:
        """Make the call, unless it was cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        """Do not make the call."""
        if self._callback is not None:
            self._callback = None
            self._timers.tidy(self)


class _Alarm(Protocol):
    """Rings once, at about a time; a later `set` replaces an earlier one."""

    # A ring for nobody costs less than to put it off.
    cheap: bool

    def set(self, when: float | None) -> None: ...
    def close(self) -> None: ...


class Timers:
    """Calls functions at a time of the loop's clock, late perhaps, but never early."""

    _of_loops: ClassVar[weakref.WeakValueDictionary[int, Timers]] = weakref.WeakValueDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        uvloop = type(loop).__module__.partition(".")[0] == "uvloop"
        # uvloop's time() is this same clock cut to whole milliseconds: what is stamped with it
        # could be up to 1 ms early.
        self.now: Callable[[], float] = time.monotonic if uvloop else loop.time
        real = uvloop or getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._made = 0
        self._cancelled = 0
        self._users = 0
        self._ringing = False
        precise = real and sys.platform == "linux"
        self._alarm: _Alarm = (_Timerfd if precise else _LoopAlarm)(loop, self._ring)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Timers:
        """The timers of this loop. Who is done with them calls `release`."""
        timers = cls._of_loops.get(id(loop))
        if timers is None:
            timers = cls._of_loops[id(loop)] = cls(loop)
        timers._users += 1
        return timers

    def release(self) -> None:
        """The last one who does so gives the alarm back; timers that are left never fire."""
        self._users -= 1
        if not self._users:
            self._of_loops.pop(id(self._loop), None)
            self._alarm.close()

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once `when` has come."""
        timer = Timer(self, when, callback)
        self._made += 1
        heapq.heappush(self._heap, (when, self._made, timer))
        if self._heap[0][2] is timer and not self._ringing:
            self._alarm.set(when)
        return timer

    def after(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` in so many seconds, counted from now."""
        return self.at(self.now() + seconds, callback)

    def tidy(self, cancelled: Timer) -> None:
        """Forget timers that were cancelled, once it is worth it."""
        self._cancelled += 1
        heap = self._heap
        if self._cancelled * 2 > len(heap) > 64:
            heap[:] = [entry for entry in heap if not entry[2].over]
            heapq.heapify(heap)
            self._cancelled = 0
        if not self._alarm.cheap and not self._ringing and heap and heap[0][2] is cancelled:
            self._set_alarm()

    def _set_alarm(self) -> None:
        heap = self._heap
        while heap and heap[0][2].over:
            heapq.heappop(heap)
            self._cancelled = max(0, self._cancelled - 1)
        self._alarm.set(heap[0][0] if heap else None)

    def _ring(self) -> None:
        heap, youngest = self._heap, self._made
        self._ringing = True
        # Those that come due meanwhile too, which saves a turn of the loop; but none that is made
        # meanwhile, or one that makes the next would keep the loop from its sockets.
        while heap and heap[0][0] <= self.now() and heap[0][1] <= youngest:
            try:
                heapq.heappop(heap)[2].fire()
            except Exception as error:
                self._loop.call_exception_handler(
                    {"message": "a timer's callback failed", "exception": error}
                )
        self._ringing = False
        self._set_alarm()


class _LoopAlarm:
    """One timer of the loop."""

    # A virtual clock would jump to it.
    cheap = False

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None

    def set(self, when: float | None) -> None:
        """Ring then."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = None if when is None else self._loop.call_at(when, self._ring)

    def close(self) -> None:
        """Do not ring."""
        self.set(None)


class _Timerfd:
    """One timerfd (timerfd_create(2)) that the loop polls."""

    cheap = True

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        fd = _timerfd_create()
        self._fd = fd
        self._give_back = weakref.finalize(self, os.close, fd)
        loop.add_reader(fd, ring)

    def set(self, when: float | None) -> None:
        """Ring then; this also takes back a ring that was not read yet."""
        if not self._give_back.alive:
            return
        # Zero would disarm it.
        _timerfd_settime(self._fd, 0 if when is None else max(1, math.ceil(when * 1e9)))

    def close(self) -> None:
        """Do not ring, and close the file."""
        if self._give_back.alive:
            self._loop.remove_reader(self._fd)
            self._give_back()


if sys.platform == "linux" and sys.version_info >= (3, 13):

    def _timerfd_create() -> int:
        return os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _timerfd_settime(fd: int, nanoseconds: int) -> None:
        os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=nanoseconds)

elif sys.platform == "linux":
    _libc = ctypes.CDLL(None, use_errno=True)
    _TFD_TIMER_ABSTIME = 1
    _Itimerspec = ctypes.c_long * 4  # interval and value, each in seconds and nanoseconds
    _spec = _Itimerspec()

    def _timerfd_create() -> int:
        fd: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        return fd

    def _timerfd_settime(fd: int, nanoseconds: int) -> None:
        _spec[2], _spec[3] = divmod(nanoseconds, 1_000_000_000)
        if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, _spec, None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")
