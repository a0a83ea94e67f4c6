"""What a certification came to, as a value: scenarios down, adapters across, a class in each cell.

Pages, badge, JUnit, index.json and the exit code are all made from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from squall.backends import EMBEDDED
from squall.certify.classes import VerdictClass, classify, connected_at_the_end, worst
from squall.history import History
from squall.report import counted
from squall.results import Case, Summary, exit_code
from squall.scenario import Scenario
from squall.verdict import Outcome

GROUPS: Mapping[str, str] = {
    "A": "Transport drops",
    "B": "Half-open, blackhole, stall",
    "C": "Outage and refusal",
    "D": "Storms and backoff",
    "E": "Authentication",
    "F": "Subscriptions",
    "G": "Heartbeats",
    "H": "Data integrity",
    "I": "Planned lifetime",
    "J": "Leaks and shutdown",
    "K": "Outbound safety and load",
}
"""The groups of the scenario catalogue, by the letter of their rows."""

YOUR_OWN = ("", "Your own scenarios")


@dataclass(frozen=True)
class Column:
    """An adapter: `key` is its folder in the report."""

    key: str
    name: str
    version: str | None = None

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}" if self.version else self.name


@dataclass(frozen=True)
class Cell:
    """A scenario with an adapter: one case a repetition, and the class of each."""

    column: Column
    scenario: Scenario
    cases: tuple[Case, ...]
    classes: tuple[VerdictClass, ...]

    @classmethod
    def of(
        cls,
        column: Column,
        scenario: Scenario,
        cases: Sequence[Case],
        histories: Sequence[History | None],
    ) -> Cell:
        """The cell that these runs make; a run of which nothing was kept has no history."""
        classes = tuple(
            classify(case, connected=history is None or connected_at_the_end(history))
            for case, history in zip(cases, histories, strict=True)
        )
        return cls(column, scenario, tuple(cases), classes)

    @property
    def verdict(self) -> VerdictClass:
        """The class of the worst run."""
        return worst(self.classes)

    @property
    def agreeing(self) -> int:
        """How many of the runs came to that."""
        return self.classes.count(self.verdict)

    @property
    def deciding(self) -> int:
        """Which run is shown: the first that came to it."""
        return self.classes.index(self.verdict)

    @property
    def case(self) -> Case:
        """That run."""
        return self.cases[self.deciding]

    @property
    def settled(self) -> bool:
        """Whether every run has a verdict; a cell in which one has none is run again."""
        return all(case.trouble is None for case in self.cases)

    @property
    def surprising(self) -> bool:
        """Whether it passes though the manifest announces a failure."""
        return self.verdict is VerdictClass.PASS and any(case.mended for case in self.cases)

    @property
    def random(self) -> bool:
        """Whether chance decides: the runs differ, or the manifest says so."""
        announced = any(case.known is not None and case.known.sometimes for case in self.cases)
        return announced or self.agreeing < len(self.cases)

    @property
    def flaky(self) -> bool:
        """Whether the same scenario passed at one time and not at another."""
        outcomes = {case.outcome for case in self.cases}
        return Outcome.PASS in outcomes and len(outcomes) > 1


@dataclass(frozen=True)
class Terms:
    """Under which conditions it was certified."""

    squall: str
    profile: str
    clock: str
    seed: int | None
    repeat: int
    proxy: str = EMBEDDED
    tls: bool = False


@dataclass(frozen=True)
class Matrix:
    """All cells; those that were not run are missing."""

    terms: Terms
    columns: tuple[Column, ...]
    scenarios: tuple[Scenario, ...]
    cells: Mapping[tuple[str, str], Cell] = field(default_factory=dict)
    started: datetime | None = None
    seconds: float = 0.0
    interrupted: bool = False
    internal_errors: int = 0

    def cell(self, column: Column, scenario: Scenario) -> Cell | None:
        """What came of this scenario with this adapter; None where it was not run."""
        return self.cells.get((column.key, scenario.name))

    def of(self, column: Column) -> list[Cell]:
        """The cells of an adapter, in the order of the scenarios."""
        found = (self.cell(column, scenario) for scenario in self.scenarios)
        return [cell for cell in found if cell is not None]

    @property
    def groups(self) -> Iterator[tuple[tuple[str, str], list[Scenario]]]:
        """The scenarios by the group of the first row that they cover."""
        found: dict[tuple[str, str], list[Scenario]] = {}
        for scenario in self.scenarios:
            found.setdefault(group(scenario), []).append(scenario)
        letters = sorted(found, key=lambda each: each[0] or "~")
        return ((each, sorted(found[each], key=_row)) for each in letters)

    @property
    def not_run(self) -> int:
        """How many cells are missing."""
        return len(self.columns) * len(self.scenarios) - len(self.cells)

    @property
    def exit_code(self) -> int:
        """As `squall run` has it: 130, 3, 1, 2 or 0."""
        if self.interrupted:
            return 130
        cases = [case for cell in self.cells.values() for case in cell.cases]
        return exit_code(cases) or (2 if self.internal_errors else 0)

    def summary(self, column: Column) -> Summary:
        """The cases of one adapter, as other reports take them."""
        cases = [case for cell in self.of(column) for case in cell.cases]
        return Summary(
            adapter=column.title,
            profile=self.terms.profile,
            clock=self.terms.clock,
            seed=self.terms.seed,
            started=self.started or datetime.min,
            cases=tuple(cases),
            seconds=sum(case.seconds for case in cases),
        )


def group(scenario: Scenario) -> tuple[str, str]:
    """Letter and name of the catalogue's group that the scenario belongs to."""
    rows = scenario.covers.catalogue
    return (rows[0][0], GROUPS[rows[0][0]]) if rows else YOUR_OWN


def tally(cells: Sequence[Cell]) -> Counter[VerdictClass]:
    """How many cells came to which class."""
    return Counter(cell.verdict for cell in cells)


def passing(cells: Sequence[Cell]) -> bool:
    """Whether nothing failed and nothing is in doubt."""
    return all(not cell.verdict.failed for cell in cells) and not any(
        cell.verdict is VerdictClass.UNKNOWN for cell in cells
    )


def verdict(matrix: Matrix) -> str:
    """The first sentence of the report."""
    if matrix.interrupted:
        runs = len(matrix.columns) * len(matrix.scenarios)
        return f"Interrupted: {len(matrix.cells)} of {counted(runs, 'cell')} are done."
    if not matrix.cells:
        return "Nothing was run."
    if len(matrix.columns) == 1:
        return f"{matrix.columns[0].name} {predicate(matrix.of(matrix.columns[0]))}."
    good = [cells for cells in map(matrix.of, matrix.columns) if passing(cells)]
    every, one = len(matrix.columns), len(good) == 1
    announced = any(cell.verdict is VerdictClass.KNOWN for cells in good for cell in cells)
    or_else = f", or fail{'s' * one} as announced" if announced else ""
    if len(good) == every:
        who = "Both" if every == 2 else f"All {every}"
        return f"{who} adapters pass every scenario that they support{or_else}."
    if not good:
        return f"None of the {every} adapters passes every scenario."
    return f"{len(good)} of {every} adapters pass{'es' * one} every scenario{or_else}."


def predicate(cells: Sequence[Cell]) -> str:
    """What an adapter does, for a sentence that begins with its name."""
    if cells and not any(cell.settled for cell in cells):
        return "could not be run"
    counts = tally(cells)
    failed = sum(count for each, count in counts.items() if each.failed)
    unknown = counts[VerdictClass.UNKNOWN]
    judged = len(cells) - counts[VerdictClass.UNSUPPORTED]
    of_all = f"of {counted(judged, 'scenario')}"
    said = [f"fails {failed} {of_all}"] * bool(failed)
    if unknown:
        said.append(f"leaves {unknown} {'' if said else of_all} in doubt".replace("  ", " "))
    if counts[VerdictClass.KNOWN] and not said:
        passed = counts[VerdictClass.PASS]
        return f"passes {passed} of {judged} scenarios and fails the rest as announced"
    return " and ".join(said) or f"passes {_all(judged)}"


def _all(count: int) -> str:
    if count == 0:
        return "nothing, for it supports no scenario"
    return {1: "the one scenario", 2: "both scenarios"}.get(count, f"all {count} scenarios")


def _row(scenario: Scenario) -> str:
    return (scenario.covers.catalogue or ("",))[0]
