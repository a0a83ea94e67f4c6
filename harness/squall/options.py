"""Options that several commands have: `squall run` and `squall certify` above all.

Here they are added to a parser, and here what was said becomes a `Plan`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from squall import catalogue
from squall.backends import BACKENDS, EMBEDDED
from squall.errors import SquallError
from squall.manifest import Manifest
from squall.plan import DEFAULT_PROFILE, Plan, same_again
from squall.profile import load_profile
from squall.scenario import Scenario

Options = argparse.Namespace


def add_scenarios(parser: argparse.ArgumentParser, word: str, **settings: Any) -> None:
    """Which scenarios: by names, as the argument `word`, and by what they cover."""
    parser.add_argument(
        word,
        **settings,
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


def add_conditions(parser: argparse.ArgumentParser) -> None:
    """How often and under which conditions they are run."""
    parser.add_argument(
        "--jobs",
        type=count,
        metavar="N",
        help="runs side by side (default: by cores and memory, up to 32)",
    )
    parser.add_argument("--repeat", type=count, default=1, metavar="N", help="run each N times")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="seed of all chance (default: the scenario's, or 0)"
    )
    add_profile(parser)
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


def add_profile(parser: argparse.ArgumentParser) -> None:
    """By which thresholds."""
    parser.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        metavar="NAME",
        help="thresholds: default, strict, lenient, or a file",
    )


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """How much is said."""
    parser.add_argument(
        "--quiet", "-q", action="store_true", help="only what did not pass, and the closing line"
    )


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def port(text: str) -> int:
    """The number of a port."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 0 to 65535")
    return int(text)


def chosen(options: Options) -> Sequence[Scenario]:
    """The scenarios that were asked for. Raises `SquallError` where there are none."""
    scenarios = catalogue.select(catalogue.find(options.scenarios), options.covers)
    if not scenarios:
        raise SquallError("no scenario covers what --covers asks for; `squall list` shows them")
    return scenarios


def plan(
    options: Options, scenarios: Sequence[Scenario], adapter: str, manifest: Manifest, out: Path
) -> Plan:
    """What is to be run with one adapter; `adapter` is what the command line calls it."""
    return Plan(
        scenarios=tuple(scenarios),
        manifest=manifest,
        profile=load_profile(options.profile),
        out=out,
        seed=options.seed,
        clock=options.clock,
        jobs=options.jobs,
        repeat=options.repeat,
        options=same_again(adapter, options.profile, options.clock, options.proxy, tls=options.tls),
        proxy=options.proxy,
        tls=options.tls,
    )
