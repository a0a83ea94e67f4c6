"""The words of `squall certify`, and what it shows while it works."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from squall.certify.campaign import Start, certify
from squall.certify.folder import Folder
from squall.certify.matrix import Matrix, predicate, verdict
from squall.options import Options, add_conditions, add_quiet, add_scenarios, chosen, plan
from squall.plan import Plan, adapter_named
from squall.report import Terminal, TextReport, counted, failed_itself
from squall.suite import Began, Notice

REPORT = Path("squall-report")

ABOUT = "run all scenarios against several adapters and write a report in HTML"
EXAMPLES = """\
  squall certify my-adapter.yaml
  squall certify mine.yaml theirs.yaml reference --repeat 5
  squall certify mine.yaml --scenarios half-open reset --out report
  squall certify mine.yaml --out report --resume
"""


def words(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "adapters",
        nargs="+",
        metavar="ADAPTER",
        help="a manifest, or 'reference', the built-in one",
    )
    add_scenarios(parser, "--scenarios", nargs="+", action="extend", default=[])
    add_conditions(parser)
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
    add_quiet(parser)


def run(options: Options) -> int:
    """Do what the words say; the exit code is that of `squall run`."""
    scenarios = chosen(options)
    plans = [
        plan(options, scenarios, adapter, adapter_named(adapter), options.out)
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
            self._terminal.line(failed_itself(matrix.internal_errors))
        self._terminal.line(f"report: {folder / 'index.html'}")
