"""A suite: many runs, what each came to, and an end in good order whatever happens.

On the real clock all runs share one event loop and go on side by side, each with ports of its
own, so that a suite lasts little longer than its longest scenario. On the virtual clock they go
one after the other, each on a loop of its own whose time jumps to the next timer.

Ctrl-C and SIGTERM end a suite early: what runs stops its adapter and closes its ports, what has
ended is reported, the rest is unknown. A second Ctrl-C waits for no adapter any more and kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from squall.backends import EMBEDDED, check_backend
from squall.catalogue import word_for
from squall.errors import AdapterError
from squall.junit import write_junit
from squall.manifest import Manifest, Support
from squall.profile import Profile
from squall.results import Case, Summary, Trouble, covered, write_results
from squall.run import Result, Run, Setup
from squall.scenario import Scenario
from squall.verdict import Outcome
from squall.virtual_clock import VirtualClockLoop

REFERENCE = "reference"
DEFAULT_PROFILE = "default"

JOBS_PER_CORE = 4
MOST_JOBS = 16

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


@dataclass(frozen=True)
class Began:
    """A run begins."""

    name: str


@dataclass(frozen=True)
class Ended:
    """A run is over, and this is what it came to."""

    case: Case


Notice = Began | Ended
Tell = Callable[[Notice], None]


@dataclass(frozen=True)
class Plan:
    """What is to be run, with what, and where the results go.

    `seed` goes before the scenarios' own; each repetition adds one to it. `jobs` is how many run
    side by side on the real clock; None leaves it to the number of cores. `options` are the words
    of a command line that name the adapter, the profile and the clock. `proxy` names what does
    harm to the line, and with `tls` every run is over `wss://`.
    """

    scenarios: tuple[Scenario, ...]
    manifest: Manifest
    profile: Profile
    out: Path
    seed: int | None = None
    clock: str = "real"
    jobs: int | None = None
    repeat: int = 1
    fail_fast: bool = False
    options: tuple[str, ...] = ()
    proxy: str = EMBEDDED
    tls: bool = False

    def __post_init__(self) -> None:
        check_backend(self.proxy, self.clock)
        if self.clock == "virtual" and self.manifest.object is None:
            raise AdapterError(
                f"{self.manifest.name}: the virtual clock needs an adapter that runs inside this "
                f"process: give its manifest an 'object'; it has only a command"
            )

    @property
    def side_by_side(self) -> int:
        """How many runs go on at once."""
        if self.clock == "virtual" or self.manifest.command is None:
            return 1  # adapters inside this process share its loop's exception handler
        return self.jobs or min(MOST_JOBS, JOBS_PER_CORE * (os.cpu_count() or 1))


@dataclass(frozen=True)
class Job:
    """One run of the plan."""

    name: str
    scenario: Scenario
    seed: int


def jobs(plan: Plan) -> list[Job]:
    """The runs of a plan, each with a name of its own."""
    found: dict[str, Job] = {}
    for scenario in plan.scenarios:
        first = plan.seed if plan.seed is not None else scenario.seed or 0
        for repetition in range(plan.repeat):
            name, number = scenario.name, 1
            while name in found:
                number += 1
                name = f"{scenario.name}-{number}"
            found[name] = Job(name, scenario, first + repetition)
    return list(found.values())


def run_suite(plan: Plan, tell: Tell) -> Summary:
    """Run everything that is planned; `results.json` and `junit.xml` follow it closely."""
    plan.out.mkdir(parents=True, exist_ok=True)
    suite = _Suite(plan, tell)
    with _interruptions(suite.interrupt):
        if plan.clock == "virtual":
            suite.one_after_the_other()
        else:
            suite.side_by_side()
    return suite.finish()


def loop_factory(clock: str) -> LoopFactory:
    """The event loop for a clock; uvloop for the real one, where it is installed."""
    if clock == "virtual":
        return VirtualClockLoop
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def unsuitable(scenario: Scenario, manifest: Manifest, clock: str) -> str | None:
    """Why the scenario cannot be run with this adapter on this clock; None where it can."""
    if clock not in scenario.clocks:
        return f"this scenario needs the {' or '.join(scenario.clocks)} clock"
    if scenario.dialect not in (None, manifest.dialect):
        return f"this scenario speaks {scenario.dialect}; the adapter speaks {manifest.dialect}"
    return None


def length(scenario: Scenario) -> float:
    """About how many seconds a run lasts, as far as its steps say."""
    return sum(1.0 + (step.lasting or 0.0) + (step.after or 0.0) for step in scenario.steps)


def reproduce(plan: Plan, job: Job) -> str:
    """The command line that does the same again."""
    words = ["squall", "run", word_for(job.scenario), "--seed", str(job.seed), *plan.options]
    return shlex.join(words)


def adapter_named(name: str) -> Manifest:
    """The adapter that a command line names: a manifest's path, or the built-in `reference`."""
    if name != REFERENCE:
        return Manifest.load(name)
    return Manifest(
        name=REFERENCE,
        command=(sys.executable, "-m", "squall_reference"),
        object="squall_reference:adapter",
        supports=get_args(Support),
    )


def options(
    adapter: str, profile: str, clock: str, proxy: str = EMBEDDED, *, tls: bool = False
) -> tuple[str, ...]:
    """The words of a command line that choose these; what is the default is left out."""
    words: list[str] = []
    for word, value, default in (
        ("--adapter", adapter, REFERENCE),
        ("--profile", profile, DEFAULT_PROFILE),
        ("--clock", clock, "real"),
        ("--proxy", proxy, EMBEDDED),
    ):
        words += [word, value] if value != default else []
    return (*words, "--tls") if tls else tuple(words)


async def run_job(plan: Plan, job: Job) -> tuple[Case, Result | None]:
    """One run and what it came to; there is no result where it cannot be run at all."""
    if why := unsuitable(job.scenario, plan.manifest, plan.clock):
        return _case(job, Outcome.UNSUPPORTED, why), None
    setup = Setup(plan.profile, job.seed, plan.clock, plan.out / job.name, plan.proxy, plan.tls)
    result = await Run(job.scenario, plan.manifest, setup).execute()
    known = plan.manifest.expect.get(job.scenario.name)
    return Case.of(result, job.name, known, reproduce(plan, job)), result


class _Suite:
    """The runs of a plan, under way."""

    def __init__(self, plan: Plan, tell: Tell) -> None:
        self._plan = plan
        self._tell = tell
        self._jobs = jobs(plan)
        self._cases: dict[str, Case] = {}
        self._started = datetime.now().astimezone()
        self._since = time.monotonic()
        self._next_record = 0.0
        self._interrupted = False
        self._no_more = False
        self._internal_errors = 0
        self._cancel: Callable[[], None] | None = None

    # -- the two clocks ----------------------------------------------------------------------

    def side_by_side(self) -> None:
        """Every run on one loop; fleets, which load the machine on their own, at the end."""
        single = [job for job in self._jobs if job.scenario.adapter.count == 1]
        # A long run that begins last would keep everybody waiting for it alone.
        single.sort(key=lambda job: length(job.scenario), reverse=True)
        fleets = [job for job in self._jobs if job.scenario.adapter.count > 1]
        with asyncio.Runner(loop_factory=loop_factory("real")) as runner:
            runner.run(self._all(single, self._plan.side_by_side))
            runner.run(self._all(fleets, 1))

    def one_after_the_other(self) -> None:
        """Each run on a loop, and so in a time, of its own."""
        for job in self._jobs:
            with asyncio.Runner(loop_factory=loop_factory("virtual")) as runner:
                runner.run(self._all([job], 1))

    async def _all(self, some: Sequence[Job], at_once: int) -> None:
        gate = asyncio.Semaphore(at_once)
        tasks = [asyncio.create_task(self._in_turn(job, gate)) for job in some]
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)

        def cancel() -> None:
            for task in tasks:
                loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel
        if tasks:
            await asyncio.wait(tasks)
        self._cancel = None
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _in_turn(self, job: Job, gate: asyncio.Semaphore) -> None:
        async with gate:
            if self._no_more:
                return
            self._tell(Began(job.name))
            case = await self._run(job)
        self._cases[job.name] = case
        if self._plan.fail_fast and not case.expected and _bad(case):
            self._no_more = True
        self._record_if_cheap()
        self._tell(Ended(case))

    def interrupt(self) -> None:
        """End what runs and begin nothing more. Called again, it ends without patience."""
        self._interrupted = self._no_more = True
        if self._cancel is not None:
            self._cancel()

    # -- one run -----------------------------------------------------------------------------

    async def _run(self, job: Job) -> Case:
        try:
            case, _ = await run_job(self._plan, job)
            return case
        except asyncio.CancelledError:
            history = self._plan.out / job.name / "history.jsonl"
            case = _case(job, Outcome.UNKNOWN, "interrupted", trouble=Trouble.INTERRUPTED)
            return replace(case, history=history if history.exists() else None)
        except Exception as error:
            return self._internal(job, error)

    def _internal(self, job: Job, error: Exception) -> Case:
        """Our own mistake: it must neither pass for the adapter's nor end the other runs."""
        file = _note(self._plan.out / job.name, "".join(traceback.format_exception(error)))
        why = f"squall itself failed: {type(error).__name__}: {error} (see {file})"
        return _case(job, Outcome.UNKNOWN, why, trouble=Trouble.INTERNAL)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Our own mistake in a callback: nobody can tell to which run it belongs."""
        self._internal_errors += 1
        error = context.get("exception")
        said = "".join(traceback.format_exception(error)) if error else ""
        _note(self._plan.out, f"{context['message']}\n{said}")

    # -- results -----------------------------------------------------------------------------

    def finish(self) -> Summary:
        """What the whole came to, written for the last time."""
        for job in self._jobs:
            if self._interrupted and job.name not in self._cases:
                why = "interrupted before it began"
                self._cases[job.name] = _case(
                    job, Outcome.UNKNOWN, why, trouble=Trouble.INTERRUPTED
                )
        return self._record(over=True)

    def _record_if_cheap(self) -> None:
        """Bring the files up to date, but spend no more than a tenth of the time on it.

        They are written whole each time: after thousands of runs that takes longer than a run.
        """
        begun = time.monotonic()
        if begun >= self._next_record:
            self._record()
            self._next_record = begun + 10 * (time.monotonic() - begun)

    def _record(self, *, over: bool = False) -> Summary:
        # A suite that is killed leaves the file of its last run behind: interrupted, it says.
        summary = Summary(
            adapter=self._plan.manifest.name,
            profile=self._plan.profile.name,
            clock=self._plan.clock,
            seed=self._plan.seed,
            started=self._started,
            cases=tuple(self._cases[job.name] for job in self._jobs if job.name in self._cases),
            seconds=time.monotonic() - self._since,
            interrupted=self._interrupted or not over,
            not_run=len(self._jobs) - len(self._cases),
            internal_errors=self._internal_errors,
        )
        write_results(summary, self._plan.out)
        write_junit(summary, self._plan.out)
        return summary


def _case(job: Job, outcome: Outcome, why: str, trouble: Trouble | None = None) -> Case:
    """A case of which there is no history, or none that counts."""
    return Case(
        name=job.name,
        scenario=job.scenario.name,
        outcome=outcome,
        why=why,
        about=job.scenario.about,
        covers=covered(job.scenario.as_dict()["covers"]),
        seed=job.seed,
        trouble=trouble,
    )


def _note(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "internal-error.txt"
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
    return path


def _bad(case: Case) -> bool:
    return case.outcome is Outcome.FAIL or case.trouble is Trouble.SETUP


@contextlib.contextmanager
def _interruptions(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at the first and the second Ctrl-C or SIGTERM; the third is Python's own."""
    before: dict[signal.Signals, Any] = {}
    heard = 0

    def hear(number: int, frame: object) -> None:
        nonlocal heard
        heard += 1
        if heard == 2:
            restore()
        act()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    with contextlib.suppress(ValueError):  # only a program's main thread may listen to signals
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, hear)
    try:
        yield
    finally:
        restore()
