"""The sensitivity matrix: every scenario of the catalogue against every adapter of the gallery.

`python -m gallery.matrix --write ../docs/matrix.md`, in the folder `tests`, runs it all on the
virtual clock and writes the tables. What only a process can show (its files, threads, children,
what it prints), and what a kernel takes its own time for, runs on the real clock: a specimen only
where it must be caught.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from gallery import GALLERY, Adapter, Specimen
from gallery.scenarios import EXTRA
from squall.backends import EMBEDDED
from squall.catalogue import find
from squall.manifest import Manifest
from squall.profile import load_profile
from squall.run import Result, Run, Setup
from squall.scenario import Scenario
from squall.verdict import Outcome
from squall.virtual_clock import loop_factory
from squall_proxy import AcceptQueueFull, NetworkFault, Vanish
from squall_proxy.kernel import probe

TESTS = Path(__file__).resolve().parents[1]
README = TESTS.parent / "README.md"
PAGE = TESTS.parent / "docs" / "matrix.md"
REAL_AT_ONCE = 8
"""Runs on the real clock that go on side by side: they wait for most of the time."""

ATTEMPTS = 5
MARKS = ("<!-- matrix: written by gallery.matrix -->", "<!-- end of matrix -->")
GOOD = Specimen("good", "It does everything right.", "", {}, Adapter)


@cache
def scenarios() -> Mapping[str, Scenario]:
    """The shipped catalogue and the gallery's own scenarios, by name."""
    return {scenario.name: scenario for scenario in (*find(["all"]), *EXTRA)}


def adapter_named(name: str) -> Specimen:
    return GOOD if name == GOOD.name else GALLERY[name]


def manifest(specimen: Specimen, scenario: Scenario) -> Manifest:
    return Manifest(
        name=specimen.name,
        object=specimen.object,
        command=(sys.executable, "-m", "gallery", specimen.name),
        supports=("public", "private", "events", "subscribe", "unsubscribe", "request", "health"),
        redirect="http-proxy" if "http-proxy" in scenario.needs else "url",
        folder=TESTS,
    )


def clock(specimen: Specimen, scenario: Scenario) -> str:
    """The clock on which the two meet."""
    real = specimen.process or "process" in scenario.needs or "virtual" not in scenario.clocks
    return "real" if real else "virtual"


def harms_packets(scenario: Scenario) -> bool:
    """Whether it needs a network of its own."""
    return any(isinstance(step.action, NetworkFault) for step in scenario.steps)


def lacking(scenario: Scenario) -> str | None:
    """Why this machine cannot carry the scenario out; None where it can."""
    faults = {type(step.action) for step in scenario.steps}
    if harms_packets(scenario):
        return probe().network
    if Vanish in faults:
        return probe().vanish
    return probe().accept_queue_full if AcceptQueueFull in faults else None


def run(specimen: Specimen, scenario: Scenario, seed: int = 0) -> Result:
    """One run, on an event loop of its own."""
    on = clock(specimen, scenario)
    with asyncio.Runner(loop_factory=loop_factory(on)) as runner:
        return runner.run(undisturbed(specimen, scenario, on, seed))


async def undisturbed(specimen: Specimen, scenario: Scenario, on: str, seed: int = 0) -> Result:
    """A run in which the harness was not held up: on a busy machine that may take a few."""
    proxy = "namespace" if harms_packets(scenario) else EMBEDDED
    setup = Setup(load_profile("default"), seed, on, proxy=proxy)
    for _ in range(ATTEMPTS):
        result = await Run(scenario, manifest(specimen, scenario), setup).execute()
        if not result.history.of("stalled"):
            break
    return result


def failing(result: Result) -> dict[str, str]:
    """The checks that failed, by name, and what each says."""
    return {
        judged.check.name: judged.verdict.why
        for judged in result.judged
        if judged.verdict.outcome is Outcome.FAIL
    }


# -- the table -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """What came of one scenario with one adapter."""

    outcome: Outcome
    failed: tuple[str, ...]

    def __str__(self) -> str:
        match self.outcome:
            case Outcome.FAIL:
                return " ".join(self.failed)
            case Outcome.UNKNOWN:
                return "?"
            case Outcome.UNSUPPORTED:
                return ""
        return "·"


def cell(pair: tuple[str, str]) -> Cell:
    scenario, adapter = pair
    specimen = adapter_named(adapter)
    result = run(specimen, scenarios()[scenario])
    failed = (j.check for j in result.judged if j.verdict.outcome is Outcome.FAIL)
    return Cell(result.outcome, tuple(check.id or check.name for check in failed))


def met_on(pair: tuple[str, str]) -> str:
    scenario, adapter = pair
    return clock(adapter_named(adapter), scenarios()[scenario])


def pairs() -> list[tuple[str, str]]:
    """Every scenario with every adapter; on the real clock only where it must be caught."""
    return [
        (scenario.name, specimen.name)
        for scenario in scenarios().values()
        for specimen in (GOOD, *GALLERY.values())
        if specimen is GOOD
        or scenario.name in specimen.caught
        or clock(specimen, scenario) == "virtual"
    ]


HEAD = """\
# The sensitivity matrix

A chaos tool is believed when it catches what it claims to catch. Each adapter below is the same
correct one with exactly one bug, of a kind that a real adapter had. The tests assert that the
scenario in the last column fails it by the check that names the bug, that the correct adapter
passes every scenario, and that where nothing happens nobody passes.

In the tables `·` is a pass, `?` unknown, and otherwise there stand the checks that failed, by
their ids where they have one. Empty: not run. What only a process can show, or a kernel in its own
time, is run with the adapters that it must catch; what happens to packets is run behind
`--proxy namespace`.

This file is written by `python -m gallery.matrix --write ../docs/matrix.md`, in `tests`.
"""


def page(cells: Mapping[tuple[str, str], Cell]) -> str:
    """The matrix as Markdown, a section for each module of the gallery."""
    parts = [HEAD]
    numbers = {name: str(number) for number, name in enumerate(GALLERY, 1)}
    for module, group in groupby(GALLERY.values(), lambda specimen: specimen.adapter.__module__):
        some = list(group)
        parts.append(f"## {inspect.getdoc(sys.modules[module])}\n".replace(".\n", "\n"))
        head = ("", "adapter", "what it does wrong", "caught by")
        parts.append(table(head, ((numbers[s.name], *described(s)) for s in some)))
        columns = [GOOD.name, *(s.name for s in some)]
        results = (
            (scenario, *(str(cells.get((scenario, name), "")) for name in columns))
            for scenario in scenarios()
        )
        parts.append(table(("scenario", GOOD.name, *(numbers[s.name] for s in some)), results))
    return "\n".join(parts)


def summary() -> str:
    """The README's table: each wrong adapter, and what catches it."""
    rows = []
    for each in GALLERY.values():
        ((scenario, check), *_) = each.caught.items()
        rows.append((each.name, f"{each.about} ([seen]({each.bug}))", scenario, f"`{check}`"))
    return table(("adapter", "what it does wrong", "caught in", "named by"), rows)


def with_summary(readme: str) -> str:
    """The README with its table made anew, between the two marks that hold it."""
    before, _, rest = readme.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{summary()}\n{MARKS[1]}{after}"


def on_page(text: str) -> dict[tuple[str, str], str]:
    """What a page of `page` says of each scenario with each adapter."""
    names = ["", *GALLERY]
    found: dict[tuple[str, str], str] = {}
    columns: list[str] = []
    for line in text.splitlines():
        head, *rest = [each.strip() for each in line.strip("|").split("|")]
        if head == "scenario":
            columns = [each if each == GOOD.name else names[int(each)] for each in rest]
        elif head in scenarios() and len(rest) == len(columns):
            found |= {(head, name): said for name, said in zip(columns, rest, strict=True)}
    return found


def described(specimen: Specimen) -> tuple[str, str, str]:
    caught = ", ".join(f"{scenario}: {check}" for scenario, check in specimen.caught.items())
    return specimen.name, f"{specimen.about} [Seen]({specimen.bug})", caught


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="write the tables to this file, and their summary into the README",
    )
    parser.add_argument("--jobs", type=int, default=None, help="processes; one a core by default")
    options = parser.parse_args()
    cells: dict[tuple[str, str], Cell] = {}
    for kind, at_once in (("real", REAL_AT_ONCE), ("virtual", options.jobs)):
        todo = [pair for pair in pairs() if met_on(pair) == kind]
        with ProcessPoolExecutor(at_once) as pool:
            cells |= zip(todo, pool.map(cell, todo), strict=True)
    text = page(cells)
    if options.write:
        options.write.write_text(text, encoding="utf-8")
        readme = README.read_text(encoding="utf-8")
        README.write_text(with_summary(readme), encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
