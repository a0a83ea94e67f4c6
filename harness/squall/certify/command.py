"""The words of `squall certify`, and what it shows while it works."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from squall import catalogue
from squall.backends import BACKENDS, EMBEDDED
from squall.certify.campaign import Start, certify
from squall.certify.folder import Folder
from squall.certify.matrix import Matrix, predicate, verdict
from squall.errors import SquallError
from squall.plan import DEFAULT_PROFILE, Plan, adapter_named, same_again
from squall.profile import load_profile
from squall.report import Terminal, TextReport, counted
from squall.suite import Began, Notice

REPORT = Path("squall-report")

ABOUT = "run all scenarios against several adapters and write a report in HTML"
EXAMPLES = """\
  squall certify my-adapter.yaml
  squall certify mine.yaml theirs.yaml reference --repeat 5
  squall certify mine.yaml --scenarios half-open reset --out report
  squall certify mine.yaml --out report --resume
"""


def words(parser: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """Add the options; `count` reads a whole number from 1 on."""
    parser.add_argument(
        "adapters",
        nargs="+",
        metavar="ADAPTER",
        help="a manifest, or 'reference', the built-in one",
    )
    parser.add_argument(
        "--scenarios",
        nargs="+",
        action="extend",
        default=[],
        metavar="SCENARIO",
        help="names from the catalogue, files or folders (default: all that Squall ships)",
    )
    parser.add_argument(
        "--covers",
        "--tag",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only those that cover this: 'B-*', guide-2, block_traffic; may be repeated",
    )
    parser.add_argument("--repeat", type=count, default=1, metavar="N", help="run each N times")
    parser.add_argument(
        "--jobs", type=count, metavar="N", help="runs side by side (default: 16 a core, up to 32)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of all chance")
    parser.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        metavar="NAME",
        help="thresholds: default, strict, lenient, or a file",
    )
    parser.add_argument(
        "--clock",
        choices=("real", "virtual"),
        default="real",
        help="virtual: adapters on asyncio, inside this process, without waiting (default: real)",
    )
    parser.add_argument(
        "--proxy",
        choices=tuple(BACKENDS),
        default=EMBEDDED,
        help="what does harm to the line (default: embedded, the proxy inside this process)",
    )
    parser.add_argument("--tls", action="store_true", help="every run over wss:// and https://")
    parser.add_argument(
        "--out",
        type=Path,
        default=REPORT,
        metavar="DIR",
        help=f"where the report goes (default: {REPORT})",
    )
    parser.add_argument(
        "--resume", action="store_true", help="keep what the report in DIR holds already"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="only what did not pass")


def run(options: argparse.Namespace) -> int:
    """Do what the words say; the exit code is that of `squall run`."""
    scenarios = catalogue.select(catalogue.find(options.scenarios), options.covers)
    if not scenarios:
        raise SquallError("no scenario covers what --covers asks for; `squall list` shows them")
    plans = [
        Plan(
            scenarios=tuple(scenarios),
            manifest=adapter_named(adapter),
            profile=load_profile(options.profile),
            out=options.out,
            seed=options.seed,
            clock=options.clock,
            jobs=options.jobs,
            repeat=options.repeat,
            options=same_again(
                adapter, options.profile, options.clock, options.proxy, tls=options.tls
            ),
            proxy=options.proxy,
            tls=options.tls,
        )
        for adapter in options.adapters
    ]
    progress = Progress(Terminal(sys.stdout), plans, quiet=options.quiet)
    matrix = certify(plans, Folder(options.out), progress.tell, resume=options.resume)
    progress.end(matrix, options.out)
    return matrix.exit_code


class Progress:
    """A line for each run as it ends, then one for each adapter, then the verdict."""

    def __init__(self, terminal: Terminal, plans: Sequence[Plan], *, quiet: bool) -> None:
        self._terminal = terminal
        self._plans = plans
        self._quiet = quiet
        self._report = TextReport(terminal, 0, quiet=quiet)

    def tell(self, notice: Start | Notice) -> None:
        """Show what happened."""
        if isinstance(notice, Start):
            self._start(notice)
        elif isinstance(notice, Began):
            self._report.began(notice.name)
        else:
            self._report.ended(notice.case)

    def _start(self, start: Start) -> None:
        self._report = TextReport(self._terminal, start.runs, quiet=self._quiet)
        plan = self._plans[0]
        self._report.header(
            f"{counted(len(self._plans), 'adapter')}, {counted(len(plan.scenarios), 'scenario')}: "
            f"{counted(start.runs, 'run')} to do"
            + (f", {counted(start.kept, 'cell')} kept" if start.kept else "")
            + f", profile {plan.profile.name}, {plan.clock} clock"
        )

    def end(self, matrix: Matrix, folder: Path) -> None:
        """How each adapter did, and where the report is."""
        self._terminal.status("")
        self._terminal.line()
        if len(matrix.columns) > 1:
            for column in matrix.columns:
                cells = matrix.of(column)
                said = predicate(cells) if cells else "was not run"
                self._terminal.line(f"{column.title} {said}")
        self._terminal.line(verdict(matrix), "1")
        if matrix.internal_errors:
            self._terminal.line(
                f"squall itself failed {counted(matrix.internal_errors, 'time')} in the "
                f"background, so this may not be all: see internal-error.txt in the report"
            )
        self._terminal.line(f"report: {folder / 'index.html'}")
