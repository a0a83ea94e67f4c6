"""The report as it lies on disk, and what `--resume` finds there.

    index.html  index.json  junit.xml  badge.svg  report.css  report.js
    my-adapter/badge.svg
    my-adapter/half-open/index.html          the page of the cell
                         cell.json           what it says, for programs and for `--resume`
                         history.jsonl.gz    all that happened; history-2.jsonl.gz in a second run
                         adapter.log.gz      the end of what the adapter printed

`cell.json` is written last: a cell that has none was interrupted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from squall import __version__
from squall.certify.cell_page import Evidence, cell_page
from squall.certify.classes import VerdictClass
from squall.certify.matrix import Cell, Column
from squall.checks import CHECKS, Judged
from squall.errors import AdapterError, HistoryError
from squall.history import Event, History
from squall.manifest import KnownFailure, Manifest
from squall.plan import Plan
from squall.results import Case, covered, write
from squall.scenario import Scenario
from squall.steps import plain
from squall.verdict import Outcome, Verdict

SCRATCH = ".running"
INDEX = "index.json"
LOG_BYTES = 128 << 10
"""So much of an adapter's log is kept: `squall run` keeps all of it."""


class Folder:
    """The folder of a report."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def scratch(self) -> Path:
        """Where runs leave what they saw until it is packed."""
        return self.root / SCRATCH

    def prepare(self, *, resume: bool) -> None:
        """Make the folder. Raises `AdapterError` rather than write over somebody's files."""
        held = [each.name for each in self.root.iterdir()] if self.root.is_dir() else []
        if held and not resume:
            raise AdapterError(
                f"{self.root} is not empty: --resume goes on with the report in it, "
                f"--out DIR writes another one"
            )
        if held and INDEX not in held and SCRATCH not in held:
            raise AdapterError(f"{self.root} holds no report, so there is nothing to resume")
        self.clean()
        self.scratch.mkdir(parents=True)

    def clean(self) -> None:
        """Remove what unfinished runs have left."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def cell(self, column: Column, scenario: Scenario) -> Path:
        """The folder of a cell."""
        return self.root / column.key / scenario.name

    def keep(self, cell: Cell, plan: Plan) -> None:
        """Write the page of a cell and pack what its runs saw."""
        folder = self.cell(cell.column, cell.scenario)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shown = plan.out / cell.case.name
        evidence = Evidence(load(shown), _log(shown), {})
        files = {
            name: about
            for number, case in enumerate(cell.cases, 1)
            for name, about in _pack(plan.out / case.name, folder, number)
        }
        page = cell_page(cell, dataclasses.replace(evidence, files=files))
        (folder / "index.html").write_text(page, encoding="utf-8")
        said = _as_json(cell, fingerprint(plan, cell.scenario))
        write(folder / "cell.json", json.dumps(said, default=str) + "\n")

    def done(self, column: Column, scenario: Scenario, plan: Plan) -> Cell | None:
        """The cell, where it was run under the same conditions and came to a verdict."""
        try:
            said = json.loads((self.cell(column, scenario) / "cell.json").read_text("utf-8"))
            if said["fingerprint"] != fingerprint(plan, scenario):
                return None
            cell = _from_json(said, column, scenario)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # what cannot be read is run again
        return cell if cell.settled else None


def fingerprint(plan: Plan, scenario: Scenario) -> str:
    """Changes when anything does that Squall knows of; the adapter's own code it does not know."""
    known = {
        "squall": __version__,
        "scenario": scenario.as_dict(),
        "manifest": _fields(plan.manifest, but=("folder",)),
        "plan": _fields(plan, but=("scenarios", "manifest", "out", "jobs", "fail_fast")),
    }
    text = json.dumps(known, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _fields(value: Manifest | Plan, but: Collection[str]) -> dict[str, Any]:
    names = [each.name for each in dataclasses.fields(value) if each.name not in but]
    return {name: plain(getattr(value, name)) for name in names}


def key_for(name: str, taken: Collection[str]) -> str:
    """A name for the adapter's folder that no other has."""
    plain_name = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "adapter"
    key, number = plain_name, 1
    while key in taken:
        number += 1
        key = f"{plain_name}-{number}"
    return key


def load(folder: Path) -> History | None:
    """The history of a run; None where there is none that can be read."""
    try:
        return History.load(folder / "history.jsonl")
    except HistoryError:
        return None


# -- what is kept of a run -------------------------------------------------------------------


def _pack(run: Path, folder: Path, number: int) -> list[tuple[str, str]]:
    """Histories shrink to an eighth: names of the files, and what is in them."""
    which = f"-{number}" if number > 1 else ""
    of_run = f" of run {number}" if number > 1 else ""
    packed: list[tuple[str, str]] = []
    with contextlib.suppress(FileNotFoundError):
        data = (run / "history.jsonl").read_bytes()
        packed.append((f"history{which}.jsonl.gz", f"every event{of_run}, for squall check"))
        (folder / packed[-1][0]).write_bytes(gzip.compress(data, mtime=0))
    if data := _end_of_log(run):
        packed.append((f"adapter{which}.log.gz", f"what the adapter printed{of_run}"))
        (folder / packed[-1][0]).write_bytes(gzip.compress(data, mtime=0))
    with contextlib.suppress(FileNotFoundError):
        name = f"internal-error{which}.txt"
        shutil.copy(run / "internal-error.txt", folder / name)
        packed.append((name, "where Squall itself failed"))
    return packed


def _end_of_log(run: Path) -> bytes:
    try:
        with (run / "adapter.log").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_BYTES))
            data = file.read()
    except OSError:
        return b""
    if size <= LOG_BYTES:
        return data
    return f"[{size - LOG_BYTES} bytes before this are left out]\n".encode() + data


def _log(run: Path) -> list[str]:
    return _end_of_log(run).decode("utf-8", "replace").splitlines()


# -- a cell as JSON, both ways ---------------------------------------------------------------


def _as_json(cell: Cell, made_of: str) -> dict[str, Any]:
    return {
        "squall": __version__,
        "fingerprint": made_of,
        "adapter": cell.column.name,
        "version": cell.column.version,
        "scenario": cell.scenario.name,
        "class": cell.verdict.value,
        "runs": [
            _case_as_json(case, each) for case, each in zip(cell.cases, cell.classes, strict=True)
        ],
    }


def _case_as_json(case: Case, verdict: VerdictClass) -> dict[str, Any]:
    return {
        "name": case.name,
        "class": verdict.value,
        "outcome": case.outcome.value,
        "why": case.why,
        "seconds": round(case.seconds, 3),
        "seed": case.seed,
        "trouble": case.trouble,
        "known": None if case.known is None else plain(case.known),
        "reproduce": case.reproduce,
        "last_words": case.last_words,
        "times": dict(case.times),
        "checks": [_judged_as_json(judged) for judged in case.judged],
    }


def _judged_as_json(judged: Judged) -> dict[str, Any]:
    verdict = judged.verdict
    grave = verdict.outcome in (Outcome.FAIL, Outcome.UNKNOWN)
    return {
        "name": judged.check.name,
        "id": judged.check.id,
        "outcome": verdict.outcome.value,
        "why": verdict.why,
        # What proves a pass is in the history.
        **({"evidence": [event.as_json() for event in verdict.evidence]} if grave else {}),
    }


def _from_json(said: Mapping[str, Any], column: Column, scenario: Scenario) -> Cell:
    runs = said["runs"]
    return Cell(
        column=dataclasses.replace(column, version=said["version"]),
        scenario=scenario,
        cases=tuple(_case(run, scenario) for run in runs),
        classes=tuple(VerdictClass(run["class"]) for run in runs),
    )


def _case(run: Mapping[str, Any], scenario: Scenario) -> Case:
    return Case(
        name=run["name"],
        scenario=scenario.name,
        outcome=Outcome(run["outcome"]),
        why=run["why"],
        about=scenario.about,
        covers=covered(scenario.as_dict()["covers"]),
        seconds=run["seconds"],
        seed=run["seed"],
        judged=tuple(_judged(each) for each in run["checks"]),
        times=run["times"],
        last_words=tuple(run["last_words"]),
        trouble=run["trouble"],
        known=run["known"] and KnownFailure(**run["known"]),
        reproduce=run["reproduce"],
    )


def _judged(said: Mapping[str, Any]) -> Judged:
    events = tuple(_event(dict(each)) for each in said.get("evidence", ()))
    return Judged(CHECKS[said["name"]](), Verdict(Outcome(said["outcome"]), said["why"], events))


def _event(said: dict[str, Any]) -> Event:
    at, source, kind = said.pop("at"), said.pop("source"), said.pop("kind")
    return Event(at, source, kind, said.pop("connection", None), said)
