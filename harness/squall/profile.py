"""Profiles: how strict to be. Each names the thresholds that differ from the checks' own.

Published guidance disagrees (a cap of 60 s here, an alert after 30 s there), so thresholds are
values to choose and not constants. What a scenario says of a check wins over the profile; what
neither says is the check's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from yaml.nodes import Node

from squall.checks import CHECKS, Check, checks_for
from squall.errors import ScenarioError, did_you_mean
from squall.typed_yaml import build, keys
from squall.yaml_source import Gather, compose, entries, located, read_text, shown, wrong

_SHIPPED = resources.files("squall") / "profiles"
PROFILES = tuple(
    sorted(each.name.removesuffix(".yaml") for each in _SHIPPED.iterdir() if "." in each.name)
)
"""The profiles that come with Squall."""


@dataclass(frozen=True)
class Profile:
    """Thresholds by the name of the check and of its parameter; durations are seconds."""

    name: str
    thresholds: Mapping[str, Mapping[str, Any]]

    def checks(self, expect: Mapping[str, Mapping[str, Any]]) -> list[Check]:
        """The checks that a scenario expects, and those always judged, with their thresholds."""
        over = {**self._always(), **expect}
        return checks_for(
            {name: {**self.thresholds.get(name, {}), **said} for name, said in over.items()}
        )

    def _always(self) -> dict[str, Mapping[str, Any]]:
        return {check.name: {} for check in CHECKS.values() if check.always}


def load_profile(name_or_path: str) -> Profile:
    """A profile of Squall by its name, or one from a YAML file. Raises `ScenarioError`."""
    if name_or_path in PROFILES:
        text = (_SHIPPED / f"{name_or_path}.yaml").read_text(encoding="utf-8")
        return _parse(text, name_or_path, f"{name_or_path}.yaml")
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        hint = did_you_mean(name_or_path, PROFILES)
        raise ScenarioError(
            f"unknown profile '{name_or_path}'.{hint} A path to a YAML file of thresholds will do."
        )
    return _parse(read_text(path, ScenarioError), path.stem, str(path))


def _parse(text: str, name: str, where: str) -> Profile:
    with located(where, ScenarioError):
        root = compose(text, empty="is empty; a profile holds checks and their thresholds")
        gather = Gather()
        thresholds: dict[str, Mapping[str, Any]] = {}
        for check, entry in entries(root, "a profile").items():
            if check in CHECKS:
                thresholds[check] = gather.attempt(_thresholds, CHECKS[check], entry.value) or {}
            else:
                hint = did_you_mean(check, CHECKS)
                gather.problems += wrong(entry.key, f"unknown check {shown(check)}.{hint}").problems
        gather.settle()
    return Profile(name, thresholds)


def _thresholds(check: type[Check], node: Node) -> dict[str, Any]:
    """The parameters that the file names, with the values that they then have."""
    built = build(check, node, check.name)
    named = {keys(check)[key].name for key in entries(node, check.name)}
    return {name: value for name, value in built.as_dict().items() if name in named}
