"""Runs of several adapters, side by side within the machine's means.

A suite is over when its longest scenario is; one suite after the other would leave the machine
idle for most of that time. So all adapters share one loop, and the next one's first run begins
as soon as there is room.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squall.results import Case, Trouble, covered
from squall.suite import Job, Plan, length, loop_factory, run_job
from squall.verdict import Outcome


@dataclass(frozen=True)
class Task:
    """One run with one adapter; `key` tells the adapters apart."""

    key: str
    plan: Plan
    job: Job

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

    What goes wrong in Squall itself, nobody can tell in which run, is noted in `notes`.
    """

    notes: Path
    began: Callable[[Task], None]
    ended: Callable[[Task, Case], None]
    interrupted: bool = False
    internal_errors: int = 0
    _cancel: Callable[[], None] | None = None

    def run(self, tasks: Sequence[Task], clock: str) -> None:
        """Run them all, in order as far as possible; an interrupted pool begins no more."""
        if clock == "virtual":
            for task in tasks:
                self._on_a_loop("virtual", [task], 1)
        else:
            self._side_by_side(tasks)

    def _side_by_side(self, tasks: Sequence[Task]) -> None:
        # A long run that begins last would keep everybody waiting for it alone.
        keys = list(dict.fromkeys(task.key for task in tasks))
        ordered = sorted(tasks, key=lambda t: (keys.index(t.key), -length(t.job.scenario)))
        together = [task for task in ordered if not task.alone]
        at_once = max((task.plan.side_by_side for task in together), default=1)
        self._on_a_loop("real", together, at_once)
        self._on_a_loop("real", [task for task in ordered if task.alone], 1)

    def _on_a_loop(self, clock: str, tasks: Sequence[Task], at_once: int) -> None:
        if tasks and not self.interrupted:
            with asyncio.Runner(loop_factory=loop_factory(clock)) as runner:
                runner.run(self._all(tasks, at_once))

    async def _all(self, tasks: Sequence[Task], at_once: int) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        gate = asyncio.Semaphore(at_once)
        running = [asyncio.create_task(self._in_turn(task, gate)) for task in tasks]

        def cancel() -> None:
            for task in running:
                loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel
        await asyncio.wait(running)
        self._cancel = None
        for task in running:
            if not task.cancelled():
                task.result()

    async def _in_turn(self, task: Task, gate: asyncio.Semaphore) -> None:
        async with gate:
            if not self.interrupted:
                self.began(task)
                case = await self._case(task)
                self.ended(task, case)

    def interrupt(self) -> None:
        """End what runs and begin nothing more. Called again, it ends without patience."""
        self.interrupted = True
        if self._cancel is not None:
            self._cancel()

    # -- one run -----------------------------------------------------------------------------

    async def _case(self, task: Task) -> Case:
        try:
            case, _ = await run_job(task.plan, task.job)
            return case
        except asyncio.CancelledError:
            return _without_verdict(task.job, "interrupted", Trouble.INTERRUPTED)
        except Exception as error:
            # Our own mistake: it must neither pass for the adapter's nor end the other runs.
            _note(task.plan.out / task.job.name, "".join(traceback.format_exception(error)))
            why = f"squall itself failed: {type(error).__name__}: {error}"
            return _without_verdict(task.job, why, Trouble.INTERNAL)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Our own mistake in a callback."""
        self.internal_errors += 1
        error = context.get("exception")
        said = "".join(traceback.format_exception(error)) if error else ""
        _note(self.notes, f"{context['message']}\n{said}")


def _without_verdict(job: Job, why: str, trouble: Trouble) -> Case:
    return Case(
        name=job.name,
        scenario=job.scenario.name,
        outcome=Outcome.UNKNOWN,
        why=why,
        about=job.scenario.about,
        covers=covered(job.scenario.as_dict()["covers"]),
        seed=job.seed,
        trouble=trouble,
    )


def _note(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "internal-error.txt").open("a", encoding="utf-8") as file:
        file.write(text)


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
