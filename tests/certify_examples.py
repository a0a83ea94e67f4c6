"""Cells, matrices and histories for the tests of certification reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from squall.certify.classes import VerdictClass, classify
from squall.certify.matrix import Cell, Column, Matrix, Terms
from squall.checks import CHECKS, Judged
from squall.history import Event, History
from squall.results import Case
from squall.scenario import Covers, Scenario
from squall.steps import Step
from squall.verdict import Outcome, Verdict
from squall_proxy import FAULTS
from story import Story, reset_story

NASTY = """"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\x1b[31m\x00"""

TERMS = Terms("1.2.3", "default", "virtual", None, 1)


def scenario(name: str = "reset", **changed: Any) -> Scenario:
    plain = Scenario(
        name=name,
        about="The line is cut; the adapter dials again.",
        covers=Covers(("A-02",), (1, "drop_connection"), ("https://example.org/bugs/1",)),
        channels={"trades": 1},
        steps=(Step(FAULTS["rst"]()),),
        expect={"reconnects": {}},
    )
    return replace(plain, **changed)


def judged(check: str, outcome: Outcome, why: str = "so it was", *evidence: Event) -> Judged:
    return Judged(CHECKS[check](), Verdict(outcome, why, evidence))


def case(outcome: Outcome = Outcome.PASS, *broken: str, **changed: Any) -> Case:
    """A run in which these checks failed, and another one passed."""
    failures = [judged(name, Outcome.FAIL, f"{name} is broken") for name in broken]
    plain = Case(
        name="reset",
        scenario="reset",
        outcome=outcome,
        why=f"{broken[0]} is broken" if broken else "so it was",
        about="The line is cut.",
        seconds=4.5,
        judged=(*failures, judged("exercised", Outcome.PASS)),
        times={"disturbances": [], "dials": 2},
        reproduce="squall run reset --seed 0",
    )
    return replace(plain, **changed)


def failing(*broken: str, **changed: Any) -> Case:
    return case(Outcome.FAIL, *broken, **changed)


def cell(*cases: Case, column: Column | None = None, of: Scenario | None = None) -> Cell:
    cases = cases or (case(),)
    classes = tuple(classify(each) for each in cases)
    return Cell(column or Column("mine", "mine", "2.0"), of or scenario(), cases, classes)


def matrix(*cells: Cell, scenarios: Sequence[Scenario] = (), **changed: Any) -> Matrix:
    columns = {each.column.key: each.column for each in cells}
    known = {each.scenario.name: each.scenario for each in cells}
    plain = Matrix(
        terms=TERMS,
        columns=tuple(columns.values()),
        scenarios=tuple({**known, **{each.name: each for each in scenarios}}.values()),
        cells={(each.column.key, each.scenario.name): each for each in cells},
        started=datetime(2026, 3, 1, 10, 15, tzinfo=UTC),
        seconds=12.0,
    )
    return replace(plain, **changed)


def recovered() -> History:
    """A reset, noticed at once and healed by a second connection."""
    story = reset_story(adapter={"name": "mine"})
    for at, state in ((0.1, "connecting"), (0.6, "live"), (2.0, "disconnected"), (2.6, "live")):
        story.say(at, state)
    story.stop(62.5, 2)
    return story.history


def storm(dials: int) -> History:
    """So many dials, each cut at once."""
    story = Story()
    for number in range(1, dials + 1):
        at = number / 10
        story.say(at, "connecting")
        story.connect(at, number)
        story.say(at + 0.01, "disconnected")
        story.cut(at + 0.02, number)
    return story.history


def everything_nasty(events: Iterable[Event]) -> list[Event]:
    """The same events, with markup for every text that an adapter could have chosen."""
    chosen = ("channel", "state", "reason", "line", "message", "error", "what", "method", "path")

    def spoil(event: Event) -> Event:
        detail = {name: NASTY if name in chosen else each for name, each in event.detail.items()}
        return replace(event, detail=detail)

    return [spoil(event) for event in events]


def classes_of(found: Matrix) -> list[VerdictClass]:
    return [each.verdict for each in found.cells.values()]
