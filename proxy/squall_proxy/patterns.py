"""Which messages a rule is for: by direction, opcode, and what stands in them.

    {direction: client_to_server, where: {method: "public/*subscribe", params.channels.*: "book.*"}}

A pattern is a value; `Matcher` is the function made of it. A message is only parsed where a look
at its bytes does not settle the matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from squall_proxy.faults.base import WAYS, Direction, Way
from squall_proxy.frames import BINARY, CLOSE, PING, PONG, TEXT
from squall_proxy.messages import NOT_JSON, Message

Opcode = Literal["data", "text", "binary", "ping", "pong", "close", "any"]

_OPCODES: Mapping[Opcode, frozenset[int]] = {
    "data": frozenset((TEXT, BINARY)),
    "text": frozenset((TEXT,)),
    "binary": frozenset((BINARY,)),
    "ping": frozenset((PING,)),
    "pong": frozenset((PONG,)),
    "close": frozenset((CLOSE,)),
    "any": frozenset(range(16)),
}

Test = Callable[[Sequence[Any]], bool]


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Messages of which all is true that is said here."""

    direction: Direction = "both"
    """The direction in which they go."""

    opcode: Opcode = "data"
    """What they are; data is text or binary."""

    where: Mapping[str, Any] = field(default_factory=dict)
    """Their JSON has such a value at each of these dotted paths."""

    contains: str | None = None
    """This text occurs in them."""

    same: str | None = None
    """At this dotted path they have the value that the message of `since` has there."""

    def __post_init__(self) -> None:
        for path, expected in self.where.items():
            _test(path, expected)

    def ways(self) -> tuple[Way, ...]:
        """The directions that it names."""
        return WAYS if self.direction == "both" else (self.direction,)


class Matcher:
    """Tells whether a message fits a pattern."""

    __slots__ = ("_contains", "_needles", "_same", "_tests", "opcodes", "ways")

    def __init__(self, pattern: Pattern) -> None:
        self.ways = frozenset(pattern.ways())
        self.opcodes = _OPCODES[pattern.opcode]
        self._contains = None if pattern.contains is None else pattern.contains.encode()
        self._same = None if pattern.same is None else _parts(pattern.same)
        self._tests = tuple(
            (_parts(path), _test(path, expected)) for path, expected in pattern.where.items()
        )
        self._needles = tuple(
            needle for item in pattern.where.items() for needle in _needles(*item)
        )

    def fits(self, message: Message, since: Iterable[Message] = ()) -> bool:
        """Whether it does; `since` are the messages with which `same` compares."""
        if message.opcode not in self.opcodes or message.way not in self.ways:
            return False
        if self._contains is None and not self._tests and self._same is None:
            return True
        payload = message.payload
        if payload is None or (self._contains is not None and self._contains not in payload):
            return False
        # JSON may spell any character as an escape, but not without a backslash.
        for needle in self._needles:
            if needle not in payload and b"\\" not in payload:
                return False
        if self._tests or self._same is not None:
            document = message.json
            if document is NOT_JSON:
                return False
            for path, test in self._tests:
                if not test(values_at(document, path)):
                    return False
        return self._same is None or self._is_same(message, self._same, since)

    def _is_same(self, message: Message, path: Sequence[str], since: Iterable[Message]) -> bool:
        values = values_at(message.json, path)
        return any(
            _equal(value, other)
            for earlier in since
            for other in values_at(earlier.json, path)
            for value in values
        )


def values_at(document: Any, path: Iterable[str]) -> list[Any]:
    """What stands at a path; `*` stands for every key or index."""
    found = [document]
    for part in path:
        below: list[Any] = []
        for value in found:
            if type(value) is dict:
                if part in value:
                    below.append(value[part])
                elif part == "*":
                    below.extend(value.values())
            elif isinstance(value, list):
                if part == "*":
                    below.extend(value)
                elif part.isdecimal() and int(part) < len(value):
                    below.append(value[int(part)])
        found = below
    return found


def with_value(document: Any, path: str, value: Any) -> bool:
    """Put a value at a path of a document; whether there was a place for it."""
    *above, last = _parts(path)
    placed = False
    for holder in values_at(document, above):
        if isinstance(holder, dict):
            holder[last] = value
        elif isinstance(holder, list) and last.isdecimal() and int(last) < len(holder):
            holder[int(last)] = value
        else:
            continue
        placed = True
    return placed


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _test(path: str, expected: Any) -> Test:
    """What must be true of the values at the path."""
    if isinstance(expected, Mapping):
        unknown = [word for word in expected if word not in _OPERATORS]
        if unknown or not expected:
            known = ", ".join(_OPERATORS)
            raise ValueError(f"where: {path}: a condition is one of {known}; found {unknown}")
        tests = [_OPERATORS[word](limit) for word, limit in expected.items()]
        return tests[0] if len(tests) == 1 else lambda values: all(each(values) for each in tests)
    return _any(_like(expected))


def _any(like: Callable[[Any], bool]) -> Test:
    # Plain loops: this is asked of every message.
    def test(values: Sequence[Any]) -> bool:
        for value in values:  # noqa: SIM110
            if like(value):
                return True
        return False

    return test


def _like(expected: Any) -> Callable[[Any], bool]:
    """Equal, or for a text with `*` or `?` in it, of that form."""
    if isinstance(expected, str) and ("*" in expected or "?" in expected):
        form = re.compile(_expression(expected), re.DOTALL).fullmatch
        return lambda value: isinstance(value, str) and form(value) is not None
    return lambda value: _equal(value, expected)


def _expression(glob: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in glob)


def _equal(value: Any, expected: Any) -> bool:
    # Python holds 1 and true for equal; JSON does not.
    return bool(value == expected) and isinstance(value, bool) == isinstance(expected, bool)


def _contains(expected: Any) -> Test:
    """A part of a text, an element of a list, a key of an object."""
    like = _like(expected)

    def holds(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(expected, str) and expected in value
        return isinstance(value, list | dict) and any(like(each) for each in value)

    return _any(holds)


def _not(expected: Any) -> Test:
    like = _like(expected)
    return lambda values: bool(values) and not any(like(value) for value in values)


def _one_of(expected: Any) -> Test:
    if not isinstance(expected, list | tuple):
        raise ValueError(f"where: one_of is a list, such as [1, 2]; found {expected!r}")
    likes = [_like(each) for each in expected]
    return _any(lambda value: any(like(value) for like in likes))


def _exists(expected: Any) -> Test:
    return lambda values: bool(values) == bool(expected)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compared(sign: int) -> Callable[[Any], Test]:
    def make(limit: Any) -> Test:
        if not _is_number(limit):
            raise ValueError(f"where: above and below are numbers; found {limit!r}")
        return _any(lambda value: _is_number(value) and (value - limit) * sign > 0)

    return make


_OPERATORS: Mapping[str, Callable[[Any], Test]] = {
    "contains": _contains,
    "not": _not,
    "one_of": _one_of,
    "above": _compared(1),
    "below": _compared(-1),
    "exists": _exists,
}


def _needles(path: str, expected: Any) -> list[bytes]:
    """Bytes that occur in every message of that kind in which nothing is escaped."""
    if isinstance(expected, Mapping) and "exists" in expected:
        return []
    names = [part for part in _parts(path) if part != "*" and not part.isdecimal()]
    needles = [f'"{names[-1]}"'.encode()] if names else []
    if isinstance(expected, str):
        literal = max(re.split(r"[*?]", expected), key=len)
        needles.append(literal.encode())
    return needles
