"""One run: a scenario meets an adapter, and a history comes of it.

     1  start the exchange and the proxy
     2  start the adapter
     3  wait until it is steady: every wanted channel served once, data flowing
     4  carry out the steps
     5  remove every fault
     6  let it settle: wait until it is steady again
     7  watch for a while without touching anything
     8  stop the adapter, first politely
     9  wait for its connections to close; what stays open has leaked
    10  judge the history

Nothing is judged while it happens. The only decisions taken here are about time: when to strike,
when to go on, and when to give up waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

from squall import __version__, witness
from squall.checks import Check, Judged, judge
from squall.driver import (
    Driver,
    Ear,
    InProcessDriver,
    SubprocessDriver,
    load_object,
)
from squall.errors import AdapterError, SquallError
from squall.exchange import dialect as dialect_named
from squall.history import Event, History
from squall.manifest import Manifest
from squall.profile import Profile
from squall.scenario import (
    Condition,
    Heal,
    PauseAdapter,
    Request,
    Sample,
    Scenario,
    Seen,
    Step,
    StopAdapter,
    Subscribe,
    Unsubscribe,
    Wait,
)
from squall.service import CUTS, Service
from squall.testbed import Testbed
from squall.verdict import Outcome, worst

STEADY_WITHIN = 30.0
"""Seconds that an adapter has for its first steady state. Interpreters start slowly on a busy
machine, and a fault that strikes before the adapter has connected tests nothing."""

FIRES_WITHIN = 10.0
CLOSES_WITHIN = 5.0
LATE_DIAL_WATCH = 0.3

STORM_DIALS = 500
STORM_WINDOW = 10.0
"""So many dials in so many seconds end the run: the verdict is clear, the machine is shared."""

LAG_INTERVAL = 0.1
LAG_NOTED = 0.5


@dataclass(frozen=True)
class Setup:
    """What a run needs to know beside its scenario and its adapter."""

    profile: Profile
    seed: int = 0
    clock: str = "real"
    folder: Path | None = None


@dataclass(frozen=True)
class Result:
    """What came of one run."""

    scenario: Scenario
    seed: int
    outcome: Outcome
    judged: tuple[Judged, ...]
    history: History
    seconds: float
    error: str | None = None
    log: str = ""
    folder: Path | None = None

    @property
    def why(self) -> str:
        """One sentence for a table: the error, or the worst verdict's."""
        if self.error:
            return self.error
        deciding = (j.verdict.why for j in self.judged if j.verdict.outcome is self.outcome)
        return next(deciding, "")


class _Over(Exception):
    """The run cannot usefully go on; what was seen so far is judged."""


@dataclass
class Run:
    """A run in the making. `execute` is called once."""

    scenario: Scenario
    manifest: Manifest
    setup: Setup
    history: History = field(init=False)

    async def execute(self) -> Result:
        """Run the scenario and judge it.

        What the user can mend (an adapter that cannot be started, a port that cannot be had) is
        in the result's `error`. A run that is cancelled stops the adapter before it lets go.
        """
        loop = asyncio.get_running_loop()
        self.history = History(loop.time)
        self._prepare()
        error: str | None = None
        with self._log_file() as log:
            self._log = log
            lag = asyncio.create_task(self._watch_for_lag())
            forget = self.history.listen(self._note)
            try:
                self._announce()
                missing = self._missing(self._offered())
                if missing:
                    return self._unsupported(missing)
                await self._testbed.start()
                await self._live()
            except SquallError as mendable:
                error = str(mendable)
            except asyncio.CancelledError:
                self._say("interrupted")
                raise
            finally:
                await self._end()
                forget()
                lag.cancel()
                self._say("run_ended")
                self._save()
        missing = self._missing(self._offered())
        if missing and self._service_was_steady and not error:
            return self._unsupported(missing)
        judged = tuple(judge(self.history, self._checks))
        outcome = Outcome.UNKNOWN if error else worst(j.verdict.outcome for j in judged)
        return self._result(outcome, judged, error)

    # -- before ------------------------------------------------------------------------------

    def _prepare(self) -> None:
        scenario, manifest = self.scenario, self.manifest
        self._rng = Random(f"{self.setup.seed}:{scenario.name}")
        dialect = dialect_named(scenario.dialect or manifest.dialect)
        self._testbed = Testbed(dialect, scenario.exchange, self.history, self._rng)
        self._service = Service()
        self._service_was_steady = False
        self._drivers: list[Driver] = []
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._triggers: list[Callable[[Event], None]] = []
        self._dials: deque[float] = deque()
        self._open: set[int] = set()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._commands = 0
        self._checks: Sequence[Check] = self.setup.profile.checks(scenario.expect)
        self._wanted = self._first_channels()

    def _first_channels(self) -> list[str]:
        if self.manifest.channels:
            return list(self.manifest.channels)
        wanted = self.scenario.wanted(self._testbed.dialect)
        if "private" in self.manifest.supports:
            return wanted
        return [name for name in wanted if not self._testbed.dialect.is_private(name)]

    def _announce(self) -> None:
        manifest = self.manifest
        self._say(
            "run_started",
            scenario=self.scenario.as_dict(),
            seed=self.setup.seed,
            squall=__version__,
            profile=self.setup.profile.name,
            clock=self.setup.clock,
            adapter={
                "name": manifest.name,
                "supports": sorted(self._offered()),
                "in_process": self._in_process,
                "connections": manifest.connections,
                "settings": self._settings(),
            },
            expect={check.name: check.as_dict() for check in self._checks},
        )
        self._want(self._wanted)

    def _settings(self) -> dict[str, Any]:
        # The scenario shortens time-outs so that a run is quick; what the manifest says is the
        # adapter author's own choice and wins.
        return {**self.scenario.adapter.settings, **self.manifest.settings}

    @property
    def _in_process(self) -> bool:
        return self.manifest.object is not None and (
            self.setup.clock == "virtual" or self.manifest.command is None
        )

    def _offered(self) -> set[str]:
        offered: set[str] = set(self.manifest.supports)
        for ready in self.history.of("ready"):
            offered |= {"events", *ready["commands"]}
        if not self._in_process and witness.available():
            offered.add("process")
        return offered

    def _missing(self, offered: set[str]) -> list[str]:
        # What an adapter can do at levels 1 and 2 it says itself, when it is ready.
        told_later = set() if self.history.of("steady") else {"events", "subscribe", "unsubscribe"}
        if not told_later or self.manifest.declared:
            told_later = set()
        else:
            told_later |= {"request", "health"}
        return sorted(set(self.scenario.needs) - offered - told_later)

    # -- the run -----------------------------------------------------------------------------

    async def _live(self) -> None:
        play = asyncio.create_task(self._play())
        try:
            await asyncio.wait([play, self._over], return_when=asyncio.FIRST_COMPLETED)
            if play.done():
                return play.result()
            self._say("aborted", why=self._over.result())
        finally:
            play.cancel()
            await asyncio.gather(play, return_exceptions=True)
        self._testbed.heal()
        self._say("healed")
        return None

    async def _play(self) -> None:
        await self._start_adapters()
        if not await self._until(lambda: self._service.steady, STEADY_WITHIN):
            return
        self._service_was_steady = True
        if self._missing(self._offered()):
            return
        self._say("steady", after=round(self.history.now, 6))
        self._steady_at = self.history.now
        await self._sample("steady")
        for index, step in enumerate(self.scenario.steps):
            await self._carry_out(index, step)
        self._testbed.heal()
        self._say("healed")
        await self._settle()

    async def _start_adapters(self) -> None:
        for number in range(self.scenario.adapter.count):
            driver = self._driver()
            self._drivers.append(driver)
            await driver.start(self._environment(number))

    def _driver(self) -> Driver:
        observe = self.history.observer("adapter")
        ear = Ear(observe, self._testbed.exchange.secrets, self._log)
        manifest = self.manifest
        if self._in_process:
            assert manifest.object is not None
            adapter = load_object(manifest.object, manifest.folder)
            return InProcessDriver(adapter, manifest.object, ear, observe, manifest.grace)
        assert manifest.command is not None
        return SubprocessDriver(manifest.command, manifest.folder, ear, observe, manifest.grace)

    def _environment(self, number: int) -> dict[str, str]:
        dialect = self._testbed.dialect
        private = any(dialect.is_private(channel) for channel in self._wanted)
        environment = self._testbed.environment(
            self._wanted,
            private=private or "private" in self.scenario.needs,
            extra={
                "SQUALL_SCENARIO": self.scenario.name,
                "SQUALL_SEED": str(self.setup.seed + number),
                "SQUALL_SETTINGS": json.dumps(self._settings()),
                **self.manifest.env,
            },
        )
        if self.manifest.url_env:
            environment[self.manifest.url_env] = environment["SQUALL_URL"]
        return environment

    async def _settle(self) -> None:
        healed = self.history.now
        if await self._until(lambda: self._service.steady, self.scenario.settle):
            self._say("settled", after=round(self.history.now - healed, 6))
        else:
            self._say("not_settled", after=round(self.history.now - healed, 6))
        await asyncio.sleep(self.scenario.calm)
        self._say("calm", seconds=self.scenario.calm)
        await self._sample("settled")

    # -- a step ------------------------------------------------------------------------------

    async def _carry_out(self, index: int, step: Step) -> None:
        """Begin the step at its moment, and end it at its end.

        A step that waits for an event begins inside the very call that reports the event, so
        that a cut can come before the exchange has answered.
        """
        injections: list[Any] = []
        began = False

        def begin() -> None:
            nonlocal began
            began = True
            self._say("step", index=index, **step.as_dict())
            injection = self._act(step)
            if injection is not None:
                injections.append(injection)

        await self._moment(step, begin)
        if not began:
            self._say("step_ended", index=index, reason="at_most")
            return
        begun = len(self.history)
        match step.action:
            case StopAdapter():
                await self._stop_adapters()
            case Sample():
                await self._sample("cycle")
        reason = await self._lasts(step, injections, begun)
        for injection in injections:
            if step.lasting is not None or step.until is not None:
                injection.heal()
        if isinstance(step.action, PauseAdapter):
            for driver in self._drivers:
                driver.resume()
        self._say("step_ended", index=index, reason=reason)

    async def _moment(self, step: Step, begin: Callable[[], None]) -> None:
        if isinstance(step.when, Seen):
            await self._when_seen(step.when, step.at_most, begin)
            return
        if step.at is not None:
            await asyncio.sleep(max(0.0, self._steady_at + step.at - self.history.now))
        if step.after is not None:
            await asyncio.sleep(step.after)
        if step.when is not None:
            holds = self._condition(step.when, begun=len(self.history))
            if not await self._until(holds, step.at_most):
                return
        begin()

    async def _when_seen(self, seen: Seen, at_most: float, begin: Callable[[], None]) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = seen.nth

        def look(event: Event) -> None:
            nonlocal left
            if done.done() or not _is(event, seen):
                return
            left -= 1
            if left == 0:
                done.set_result(None)
                begin()

        self._triggers.append(look)
        try:
            await asyncio.wait([done], timeout=at_most)
        finally:
            done.cancel()
            self._triggers.remove(look)

    async def _lasts(self, step: Step, injections: Sequence[Any], begun: int) -> str:
        if step.lasting is not None:
            await asyncio.sleep(step.lasting)
            return "elapsed"
        if step.until is not None:
            holds = self._condition(step.until, begun, injections)
            return "condition" if await self._until(holds, step.at_most) else "at_most"
        if step.do in CUTS and injections:
            await self._until(lambda: all(i.fired for i in injections), FIRES_WITHIN)
        return "done"

    def _condition(
        self, condition: Condition, begun: int, injections: Sequence[Any] = ()
    ) -> Callable[[], bool]:
        """A question to ask again after every event; `begun` is where the step's events start."""
        match condition:
            case "steady":
                return lambda: self._service.steady
            case "exited":
                return lambda: all(driver.exited for driver in self._drivers)
            case "redialled":
                return lambda: self._count_since(begun, Seen("dialled")) > 0
            case "abandoned":
                hit = {number for injection in injections for number in injection.hit}
                return lambda: (
                    self._count_since(begun, Seen("dialled")) > 0
                    or (bool(hit) and hit <= self._service.left)
                )
            case Seen():
                return lambda: self._count_since(begun, condition) >= condition.nth
        raise AssertionError(condition)

    def _count_since(self, begun: int, seen: Seen) -> int:
        return sum(_is(event, seen) for event in self.history.since_index(begun))

    def _act(self, step: Step) -> Any:
        match step.action:
            case Wait() | StopAdapter() | Sample():
                return None
            case Heal():
                self._testbed.heal()
            case PauseAdapter():
                for driver in self._drivers:
                    driver.pause()
            case Subscribe(channels=channels):
                more = self.scenario.more_channels(channels, self._wanted, self._testbed.dialect)
                self._want([*self._wanted, *more])
                self._command("subscribe", channels=more)
            case Unsubscribe(channels=channels):
                fewer = [self.scenario.resolve(name, self._wanted) for name in channels]
                self._want([name for name in self._wanted if name not in fewer])
                self._command("unsubscribe", channels=fewer)
            case Request(method=method, params=params, count=count):
                for _ in range(count):
                    self._command("request", method=method, params=self._labelled(params))
            case fault:
                resolved = self.scenario.resolve_fault(fault, self._wanted)
                return self._testbed.inject(resolved, step.target)
        return None

    def _labelled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        # Deribit's `label` marks an order by its client, so that each can be told from the rest.
        return {"label": f"squall-{self._commands + 1}", **params}

    def _command(self, do: str, **what: Any) -> None:
        self._commands += 1
        for driver in self._drivers:
            driver.send({"id": self._commands, "do": do, **what})

    def _want(self, channels: Sequence[str]) -> None:
        self._wanted = list(channels)
        private = [name for name in channels if self._testbed.dialect.is_private(name)]
        self._say(
            "wanted",
            channels=list(channels),
            private=private,
            adapters=self.scenario.adapter.count,
        )

    # -- seeing ------------------------------------------------------------------------------

    def _say(self, kind: str, **detail: Any) -> None:
        self.history.add("scenario", kind, None, **detail)

    def _note(self, event: Event) -> None:
        self._service.apply(event)
        match event.source, event.kind:
            case "proxy", "dialled":
                self._open.add(event.connection or 0)
                self._watch_for_storm(event.at)
            case "proxy", "closed":
                self._open.discard(event.connection or 0)
            case "adapter", "exited" if not event["expected"]:
                self._adapter_ended(event)
        for trigger in tuple(self._triggers):
            trigger(event)
        for holds, future in tuple(self._waiters):
            if not future.done() and holds():
                future.set_result(None)

    def _watch_for_storm(self, now: float) -> None:
        self._dials.append(now)
        while self._dials[0] < now - STORM_WINDOW:
            self._dials.popleft()
        if len(self._dials) > STORM_DIALS * self.scenario.adapter.count:
            span = now - self._dials[0]
            self._give_up(f"the adapter dialled {len(self._dials)} times within {span:.1f} s")

    def _adapter_ended(self, event: Event) -> None:
        if len(self.history.of("exited")) >= self.scenario.adapter.count:
            self._give_up(f"the adapter ended by itself, with status {event['status']}")

    def _give_up(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)

    async def _until(self, holds: Callable[[], bool], at_most: float) -> bool:
        """Wait until `holds()`, asked after every event; False after `at_most` seconds."""
        if holds():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (holds, future)
        self._waiters.append(waiter)
        try:
            await asyncio.wait([future], timeout=at_most)
            return future.done() or holds()
        finally:
            future.cancel()
            self._waiters.remove(waiter)

    async def _watch_for_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(LAG_INTERVAL)
            late = loop.time() - before - LAG_INTERVAL
            if late > LAG_NOTED:
                self._say("stalled", seconds=round(late, 3))

    async def _sample(self, moment: str) -> None:
        pids = [driver.pid for driver in self._drivers if driver.pid and not driver.exited]
        if not pids or not witness.available():
            return
        found = await asyncio.to_thread(witness.sample, pids[0], self._testbed.ports)
        if found is not None:
            self.history.add("system", "sample", None, moment=moment, **found)

    # -- the end -----------------------------------------------------------------------------

    async def _stop_adapters(self) -> None:
        self._say("stopping")
        await asyncio.gather(*(driver.stop() for driver in self._drivers))

    async def _end(self) -> None:
        """Stop everything that was started, whatever happened before."""
        try:
            if any(not driver.exited for driver in self._drivers):
                await self._stop_adapters()
            if self._drivers:
                await self._until(lambda: not self._open, CLOSES_WITHIN)
                await asyncio.sleep(LATE_DIAL_WATCH)
                if not self._in_process and witness.available():
                    sockets = witness.sockets(self._testbed.ports)
                    self.history.add("system", "sample", None, moment="stopped", sockets=sockets)
        finally:
            await asyncio.gather(*(driver.stop() for driver in self._drivers))
            await self._testbed.stop()

    @contextlib.contextmanager
    def _log_file(self) -> Iterator[BinaryIO]:
        if self.setup.folder is None:
            with open("/dev/null", "wb") as nowhere:
                yield nowhere
        else:
            self.setup.folder.mkdir(parents=True, exist_ok=True)
            with (self.setup.folder / "adapter.log").open("wb") as file:
                yield file

    def _save(self) -> None:
        if self.setup.folder is not None:
            self.history.save(self.setup.folder / "history.jsonl")

    def _unsupported(self, missing: Sequence[str]) -> Result:
        why = f"the adapter does not offer {', '.join(missing)}, which this scenario needs"
        return self._result(Outcome.UNSUPPORTED, (), why)

    def _result(
        self, outcome: Outcome, judged: tuple[Judged, ...], error: str | None
    ) -> Result:
        said = "\n".join(filter(None, (driver.last_words() for driver in self._drivers)))
        return Result(
            scenario=self.scenario,
            seed=self.setup.seed,
            outcome=outcome,
            judged=judged,
            history=self.history,
            seconds=self.history.now,
            error=error,
            log=said,
            folder=self.setup.folder,
        )


def _is(event: Event, seen: Seen) -> bool:
    return event.kind == seen.event and seen.source in (None, event.source)
