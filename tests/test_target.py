"""Targets: which connections a fault hits, as values and as scenario files write them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import jsonschema
import pytest
import yaml

from squall.errors import ScenarioError
from squall.scenario_file import parse
from squall.schema import schema
from squall_proxy import Injection, Latency, Rst, Target

SCENARIO = """
name: x
about: y
channels: {trades: 1}
expect: {data_resumes: {}}
steps:
  - {do: rst, target: %s}
"""


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("newest", Target("newest")),
        ("3", Target(3)),
        ("{which: oldest}", Target("oldest")),
        ("{every: 3}", Target(every=3)),
        ("{fraction: 0.5, after: 2s}", Target(fraction=0.5, after=2.0)),
        ("{which: newest, after_bytes: 1000}", Target("newest", after_bytes=1000)),
    ],
)
def test_a_target_in_a_file_is_a_word_a_number_or_a_mapping(written: str, target: Target) -> None:
    text = SCENARIO % written
    (scenario,) = parse(text, "x")
    assert scenario.steps[0].target == target
    jsonschema.validate(yaml.safe_load(text), schema("scenario"))


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("{evry: 3}", "Did you mean 'every'"),
        ("{every: 0}", "every is 0"),
        ("{fraction: 1.5}", "from 0 to 1"),
        ("{after: 3}", "3s or 3ms"),
        ("youngest", "which|target"),
    ],
)
def test_a_wrong_target_is_told_with_what_would_be_right(written: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        parse(SCENARIO % written, "x")


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        (Target(), "all"),
        (Target("newest"), "newest"),
        (Target(3), 3),
        (Target(every=2), {"which": "all", "every": 2}),
        (Target("oldest", after=1.5), {"which": "oldest", "after": 1.5}),
    ],
)
def test_events_and_steps_write_a_target_as_a_file_does(target: Target, plain: Any) -> None:
    assert target.as_json() == plain
    json.dumps(target.as_json())


def injection(target: Target, seed: int = 1) -> Injection:
    return Injection(1, Rst(), target, lambda *_, **__: None, lambda _: None, Random(seed))


def test_chance_is_asked_once_for_each_connection_and_repeats_with_the_seed() -> None:
    half = injection(Target(fraction=0.5))
    drawn = [half.picks(number) for number in range(1, 200)]
    assert [half.picks(number) for number in range(1, 200)] == drawn
    again = injection(Target(fraction=0.5))
    assert [again.picks(number) for number in range(1, 200)] == drawn
    other = injection(Target(fraction=0.5), seed=2)
    assert [other.picks(number) for number in range(1, 200)] != drawn
    assert 60 < sum(drawn) < 140


def test_a_fraction_of_every_third() -> None:
    some = injection(Target(every=3, fraction=0.5))
    picked = [number for number in range(1, 300) if some.picks(number)]
    assert all(number % 3 == 0 for number in picked)
    assert 30 < len(picked) < 70


def test_only_what_changes_nothing_on_an_idle_connection_is_deferred() -> None:
    def deferrable(target: Target) -> bool:
        none: Any = None
        return Injection(1, Latency(1), target, none, none, Random(1)).deferrable

    assert deferrable(Target())
    assert not deferrable(Target(after=1))
    assert not injection(Target()).deferrable
