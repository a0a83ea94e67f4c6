"""Runs on the virtual clock: the same seed is the same run, byte for byte."""
# ruff: noqa: TID251 -- the wall clock is what is tested here

from __future__ import annotations

import asyncio
import io
import re
import time

import pytest

from squall.catalogue import find
from squall.history import History
from squall.plan import adapter_named
from squall.profile import load_profile
from squall.run import Result, Run, Setup
from squall.virtual_clock import VirtualClockLoop

# Logins sign with the wall clock, backoff is drawn at random, tokens expire, connections overlap.
SCENARIOS = ("half-open", "refused-60s", "token-expiry", "bad-certificate-expired", "two-layers")
REPETITIONS = 4


def run(name: str, seed: int = 0) -> Result:
    (scenario,) = find([name])
    setup = Setup(load_profile("default"), seed, "virtual")
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(Run(scenario, adapter_named("reference"), setup).execute())


def normalised(history: History) -> str:
    """The history as it is written, without the port numbers, which the kernel chooses."""
    file = io.StringIO()
    history.write(file)
    # By their places: the number of a port may be that of a setting, too.
    return re.sub(r"(127\.0\.0\.1(?::|', )|localhost:|\"port\":)\d+\b", r"\1PORT", file.getvalue())


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_gives_the_same_history(name: str) -> None:
    histories = {normalised(run(name).history) for _ in range(REPETITIONS)}
    assert len(histories) == 1


def test_another_seed_gives_another() -> None:
    assert len({normalised(run("refused-60s", seed).history) for seed in range(3)}) == 3


def test_a_run_leaves_the_clocks_as_they_were() -> None:
    functions, began = (time.time, time.monotonic), time.time()
    assert run("refused-60s").seconds > 60
    assert (time.time, time.monotonic) == functions
    assert began <= time.time() < began + 86_400
