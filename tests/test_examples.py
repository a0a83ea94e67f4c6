"""The real adapters in examples/adapters: each is thin, and well on a calm day.

What runs here is what is installed: `make -C examples/adapters` installs all of it.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from squall.catalogue import find
from squall.diagnosis import State, examine
from squall.doctor import consult
from squall.manifest import Manifest
from squall.profile import load_profile

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


def test_there_are_examples_in_four_languages() -> None:
    assert {path.suffix for path in DRIVERS} == {".py", ".js", ".go", ".rs"}


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
    needed = folder / (command[0] if "/" in command[0] else "node_modules")
    return (
        None
        if needed.exists()
        else f"not installed: make -C {folder.relative_to(ADAPTERS.parents[1])}"
    )
