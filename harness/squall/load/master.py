"""The storm's side of Locust: in the master, or in the one process where there is no other.

It merges what the workers report, leads the storm, and writes `fleet.json` each second and at the
end, so that whatever becomes of the run, what was measured until then is kept. The file is written
beside and moved into place: a reader sees a whole one.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import gevent
import locust
import psutil
from locust import runners
from locust.runners import STATE_MISSING, STATE_STOPPED, STATE_STOPPING, MasterRunner

from squall.errors import NetworkError, ScenarioError
from squall.load.conductor import Conductor, Fleet
from squall.load.line import Line
from squall.load.results import FLEET, FORMAT
from squall.load.storm import Storm
from squall.load.tally import Tally
from squall.load.worker import CLOCK, REPORT, REPORT_EVERY, Worker

LOOK_EVERY = 0.1
"""Seconds between two looks at what is due."""
WRITE_EVERY = 1.0
REPORTS_WITHIN = 3 * REPORT_EVERY
"""Seconds that the workers have, when the storm is over, for what is still on its way."""
MISSED_HEARTBEATS = 15
"""So many a second apart, and a worker is lost; Locust's own 3 a busy machine may miss."""

runners.HEARTBEAT_LIVENESS = MISSED_HEARTBEATS

LOGGER = logging.getLogger("squall.load")


class Master:
    """Leads the storm and keeps its books. `clock` is any that only moves forward, in seconds."""

    def __init__(
        self,
        environment: Any,
        storm: Storm,
        line: Line,
        out: Path | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.environment = environment
        self.storm = storm
        self.conductor = Conductor(storm)
        self._line = line
        self._out = out
        self._clock = clock
        self._began: float | None = None
        self._tally = Tally()
        self._workers: dict[str, dict[str, Any]] = {}
        self._expected: set[str] = set()
        self._stopping = False
        self._ended_at: float | None = None
        self._latest: tuple[float, dict[str, Any]] | None = None

    @classmethod
    def of(cls, environment: Any) -> Master:
        """The one of this environment. Raises KeyError in a worker, which has none."""
        return _MASTERS[environment]

    def start(self) -> None:
        """Listen to Locust."""
        _MASTERS[self.environment] = self
        events = self.environment.events
        events.test_start.add_listener(self._test_start)
        events.test_stopping.add_listener(self._test_stopping)
        events.test_stop.add_listener(self._test_stop)
        events.quit.add_listener(self._quit)
        if self._distributed:
            self.environment.runner.register_message(CLOCK, self._asked_for_the_time)
            events.worker_report.add_listener(self._hear)
        gevent.signal_handler(signal.SIGINT, _interrupt)
        gevent.spawn(self._write_for_ever)

    @property
    def now(self) -> float:
        """Seconds since the test began, at most until it was over."""
        if self._began is None:
            return 0.0
        return (self._ended_at or self._clock()) - self._began

    @property
    def _running(self) -> bool:
        return self._began is not None and self._ended_at is None

    @property
    def load(self) -> tuple[int, float] | None:
        """How many users there are to be and how fast they come or go; None when it is over."""
        return None if self.conductor.over else self.conductor.load(self.now)

    def rewind(self) -> None:
        """Begin anew, as large and as fast as Locust's options now say; not in mid-storm."""
        if self._running:
            return
        options = self.environment.parsed_options
        try:
            storm = self.storm.scaled(options.num_users or self.storm.users)
            self.storm = replace(storm, spawn_rate=options.spawn_rate or storm.spawn_rate)
        except ScenarioError as error:
            LOGGER.error("%s; the storm stays as it was", error)
        self.conductor = Conductor(self.storm)

    def as_json(self) -> dict[str, Any]:
        """What fleet.json holds; at most `LOOK_EVERY` seconds old."""
        now = self._clock()
        if self._latest is None or now - self._latest[0] > LOOK_EVERY:
            self._gather()
            self._latest = now, self._told()
        return self._latest[1]

    # -- the books ---------------------------------------------------------------------------

    @property
    def _distributed(self) -> bool:
        return isinstance(self.environment.runner, MasterRunner)

    def _hear(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if REPORT in data:
            self._enter(client_id, data[REPORT])

    def _enter(self, worker: str, report: dict[str, Any]) -> None:
        self._tally.merge(Tally.from_json(report.pop("tally")))
        # Users that are taken down because the storm is over were there at its end.
        if not (self._stopping and worker in self._workers):
            self._workers[worker] = report

    def _gather(self) -> None:
        if not self._distributed:
            self._enter("local", Worker.of(self.environment).take())

    def _told(self) -> dict[str, Any]:
        conductor = self.conductor
        began = conductor.began
        # Until the fleet was whole nobody knows when the storm will begin: so far, now.
        shift = self.now if began is None else began
        return {
            "format": FORMAT,
            "storm": self.storm.as_dict(),
            "users": conductor.load(self.now)[0],
            "at": round(self.now - shift, 3),
            "began": began is not None,
            "workers": self._workers | self._states(),
            "tally": self._tally.moved(-shift).as_json(),
            "phases": [phase.as_json() for phase in conductor.phases],
            "ended": self._ended_at is not None,
            "why": conductor.why,
            "locust": {"version": locust.__version__},
        }

    def _states(self) -> dict[str, dict[str, Any]]:
        """Each worker's report with its state, as Locust sees it."""
        clients = self.environment.runner.clients if self._distributed else {}
        return {
            id: report | {"state": clients[id].state if id in clients else "gone"}
            for id, report in self._workers.items()
            if self._distributed
        }

    def _write_for_ever(self) -> None:
        while True:
            gevent.sleep(WRITE_EVERY)
            if self._running:
                self._write()

    def _write(self) -> None:
        if self._out is None:
            return
        self._out.mkdir(parents=True, exist_ok=True)
        beside = self._out / f".{FLEET}.{os.getpid()}"
        beside.write_text(json.dumps(self.as_json()), encoding="utf-8")
        beside.replace(self._out / FLEET)

    # -- the storm ---------------------------------------------------------------------------

    def _test_start(self, **_: Any) -> None:
        """A test begins: perhaps not the first one, where Locust is led from its web page."""
        self.rewind()
        self._tally, self._workers = Tally(), {}
        self._ended_at, self._latest, self._stopping = None, None, False
        self._began = self._clock()
        if self._distributed:
            self._expected = set(self.environment.runner.clients)
        gevent.spawn(self._lead, self.conductor)

    def _lead(self, conductor: Conductor) -> None:
        while not conductor.over and conductor is self.conductor:
            self._gather()
            for step in conductor.look(self.now, self._fleet()):
                at = conductor.at(self.now)
                assert at is not None
                try:
                    self._line.strike(step, step.at - at)
                except NetworkError as error:
                    conductor.end(f"{step.do} at {step.at:g} s could not be ordered: {error}")
            gevent.sleep(LOOK_EVERY)
        if conductor is self.conductor:
            self._await_reports(self.now)
            self._end()

    def _fleet(self) -> Fleet:
        lost: list[str] = []
        if self._distributed:
            clients = self.environment.runner.clients
            lost = [
                self._name(id)
                for id in sorted(self._expected)
                if _is_lost(clients.get(id), id, self._pid(id))
            ]
        return Fleet(self.environment.runner.user_count, self._tally.whole(), lost)

    def _name(self, worker: str) -> str:
        host, pid = worker.rpartition("_")[0], self._pid(worker)
        return host if pid is None else f"{host} (pid {pid})"

    def _pid(self, worker: str) -> int | None:
        return self._workers.get(worker, {}).get("pid")

    def _await_reports(self, until: float) -> None:
        """Wait for what the workers' users lived through until then; in vain for one that died."""
        deadline = until + REPORTS_WITHIN
        while self.now < deadline and any(each["at"] < until for each in self._workers.values()):
            self._gather()
            gevent.sleep(LOOK_EVERY)

    def _end(self) -> None:
        """End the test, as Locust does when a shape is over."""
        if self.conductor.why:
            LOGGER.error("%s", self.conductor.why)
        runner = self.environment.runner
        if runner.state in (STATE_STOPPING, STATE_STOPPED):
            return
        if self.environment.parsed_options.headless:
            runner.quit()
        else:
            runner.stop()

    def _test_stopping(self, **_: Any) -> None:
        self._gather()
        self._stopping = True

    def _test_stop(self, **_: Any) -> None:
        """The test is over, by plan or because somebody stopped it."""
        if not self._running:
            return
        self.conductor.end("it was stopped before its time")
        self._ended_at, self._latest = self._clock(), None
        self._write()
        try:
            self._line.heal()
        except NetworkError as error:
            LOGGER.warning("what was in force may still be so: %s", error)

    def _quit(self, **_: Any) -> None:
        """Locust is about to exit; told to end, it may come here while it still stops the users."""
        self._test_stop()
        if self._began is not None:
            self._latest = None
            self._write()

    # -- the clock ---------------------------------------------------------------------------

    def _asked_for_the_time(self, environment: Any, msg: Any, **_: Any) -> None:
        told = {"asked": msg.data["asked"], "now": self._clock(), "began": self._began}
        environment.runner.send_message(CLOCK, told, client_id=msg.node_id)


def _interrupt() -> None:
    """Ctrl-C. gevent hands it to the main greenlet.

    Python raises it wherever it is, and there are callbacks from which it does not come out.
    """
    raise KeyboardInterrupt


def _is_lost(client: Any, worker: str, pid: int | None) -> bool:
    """Whether Locust has given it up, or, on this machine, the process is no more."""
    if client is None or client.state == STATE_MISSING:
        return True
    if pid is None or worker.rpartition("_")[0] != socket.gethostname():
        return False
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


_MASTERS: WeakKeyDictionary[Any, Master] = WeakKeyDictionary()
