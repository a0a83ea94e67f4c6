"""What is to be run, as values: a plan is scenarios, one adapter, and the conditions.

`squall run` has one plan, `squall certify` one for each adapter; `squall.pool` carries them out.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from squall.backends import EMBEDDED, check_backend
from squall.catalogue import word_for
from squall.errors import AdapterError
from squall.manifest import Manifest, Support
from squall.profile import Profile
from squall.scenario import Scenario

REFERENCE = "reference"
DEFAULT_PROFILE = "default"

# Runs wait more than they compute; an interpreter with a large library takes 120 MB.
JOBS_PER_CORE = 16
BYTES_PER_JOB = 256 * 2**20
MOST_JOBS = 32


@dataclass(frozen=True)
class Plan:
    """What is to be run, with what, and where the results go.

    `seed` goes before the scenarios' own; each repetition adds one to it. `jobs` is how many run
    side by side on the real clock; None leaves it to the number of cores. `options` are the words
    of a command line that name the adapter, the profile and the clock. `proxy` names what does
    harm to the line, and with `tls` every run is over `wss://`.
    """

    scenarios: tuple[Scenario, ...]
    manifest: Manifest
    profile: Profile
    out: Path
    seed: int | None = None
    clock: str = "real"
    jobs: int | None = None
    repeat: int = 1
    fail_fast: bool = False
    options: tuple[str, ...] = ()
    proxy: str = EMBEDDED
    tls: bool = False

    def __post_init__(self) -> None:
        check_backend(self.proxy, self.clock)
        if self.clock == "virtual" and self.manifest.object is None:
            raise AdapterError(
                f"{self.manifest.name}: the virtual clock needs an adapter that runs inside this "
                f"process: give its manifest an 'object'; it has only a command"
            )

    @property
    def side_by_side(self) -> int:
        """How many runs go on at once."""
        if self.clock == "virtual" or self.manifest.command is None:
            return 1  # adapters inside this process share its loop's exception handler
        return self.jobs or _room()


def _room() -> int:
    """How many runs this machine has room for."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    room = min(JOBS_PER_CORE * (os.cpu_count() or 1), memory // BYTES_PER_JOB, MOST_JOBS)
    return max(1, room)


@dataclass(frozen=True)
class Job:
    """One run of the plan."""

    name: str
    scenario: Scenario
    seed: int


def jobs(plan: Plan) -> list[Job]:
    """The runs of a plan, each with a name of its own."""
    found: dict[str, Job] = {}
    for scenario in plan.scenarios:
        first = plan.seed if plan.seed is not None else scenario.seed or 0
        for repetition in range(plan.repeat):
            name, number = scenario.name, 1
            while name in found:
                number += 1
                name = f"{scenario.name}-{number}"
            found[name] = Job(name, scenario, first + repetition)
    return list(found.values())


def unsuitable(scenario: Scenario, manifest: Manifest, clock: str) -> str | None:
    """Why the scenario cannot be run with this adapter on this clock; None where it can."""
    if clock not in scenario.clocks:
        return f"this scenario needs the {' or '.join(scenario.clocks)} clock"
    if scenario.dialect not in (None, manifest.dialect):
        return f"this scenario speaks {scenario.dialect}; the adapter speaks {manifest.dialect}"
    return None


def longest(scenario: Scenario) -> float:
    """How many seconds a run may last, as far as its steps say, with an adapter that fails it."""
    return sum(
        1.0
        + (step.after or 0.0)
        + (step.lasting or 0.0)
        + step.at_most * ((step.when is not None) + (step.until is not None))
        for step in scenario.steps
    )


def reproduce(plan: Plan, job: Job) -> str:
    """The command line that does the same again."""
    words = ["squall", "run", word_for(job.scenario), "--seed", str(job.seed), *plan.options]
    return shlex.join(words)


def adapter_named(name: str) -> Manifest:
    """The adapter that a command line names: a manifest's path, or the built-in `reference`."""
    if name != REFERENCE:
        return Manifest.load(name)
    return Manifest(
        name=REFERENCE,
        command=(sys.executable, "-m", "squall_reference"),
        object="squall_reference:adapter",
        supports=get_args(Support),
    )


def same_again(
    adapter: str, profile: str, clock: str, proxy: str = EMBEDDED, *, tls: bool = False
) -> tuple[str, ...]:
    """The words of a command line that choose these; what is the default is left out."""
    words: list[str] = []
    for word, value, default in (
        ("--adapter", adapter, REFERENCE),
        ("--profile", profile, DEFAULT_PROFILE),
        ("--clock", clock, "real"),
        ("--proxy", proxy, EMBEDDED),
    ):
        words += [word, value] if value != default else []
    return (*words, "--tls") if tls else tuple(words)
