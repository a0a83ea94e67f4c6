"""Runs every scenario with every adapter, and keeps each cell as soon as it is done.

Adapters take their turns, so that a storm of one does not disturb the verdicts of another; the
scenarios of one adapter go on side by side, as `squall run` has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from squall import __version__
from squall.certify.folder import Folder, key_for, load
from squall.certify.matrix import Cell, Column, Matrix, Terms
from squall.certify.site import write_site
from squall.errors import ScenarioError
from squall.history import History
from squall.results import Case, Trouble
from squall.scenario import Scenario
from squall.suite import Began, Notice, Plan, run_suite


@dataclass(frozen=True)
class Turn:
    """An adapter's turn begins: so many runs are to come, so many cells were done before."""

    column: Column
    plan: Plan
    runs: int
    done: int


@dataclass(frozen=True)
class Over:
    """An adapter's turn is over."""

    column: Column
    cells: tuple[Cell, ...]


Tell = Callable[[Turn | Over | Notice], None]


def certify(plans: Sequence[Plan], folder: Folder, tell: Tell, *, resume: bool = False) -> Matrix:
    """Run what is not done yet and write the report; the plans differ in their adapter alone."""
    _distinct(plans[0].scenarios)
    folder.prepare(resume=resume)
    campaign = _Campaign(plans, folder, tell, resume)
    for column, plan in campaign.turns:
        campaign.take(column, plan)
        write_site(campaign.matrix(over=False), folder.root)
        if campaign.interrupted:
            break
    folder.clean()
    matrix = campaign.matrix(over=True)
    write_site(matrix, folder.root)
    return matrix


def _distinct(scenarios: Sequence[Scenario]) -> None:
    names = [scenario.name for scenario in scenarios]
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(f"two scenarios are called '{name}'; a report can hold one of them")


class _Campaign:
    def __init__(self, plans: Sequence[Plan], folder: Folder, tell: Tell, resume: bool) -> None:
        self._folder = folder
        self._tell = tell
        self._resume = resume
        self._plans = plans
        self._cells: dict[tuple[str, str], Cell] = {}
        self._started = datetime.now().astimezone()
        self._since = time.monotonic()
        self._internal_errors = 0
        self.interrupted = False
        self.turns: list[tuple[Column, Plan]] = []
        for plan in plans:
            key = key_for(plan.manifest.name, [column.key for column, _ in self.turns])
            column = Column(key, plan.manifest.name)
            self.turns.append((column, replace(plan, out=folder.scratch / key)))

    def take(self, column: Column, plan: Plan) -> None:
        """All scenarios with one adapter."""
        if self._resume:
            for scenario in plan.scenarios:
                if (cell := self._folder.done(column, scenario, plan)) is not None:
                    self._cells[column.key, scenario.name] = cell
        todo = [s for s in plan.scenarios if (column.key, s.name) not in self._cells]
        done = len(plan.scenarios) - len(todo)
        self._tell(Turn(column, plan, len(todo) * plan.repeat, done))
        if todo:
            turn = _Turn(column, plan, self._keep, self._tell)
            summary = run_suite(replace(plan, scenarios=tuple(todo)), turn.hear)
            self._internal_errors += summary.internal_errors
            self.interrupted = summary.interrupted
        self._tell(Over(column, tuple(self.matrix(over=False).of(column))))

    def _keep(self, cell: Cell, plan: Plan) -> None:
        self._folder.keep(cell, plan)
        self._cells[cell.column.key, cell.scenario.name] = cell

    def matrix(self, *, over: bool) -> Matrix:
        """What has been found so far."""
        plan = self._plans[0]
        return Matrix(
            terms=Terms(__version__, plan.profile.name, plan.clock, plan.seed, plan.repeat),
            columns=tuple(self._versioned(column) for column, _ in self.turns),
            scenarios=plan.scenarios,
            cells=dict(self._cells),
            started=self._started,
            seconds=time.monotonic() - self._since,
            interrupted=self.interrupted or not over,
            internal_errors=self._internal_errors,
        )

    def _versioned(self, column: Column) -> Column:
        versions = (c.column.version for (key, _), c in self._cells.items() if key == column.key)
        return replace(column, version=next(filter(None, versions), None))


@dataclass
class _Turn:
    """Gathers the runs of one adapter into cells."""

    column: Column
    plan: Plan
    keep: Callable[[Cell, Plan], None]
    tell: Tell
    cases: dict[str, list[Case]] = field(default_factory=dict)

    def hear(self, notice: Notice) -> None:
        """A run began or ended."""
        self.tell(notice)
        if isinstance(notice, Began):
            return
        case = notice.case
        gathered = self.cases.setdefault(case.scenario, [])
        gathered.append(case)
        interrupted = any(each.trouble is Trouble.INTERRUPTED for each in gathered)
        if len(gathered) == self.plan.repeat and not interrupted:
            self._complete(sorted(gathered, key=lambda each: each.seed))

    def _complete(self, cases: list[Case]) -> None:
        scenario = next(s for s in self.plan.scenarios if s.name == cases[0].scenario)
        histories = [load(self.plan.out / case.name) for case in cases]
        column = replace(self.column, version=_version(histories))
        self.keep(Cell.of(column, scenario, cases, histories), self.plan)


def _version(histories: Sequence[History | None]) -> str | None:
    """What the adapter called its version when it was ready."""
    for history in histories:
        for ready in history.of("ready", source="adapter") if history is not None else ():
            if ready.get("version"):
                return str(ready["version"])
    return None
