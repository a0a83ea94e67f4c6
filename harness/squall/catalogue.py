"""Where scenarios are found: the catalogue that Squall ships, and files and folders of the user.

An installed package holds the catalogue inside itself; in a checkout it lies beside the source.
A file holds one scenario, or one for each of its variants: `clean-close` means all that is in
`clean-close.yaml`, `clean-close-1000` the one of that name in it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from squall.errors import ScenarioError, did_you_mean
from squall.results import covered, near
from squall.scenario import Scenario

SUFFIXES = (".yaml", ".yml")
ALL = "all"

Files = Mapping[str, Path]


def shipped() -> Files:
    """The files of the catalogue by their names, in order."""
    return _shipped(".")


def storms() -> Files:
    """The files of the storms that Squall ships by their names, in order (`squall.load`)."""
    return _shipped("storms")


def _shipped(folder: str) -> Files:
    here = Path(__file__).resolve().parent
    for scenarios in (here / "scenarios", here.parents[1] / "scenarios"):
        if files := _files(scenarios / folder):
            return files
    return {}


def find(words: Sequence[str]) -> list[Scenario]:
    """The scenarios that names, files and folders mean, each once; all where none is given.

    Raises one `ScenarioError` for every word that means nothing and every mistake in a file.
    """
    known = shipped()
    found: dict[tuple[Path | None, str], Scenario] = {}
    wrong: list[str] = []
    for word in words or [ALL]:
        try:
            for scenario in _meant(word, known):
                found.setdefault((scenario.path, scenario.name), scenario)
        except ScenarioError as error:
            wrong.append(str(error))
    if wrong:
        raise ScenarioError("\n".join(wrong))
    return list(found.values())


def word_for(scenario: Scenario) -> str:
    """What `find` takes for exactly this scenario."""
    if scenario.path is None or scenario.path in shipped().values():
        return scenario.name
    path = near(scenario.path)
    return str(path if path.stem == scenario.name else path.parent / scenario.name)


def tags(scenario: Scenario) -> tuple[str, ...]:
    """What a scenario covers, in words: B-01, guide-2, block_traffic, and links to bugs."""
    return (*covered(scenario.as_dict()["covers"]), *scenario.covers.bugs)


def select(scenarios: Iterable[Scenario], patterns: Sequence[str]) -> list[Scenario]:
    """The scenarios that cover something which one of the patterns matches (`B-*`, `guide-2`)."""
    return [
        scenario
        for scenario in scenarios
        if not patterns
        or any(fnmatch.fnmatch(tag, pattern) for tag in tags(scenario) for pattern in patterns)
    ]


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES}


def _load(paths: Iterable[Path]) -> list[Scenario]:
    scenarios: list[Scenario] = []
    wrong: list[str] = []
    for path in paths:
        try:
            scenarios += Scenario.load_all(path)
        except ScenarioError as error:
            wrong.append(str(error))
    if wrong:
        raise ScenarioError("\n".join(wrong))
    return scenarios


def _meant(word: str, known: Files) -> list[Scenario]:
    path = Path(word)
    if word == ALL and known:
        return _load(known.values())
    if found := _named(word, known):
        return found
    if path.is_dir():
        if files := _files(path):
            return _load(files.values())
        raise ScenarioError(f"{word}: there is no scenario (*.yaml) in this folder")
    if path.is_file() or path.suffix in SUFFIXES:
        return _load([path])
    if len(path.parts) > 1:
        if found := _named(path.name, _files(path.parent)):
            return found
        raise ScenarioError(f"{word}: there is no such file, folder or scenario")
    hint = did_you_mean(word, known)
    raise ScenarioError(f"no scenario is called '{word}'.{hint} `squall list` shows them all.")


def _named(name: str, files: Files) -> list[Scenario]:
    """All of the file of this name, or the variant of this name in a file."""
    if name in files:
        return _load([files[name]])
    holding = [path for stem, path in files.items() if name.startswith(f"{stem}-")]
    return [scenario for scenario in _load(holding) if scenario.name == name]
