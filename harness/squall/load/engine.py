"""Where the adapters of one Locust process run: on an event loop beside gevent, or under gevent.

    gevent, Locust's thread                          a native thread, uvloop
    user's greenlet ── call_soon_threadsafe ──▶ adapter's task ──▶ Life ──▶ Recorder
    Engine.drain()  ◀──── deque ◀──── each 0.1 s ────────────────────────────┘

Locust has patched `threading` and `select`, so the thread is started by the function that gevent
has put aside, and the loop is uvloop, which needs neither: it has selector and resolver of libuv.
The two sides share nothing but the deque. A gevent engine has the same face and no thread.

An engine is started in a worker, once Locust has forked: a thread does not survive a fork.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gevent
import uvloop
from gevent import monkey

from squall.load.adapters import AsyncAdapter, BlockingAdapter, Failed
from squall.load.life import Life, Recorder, Sample
from squall.load.tally import Tally

FLUSH_EVERY = 0.1
"""Seconds between two hand-overs of what was recorded."""

STOP_TIMEOUT = 2.0
"""Seconds that adapters have to take their leave."""

Clock = Callable[[], float]
Taken = tuple[Tally, list[Sample]]


class Engine(ABC):
    """Runs adapters. All methods are for gevent's side; users are known by a number."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.recorder = Recorder(clock)
        self._numbers = itertools.count(1)
        self._taken: deque[Taken] = deque()

    @abstractmethod
    def start(self) -> None:
        """Begin; not before Locust has forked."""

    @abstractmethod
    def enter(self, adapter: Any) -> int:
        """A user enters with its adapter; its number."""

    @abstractmethod
    def leave(self, user: int) -> None:
        """The user ends, soon. Unknown numbers are no error: it may have ended by itself."""

    @abstractmethod
    def close(self) -> None:
        """From now on nothing counts: what follows is how the users are taken down."""

    @abstractmethod
    def reopen(self) -> None:
        """From now on what happens counts again."""

    @property
    @abstractmethod
    def live(self) -> int:
        """How many users have not yet ended."""

    @abstractmethod
    def end(self) -> None:
        """Be no more: Locust is about to exit, which a running thread could upset."""

    def drain(self) -> Iterator[Taken]:
        """What was recorded since the last time."""
        while self._taken:
            yield self._taken.popleft()

    def stop(self) -> None:
        """Wait until all users that were told to leave have left, at most `STOP_TIMEOUT`."""
        with gevent.Timeout(STOP_TIMEOUT, False):
            while self.live:
                gevent.sleep(FLUSH_EVERY)

    def _flush(self) -> None:
        self._taken.append(self.recorder.take())

    def _close(self) -> None:
        self._flush()
        self.recorder.closed = True

    def _reopen(self) -> None:
        self.recorder.closed = False


class AsyncioEngine(Engine):
    """Adapters are tasks on a loop in a native thread."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._loop = uvloop.new_event_loop()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._failed: dict[int, Life] = {}
        self._begun = False

    def start(self) -> None:
        """Begin; not before Locust has forked."""
        if not self._begun:
            self._begun = True
            monkey.get_original("_thread", "start_new_thread")(self._run, ())

    def enter(self, adapter: AsyncAdapter) -> int:
        """A user enters with its adapter; its number."""
        user = next(self._numbers)
        self._loop.call_soon_threadsafe(self._begin, user, adapter)
        return user

    def leave(self, user: int) -> None:
        """The user ends, soon."""
        self._loop.call_soon_threadsafe(self._end, user)

    def close(self) -> None:
        """From now on nothing counts, but what was counted before is handed over."""
        self._loop.call_soon_threadsafe(self._close)

    def reopen(self) -> None:
        """From now on what happens counts again."""
        self._loop.call_soon_threadsafe(self._reopen)

    def end(self) -> None:
        """Be no more: Locust is about to exit, which a running thread could upset."""
        if not self._begun:
            self._loop.close()
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        with gevent.Timeout(STOP_TIMEOUT, False):
            while not self._loop.is_closed():
                gevent.sleep(FLUSH_EVERY)

    @property
    def live(self) -> int:
        """How many users have not yet ended."""
        return len(self._tasks)

    # In the native thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._flush_again()
        try:
            self._loop.run_forever()
            for task in self._tasks.values():
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._loop.close()

    def _flush_again(self) -> None:
        self._flush()
        self._loop.call_later(FLUSH_EVERY, self._flush_again)

    def _begin(self, user: int, adapter: AsyncAdapter) -> None:
        life = Life(self.recorder)
        task = self._loop.create_task(adapter.run(life))
        self._tasks[user] = task
        task.add_done_callback(partial(self._ended, user, life))

    def _end(self, user: int) -> None:
        if user in self._tasks:
            self._tasks[user].cancel()
        elif user in self._failed:
            self._failed.pop(user).ended()

    def _ended(self, user: int, life: Life, task: asyncio.Task[None]) -> None:
        del self._tasks[user]
        if task.cancelled():
            life.ended()
        else:
            self._failed[user] = life
            fail(life, task.exception())


class GreenletEngine(Engine):
    """Adapters that block, each in a greenlet."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._adapters: dict[int, BlockingAdapter] = {}
        self._leaving: set[int] = set()
        self._failed: dict[int, Life] = {}
        self._flusher: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin; not before Locust has forked."""
        if self._flusher is None:
            self._flusher = gevent.spawn(self._flush_for_ever)

    def enter(self, adapter: BlockingAdapter) -> int:
        """A user enters with its adapter; its number."""
        user = next(self._numbers)
        self._adapters[user] = adapter
        gevent.spawn(self._live_on, user, adapter)
        return user

    def leave(self, user: int) -> None:
        """The user ends, soon."""
        if user in self._adapters:
            self._leaving.add(user)
            self._adapters[user].stop()
        elif user in self._failed:
            self._failed.pop(user).ended()

    def close(self) -> None:
        """From now on nothing counts, but what was counted before is handed over."""
        self._close()

    def reopen(self) -> None:
        """From now on what happens counts again."""
        self._reopen()

    def end(self) -> None:
        """Be no more."""
        if self._flusher is not None:
            self._flusher.kill()

    @property
    def live(self) -> int:
        """How many users have not yet ended."""
        return len(self._adapters)

    def _live_on(self, user: int, adapter: BlockingAdapter) -> None:
        life = Life(self.recorder)
        error: Exception | None
        try:
            adapter.run(life)
            error = None
        except Exception as crash:
            error = crash
        del self._adapters[user]
        if error is None and user in self._leaving:
            life.ended()
        else:
            self._failed[user] = life
            fail(life, error)
        self._leaving.discard(user)

    def _flush_for_ever(self) -> None:
        while True:
            gevent.sleep(FLUSH_EVERY)
            self._flush()


def fail(life: Life, error: BaseException | None) -> None:
    """The adapter's `run` is over, though nobody has asked for it. Its line is gone with it."""
    life.lost()
    match error:
        case None:
            life.failed("the adapter ended by itself")
        case Failed():
            life.failed(str(error))
        case _:
            life.failed(f"the adapter crashed: {type(error).__name__}: {error}")
