"""Scenario files: YAML that says the same as the values of `squall.scenario`.

What the annotations of those values do not say is here: a step is read by the name that stands
under `do`, an expectation by the name of its check, and `repeat` unrolls into steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from squall.checks import check_named
from squall.errors import ScenarioError, SquallError, did_you_mean
from squall.exchange import DIALECTS, Settings
from squall.kinds import sources_of
from squall.scenario import MOST_STEPS, Scenario
from squall.steps import ACTIONS, Condition, Seen, State, Step
from squall.typed_yaml import AtLeast, OneOf, hints, keys, make, read, read_fields, required
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
from squall_proxy import Target

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
    dialect = gather.attempt(_dialect, present["exchange"].value) if "exchange" in present else None
    readers = {
        "name": lambda node: "-".join(filter(None, [_name(node, name), variant])),
        "exchange": _settings,
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


def _dialect(node: Node) -> str | None:
    entry = entries(node, "exchange").get("dialect")
    if entry is None:
        return None
    name: str = read(Annotated[str, OneOf("dialect", tuple(DIALECTS))], entry.value, "dialect")
    return name


def _settings(node: Node) -> Settings:
    present = entries(node, "exchange")
    settings = {key: entry for key, entry in present.items() if key != "dialect"}
    return make(Settings, read_fields(Settings, settings, node, "exchange"), node)


def _steps(node: Node) -> tuple[Step, ...]:
    if not isinstance(node, SequenceNode):
        raise wrong(node, f"steps are a list, such as [{{do: rst}}]; found {found(node)}")
    gather = Gather()
    read_ones = [gather.attempt(_step_or_repeat, each) or () for each in node.value]
    gather.settle()
    steps = tuple(step for several in read_ones for step in several)
    _bound(len(steps), node)
    return steps


def _bound(count: int, node: Node) -> None:
    if count > MOST_STEPS:
        raise wrong(node, f"makes {count} steps; {MOST_STEPS} is the limit")


def _step_or_repeat(node: Node) -> tuple[Step, ...]:
    if not isinstance(node, MappingNode):
        raise wrong(node, f"a step is written {{do: rst}}; found {found(node)}")
    present = entries(node, "a step")
    if "repeat" not in present:
        return (_step(present, node),)
    values = read_fields(Repeat, present, node, "repeat", {"steps": _steps})
    _bound(values["times"] * len(values["steps"]), present["repeat"].value)
    steps: tuple[Step, ...] = values["steps"] * values["times"]
    return steps


def _step(present: Mapping[str, Entry], node: Node) -> Step:
    if "do" not in present:
        raise _no_step(present, node)
    do: str = read(str, present["do"].value, "do")
    if do not in ACTIONS:
        raise wrong(present["do"].value, f"unknown fault {shown(do)}.{did_you_mean(do, ACTIONS)}")
    action = ACTIONS[do]
    # A setting of a fault wins over a step's key of the same name.
    settings = {key: entry for key, entry in present.items() if key in keys(action)}
    timing = {key: entry for key, entry in present.items() if key not in {"do", *settings}}
    gather = Gather()
    for key in [key for key in timing if key not in keys(Step)]:
        hint = did_you_mean(key, {*keys(action), *keys(Step)})
        gather.problems += wrong(timing.pop(key).key, f"{do} has no {shown(key)}.{hint}").problems
    if "at_most" in timing and not timing.keys() & {"when", "until"}:
        said = "at_most limits how long when or until is waited for; there is neither here"
        gather.problems += wrong(timing["at_most"].key, said).problems
    what = gather.attempt(read_fields, action, settings, node, do)
    readers = {"when": _condition, "until": _condition, "target": read_target}
    when = gather.attempt(read_fields, Step, timing, node, do, readers)
    gather.settle()
    line = node.start_mark.line + 1
    made = make(action, what or {}, node)
    return make(Step, {**(when or {}), "action": made, "line": line}, node)


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


def read_target(node: Node) -> Target:
    """The connections that a fault is meant for. Raises `Invalid`."""
    if isinstance(node, MappingNode):
        target: Target = read(Target, node, "target")
        return target
    return make(Target, {"which": read(hints(Target)["which"], node, "target")}, node)


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
