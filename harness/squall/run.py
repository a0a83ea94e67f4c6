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

Whatever happens, everything that was started is stopped again and the history is saved.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, Protocol, TypeVar

from squall import __version__, witness
from squall.backend import Line
from squall.backends import BACKENDS, EMBEDDED
from squall.checks import Judged, judge
from squall.checks.recovery import DataResumes
from squall.driver import Driver, Ear, InProcessDriver, SubprocessDriver, load_object
from squall.errors import AdapterError, SquallError
from squall.exchange import dialect as dialect_named
from squall.history import Event, History
from squall.manifest import Manifest
from squall.moments import Moments
from squall.play import Play
from squall.profile import Profile
from squall.scenario import Scenario
from squall.service import Service
from squall.steps import NEGOTIATED
from squall.testbed import Testbed
from squall.verdict import Outcome, worst
from squall.virtual_clock import VirtualClockLoop
from squall_proxy import Fault

STEADY_WITHIN = 60.0
"""Seconds that an adapter has for its first steady state. Interpreters start slowly on a busy
machine, and a fault that strikes before the adapter has connected tests nothing."""

CLOSES_WITHIN = 5.0
LATE_DIAL_WATCH = 0.3

STORM_DIALS = 500
STORM_WINDOW = 10.0
"""So many dials in so many seconds end the run: the verdict is clear, the machine is shared."""

LAG_INTERVAL = 0.1
LAG_NOTED = 0.5

T = TypeVar("T")


class Aside(Protocol):
    """Does what takes long and needs no loop, such as to judge: where, the caller says."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """What `work` returns."""


async def directly(work: Callable[[], T]) -> T:
    """Do it here and now."""
    return work()


@dataclass(frozen=True)
class Setup:
    """What a run needs to know beside its scenario and its adapter."""

    profile: Profile
    seed: int = 0
    clock: str = "real"
    folder: Path | None = None
    proxy: str = EMBEDDED
    tls: bool = False
    on_steady: Callable[[], None] = lambda: None
    aside: Aside = directly


@dataclass(frozen=True)
class Result:
    """What came of one run. `seconds` is on the run's own clock."""

    scenario: Scenario
    seed: int
    outcome: Outcome
    judged: tuple[Judged, ...]
    history: History
    seconds: float
    error: str | None = None
    last_words: str = ""
    folder: Path | None = None

    @property
    def why(self) -> str:
        """One sentence for a table: the error, or the deciding verdict's."""
        if self.error:
            return self.error
        deciding = (j.verdict.why for j in self.judged if j.verdict.outcome is self.outcome)
        return next(deciding, "")


@dataclass
class Run:
    """A run in the making. `execute` is called once, on the loop that is the run's clock."""

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
        self._build()
        error: str | None = None
        with self._log_file() as self._log, self._wall_clock():
            lag = asyncio.create_task(self._watch_for_lag())
            try:
                self._announce()
                if self._offers_enough() and self._line_suffices() and self._venue_suffices():
                    await self._testbed.start()
                    await self._live()
            except SquallError as mendable:
                error = str(mendable)
                self._say("not_run", why=error)
            except asyncio.CancelledError:
                self._say("interrupted")
                raise
            finally:
                try:
                    await self._end()
                finally:
                    lag.cancel()
                    self._say("run_ended")
                    await self.setup.aside(self._save)
        return await self.setup.aside(lambda: self._conclude(error))

    # -- before ------------------------------------------------------------------------------

    def _build(self) -> None:
        scenario, manifest = self.scenario, self.manifest
        rng = Random(f"{self.setup.seed}:{scenario.name}")
        dialect = dialect_named(scenario.dialect or manifest.dialect)
        self._in_process = manifest.object is not None and (
            self.setup.clock == "virtual" or manifest.command is None
        )
        exchange = scenario.exchange
        if self.setup.clock == "real":
            # Adapters compare the venue's timestamps with their own wall clock.
            exchange = replace(exchange, epoch=datetime.now(UTC).timestamp())
        self._epoch = exchange.epoch
        self._backend = BACKENDS[self.setup.proxy](
            Line(
                observe=self.history.observer("proxy"),
                rng=rng,
                tls=scenario.tls or self.setup.tls,
                compression=scenario.compression,
                redirect=manifest.redirect,
            )
        )
        self._testbed = Testbed(dialect, exchange, self.history, rng, self._backend)
        self._checks = self.setup.profile.checks(scenario.expect)
        self._service = Service()
        self._unsupported: str | None = None
        self._drivers: list[Driver] = []
        self._dials: deque[float] = deque()
        self._open: set[int] = set()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.history.listen(self._note)
        self._moments = Moments(self.history)
        self._play = Play(
            scenario, self._testbed, self.history, self._moments, self._service, self._drivers
        )

    def _announce(self) -> None:
        manifest = self.manifest
        self._say(
            "run_started",
            scenario=self.scenario.as_dict(),
            seed=self.setup.seed,
            squall=__version__,
            profile=self.setup.profile.name,
            clock=self.setup.clock,
            proxy=self.setup.proxy,
            adapter={
                "name": manifest.name,
                "supports": sorted(self._offered()),
                "in_process": self._in_process,
                "connections": manifest.connections,
                "settings": self._settings,
            },
            expect={check.name: check.as_dict() for check in self._checks},
        )
        self._play.want(self._first_channels())

    def _first_channels(self) -> list[str]:
        if self.manifest.channels:
            return list(self.manifest.channels)
        dialect = self._testbed.dialect
        wanted = self.scenario.wanted(dialect)
        if "private" in self._offered():
            return wanted
        return [name for name in wanted if not dialect.is_private(name)]

    @property
    def _settings(self) -> dict[str, Any]:
        # The scenario shortens time-outs so that a run is quick; what the manifest says is the
        # adapter author's own choice and wins.
        return {**self.scenario.adapter.settings, **self.manifest.settings}

    def _offered(self) -> set[str]:
        """What the adapter can do: by its manifest, by its own word when it is ready."""
        offered: set[str] = set(self.manifest.supports or ("public", "private"))
        for ready in self.history.of("ready"):
            offered |= {"events", *ready.get("commands", ())}
        if not self._in_process and witness.available():
            offered.add("process")
        if self.manifest.redirect == "http-proxy":
            offered.add("http-proxy")
        if self.manifest.tls:
            offered.add("tls")
        for opened in self.history.of("opened"):
            offered |= {each for each in NEGOTIATED if each in opened.get("extensions", "")}
        return offered

    def _offers_enough(self) -> bool:
        """Whether the adapter has what the scenario needs, as far as can be told by now."""
        needed = self.scenario.needs | ({"tls"} if self.setup.tls else set())
        missing = needed - self._offered()
        if not self._service.open:
            missing -= NEGOTIATED
        if not self.manifest.declared and not self._service.open:
            # The rest it may still say itself, when it is ready.
            missing &= {"process", "http-proxy", "tls"}
        if missing:
            lacking = ", ".join(sorted(missing))
            self._rule_out(f"the adapter does not offer {lacking}, which this run needs")
        return not missing

    def _line_suffices(self) -> bool:
        """Whether the backend can do all the faults of the scenario."""
        for step in self.scenario.steps:
            if not isinstance(step.action, Fault):
                continue
            why = self._backend.lacks(step.action, step.target)
            if why is not None:
                self._rule_out(f"the {self.setup.proxy} proxy cannot do {step.do}: {why}")
                return False
        return True

    def _venue_suffices(self) -> bool:
        """Whether all that the scenario asks of the venue makes sense there."""
        dialect = self._testbed.dialect
        why = next(filter(None, map(dialect.lacks, self.scenario.asked_of_venue)), None)
        if why is not None:
            self._rule_out(f"{dialect.name}: {why}")
        return why is None

    def _rule_out(self, why: str) -> None:
        if self._unsupported is None:
            self._unsupported = why
            self._say("unsupported", why=why)

    # -- the run -----------------------------------------------------------------------------

    async def _live(self) -> None:
        play = asyncio.create_task(self._act())
        first: set[asyncio.Future[Any]] = {play, self._over}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if play.done():
                return play.result()
        finally:
            play.cancel()
            await asyncio.gather(play, return_exceptions=True)
        if not self.history.of("dialled"):
            raise AdapterError(f"{self._over.result()}, before it dialled{self._last_words()}")
        self._say("aborted", why=self._over.result())
        self._heal()
        return None

    async def _act(self) -> None:
        for number in range(self.scenario.adapter.count):
            driver = self._driver()
            self._drivers.append(driver)
            await driver.start(self._environment(number))
        steady = await self._moments.until(lambda: self._service.steady, STEADY_WITHIN)
        if not steady or not self._offers_enough():
            return
        self._say("steady", after=round(self.history.now, 6))
        self.setup.on_steady()
        await self._sample("steady")
        await self._play.perform(self._stop_adapters, self._sample)
        self._heal()
        if not all(driver.exited for driver in self._drivers):
            await self._settle()

    def _driver(self) -> Driver:
        observe = self.history.observer("adapter")
        ear = Ear(observe, self._testbed.exchange.secrets, self._log)
        manifest, prefix = self.manifest, self._backend.reach.prefix
        if self._in_process:
            assert manifest.object is not None
            if prefix:
                raise AdapterError(
                    f"--proxy {self.setup.proxy}: the adapter has to be in another network, so it "
                    "needs a process of its own: give its manifest a 'command'"
                )
            adapter = load_object(manifest.object, manifest.folder)
            return InProcessDriver(adapter, manifest.object, ear, observe, manifest.grace)
        assert manifest.command is not None
        return SubprocessDriver(
            (*prefix, *manifest.command), manifest.folder, ear, observe, manifest.grace
        )

    def _environment(self, number: int) -> dict[str, str]:
        wanted = self.history.of("wanted")[-1]
        environment = self._testbed.environment(
            wanted["channels"],
            private=bool(wanted["private"]) or "private" in self.scenario.needs,
            extra={
                "SQUALL_SCENARIO": self.scenario.name,
                "SQUALL_SEED": str(self.setup.seed + number),
                "SQUALL_SETTINGS": json.dumps(self._settings),
                **self.manifest.env,
            },
        )
        if self.manifest.url_env:
            environment[self.manifest.url_env] = environment["SQUALL_URL"]
        return environment

    def _heal(self) -> None:
        self._testbed.heal()
        self._say("healed")

    async def _settle(self) -> None:
        healed = self.history.now
        settled = await self._moments.until(self._delivers_again(), self._patience)
        took = round(self.history.now - healed, 6)
        self._say("settled" if settled else "not_settled", after=took)
        await asyncio.sleep(self.scenario.calm)
        self._say("calm", seconds=self.scenario.calm)
        await self._sample("settled")

    def _delivers_again(self) -> Callable[[], bool]:
        """Whether all is steady, and what the adapter told of before, it has told of since now.

        What the exchange sends to an adapter that reads no more looks steady from outside.
        """
        before = {event["channel"] for event in self.history.of("message", source="adapter")}
        now = len(self.history)

        def delivers() -> bool:
            if not self._service.steady:
                return False
            since = self.history.since_index(now)
            heard = {e["channel"] for e in since if (e.source, e.kind) == ("adapter", "message")}
            return before & self._service.wanted <= heard

        return delivers

    @property
    def _patience(self) -> float:
        """How long the steady state may take: at least as long as a check would grant it."""
        told = self._settings.get("backoff_max")
        backoff = float(told) if isinstance(told, int | float) else None
        granted = [c.allowed(backoff) for c in self._checks if isinstance(c, DataResumes)]
        return max([self.scenario.settle, *granted])

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
                if len(self.history.of("exited")) >= self.scenario.adapter.count:
                    self._give_up(f"the adapter ended by itself with status {event['status']}")

    def _watch_for_storm(self, now: float) -> None:
        self._dials.append(now)
        while self._dials[0] < now - STORM_WINDOW:
            self._dials.popleft()
        if len(self._dials) > STORM_DIALS * self.scenario.adapter.count:
            span = now - self._dials[0]
            self._give_up(f"the adapter dialled {len(self._dials)} times within {span:.1f} s")

    def _give_up(self, why: str) -> None:
        if not self._over.done():
            self._over.set_result(why)

    async def _watch_for_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while self.setup.clock == "real":
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            late = loop.time() - due
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
                await self._moments.until(lambda: not self._open, CLOSES_WITHIN)
                await asyncio.sleep(LATE_DIAL_WATCH)
                if not self._in_process and witness.available():
                    sockets = witness.sockets(self._testbed.ports)
                    self.history.add("system", "sample", None, moment="stopped", sockets=sockets)
        finally:
            await asyncio.gather(*(driver.stop() for driver in self._drivers))
            await self._testbed.stop()

    def _conclude(self, error: str | None) -> Result:
        if self._unsupported is not None and error is None:
            return self._result(Outcome.UNSUPPORTED, (), self._unsupported)
        judged = tuple(judge(self.history, self._checks))
        outcome = Outcome.UNKNOWN if error else worst(j.verdict.outcome for j in judged)
        return self._result(outcome, judged, error)

    def _result(self, outcome: Outcome, judged: Sequence[Judged], error: str | None) -> Result:
        return Result(
            scenario=self.scenario,
            seed=self.setup.seed,
            outcome=outcome,
            judged=tuple(judged),
            history=self.history,
            seconds=self.history.now,
            error=error,
            last_words="\n".join(filter(None, (d.last_words() for d in self._drivers))),
            folder=self.setup.folder,
        )

    def _last_words(self) -> str:
        said = [driver.last_words() for driver in self._drivers if driver.last_words()]
        return f". Its last words:\n{said[0]}" if said else ""

    @contextlib.contextmanager
    def _log_file(self) -> Iterator[BinaryIO]:
        folder = self.setup.folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        path = folder / "adapter.log" if folder is not None else Path(os.devnull)
        with path.open("wb") as file:
            yield file

    def _wall_clock(self) -> contextlib.AbstractContextManager[None]:
        """What the adapter sees when it asks the process, and not the loop, for the time."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualClockLoop):
            return loop.following(self._epoch)
        return contextlib.nullcontext()

    def _save(self) -> None:
        if self.setup.folder is not None:
            self.history.save(self.setup.folder / "history.jsonl")
