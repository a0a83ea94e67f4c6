"""Scenario files: YAML that says the same as the values of `squall.scenario`.

What the annotations of those values do not say is here: a step is read by the name that stands
under `do`, an expectation by the name of its check, and `repeat` unrolls into steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

from yaml.nodes import MappingNode, Node, ScalarNode

from squall.checks import check_named
from squall.errors import ScenarioError, SquallError, did_you_mean
from squall.file_keys import StepReader, read_exchange, read_list, read_settings
from squall.kinds import sources_of
from squall.scenario import MOST_STEPS, Scenario
from squall.steps import ACTIONS, Condition, Seen, State, Step
from squall.typed_yaml import AtLeast, hints, keys, make, read, read_fields, required
from squall.variants import expand
from squall.yaml_source import (
    Entry,
    Gather,
    Invalid,
    compose,
    entries,
    found,
    is_null,
    located,
    read_text,
    shown,
    wrong,
)

EMPTY = f"is empty; a scenario needs at least {', '.join(required(Scenario))}"
STATES = get_args(State)


@dataclass(frozen=True)
class Repeat:
    """Do the steps over and over, one round after the other."""

    times: Annotated[int, AtLeast(1)] = field(metadata={"key": "repeat"})
    """How many rounds."""

    steps: tuple[Step, ...]
    """What is done in each round."""


def load(path: Path) -> tuple[Scenario, ...]:
    """Read a scenario file: one scenario, or one for each of its variants.

    Raises `ScenarioError`, a line for each mistake in it.
    """
    return _parse(read_text(path, ScenarioError), str(path), path.stem, path)


def parse(text: str, name: str) -> tuple[Scenario, ...]:
    """Read the text of a scenario file called `name`. Raises `ScenarioError`."""
    return _parse(text, name, name, None)


def _parse(text: str, where: str, name: str, path: Path | None) -> tuple[Scenario, ...]:
    with located(where, ScenarioError):
        gather = Gather()
        scenarios = [
            gather.attempt(_scenario, node, name, variant, path)
            for variant, node in expand(compose(text, EMPTY))
        ]
        gather.settle()
        return tuple(scenario for scenario in scenarios if scenario is not None)


def _scenario(node: Node, name: str, variant: str, path: Path | None) -> Scenario:
    present = entries(node, "a scenario")
    gather = Gather()
    dialect = read_exchange(present, gather)
    readers = {
        "name": lambda node: "-".join(filter(None, [_name(node, name), variant])),
        "exchange": read_settings,
        "steps": _steps,
        "expect": _expect,
    }
    values = gather.attempt(read_fields, Scenario, present, node, "a scenario", readers)
    gather.settle()
    return make(Scenario, {**(values or {}), "dialect": dialect, "path": path}, node)


def _name(node: Node, stem: str) -> str:
    name: str = read(hints(Scenario)["name"], node, "name")
    if name != stem:
        raise wrong(node, f"name is {shown(name)}, but the file is called {shown(stem)}")
    return name


def _steps(node: Node) -> tuple[Step, ...]:
    rounds = read_list(node, "steps", STEPS.example, _step_or_repeat)
    steps = tuple(step for several in rounds for step in several)
    _bound(len(steps), node)
    return steps


def _bound(count: int, node: Node) -> None:
    if count > MOST_STEPS:
        raise wrong(node, f"makes {count} steps; {MOST_STEPS} is the limit")


def _step_or_repeat(node: Node) -> tuple[Step, ...]:
    present = STEPS.entries(node)
    if "repeat" not in present:
        return (_step(present, node),)
    values = read_fields(Repeat, present, node, "repeat", {"steps": _steps})
    _bound(values["times"] * len(values["steps"]), present["repeat"].value)
    steps: tuple[Step, ...] = values["steps"] * values["times"]
    return steps


def _step(present: Mapping[str, Entry], node: Node) -> Step:
    if "do" not in present:
        raise _no_step(present, node)
    if "at_most" in present and not present.keys() & {"when", "until"}:
        said = "at_most limits how long when or until is waited for; there is neither here"
        raise wrong(present["at_most"].key, said)
    return STEPS.read(present, node, line=node.start_mark.line + 1)


def _no_step(present: Mapping[str, Entry], node: Node) -> Invalid:
    known = ("do", "repeat", *keys(Step))
    for key in present:
        if key not in known:
            hint = did_you_mean(key, known)
            return wrong(present[key].key, f"a step has no {shown(key)}.{hint}")
    return wrong(node, "a step needs 'do', such as {do: rst}, or 'repeat'")


def _condition(node: Node) -> Condition:
    if isinstance(node, MappingNode):
        seen: Seen = read(Seen, node, "a condition")
        return seen
    if not isinstance(node, ScalarNode) or is_null(node):
        raise wrong(node, f"a condition is {', '.join(STATES)} or {{event: ...}}; {found(node)}")
    word = node.value
    if word not in STATES and sources_of(word):
        raise wrong(node, f"{shown(word)} is an event, which is written {{event: {word}}}")
    if word not in STATES:
        raise wrong(node, f"unknown condition {shown(word)}.{did_you_mean(word, STATES)}")
    state: State = word
    return state


STEPS = StepReader(
    Step,
    ACTIONS,
    "{do: rst}",
    stranger=lambda do: f"unknown fault {shown(do)}.{did_you_mean(do, ACTIONS)}",
    readers={"when": _condition, "until": _condition},
)


def _expect(node: Node) -> dict[str, dict[str, Any]]:
    gather = Gather()
    expected: dict[str, dict[str, Any]] = {}
    for name, entry in entries(node, "expect").items():
        outcome = gather.attempt(_expectation, name, entry)
        if outcome and outcome[0] in expected:
            said = f"{shown(name)} is here a second time, under another name"
            gather.problems += wrong(entry.key, said).problems
        elif outcome:
            expected[outcome[0]] = outcome[1]
    gather.settle()
    return expected


def _expectation(name: str, entry: Entry) -> tuple[str, dict[str, Any]]:
    try:
        check = check_named(name)
    except SquallError as error:
        raise wrong(entry.key, str(error)) from None
    if is_null(entry.value):
        return check.name, {}
    parameters = read_fields(check, entries(entry.value, name), entry.value, name)
    make(check, parameters, entry.value)
    return check.name, parameters
