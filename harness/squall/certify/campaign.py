"""Runs every scenario with every adapter, and keeps each cell as soon as it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from squall import __version__
from squall.certify.folder import Folder, key_for, load
from squall.certify.matrix import Cell, Column, Matrix, Terms
from squall.certify.site import write_site
from squall.errors import ScenarioError
from squall.history import History
from squall.plan import Plan, jobs
from squall.pool import Pool, Task, interruptions
from squall.results import Case, Trouble
from squall.scenario import Scenario
from squall.suite import Began, Ended, Notice


@dataclass(frozen=True)
class Start:
    """So many runs are to come, so many cells were done before."""

    runs: int
    kept: int


Tell = Callable[[Start | Notice], None]


def certify(plans: Sequence[Plan], folder: Folder, tell: Tell, *, resume: bool = False) -> Matrix:
    """Run what is not done yet and write the report; the plans differ in their adapters alone."""
    _distinct(plans[0].scenarios)
    folder.prepare(resume=resume)
    campaign = _Campaign(plans, folder, tell)
    with interruptions(campaign.interrupt):
        if resume:
            campaign.remember()
        campaign.run()
        folder.clean()
        return campaign.record(over=True)


def _distinct(scenarios: Sequence[Scenario]) -> None:
    names = [scenario.name for scenario in scenarios]
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(f"two scenarios are called '{name}'; a report can hold one of them")


class _Campaign:
    def __init__(self, plans: Sequence[Plan], folder: Folder, tell: Tell) -> None:
        self._folder = folder
        self._tell = tell
        self._plans: dict[str, Plan] = {}
        for plan in plans:
            key = key_for(plan.manifest.name, self._plans)
            self._plans[key] = replace(plan, out=folder.scratch / key)
        self._columns = {key: Column(key, p.manifest.name) for key, p in self._plans.items()}
        self._scenarios = {scenario.name: scenario for scenario in plans[0].scenarios}
        self._cells: dict[tuple[str, str], Cell] = {}
        self._cases: dict[tuple[str, str], list[Case]] = {}
        self._pool = Pool(folder.root, self._began, self._ended)
        self._started = datetime.now().astimezone()
        self._since = time.monotonic()
        self._next_record = 0.0

    def remember(self) -> None:
        """Take over the cells that the report holds already."""
        for key, plan in self._plans.items():
            for scenario in plan.scenarios:
                cell = self._folder.done(self._columns[key], scenario, plan)
                if cell is not None:
                    self._take(cell)

    def run(self) -> None:
        """Everything that is left."""
        tasks = [
            Task(plan, job, key)
            for key, plan in self._plans.items()
            for job in jobs(plan)
            if (key, job.scenario.name) not in self._cells
        ]
        self._tell(Start(len(tasks), len(self._cells)))
        self._record_if_cheap()
        self._pool.run(tasks, next(iter(self._plans.values())).clock)

    def interrupt(self) -> None:
        """End in good order; called again, wait for no adapter any more."""
        self._pool.interrupt()

    # -- as it happens -----------------------------------------------------------------------

    def _began(self, task: Task) -> None:
        self._tell(Began(f"{task.key}/{task.job.name}"))

    def _ended(self, task: Task, case: Case) -> None:
        self._tell(Ended(replace(case, name=f"{task.key}/{case.name}")))
        gathered = self._cases.setdefault((task.key, case.scenario), [])
        gathered.append(case)
        interrupted = any(each.trouble is Trouble.INTERRUPTED for each in gathered)
        if len(gathered) == task.plan.repeat and not interrupted:
            cases = sorted(gathered, key=lambda each: each.seed)
            self._pool.later(lambda: self._complete(task, cases))

    def _complete(self, task: Task, cases: Sequence[Case]) -> None:
        histories = [load(task.plan.out / case.name) for case in cases]
        column = replace(self._columns[task.key], version=_version(histories))
        cell = Cell.of(column, task.job.scenario, cases, histories)
        self._folder.keep(cell, task.plan)
        self._take(cell)
        self._record_if_cheap()

    def _take(self, cell: Cell) -> None:
        key = cell.column.key
        self._cells[key, cell.scenario.name] = cell
        if cell.column.version is not None:
            self._columns[key] = cell.column

    # -- the result --------------------------------------------------------------------------

    def _record_if_cheap(self) -> None:
        """Bring the pages up to date, but spend no more than a tenth of the time on it."""
        begun = time.monotonic()
        if begun >= self._next_record:
            self.record(over=False)
            self._next_record = begun + 10 * (time.monotonic() - begun)

    def record(self, *, over: bool) -> Matrix:
        """What has been found so far, written down; until it is over, it may be interrupted."""
        plan = next(iter(self._plans.values()))
        matrix = Matrix(
            terms=Terms(
                __version__,
                plan.profile.name,
                plan.clock,
                plan.seed,
                plan.repeat,
                plan.proxy,
                plan.tls,
            ),
            columns=tuple(self._columns.values()),
            scenarios=tuple(self._scenarios.values()),
            cells=dict(self._cells),
            started=self._started,
            seconds=time.monotonic() - self._since,
            interrupted=self._pool.interrupted or not over,
            internal_errors=self._pool.internal_errors,
        )
        write_site(matrix, self._folder.root)
        return matrix


def _version(histories: Sequence[History | None]) -> str | None:
    """What the adapter called its version when it was ready."""
    for history in histories:
        for ready in history.of("ready", source="adapter") if history is not None else ():
            if ready.get("version"):
                return str(ready["version"])
    return None
