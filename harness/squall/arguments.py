"""The words of the command line: which commands there are, their options, and their help.

What a command does is in `squall.cli`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from squall import __version__
from squall.certify import command as certify
from squall.load import command as load
from squall.options import (
    Options,
    add_conditions,
    add_profile,
    add_quiet,
    add_scenarios,
    count,
    port,
)
from squall.plan import REFERENCE
from squall_proxy.toxiproxy import LIKE_VERSION

WRONG_USE = 3

RUNS = Path("squall-runs")


class Parser(argparse.ArgumentParser):
    """An argument parser for which a mistake is wrong use, 3: its own 2 means "unknown" here."""

    def __init__(self, **settings: Any) -> None:
        # Half an option is a mistake, not an abbreviation.
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end the process."""
        self.print_usage(sys.stderr)
        self.exit(WRONG_USE, f"{self.prog}: {message}\n")

    def parse(self, words: Sequence[str]) -> Options:
        """The options; the words after `--` are `options.command`."""
        words, command = list(words), []
        if "--" in words:
            split = words.index("--")
            words, command = words[:split], words[split + 1 :]
        options = self.parse_args(words)
        if command and options.act not in ("run", "doctor"):
            self.error("only `squall run` and `squall doctor` take a command after --")
        options.command = tuple(command)
        return options


def parser() -> Parser:
    """The parser of the whole command line; `act` is the command, None where there is none."""
    top = Parser(
        prog="squall",
        description="Chaos tests for WebSocket exchange adapters.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"squall {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="act")
    for name, (about, words, examples) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=f"examples:\n{examples.rstrip()}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        words(command)
    return top


def _run_words(run: argparse.ArgumentParser) -> None:
    run.usage = "squall run [SCENARIO ...] [options] [--adapter MANIFEST | -- COMMAND ...]"
    add_scenarios(run, "scenarios", nargs="*")
    _adapter(run)
    add_conditions(run)
    run.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"where the report goes (default: {RUNS}/<date>-<time>)",
    )
    run.add_argument("--fail-fast", action="store_true", help="begin no more after a failure")
    add_quiet(run)


def _doctor_words(doctor: argparse.ArgumentParser) -> None:
    doctor.usage = "squall doctor [--adapter MANIFEST | -- COMMAND ...]"
    _adapter(doctor)


def _check_words(check: argparse.ArgumentParser) -> None:
    check.add_argument(
        "histories",
        nargs="+",
        metavar="HISTORY",
        help="a history.jsonl, the folder of a run, or the folder of a whole report",
    )
    add_quiet(check)


def _list_words(listing: argparse.ArgumentParser) -> None:
    add_scenarios(listing, "scenarios", nargs="*")
    listing.add_argument("--json", action="store_true", help="as JSON")


def _show_words(show: argparse.ArgumentParser) -> None:
    show.add_argument("scenario", metavar="SCENARIO", help="name or file")
    add_profile(show)


def _validate_words(validate: argparse.ArgumentParser) -> None:
    validate.add_argument("files", nargs="+", metavar="FILE")


def _schema_words(schema: argparse.ArgumentParser) -> None:
    schema.add_argument("file", choices=("scenario", "manifest", "storm", "events", "results"))


def _adapter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--adapter",
        default=REFERENCE,
        metavar="MANIFEST",
        help="the adapter's manifest, or 'reference', the built-in one (default)",
    )


def _api(parser: argparse.ArgumentParser, what: str, serves: str) -> None:
    parser.add_argument(
        "--api-host",
        default="127.0.0.1",
        metavar="HOST",
        help=f"where {what} listens (default: 127.0.0.1)",
    )
    parser.add_argument("--api-port", type=port, metavar="N", help=f"serve {serves}")


def _exchange_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dialect", default="deribit", help="the venue (default: deribit)")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=port, default=0, help="default: any free one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting, as a scenario's `exchange:` has it; may be repeated",
    )
    parser.add_argument("--events", action="store_true", help="print events as JSON lines")
    parser.add_argument(
        "--wall-clock",
        action="store_true",
        help="its time is this machine's (default: it always starts on the same day)",
    )
    parser.add_argument(
        "--processes",
        type=count,
        default=1,
        metavar="N",
        help="so many processes on one port, for load (default: 1; more need Linux)",
    )
    parser.add_argument(
        "--wire",
        choices=("websockets", "thin"),
        help="who speaks WebSocket: the library, or Squall's own frames, which cost less"
        " (default: thin with several processes)",
    )
    _api(parser, "the control port", "faults, health and metrics there (default: not at all)")


def _proxy_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--upstream", metavar="HOST:PORT", help="where it leads to")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="where it listens (default: any free port of 127.0.0.1)",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="'NAME KEY=VALUE ...'",
        help="a fault, as a scenario's step has it; may be repeated",
    )
    parser.add_argument(
        "--tls",
        type=Path,
        metavar="CA_FILE",
        help="speak TLS to clients; the certificate that they must trust is written there",
    )
    _api(
        parser,
        "the API",
        "Toxiproxy's API there (default: 8474 without --upstream, else none)",
    )
    parser.add_argument(
        "--toxiproxy-version",
        default=LIKE_VERSION,
        metavar="VERSION",
        help=f"the version that the API names (default: {LIKE_VERSION})",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all chance")


_EXIT_CODES = """\
exit codes:
  0    everything passed (or is unsupported by the adapter, or announced in its manifest)
  1    something failed
  2    nothing failed, but something could not be told
  3    wrong use: arguments, a scenario file, an adapter that cannot be started
  130  interrupted; what had ended by then was reported
"""

_RUN_EXAMPLES = """\
  squall run                                   the whole catalogue, the reference adapter
  squall run half-open --adapter my.yaml
  squall run --covers 'B-*' -- python my_adapter.py
  squall run scenarios/ --clock virtual --repeat 10 --seed 1
"""
_DOCTOR_EXAMPLES = """\
  squall doctor --adapter my.yaml
  squall doctor -- python my_adapter.py
"""
_CHECK_EXAMPLES = """\
  squall check squall-runs/latest              a whole report
  squall check squall-runs/latest/half-open    one run
"""
_LIST_EXAMPLES = """\
  squall list
  squall list --covers guide-2
  squall list my-scenarios/ --json
"""
_SHOW_EXAMPLES = """\
  squall show half-open
  squall show half-open --profile strict
"""
_VALIDATE_EXAMPLES = """\
  squall validate scenarios/*.yaml my-adapter.yaml
"""
_SCHEMA_EXAMPLES = """\
  squall schema scenario > scenario.schema.json
"""
_EXCHANGE_EXAMPLES = """\
  squall exchange --port 9000
  squall exchange --set token_lifetime=60s --set ack_latency=50ms --events
  squall exchange --processes 2 --api-port 9100 --set connections_per_address=100000
"""
_PROXY_EXAMPLES = """\
  squall proxy                                 Toxiproxy's API on port 8474
  squall proxy --upstream 127.0.0.1:9000 --listen 127.0.0.1:9001
  squall proxy --upstream 127.0.0.1:9000 --fault 'latency delay=200ms jitter=50ms'
  squall proxy --upstream 127.0.0.1:9000 --listen 127.0.0.1:9443 --tls ca.pem
"""

_COMMANDS: Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "run": ("run scenarios against an adapter", _run_words, _RUN_EXAMPLES),
    "certify": (certify.ABOUT, certify.words, certify.EXAMPLES),
    "load": (load.ABOUT, load.words, load.EXAMPLES),
    "doctor": ("say what an adapter can do and what is missing", _doctor_words, _DOCTOR_EXAMPLES),
    "check": ("judge saved histories again", _check_words, _CHECK_EXAMPLES),
    "list": ("list scenarios", _list_words, _LIST_EXAMPLES),
    "show": ("show a scenario and what is judged in it", _show_words, _SHOW_EXAMPLES),
    "validate": ("check scenario files and manifests", _validate_words, _VALIDATE_EXAMPLES),
    "schema": ("print a JSON Schema", _schema_words, _SCHEMA_EXAMPLES),
    "exchange": ("run the mock exchange alone", _exchange_words, _EXCHANGE_EXAMPLES),
    "proxy": ("run the fault-injecting proxy alone", _proxy_words, _PROXY_EXAMPLES),
}
