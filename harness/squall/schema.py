"""JSON Schemas of the files that people write, so that editors complete and check them.

They come from the same dataclasses as the parser (`squall.typed_yaml`); help texts are the
docstrings beneath the fields. A schema cannot say everything: that a file bears its scenario's
name, say, only the parser knows.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union

from squall.checks import CHECKS
from squall.errors import ScenarioError, did_you_mean
from squall.exchange import DIALECTS
from squall.load.storm import ACTIONS as STORM_ACTIONS
from squall.load.storm import Storm, StormStep
from squall.manifest import Manifest
from squall.scenario import Scenario
from squall.scenario_file import Repeat
from squall.steps import ACTIONS, Step
from squall.typed_yaml import QUANTITIES, AtLeast, Matches, OneOf, hints, keys, required
from squall.variants import MOST_VARIANTS, PLACEHOLDER
from squall_proxy import Fault, Target

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema(name: str) -> Schema:
    """The JSON Schema of a file: `scenario`, `manifest` or `storm`."""
    if name not in _FILES:
        raise ScenarioError(f"unknown schema '{name}'.{did_you_mean(name, _FILES)}")
    return {"$schema": DRAFT, **_FILES[name]()}


def _scenario() -> Schema:
    root = _object(Scenario)
    properties = root["properties"]
    properties["exchange"]["properties"]["dialect"] = {
        "enum": sorted(DIALECTS),
        "description": "The venue that is spoken; without it, whichever the adapter speaks.",
    }
    properties["steps"] |= _steps(least=1)
    properties["expect"] = _expect() | _described(properties["expect"])
    steps = {name: _step(name, action) for name, action in ACTIONS.items()}
    steps["repeat"] = _object(Repeat)
    steps["repeat"]["properties"]["steps"] |= _steps(least=0)
    step = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in steps]}
    filled: Schema = _with_placeholders(
        {**root, "$defs": {"step": step, "timing": _timing(), **steps}}
    )
    filled["properties"]["variants"] = _VARIANTS
    return {"title": "A Squall scenario", **filled}


_VARIANTS: Schema = {
    "description": "One scenario for each of these, in which ${key} stands for the value.",
    "type": "array",
    "minItems": 1,
    "maxItems": MOST_VARIANTS,
    "items": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": ["string", "number", "boolean"]},
    },
}


def _with_placeholders(node: Any) -> Any:
    """The schema, with `${...}` allowed wherever it asks for more than any text."""
    if isinstance(node, list):
        return [_with_placeholders(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") in ("integer", "number", "boolean") or "pattern" in node or "enum" in node:
        placeholder = {"type": "string", "pattern": PLACEHOLDER.pattern}
        return {**_described(node), "anyOf": [node, placeholder]}
    # The names of keys are no values.
    return {
        key: each if key == "propertyNames" else _with_placeholders(each)
        for key, each in node.items()
    }


def _timing(step: type[Any] = Step) -> Schema:
    """What every step may have, once: the steps refer to it."""
    timing = _object(step)
    target = timing["properties"]["target"]
    either = [_of(hints(Target)["which"]), _object(Target)]
    timing["properties"]["target"] = {"anyOf": either} | _described(target)
    return timing


def _steps(least: int) -> Schema:
    return {"type": "array", "minItems": least, "items": {"$ref": "#/$defs/step"}}


def _step(name: str, action: type[Any], step: type[Any] = Step) -> Schema:
    settings = _object(action)
    timing = {key: {"$ref": f"#/$defs/timing/properties/{key}"} for key in keys(step)}
    if not issubclass(action, Fault):
        del timing["target"]
    do = {"const": name, "description": settings["description"]}
    return {
        **settings,
        # A setting of a fault wins over a step's key of the same name.
        "properties": {"do": do, **timing, **settings["properties"]},
        "required": ["do", *settings["required"]],
    }


def _expect() -> Schema:
    checks: Schema = {}
    for check in CHECKS.values():
        parameters = _object(check)
        parameters["type"] = ["object", "null"]
        checks[check.name] = parameters
        if check.id:
            checks[check.id] = parameters
    return {
        "type": "object",
        "minProperties": 1,
        "properties": checks,
        "additionalProperties": False,
    }


def _manifest() -> Schema:
    root = _object(Manifest)
    either = [{"required": ["command"]}, {"required": ["object"]}]
    return {"title": "A Squall adapter manifest", **root, "anyOf": either}


def _storm() -> Schema:
    root = _object(Storm)
    properties = root["properties"]
    properties["exchange"]["properties"]["dialect"] = {
        "enum": sorted(DIALECTS),
        "description": "The venue that is spoken; the reference adapter speaks Deribit.",
    }
    properties["steps"] |= _steps(least=0)
    properties["thresholds"] |= {"minItems": 1, "items": {"type": "string"}}
    steps = {name: _storm_step(name, action) for name, action in STORM_ACTIONS.items()}
    step = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in steps]}
    timing = _timing(StormStep)
    return {"title": "A Squall storm", **root, "$defs": {"step": step, "timing": timing, **steps}}


def _storm_step(name: str, action: type[Any]) -> Schema:
    step = _step(name, action, StormStep)
    return {**step, "required": ["at", *step["required"]]}


_FILES: Mapping[str, Callable[[], Schema]] = {
    "scenario": _scenario,
    "manifest": _manifest,
    "storm": _storm,
}


# -- from annotations ------------------------------------------------------------------------


def _object(cls: type[Any]) -> Schema:
    """A mapping that holds the fields of a dataclass."""
    notes = _notes(cls)
    annotations = hints(cls)
    properties = {}
    for key, each in keys(cls).items():
        property_ = _of(annotations[each.name])
        if each.name in notes:
            property_["description"] = notes[each.name]
        properties[key] = property_
    return {
        "type": "object",
        "description": (cls.__doc__ or "").partition("\n")[0],
        "properties": properties,
        "required": required(cls),
        "additionalProperties": False,
    }


def _described(other: Schema) -> Schema:
    return {key: value for key, value in other.items() if key == "description"}


def _of(annotation: Any) -> Schema:
    """What `squall.typed_yaml.read` accepts for this annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(each) for each in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*arguments)
    if dataclasses.is_dataclass(annotation):
        assert isinstance(annotation, type)
        return _object(annotation)
    return dict(_SCALARS[annotation])


def _mapping(key: Any, value: Any) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": _of(value)}
    names = _of(key)
    return {**schema, "propertyNames": names} if "enum" in names else schema


# A text may look like a number or a truth to YAML, 8080 say: it is taken as it is written.
_TEXT = {"type": ["string", "number", "boolean"]}

_SCALARS: Mapping[Any, Schema] = {
    str: _TEXT,
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Any: {},
    types.NoneType: {"type": "null"},
}


def _annotated(inner: Any, rules: tuple[Any, ...]) -> Schema:
    for rule in rules:
        if isinstance(rule, str) and rule in QUANTITIES:
            quantity = QUANTITIES[rule]
            bare = {"const": 0} if quantity.usual else {"type": "number", "minimum": 0}
            return {"anyOf": [{"type": "string", "pattern": quantity.pattern}, bare]}
    schema = _of(inner)
    for rule in rules:
        match rule:
            case AtLeast(least):
                schema["minItems" if schema["type"] == "array" else "minimum"] = least
            case OneOf(_, names):
                schema = {"enum": list(names)}
            case Matches(pattern, _):
                schema = {"type": "string", "pattern": f"^(?:{pattern})$"}
    return schema


def _notes(cls: type[Any]) -> Mapping[str, str]:
    """The docstrings beneath the fields of a class and its bases; none without its source."""
    notes: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for statement, after in itertools.pairwise(body):
            match statement, after:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    notes[name] = " ".join(text.split())
    return notes
