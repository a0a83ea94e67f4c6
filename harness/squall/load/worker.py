"""Locust's processes that have users: they run the engines, and tell the master.

When a test begins a worker asks the master for the time, and each second after that. With the
first answer, which names the instant at which the test began, it has the test's clock. What its
users live through is drained from the engines each tenth of a second, fired as Locust's statistics,
and rides to the master with Locust's own reports. Where Locust runs in one process there is nobody
to ask.

Ordinary messages are counted and not fired one by one (an event costs 2 µs): they have a row of
their own in the statistics, with a rate and no response time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal
from weakref import WeakKeyDictionary

import gevent
import locust
import psutil
from gevent.event import Event
from locust import runners
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from squall.load.clocks import Offset
from squall.load.engine import AsyncioEngine, Engine, GreenletEngine
from squall.load.life import Sample
from squall.load.tally import Tally

EngineName = Literal["asyncio", "gevent"]

CLOCK = "squall_clock"
"""The message that asks for the time, and the one that tells it."""

REPORT = "squall"
"""Under this key of Locust's reports stands what the users lived through."""

REPORT_EVERY = 1.0
"""Seconds between two reports to the master; Locust's own 3 are slow for a storm."""

ASK_EVERY = 1.0
DRAIN_EVERY = 0.1
READY_WITHIN = 10.0
FIRES_AT_A_TIME = 500
"""So many events are fired before other greenlets have their turn, heartbeats among them."""

runners.WORKER_REPORT_INTERVAL = REPORT_EVERY


class AdapterFailure(Exception):
    """An adapter failed by itself: how Locust hears of it."""


class Worker:
    """The users' side of a Locust process. `clock` is any that only moves forward, in seconds."""

    def __init__(self, environment: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.environment = environment
        self._clock = clock
        self._offset = Offset()
        self._began: float | None = None
        self._ready = Event()
        self._asking: gevent.Greenlet | None = None
        self._engines: dict[str, Engine] = {}
        self._pending = Tally()
        self._process = psutil.Process()

    @classmethod
    def of(cls, environment: Any) -> Worker:
        """The one of this environment. Raises KeyError in a master, which has none."""
        return _WORKERS[environment]

    def start(self) -> None:
        """Listen to Locust."""
        events = self.environment.events
        events.test_start.add_listener(self._test_start)
        events.test_stopping.add_listener(self._test_stopping)
        events.test_stop.add_listener(self._test_stop)
        events.quit.add_listener(self._quit)
        runner = self.environment.runner
        if isinstance(runner, WorkerRunner):
            runner.register_message(CLOCK, self._told_the_time)
            events.report_to_master.add_listener(self._report)
        gevent.spawn(self._drain_for_ever)

    def engine(self, name: EngineName) -> Engine:
        """The engine of this name, which is started where it was not yet.

        Users come after Locust's fork, so a thread can be started now. Raises TimeoutError where
        the master does not tell the time.
        """
        if not self._ready.wait(READY_WITHIN):
            raise TimeoutError(f"the master has not told the time within {READY_WITHIN:g} s")
        if name not in self._engines:
            made = AsyncioEngine if name == "asyncio" else GreenletEngine
            self._engines[name] = made(self.now)
            self._engines[name].start()
        return self._engines[name]

    def now(self) -> float:
        """Seconds since the test began, by the master's clock."""
        return self._clock() + self._offset.seconds - (self._began or 0.0)

    def take(self) -> dict[str, Any]:
        """What is new since the last time, for the master."""
        self._drain()
        return {
            "at": round(self.now(), 3),
            "tally": self._pending.take().as_json(),
            "users": sum(engine.live for engine in self._engines.values()),
            "pid": os.getpid(),
            "rss_bytes": self._process.memory_info().rss,
            "threads": self._process.num_threads(),
        }

    # What Locust tells.

    def _test_start(self, **_: Any) -> None:
        self._drain()
        self._pending.take()
        for engine in self._engines.values():
            engine.reopen()
        runner = self.environment.runner
        if isinstance(runner, LocalRunner):
            self._began = self._clock()
            self._ready.set()
            return
        self._ready.clear()
        if self._asking is not None:
            self._asking.kill(block=False)
        self._asking = gevent.spawn(self._ask_for_ever, runner)

    def _test_stopping(self, **_: Any) -> None:
        for engine in self._engines.values():
            engine.close()

    def _test_stop(self, **_: Any) -> None:
        for engine in self._engines.values():
            engine.stop()
        self._drain()

    def _quit(self, **_: Any) -> None:
        for engine in self._engines.values():
            engine.end()

    def _report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        data[REPORT] = self.take()

    # The master's clock.

    def _ask_for_ever(self, runner: Any) -> None:
        while True:
            runner.send_message(CLOCK, {"asked": self._clock()})
            gevent.sleep(ASK_EVERY)

    def _told_the_time(self, environment: Any, msg: Any, **_: Any) -> None:
        self._offset.answered(msg.data["asked"], msg.data["now"], self._clock())
        self._began = msg.data["began"]
        self._ready.set()

    # Locust's statistics.

    def _drain_for_ever(self) -> None:
        while True:
            gevent.sleep(DRAIN_EVERY)
            self._drain()

    def _drain(self) -> None:
        for engine in self._engines.values():
            for tally, samples in engine.drain():
                self._count(tally)
                self._pending.merge(tally)
                self._fire(samples)

    def _count(self, tally: Tally) -> None:
        """Add messages as requests without a response time, all at once."""
        messages = sum(tally.messages.values())
        if not messages:
            return
        entry = self.environment.stats.get("message", "WS")
        entry.log(None, sum(tally.bytes.values()))
        # What `log` has done for one request is done for the others.
        others = messages - 1
        entry.num_requests += others
        entry.num_none_requests += others
        entry.num_reqs_per_sec[int(entry.last_request_timestamp)] += others

    def _fire(self, samples: Iterable[Sample]) -> None:
        fire = self.environment.events.request.fire
        for count, (name, seconds, why) in enumerate(samples, 1):
            fire(
                request_type="WS",
                name=name,
                response_time=None if seconds is None else seconds * 1000,
                response_length=0,
                exception=None if why is None else AdapterFailure(why),
                context={},
            )
            if count % FIRES_AT_A_TIME == 0:
                gevent.sleep(0)


_WORKERS: WeakKeyDictionary[Any, Worker] = WeakKeyDictionary()


@locust.events.init.add_listener
def _begin(environment: Any, runner: Any, **_: Any) -> None:
    if not isinstance(runner, MasterRunner):
        _WORKERS[environment] = Worker(environment)
        _WORKERS[environment].start()
