"""schema.py: what editors accept is what the parser accepts."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import yaml

from scenario_examples import (
    BAD_MANIFESTS,
    BAD_SCENARIOS,
    GOOD,
    GOOD_MANIFESTS,
    GOOD_SCENARIOS,
    MANIFEST,
    Bad,
)
from squall.errors import ScenarioError
from squall.schema import schema
from squall.steps import ACTIONS

VALIDATORS = {
    name: jsonschema.Draft202012Validator(schema(name)) for name in ("scenario", "manifest")
}


def accepts(name: str, text: str) -> bool:
    return bool(VALIDATORS[name].is_valid(yaml.safe_load(text)))


@pytest.mark.parametrize("name", ["scenario", "manifest"])
def test_a_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_an_unknown_schema_is_no_schema() -> None:
    with pytest.raises(ScenarioError, match="Did you mean 'scenario'"):
        schema("scenari")


@pytest.mark.parametrize("name", GOOD_SCENARIOS)
def test_good_scenarios_are_accepted(name: str) -> None:
    assert accepts("scenario", GOOD_SCENARIOS[name])


@pytest.mark.parametrize("name", GOOD_MANIFESTS)
def test_good_manifests_are_accepted(name: str) -> None:
    assert accepts("manifest", GOOD_MANIFESTS[name])


def seen(bad: list[Bad]) -> list[Any]:
    return [pytest.param(each, id=f"{each.old}-{each.new}") for each in bad if each.schema]


@pytest.mark.parametrize("bad", seen(BAD_SCENARIOS))
def test_mistakes_in_a_scenario_show_in_the_editor(bad: Bad) -> None:
    assert not accepts("scenario", bad.of(GOOD))


@pytest.mark.parametrize("bad", seen(BAD_MANIFESTS))
def test_mistakes_in_a_manifest_show_in_the_editor(bad: Bad) -> None:
    assert not accepts("manifest", bad.of(MANIFEST))


def test_everything_is_described() -> None:
    found = schema("scenario")
    for name in ACTIONS:
        assert found["$defs"][name]["description"]
    undescribed = [key for key, each in found["properties"].items() if not each.get("description")]
    assert not undescribed
    assert not [k for k, e in schema("manifest")["properties"].items() if not e.get("description")]
