"""Storm files: YAML that says the same as the values of `squall.load.storm`, read and written.

Squall ships storms beside its scenarios; a name means one of these, anything else a file. What
was asked for on the command line is written as a file again (`dump`), so that the Locust side,
and whoever wants the same storm once more, reads what was really played.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from yaml.nodes import Node

from squall import catalogue
from squall.errors import ScenarioError, did_you_mean
from squall.file_keys import StepReader, read_exchange, read_list, read_settings
from squall.load.storm import ACTIONS, DIALECT, LOAD, Storm, StormStep
from squall.load.thresholds import Threshold
from squall.steps import OWN_ACTIONS
from squall.typed_yaml import hints, keys, make, read, read_fields, required
from squall.yaml_source import (
    Entry,
    Gather,
    Invalid,
    compose,
    entries,
    located,
    read_text,
    shown,
    wrong,
)
from squall_proxy import FAULTS, Target

EMPTY = f"is empty; a storm needs at least {', '.join(required(Storm))}"


def find(word: str) -> Storm:
    """The storm that Squall ships under this name, or that of a file. Raises `ScenarioError`."""
    known = catalogue.storms()
    if word in known:
        return load(known[word])
    path = Path(word)
    if path.suffix in catalogue.SUFFIXES or len(path.parts) > 1:
        return load(path)
    raise ScenarioError(f"no storm is called '{word}'.{did_you_mean(word, known)}")


def load(path: Path) -> Storm:
    """Read a storm file. Raises `ScenarioError`, a line for each mistake in it."""
    return dataclasses.replace(_parse(read_text(path, ScenarioError), str(path)), path=path)


def parse(text: str, where: str = "storm") -> Storm:
    """Read the text of a storm file. Raises `ScenarioError`."""
    return _parse(text, where)


def _parse(text: str, where: str) -> Storm:
    with located(where, ScenarioError):
        return _storm(compose(text, EMPTY))


# -- reading -------------------------------------------------------------------------------------


def _storm(node: Node) -> Storm:
    present = entries(node, "a storm")
    gather = Gather()
    dialect = read_exchange(present, gather)
    readers = {"exchange": read_settings, "steps": _steps, "thresholds": _thresholds}
    values = gather.attempt(read_fields, Storm, present, node, "a storm", readers)
    gather.settle()
    return make(Storm, {**(values or {}), "dialect": dialect or DIALECT}, node)


def _steps(node: Node) -> tuple[StormStep, ...]:
    return read_list(node, "steps", STEPS.example, _step)


def _step(node: Node) -> StormStep:
    present = STEPS.entries(node)
    if "do" not in present:
        raise _no_action(present, node)
    return STEPS.read(present, node)


def _no_action(present: Mapping[str, Entry], node: Node) -> Invalid:
    if "users" in present:
        said = f"a change of the load is written {{at: 2s, do: {LOAD}, users: 500}}"
        return wrong(present["users"].key, said)
    return wrong(node, "a step needs 'do', such as {at: 2s, do: fin}")


def _no_place(do: str) -> str:
    if do in FAULTS or do in OWN_ACTIONS:
        return f"{shown(do)} has no place in a storm; see `squall schema storm`"
    return f"unknown fault {shown(do)}.{did_you_mean(do, ACTIONS)}"


STEPS = StepReader(StormStep, ACTIONS, "{at: 2s, do: fin}", stranger=_no_place)


def _thresholds(node: Node) -> tuple[Threshold, ...]:
    return read_list(node, "thresholds", "'restored == 100%'", _threshold)


def _threshold(node: Node) -> Threshold:
    try:
        return Threshold.parse(read(str, node, "a threshold"))
    except ScenarioError as error:
        raise wrong(node, str(error)) from None


# -- writing -------------------------------------------------------------------------------------


def dump(storm: Storm) -> str:
    """A file that says this storm; it is JSON, which YAML understands."""
    said = {
        key: value
        for key, value in spelled(storm).items()
        if key not in ("exchange", "steps", "thresholds")
    }
    said["exchange"] = {"dialect": storm.dialect, **spelled(storm.exchange)}
    said["steps"] = [order(step) | _moments(step) for step in storm.steps]
    said["thresholds"] = [str(each) for each in storm.thresholds]
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"


def order(step: StormStep) -> dict[str, Any]:
    """What is done, without when: as a step has it, and as the control APIs read it."""
    said = {"do": step.do, **spelled(step.action)}
    if step.target != Target():
        said["target"] = target_spelled(step.target)
    return said


def _moments(step: StormStep) -> dict[str, Any]:
    lasting = {} if step.lasting is None else {"for": seconds(step.lasting)}
    return {"at": seconds(step.at), **lasting}


def target_spelled(target: Target) -> Any:
    """A target as files write it: a word or a number, or a mapping where there is more."""
    said = target.as_json()
    return {"which": target.which, **spelled(target)} if isinstance(said, dict) else said


def spelled(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not their defaults, in the form that files have."""
    said: dict[str, Any] = {}
    annotations = hints(type(value))
    for key, field in keys(type(value)).items():
        here = getattr(value, field.name)
        if here == _default(field):
            continue
        said[key] = _spelled(here, annotations[field.name])
    return said


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _spelled(value: Any, annotation: Any) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    unit = next((_UNITS[rule] for rule in _rules(annotation) if rule in _UNITS), None)
    if unit is not None and isinstance(value, int | float):
        return f"{_decimal(value)}{unit}"
    if dataclasses.is_dataclass(value):
        return spelled(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


_UNITS = {"seconds": "s", "bytes per second": "B/s"}


def _rules(annotation: Any) -> tuple[str, ...]:
    """What is annotated there, also in one member of a union."""
    if typing.get_origin(annotation) is Annotated:
        return tuple(rule for rule in typing.get_args(annotation)[1:] if isinstance(rule, str))
    return tuple(rule for each in typing.get_args(annotation) for rule in _rules(each))


def seconds(value: float) -> str:
    """`1.25s`."""
    return f"{_decimal(value)}s"


def _decimal(value: float) -> str:
    """Nine digits after the point are what a file may have."""
    return f"{value:.9f}".rstrip("0").rstrip(".") or "0"
