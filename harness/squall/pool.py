"""Runs under way, side by side within the machine's means, and an end in good order.

On the real clock all runs share one event loop, each with ports of its own: the next one begins as
soon as there is room, whichever adapter it is for, so that the whole lasts little longer than its
longest scenario. What comes after a run, judging and writing, is done in a thread: in the loop it
would hold up all the others. On the virtual clock runs go one after the other, each on a loop of
its own whose time jumps to the next timer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from squall.plan import Job, Plan, longest, reproduce, unsuitable
from squall.results import Case, Trouble, covered
from squall.run import Aside, Result, Run, Setup, directly
from squall.verdict import Outcome
from squall.virtual_clock import loop_factory

STARTS_WITHIN = 15.0

NOTES = "internal-error.txt"
"""Where the tracebacks of our own mistakes go."""

SWITCH = 0.0005
"""Seconds until the thread that judges lets the loop go on; Python's own is ten times that."""

T = TypeVar("T")


@dataclass(frozen=True)
class Task:
    """One run of a plan; `key` tells the plans apart where there are several."""

    plan: Plan
    job: Job
    key: str = ""

    @property
    def alone(self) -> bool:
        """Whether nothing may go on beside it.

        A fleet loads the machine on its own, and adapters inside this process share its loop's
        exception handler.
        """
        return self.job.scenario.adapter.count > 1 or self.plan.manifest.command is None


@dataclass
class Pool:
    """The runs under way. `began` and `ended` are told of each.

    What goes wrong in Squall itself, nobody can tell in which run, is noted in the folder `notes`.
    """

    notes: Path
    began: Callable[[Task], None]
    ended: Callable[[Task, Case], None]
    interrupted: bool = False
    internal_errors: int = 0
    _closed: bool = False
    _cancel: Callable[[], None] | None = None
    _clerk: ThreadPoolExecutor | None = None
    _left_to_clerk: list[Future[None]] = field(default_factory=list)

    def run(self, tasks: Sequence[Task], clock: str) -> None:
        """Run them all; a closed pool begins none."""
        if clock == "virtual":
            for task in tasks:
                self._on_a_loop("virtual", [task], 1)
        else:
            self._side_by_side(tasks)

    def close(self) -> None:
        """Begin nothing more; what runs may end."""
        self._closed = True

    def interrupt(self) -> None:
        """End what runs and begin nothing more. Called again, it ends without patience."""
        self.interrupted = self._closed = True
        if self._cancel is not None:
            self._cancel()

    def later(self, work: Callable[[], None]) -> None:
        """Do it soon, in the order in which it was asked for, and hold up no run."""
        if self._clerk is None:
            work()
        else:
            self._left_to_clerk.append(self._clerk.submit(work))

    # -- side by side ------------------------------------------------------------------------

    def _side_by_side(self, tasks: Sequence[Task]) -> None:
        together = [task for task in tasks if not task.alone]
        at_once = max((task.plan.side_by_side for task in together), default=1)
        if at_once > 1:
            # A long run that begins last would keep everybody waiting for it alone.
            together.sort(key=lambda task: -longest(task.job.scenario))
        self._on_a_loop("real", together, at_once)
        self._on_a_loop("real", [task for task in tasks if task.alone], 1)

    def _on_a_loop(self, clock: str, tasks: Sequence[Task], at_once: int) -> None:
        if tasks and not self._closed:
            with contextlib.ExitStack() as stack:
                if clock == "real":
                    stack.enter_context(self._office())
                runner = stack.enter_context(asyncio.Runner(loop_factory=loop_factory(clock)))
                runner.run(self._all(tasks, at_once))

    @contextlib.contextmanager
    def _office(self) -> Iterator[None]:
        """Have a clerk: a thread that judges and writes while the loop goes on."""
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        try:
            with ThreadPoolExecutor(1, "squall-clerk") as self._clerk:
                yield
            while self._left_to_clerk:
                self._left_to_clerk.pop().result()
        finally:
            self._clerk = None
            sys.setswitchinterval(before)

    async def _aside(self, work: Callable[[], T]) -> T:
        """What the clerk makes of it. Who is cancelled meanwhile waits: the run itself is over."""
        if self._clerk is None:
            return work()
        future = asyncio.wrap_future(self._clerk.submit(work))
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        return future.result()

    async def _all(self, tasks: Sequence[Task], at_once: int) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        gate, starting = asyncio.Semaphore(at_once), asyncio.Semaphore(os.cpu_count() or 1)
        running = [asyncio.create_task(self._in_turn(task, gate, starting)) for task in tasks]

        def cancel() -> None:
            for task in running:
                loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel
        await asyncio.wait(running)
        self._cancel = None
        for task in running:
            if not task.cancelled():
                task.result()

    async def _in_turn(
        self, task: Task, gate: asyncio.Semaphore, starting: asyncio.Semaphore
    ) -> None:
        async with gate, _start(starting) as started:
            if not self._closed:
                self.began(task)
                case = await _case(task, started, self._aside)
                self.ended(task, case)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Our own mistake in a callback: nobody can tell to which run it belongs."""
        self.internal_errors += 1
        error = context.get("exception")
        said = "".join(traceback.format_exception(error)) if error else ""
        _note(self.notes, f"{context['message']}\n{said}")


@contextlib.asynccontextmanager
async def _start(starting: asyncio.Semaphore) -> AsyncIterator[Callable[[], None]]:
    """One of the adapters that start just now, until what this gives is called.

    To start an interpreter with a large library keeps a core busy for seconds; to wait for what
    a scenario does costs next to nothing. One that does not start holds nobody up for long.
    """
    await starting.acquire()
    freed = False

    def free() -> None:
        nonlocal freed
        if not freed:
            freed = True
            starting.release()

    patience = asyncio.get_running_loop().call_later(STARTS_WITHIN, free)
    try:
        yield free
    finally:
        patience.cancel()
        free()


# -- one run -------------------------------------------------------------------------------------


async def run_job(
    plan: Plan, job: Job, on_steady: Callable[[], None] = lambda: None, aside: Aside = directly
) -> tuple[Case, Result | None]:
    """One run and what it came to; there is no result where it cannot be run at all.

    `on_steady` is called when the adapter has reached its first steady state. `aside` does what
    takes long and needs no loop.
    """
    if why := unsuitable(job.scenario, plan.manifest, plan.clock):
        return unjudged(job, Outcome.UNSUPPORTED, why), None
    setup = Setup(
        plan.profile,
        job.seed,
        plan.clock,
        plan.out / job.name,
        plan.proxy,
        plan.tls,
        on_steady,
        aside,
    )
    result = await Run(job.scenario, plan.manifest, setup).execute()
    known = plan.manifest.expect.get(job.scenario.name)
    return await aside(lambda: Case.of(result, job.name, known, reproduce(plan, job))), result


def unjudged(
    job: Job,
    outcome: Outcome,
    why: str,
    trouble: Trouble | None = None,
    history: Path | None = None,
) -> Case:
    """A case without verdicts: it was not run, or not to its end."""
    return Case(
        name=job.name,
        scenario=job.scenario.name,
        outcome=outcome,
        why=why,
        about=job.scenario.about,
        covers=covered(job.scenario.as_dict()["covers"]),
        seed=job.seed,
        trouble=trouble,
        history=history,
    )


async def _case(task: Task, on_steady: Callable[[], None], aside: Aside) -> Case:
    folder = task.plan.out / task.job.name
    try:
        case, _ = await run_job(task.plan, task.job, on_steady, aside)
        return case
    except asyncio.CancelledError:
        saved = folder / "history.jsonl"
        history = saved if saved.exists() else None
        return unjudged(
            task.job, Outcome.UNKNOWN, "interrupted", Trouble.INTERRUPTED, history=history
        )
    except Exception as error:
        # Our own mistake: it must neither pass for the adapter's nor end the other runs.
        _note(folder, "".join(traceback.format_exception(error)))
        why = f"squall itself failed: {type(error).__name__}: {error} (see {NOTES})"
        return unjudged(task.job, Outcome.UNKNOWN, why, Trouble.INTERNAL)


def _note(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NOTES).open("a", encoding="utf-8") as file:
        file.write(text)


# -- Ctrl-C --------------------------------------------------------------------------------------


@contextlib.contextmanager
def interruptions(act: Callable[[], None]) -> Iterator[None]:
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
