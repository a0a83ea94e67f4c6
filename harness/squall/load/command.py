"""The words of `squall load`, and what it shows while a storm lasts."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from squall import catalogue
from squall.errors import NetworkError, SquallError
from squall.load import preflight, report, storm_file
from squall.load.results import Fleet, Result
from squall.load.stage import Setup, Stage
from squall.load.storm import Storm
from squall.options import Options, add_quiet, count, port
from squall.report import COLOURS, Terminal
from squall.typed_yaml import hints, read
from squall.verdict import Outcome
from squall.yaml_source import Invalid, compose

STORMS = Path("squall-storms")
WEB = 8089

ABOUT = "let a fleet of adapters live through a storm, on Locust"
EXAMPLES = """\
  squall load                                  the storms that there are
  squall load thundering-herd --users 1000
  squall load outage --users 5000 --workers 2
  squall load my-storm.yaml --url ws://127.0.0.1:9000/ws
  squall load flap --web
"""

_CLOSING = {
    Outcome.PASS: "passed",
    Outcome.FAIL: "failed",
    Outcome.UNKNOWN: "unknown: not all could be told",
}


def words(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("storm", nargs="?", metavar="STORM", help="name or file of a storm")
    parser.add_argument("--users", type=count, metavar="N", help="adapters (default: the storm's)")
    parser.add_argument(
        "--workers", type=count, default=1, metavar="N", help="processes of users (default: 1)"
    )
    parser.add_argument(
        "--duration", metavar="TIME", help="how long it lasts, such as 90s (default: the storm's)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of all chance")
    parser.add_argument(
        "--url", metavar="URL", help="storm this gateway of yours (default: the mock exchange)"
    )
    parser.add_argument(
        "--permit", metavar="HOST", help="--url leads to HOST, which is mine to storm"
    )
    parser.add_argument(
        "--proxy-api",
        metavar="URL",
        help="API of a proxy that runs already and that --url leads through: ours, or Toxiproxy",
    )
    parser.add_argument(
        "--web",
        type=port,
        nargs="?",
        const=WEB,
        metavar="PORT",
        help=f"Locust's web page, with the storm in it (default port: {WEB})",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"results (default: {STORMS}/<date>-<time>)"
    )
    add_quiet(parser)


def run(options: Options, new_folder: Callable[[Path], Path]) -> int:
    """Do what the words say; the exit code. `new_folder` makes one for results."""
    if options.storm is None:
        print_storms()
        return 0
    storm = _storm(options)
    _check(options, storm)
    preflight.check_locust()
    with_proxy = options.proxy_api is None
    preflight.allow_open_files(preflight.open_files(storm, options.workers, proxy=with_proxy))
    out = options.out or new_folder(STORMS)
    setup = Setup(storm, out, options.workers, options.url, options.proxy_api, options.web)
    progress = Progress(Terminal(sys.stdout), storm, quiet=options.quiet)
    progress.header(options.workers, options.url)
    with asyncio.Runner() as runner:
        result = runner.run(_play(setup, progress))
    result.write(out)
    written = report.write(result, out)
    progress.end(result, written)
    return result.exit_code


def print_storms() -> None:
    """Name and purpose of each storm that Squall ships."""
    terminal = Terminal(sys.stdout)
    for name, path in catalogue.storms().items():
        terminal.line(f"{name:<17}{storm_file.load(path).about}")
    terminal.line()
    terminal.line("squall load STORM plays one of these, or a file of your own")


def _storm(options: Options) -> Storm:
    storm = storm_file.find(options.storm)
    if options.users is not None:
        storm = storm.scaled(options.users)
    if options.seed is not None:
        storm = replace(storm, seed=options.seed)
    if options.duration is not None:
        storm = replace(storm, duration=_duration(options.duration))
    return storm


def _duration(text: str) -> float:
    try:
        seconds: float = read(_SECONDS, compose(text, "is empty"), "--duration")
    except Invalid as invalid:
        raise SquallError("; ".join(each.text for each in invalid.problems)) from None
    return seconds


_SECONDS = hints(Storm)["duration"]


def _check(options: Options, storm: Storm) -> None:
    """Raise `SquallError` where the words and the storm do not go together."""
    if options.url is None:
        for option in ("permit", "proxy_api"):
            if getattr(options, option) is not None:
                raise SquallError(f"--{option.replace('_', '-')} goes with --url")
        return
    preflight.check_url(options.url, options.permit)
    steps = [step for step in storm.steps if step.where == "exchange"]
    if steps:
        raise NetworkError(
            f"{steps[0].do} is a fault of the mock exchange; leave out --url, or take another storm"
        )
    if settings := storm_file.spelled(storm.exchange):
        raise NetworkError(
            f"the storm sets {next(iter(settings))} of the mock exchange, which --url replaces; "
            f"leave out --url, or take another storm"
        )
    steps = [step for step in storm.steps if step.where == "proxy"]
    if steps and options.url.startswith("wss:") and options.proxy_api is None:
        raise NetworkError(
            f"{steps[0].do} is done by a proxy, and our own does not stand in front of wss:// "
            f"here: it could not show your gateway's certificate. Put one before it that passes "
            f"TLS through, and name it with --proxy-api; or take a ws:// port of the gateway"
        )


async def _play(setup: Setup, progress: Progress) -> Result:
    stage = Stage(setup, progress.tell, progress.say)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stage.interrupt)
    return await stage.play()


class Progress:
    """A line that is rewritten each second on a terminal, and what it came to."""

    def __init__(self, terminal: Terminal, storm: Storm, *, quiet: bool) -> None:
        self._terminal = terminal
        self._storm = storm
        self._quiet = quiet

    def header(self, workers: int, url: str | None) -> None:
        """What is about to happen."""
        if not self._quiet:
            storm = self._storm
            where = f"against {url}" if url else "against the mock exchange"
            processes = f"{workers} workers, " if workers > 1 else ""
            self._terminal.line(
                f"{storm.name}: {storm.users:,} users {where}, {processes}"
                f"{storm.duration:g} s, seed {storm.seed}"
            )

    def say(self, text: str) -> None:
        """Something that a reader should know."""
        self._terminal.line(text)

    def tell(self, fleet: Fleet) -> None:
        """How the fleet stands."""
        self._terminal.status(standing(fleet, self._storm))

    def end(self, result: Result, written: Path) -> None:
        """What it came to, and where the report is."""
        terminal = self._terminal
        terminal.status("")
        for judged in result.judged:
            outcome = judged.verdict.outcome
            if not (self._quiet and outcome is Outcome.PASS):
                terminal.line(
                    f"{str(outcome).upper():<8} {judged.name:<26} {judged.verdict.why}",
                    COLOURS[outcome],
                )
        terminal.line()
        if result.why:
            terminal.line(f"ended early: {result.why}")
        for remark in result.remarks:
            terminal.line(remark)
        closing = "interrupted" if result.interrupted else _CLOSING[result.outcome]
        terminal.line(f"{result.storm.name} {closing}", "1")
        terminal.line(f"report: {written}")


def standing(fleet: Fleet, storm: Storm) -> str:
    """`12.3 s  refuse  users 1,000  whole 640  dials/s 87`."""
    tally = fleet.tally
    users, whole = tally.users(), tally.whole()
    rate = tally.total("dialled", fleet.at - 1.0, fleet.at)
    if fleet.ended:
        phase = "over"
    elif not fleet.began:
        phase = "building up"
    else:
        here = [each.label for each in fleet.phases if each.at <= fleet.at <= each.until + 1.0]
        phase = ", ".join(here) or "calm"
    return (
        f"{fleet.at:6.1f} of {storm.duration:g} s  {phase}  users {users:,}  whole {whole:,}  "
        f"dials/s {rate:,}"
    )
