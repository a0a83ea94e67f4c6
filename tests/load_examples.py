"""A small storm, what a fleet lived through in it, and a program that stands for Locust."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

from squall.load import storm_file
from squall.load.results import Fleet, Result
from squall.load.storm import Storm
from squall.load.tally import Tally
from squall.load.timeline import Phase

STORM = """\
storm: small
about: Every line is cut, and nobody gets in for a second.
users: 100
duration: 20s
steps:
  - {at: 2s, do: fin}
  - {at: 2s, do: refuse, for: 1s}
thresholds:
  - restored == 100%
  - recovery_p99 < 10s
  - herd_factor < 3
"""


def storm() -> Storm:
    return storm_file.parse(STORM)


def phases() -> tuple[Phase, ...]:
    return tuple(Phase.of(step, 20.0) for step in storm().steps)


def lived(users: int = 100, *, spread: float = 5.0, missing: int = 0) -> Tally:
    """They are cut at 2 s; all but the `missing` are whole again, after a random delay."""
    rng, tally = Random(1), Tally()
    for number in range(users):
        tally.began(-2.0 + number / users)
        tally.dialled(-2.0 + number / users)
        tally.measured("connect", rng.uniform(0.001, 0.02), -1.9)
        tally.restored(-1.9 + number / users)
        tally.lost(2.05)
        if number >= missing:
            delay = rng.uniform(0, spread)
            tally.dialled(2.1 + delay)
            tally.restored(2.2 + delay)
            tally.measured("recovery", delay + 0.15, 2.2 + delay)
    return tally


def fleet(tally: Tally | None = None, **changes: Any) -> Fleet:
    said: dict[str, Any] = {
        "tally": lived() if tally is None else tally,
        "at": 20.1,
        "began": True,
        "ended": True,
        "users": 100,
        "phases": phases(),
        "workers": {"local": {"users": 100, "rss_bytes": 80_000_000}},
    }
    return Fleet(**(said | changes))


def result(tally: Tally | None = None, *, why: str = "", **changes: Any) -> Result:
    return Result(storm(), fleet(tally, **changes), why)


def fleet_json(of: Fleet) -> dict[str, Any]:
    """What Locust's side writes."""
    return {
        "format": 1,
        "storm": storm().as_dict(),
        "users": of.users,
        "at": of.at,
        "began": of.began,
        "workers": dict(of.workers),
        "tally": of.tally.as_json(),
        "phases": [phase.as_json() for phase in of.phases],
        "ended": of.ended,
        "why": of.why,
        "locust": {"version": "0"},
    }


def program(folder: Path, body: str) -> tuple[str, ...]:
    """A command that stands for Locust: it has `options`, and `write(fleet)` for fleet.json."""
    path = folder / "fake_locust.py"
    path.write_text(_PROGRAM.format(here=str(Path(__file__).parent), body=body))
    return (sys.executable, str(path))


_PROGRAM = """\
import argparse, json, os, pathlib, signal, sys, threading
sys.path.insert(0, {here!r})
from load_examples import fleet, fleet_json, lived
parser = argparse.ArgumentParser()
for word in ("--storm", "--host", "--out", "--html", "--proxy-api", "--exchange-api"):
    parser.add_argument(word)
options, _ = parser.parse_known_args()
told = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: told.set())

def write(fleet):
    beside = pathlib.Path(options.out) / ".beside"
    beside.write_text(json.dumps(fleet_json(fleet)))
    beside.replace(pathlib.Path(options.out) / "fleet.json")

{body}
"""
