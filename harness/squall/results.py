"""What a suite came to, as a value: every report is made from it, and so is the exit code.

A `Case` is one run of one scenario, from a run that just ended (`Case.of`) or from a history on
disk (`Case.from_history`): both say the same. A `Summary` is the cases in the order in which they
were asked for.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from squall import __version__
from squall.checks import Judged, expectations, judge, metrics
from squall.errors import HistoryError
from squall.history import History
from squall.manifest import KnownFailure
from squall.run import Result
from squall.verdict import Outcome, worst

LAST_WORDS = 12
"""Lines of the adapter's own log that are worth showing where it ended by itself."""


class Trouble(StrEnum):
    """Why a run has no verdict of its own."""

    SETUP = "setup"  # the user can mend it: the adapter cannot be started, a port cannot be had
    INTERNAL = "internal"  # Squall is broken
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Case:
    """One run of one scenario, as a report tells it.

    `name` tells it from the suite's other runs (`half-open-2`), `scenario` is what was run.
    """

    name: str
    scenario: str
    outcome: Outcome
    why: str
    about: str = ""
    covers: tuple[str, ...] = ()
    seconds: float = 0.0
    seed: int = 0
    judged: tuple[Judged, ...] = ()
    times: Mapping[str, Any] = field(default_factory=dict)
    history: Path | None = None
    last_words: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    trouble: Trouble | None = None
    known: KnownFailure | None = None
    reproduce: str | None = None

    @property
    def expected(self) -> bool:
        """Whether it came to what the manifest announces."""
        return self.known is not None and self.known.outcome == self.outcome

    @property
    def mended(self) -> bool:
        """Whether it passes though the manifest announces that it never does."""
        announced = self.known is not None and not self.known.sometimes
        return announced and self.outcome is Outcome.PASS

    @property
    def deciding(self) -> list[Judged]:
        """The checks that made the outcome what it is; those in doubt too where one failed."""
        grave = (Outcome.FAIL, Outcome.UNKNOWN)
        ranked = [j for outcome in grave for j in self.judged if j.verdict.outcome is outcome]
        return ranked if self.outcome in grave else []

    @classmethod
    def of(
        cls, result: Result, name: str, known: KnownFailure | None, reproduce: str | None
    ) -> Case:
        """What a run that just ended came to."""
        folder, scenario = result.folder, result.scenario
        could_not = result.error is not None and result.outcome is Outcome.UNKNOWN
        return cls(
            name=name,
            scenario=scenario.name,
            outcome=result.outcome,
            why=result.why,
            about=scenario.about,
            covers=covered(scenario.as_dict()["covers"]),
            seconds=result.seconds,
            seed=result.seed,
            judged=result.judged,
            times=metrics(result.history),
            history=folder and folder / "history.jsonl",
            last_words=last_words(result.history, folder and folder / "adapter.log"),
            remarks=tuple(remarks(result.history)),
            trouble=Trouble.SETUP if could_not else None,
            known=known,
            reproduce=reproduce,
        )

    @classmethod
    def from_history(cls, path: Path) -> Case:
        """Judge a saved history. Raises `HistoryError` where it is none that can be judged."""
        history = History.load(path)
        first = next(iter(history))
        scenario = first.get("scenario")
        if first.kind != "run_started" or not isinstance(scenario, Mapping):
            raise HistoryError(
                f"{path}:1: the first event is '{first.kind}'; a history that can be judged "
                f"begins with 'run_started', which says what was run and what is expected"
            )
        judged = tuple(judge(history, expectations(first)))
        outcome, why, trouble = _ended(history) or (*decided(judged), None)
        name = str(scenario.get("name", "?"))
        return cls(
            name=path.parent.name or name,
            scenario=name,
            outcome=outcome,
            why=why,
            about=str(scenario.get("about", "")),
            covers=covered(scenario.get("covers") or {}),
            seconds=[event.at for event in history][-1],
            seed=first.get("seed", 0),
            judged=judged if outcome is not Outcome.UNSUPPORTED else (),
            times=metrics(history),
            history=path,
            last_words=last_words(history, path.with_name("adapter.log")),
            remarks=tuple(remarks(history)),
            trouble=trouble,
        )

    def as_json(self, base: Path) -> dict[str, Any]:
        """The case as it stands in `results.json`; paths are relative to its folder, `base`."""
        return {
            "name": self.scenario,
            "covers": list(self.covers),
            "outcome": self.outcome.value,
            "seconds": round(self.seconds, 3),
            "seed": self.seed,
            "history": _relative(self.history, base),
            "why": self.why,
            **({"error": self.why} if self.trouble else {}),
            **({"known": _known_as_json(self.known)} if self.known else {}),
            "times": dict(self.times),
            "checks": [
                {
                    "name": judged.check.name,
                    "id": judged.check.id,
                    "outcome": judged.verdict.outcome.value,
                    "why": judged.verdict.why,
                    "evidence": [event.as_json() for event in judged.verdict.evidence],
                }
                for judged in self.judged
            ],
        }


@dataclass(frozen=True)
class Summary:
    """A suite: what was run with what, and what each run came to."""

    adapter: str
    profile: str
    clock: str
    seed: int | None
    started: datetime
    cases: tuple[Case, ...] = ()
    seconds: float = 0.0
    interrupted: bool = False
    not_run: int = 0
    internal_errors: int = 0

    @property
    def exit_code(self) -> int:
        """What the process says to its caller; docs/command-line.md explains the numbers."""
        if self.interrupted:
            return 130
        return exit_code(self.cases) or (2 if self.internal_errors else 0)

    def as_json(self, base: Path) -> dict[str, Any]:
        """The whole of `results.json`, in the folder `base`."""
        return {
            "squall": __version__,
            "seed": self.seed,
            "adapter": self.adapter,
            "profile": self.profile,
            "clock": self.clock,
            "started": self.started.isoformat(timespec="milliseconds"),
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "scenarios": [case.as_json(base) for case in self.cases],
        }


def exit_code(cases: Iterable[Case]) -> int:
    """0 all is well, 1 something failed, 2 something is in doubt, 3 something could not be run."""
    counted = [case for case in cases if not case.expected]
    if any(case.trouble is Trouble.SETUP for case in counted):
        return 3
    if any(case.outcome is Outcome.FAIL for case in counted):
        return 1
    return 2 if any(case.outcome is Outcome.UNKNOWN for case in counted) else 0


def tally(cases: Iterable[Case]) -> Counter[str]:
    """How many cases came to what; an announced failure counts as `known`."""
    return Counter("known" if case.expected else case.outcome.value for case in cases)


def decided(judged: Sequence[Judged]) -> tuple[Outcome, str]:
    """The outcome of all verdicts together, and the sentence of the one that decided it."""
    outcome = worst(each.verdict.outcome for each in judged)
    return outcome, next((j.verdict.why for j in judged if j.verdict.outcome is outcome), "")


def covered(covers: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """What a scenario stands for, in short: rows of the catalogue, then issues of the guide."""
    guide = covers.get("guide", ())
    named = (f"guide-{each}" if isinstance(each, int) else str(each) for each in guide)
    return (*covers.get("catalogue", ()), *named)


def remarks(history: History) -> Iterator[str]:
    """What is no verdict, but the adapter's author would like to know."""
    garbage = history.first("garbage")
    if garbage is not None:
        line = garbage["line"]
        shown = line if len(line) <= 80 else f"{line[:79]}…"
        yield (
            f"the adapter printed {shown!r} on standard output, which is no event. "
            f"Was it meant for standard error? Standard output carries JSON lines."
        )


def last_words(history: History, log: Path | None) -> tuple[str, ...]:
    """The end of the adapter's log, where it ended by itself or reported a crash."""
    ended = [event for event in history.of("exited") if not event["expected"]]
    if log is None or not (ended or history.of("crash_reported")):
        return ()
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ()
    return tuple(lines[-LAST_WORDS:])


def near(path: Path) -> Path:
    """The path as one would type it here: relative where it is below the present folder."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def write(path: Path, data: str) -> None:
    """Replace the file in one step: a reader finds the old one or the new one, and no half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(data, encoding="utf-8")
    draft.replace(path)


def write_results(summary: Summary, folder: Path) -> None:
    """Write `results.json` into the folder."""
    said = json.dumps(summary.as_json(folder), indent=1, default=str)
    write(folder / "results.json", said + "\n")


def _ended(history: History) -> tuple[Outcome, str, Trouble | None] | None:
    """What the harness itself says of the run, where that goes before any verdict."""
    match history.first("unsupported", "not_run", "interrupted", source="scenario"):
        case None:
            return None
        case event if event.kind == "unsupported":
            return Outcome.UNSUPPORTED, event["why"], None
        case event if event.kind == "not_run":
            return Outcome.UNKNOWN, event["why"], Trouble.SETUP
        case _:
            return Outcome.UNKNOWN, "interrupted", Trouble.INTERRUPTED


def _known_as_json(known: KnownFailure) -> dict[str, Any]:
    return asdict(known)


def _relative(path: Path | None, base: Path) -> str | None:
    return None if path is None else Path(os.path.relpath(path, base)).as_posix()
