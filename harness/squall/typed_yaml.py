"""From a YAML node to a typed value: the annotations of a dataclass are its file format.

    @dataclass(frozen=True)
    class Latency:
        delay: Annotated[float, "seconds"]           delay: 200ms
        direction: Literal["both", "up"] = "both"    direction: up

Understood are `str`, `int`, `float`, `bool`, `Any` (passed on as JSON), `Literal`, `X | None`,
unions that the shape of the node decides, `tuple[X, ...]`, `Mapping[K, X]` and dataclasses, and
`Annotated` with a unit or with the rules below. A field's key is its name, or the `key` in its
metadata; with `key: None` it stands in no file. What a constructor refuses with a `ValueError`
is reported at the place of the value. `squall.schema` says the same as JSON Schema.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, Union

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from squall.errors import SquallError, did_you_mean
from squall.yaml_source import (
    NUMBER,
    WHOLE,
    Entry,
    Gather,
    Invalid,
    entries,
    found,
    is_null,
    json_value,
    plain_text,
    shown,
    wrong,
)

T = TypeVar("T")
Read = Callable[[Node], Any]


@dataclass(frozen=True)
class AtLeast:
    """Rule for a number, or for the length of a list."""

    least: int


@dataclass(frozen=True)
class OneOf:
    """Rule for a word: one of `names`, each of them a `noun`."""

    noun: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Matches:
    """Rule for a text: the whole of it has the form `pattern`; `form` says so in words."""

    pattern: str
    form: str


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, such as 200ms.

    A bare number is refused, and `usual` units are proposed for it; without those it is allowed.
    """

    noun: str
    units: Mapping[str, str]
    example: str
    usual: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """The form in a file, as a regular expression."""
        units = "|".join(re.escape(unit) for unit in self.units)
        return rf"^([0-9]{{1,12}}(\.[0-9]{{1,9}})?|\.[0-9]{{1,9}}) ?({units})$"


# What `Annotated[float, "seconds"]` means in a file. A bare number of seconds is refused: half of
# all such numbers are meant as milliseconds.
QUANTITIES: Mapping[str, Quantity] = {
    "seconds": Quantity(
        "durations",
        {"us": "0.000001", "ms": "0.001", "s": "1", "m": "60", "h": "3600"},
        example="200ms, 5s, 2m or 1h",
        usual=("s", "ms"),
    ),
    "bytes per second": Quantity(
        "rates", {"B/s": "1", "kB/s": "1e3", "MB/s": "1e6", "GB/s": "1e9"}, example="10kB/s"
    ),
}


def read(annotation: Any, node: Node, name: str) -> Any:
    """The value of the type `annotation` that stands at `node`. Raises `Invalid`.

    `name` is what messages call it, as a rule the key at which it stands.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:], node, name)
    if origin in (Union, types.UnionType):
        return _union(arguments, node, name)
    if is_null(node) and annotation is not Any:
        raise wrong(node, f"{name} has no value here")
    if origin is Literal:
        return _literal(arguments, node, name)
    if origin is tuple:
        return _tuple(arguments[0], node, name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(arguments, node, name)
    if dataclasses.is_dataclass(annotation):
        assert isinstance(annotation, type)
        return build(annotation, node, name)
    return _SCALARS[annotation](node, name)


def build(cls: type[T], node: Node, what: str) -> T:
    """The dataclass whose keys stand in the mapping at `node`. Raises `Invalid`."""
    return make(cls, read_fields(cls, entries(node, what), node, what), node)


def read_fields(
    cls: type[Any],
    present: Mapping[str, Entry],
    node: Node,
    what: str,
    readers: Mapping[str, Read] | None = None,
) -> dict[str, Any]:
    """The fields of a dataclass that stand in a file. Raises `Invalid`.

    `readers` read the keys whose form in a file is not that of their field.
    """
    known, annotations = keys(cls), hints(cls)
    readers, gather = readers or {}, Gather()
    values: dict[str, Any] = {}
    unknown = [key for key in present if key not in known]
    for key in unknown:
        hint = did_you_mean(key, known)
        gather.problems += wrong(present[key].key, f"{what} has no {shown(key)}.{hint}").problems
    for key, each in known.items():
        if key in readers and key in present:
            values[each.name] = gather.attempt(readers[key], present[key].value)
        elif key in present:
            entry = present[key]
            values[each.name] = gather.attempt(read, annotations[each.name], entry.value, key)
    # A misspelt key was reported already, with the right word.
    missing = [
        key
        for key in required(cls)
        if key not in present and not difflib.get_close_matches(key, unknown)
    ]
    if missing:
        gather.problems += wrong(node, f"{what} needs {_listed(missing)}").problems
    gather.settle()
    return values


def make(cls: type[T], values: Mapping[str, Any], node: Node) -> T:
    """The dataclass with these fields. Raises `Invalid` at `node` if its constructor objects."""
    try:
        return cls(**values)
    except (ValueError, SquallError) as error:
        raise wrong(node, str(error)) from None


def keys(cls: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    """The keys of a dataclass in a file, and the fields that they fill."""
    named = {each.metadata.get("key", each.name): each for each in dataclasses.fields(cls)}
    return {key: each for key, each in named.items() if key is not None and each.init}


def hints(cls: Any) -> dict[str, Any]:
    """The annotations of a dataclass, resolved."""
    return _hints(cls)


# Cached apart: for mypy, what a cached function takes is a Hashable, and a class is none.
@functools.cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def required(cls: type[Any]) -> list[str]:
    """The keys that must stand in a file."""
    missing = dataclasses.MISSING
    return [
        key
        for key, each in keys(cls).items()
        if each.default is missing and each.default_factory is missing
    ]


def _listed(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def _annotated(inner: Any, rules: tuple[Any, ...], node: Node, name: str) -> Any:
    for rule in rules:
        if isinstance(rule, str) and rule in QUANTITIES:
            return _quantity(QUANTITIES[rule], node, name)
    value = read(inner, node, name)
    for rule in rules:
        _obey(rule, value, node, name)
    return value


def _obey(rule: Any, value: Any, node: Node, name: str) -> None:
    match rule:
        case AtLeast(least) if isinstance(value, int | float) and value < least:
            raise wrong(node, f"{name} is at least {least}; found {shown(str(value))}")
        case AtLeast(least) if isinstance(value, tuple | dict) and len(value) < least:
            raise wrong(node, f"{name} has at least {least}; found {len(value)}")
        case OneOf(noun, names) if value not in names:
            raise wrong(node, f"unknown {noun} {shown(value)}.{did_you_mean(value, names)}")
        case Matches(pattern, form) if not re.fullmatch(pattern, value):
            raise wrong(node, f"{name} is {form}; found {shown(value)}")


def _union(members: tuple[Any, ...], node: Node, name: str) -> Any:
    if types.NoneType in members and is_null(node):
        return None
    candidates = [each for each in members if each is not types.NoneType]
    fitting = [each for each in candidates if _fits(each, node)]
    if not fitting:
        forms = ", or ".join(_form(each) for each in candidates)
        raise wrong(node, f"{name} is {forms}; found {found(node)}")
    failures: list[Invalid] = []
    for each in fitting:
        try:
            return read(each, node, name)
        except Invalid as invalid:
            failures.append(invalid)
    raise failures[0]


def _bare(annotation: Any) -> Any:
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _shape(annotation: Any) -> type[Node]:
    bare = _bare(annotation)
    origin = typing.get_origin(bare)
    if origin is tuple:
        return SequenceNode
    if dataclasses.is_dataclass(bare) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return MappingNode
    return ScalarNode


def _fits(annotation: Any, node: Node) -> bool:
    return _bare(annotation) is Any or isinstance(node, _shape(annotation))


def _form(annotation: Any) -> str:
    bare = _bare(annotation)
    if typing.get_origin(bare) is Literal:
        return " or ".join(str(word) for word in typing.get_args(bare))
    return _FORMS.get(bare) or _FORMS[_shape(bare)]


_FORMS: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number, such as 3",
    float: "a number, such as 0.5",
    bool: "true or false",
    SequenceNode: "a list, such as [a, b]",
    MappingNode: "a mapping, such as {a: 1}",
}


def _literal(words: tuple[Any, ...], node: Node, name: str) -> Any:
    text = _text(node, name)
    for word in words:
        if text == str(word):
            return word
    hint = did_you_mean(text, [str(word) for word in words])
    raise wrong(node, f"unknown {name} {shown(text)}.{hint}")


def _tuple(annotation: Any, node: Node, name: str) -> tuple[Any, ...]:
    if not isinstance(node, SequenceNode):
        words = node.value.split() if isinstance(node, ScalarNode) else ["a", "b"]
        example = shown(", ".join(words))[1:-1]
        raise wrong(node, f"{name} is a list, such as [{example}]; found {found(node)}")
    gather = Gather()
    values = tuple(gather.attempt(read, annotation, each, name) for each in node.value)
    gather.settle()
    return values


def _mapping(inner: tuple[Any, ...], node: Node, name: str) -> dict[Any, Any]:
    key_type, value_type = inner
    gather = Gather()
    result: dict[Any, Any] = {}
    for key, entry in entries(node, name).items():
        known = gather.attempt(read, key_type, entry.key, "key")
        result[known] = gather.attempt(read, value_type, entry.value, key)
    gather.settle()
    return result


def _quantity(quantity: Quantity, node: Node, name: str) -> float:
    text = node.value.strip() if isinstance(node, ScalarNode) else ""
    number = _NUMBER_AND_UNIT.fullmatch(text)
    if not number:
        said = f"{name} is a number with its unit: {quantity.example}; found {found(node)}"
        raise wrong(node, said)
    amount, unit = number.groups()
    if unit in quantity.units:
        return float(Decimal(amount) * Decimal(quantity.units[unit]))
    if unit:
        alike = [known for known in quantity.units if known.lower() == unit.lower()]
        hint = did_you_mean(unit, alike or quantity.units)
        raise wrong(node, f"{name}: unknown unit {shown(unit)} in {shown(text)}.{hint}")
    if not quantity.usual or Decimal(amount) == 0:
        return float(amount)
    right = " or ".join(amount + usual for usual in quantity.usual)
    raise wrong(node, f"{name}: {quantity.noun} carry a unit: {right}")


_NUMBER_AND_UNIT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?|\.[0-9]{1,9}) ?(\D*)")


def _text(node: Node, name: str) -> str:
    if not isinstance(node, ScalarNode):
        raise wrong(node, f"{name} is a text; found {found(node)}")
    return str(node.value)


def _whole(node: Node, name: str) -> int:
    text = plain_text(node)
    if text is None or not WHOLE.fullmatch(text):
        raise wrong(node, f"{name} is {_FORMS[int]}; found {found(node)}")
    return int(text)


def _number(node: Node, name: str) -> float:
    text = plain_text(node)
    if text is None or not NUMBER.fullmatch(text):
        raise wrong(node, f"{name} is {_FORMS[float]}; found {found(node)}")
    return float(text)


def _truth(node: Node, name: str) -> bool:
    text = plain_text(node)
    if text is None or text.lower() not in ("true", "false"):
        raise wrong(node, f"{name} is {_FORMS[bool]}; found {found(node)}")
    return text.lower() == "true"


def _json(node: Node, name: str) -> Any:
    return json_value(node)


_SCALARS: Mapping[Any, Callable[[Node, str], Any]] = {
    str: _text,
    int: _whole,
    float: _number,
    bool: _truth,
    Any: _json,
}
