"""The real adapters in examples/adapters: each is thin, and well on a calm day.

What runs here is what is installed: `make -C examples/adapters` installs all of it.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from examples_run import network_failed
from squall.catalogue import find
from squall.diagnosis import State, examine
from squall.doctor import consult
from squall.manifest import Manifest
from squall.profile import load_profile
from squall.run import Run, Setup
from squall.verdict import Outcome
from squall.virtual_clock import VirtualClockLoop

ADAPTERS = Path(__file__).resolve().parents[1] / "examples" / "adapters"
MANIFESTS = sorted(ADAPTERS.glob("*/*.yaml"))
DRIVERS = sorted(
    path
    for pattern in ("*/adapter.*", "*/main.go", "*/src/main.rs")
    for path in ADAPTERS.glob(pattern)
)
MOST_LINES = 60


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ADAPTERS)) for path in paths]


def test_there_are_examples_in_five_languages() -> None:
    assert {path.suffix for path in DRIVERS} == {".py", ".js", ".go", ".rs", ".pl"}


@pytest.mark.parametrize("path", DRIVERS, ids=names(DRIVERS))
def test_a_driver_is_thin(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", MANIFESTS, ids=names(MANIFESTS))
def test_a_manifest_says_what_it_supports_and_knows_the_scenarios_that_it_names(path: Path) -> None:
    manifest = Manifest.load(path)
    assert manifest.name == path.stem
    assert manifest.declared
    assert set(manifest.expect) <= {scenario.name for scenario in find([])}


@pytest.mark.parametrize("path", MANIFESTS, ids=names(MANIFESTS))
def test_an_example_is_well_on_a_calm_day(path: Path) -> None:
    manifest = Manifest.load(path)
    if (why := missing(manifest)) is not None:
        pytest.skip(why)
    with asyncio.Runner() as runner:
        result = runner.run(consult(manifest, load_profile("default")))
    assert result.history.first("steady") is not None, result.last_words
    findings = examine(result.history, manifest, result.judged)
    assert [f"{f.title}: {f.said}" for f in findings if f.state is State.WRONG] == []


def missing(manifest: Manifest) -> str | None:
    """What is not installed, and how that is mended; None where everything is there."""
    folder, command = manifest.folder, manifest.command
    assert folder is not None
    assert command is not None
    if "/" not in command[0] and shutil.which(command[0]) is None:
        return f"there is no {command[0]} on this machine"
    if command[0] == "perl":
        return None  # its core modules are enough
    needed = folder / (command[0] if "/" in command[0] else "node_modules")
    return (
        None
        if needed.exists()
        else f"not installed: make -C {folder.relative_to(ADAPTERS.parents[1])}"
    )


SILENCE = """\
name: long-silence
about: The line goes dead for longer than four keepalives of 30 s.
channels: {trades: 1}
steps:
  - {do: blackhole, until: abandoned, at_most: 150s}
expect:
  detects_silence: {within: 130s}
"""


def test_ccxt_lives_on_the_virtual_clock_and_its_wall_clock_follows(tmp_path: Path) -> None:
    pytest.importorskip("ccxt", reason="ccxt is not installed beside Squall")
    manifest = Manifest.load(ADAPTERS / "ccxt" / "ccxt-with-pause.yaml")
    (tmp_path / "long-silence.yaml").write_text(SILENCE)
    (scenario,) = find([str(tmp_path / "long-silence.yaml")])
    setup = Setup(load_profile("default"), clock="virtual")
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        result = runner.run(Run(scenario, manifest, setup).execute())
    # Its keepalive compares time.time() with the last pong: in frozen time it would never notice.
    assert result.outcome is Outcome.PASS, f"{result.why}\n{result.last_words}"


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: Could not install packages due to an OSError: HTTPSConnectionPool: Read timed out.",
        "npm error code ECONNRESET",
        'go: github.com/gorilla/websocket@v1.5.3: Get "https://example.org": dial tcp: i/o timeout',
        "warning: spurious network error (3 tries remaining): [6] Could not resolve host",
    ],
)
def test_a_network_that_fails_is_no_failure_of_the_example(said: str) -> None:
    assert network_failed(f"make: Entering directory\n  {said}\n") == said


@pytest.mark.parametrize(
    "said",
    [
        "error[E0425]: cannot find value `x` in this scope",
        "ERROR: No matching distribution found for ccxt==4.5.90",
        "./main.go:9:2: undefined: websocket.Dialer2",
        "npm error code EINTEGRITY",
    ],
)
def test_what_cannot_be_built_is_one(said: str) -> None:
    assert network_failed(said) is None
