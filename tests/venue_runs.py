"""The shipped catalogue's scenarios against the adapters of `venue_adapters`, in virtual time."""

from __future__ import annotations

import asyncio
from functools import cache
from pathlib import Path

from squall.catalogue import find
from squall.exchange import dialect
from squall.manifest import Manifest
from squall.profile import load_profile
from squall.run import Result, Run, Setup
from squall.scenario import Scenario
from squall.verdict import Outcome
from squall.virtual_clock import VirtualClockLoop

NEUTRAL = (
    "reset",
    "half-open",
    "restore-all",
    "clean-close-1000",
    "clean-close-4000",
    "end-without-close-frame",
    "sequence-gap",
    "partial-ack",
    "lost-ack",
    "drop-during-restore",
    "reauth-order",
    "bad-credentials",
    "stalled-channel",
    "retry-after-503",
    "paced-restore",
    "no-growth",
)
"""What the adapter of every venue is to pass."""


@cache
def scenarios() -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in find(["all"])}


def run(venue: str, name: str, adapter: str = "") -> Result:
    manifest = Manifest(
        name=adapter or venue,
        object=f"venue_adapters:{adapter or venue.capitalize()}",
        dialect=venue,
        supports=("public", "private", "events"),
        connections=2,
        folder=Path(__file__).parent,
    )
    setup = Setup(load_profile("default"), 0, "virtual")
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(Run(scenarios()[name], manifest, setup).execute())


def lacking(venue: str) -> set[str]:
    """The scenarios that ask the venue for something it has not."""
    lacks = dialect(venue).lacks
    return {name for name, each in scenarios().items() if any(map(lacks, each.asked_of_venue))}


def failing(result: Result) -> set[str]:
    """The names of the checks that failed."""
    return {j.check.name for j in result.judged if j.verdict.outcome is Outcome.FAIL}


def verdicts(result: Result) -> str:
    """What to show of a run that came out wrong."""
    lines = (f"{j.verdict.outcome:8} {j.check.name}: {j.verdict.why}" for j in result.judged)
    return "\n".join([result.error or "", *lines, result.last_words])
