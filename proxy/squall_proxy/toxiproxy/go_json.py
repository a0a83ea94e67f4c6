"""JSON as Go's encoding/json reads and writes it, messages included.

Toxiproxy's clients show these messages, and some compare them, so they are part of its interface.
Like Go's decoder this one takes the first value of a body and leaves the rest unread, checks the
whole of that value's syntax before any type, matches keys without regard to case, ignores unknown
ones, and takes `null` for "as it was".
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

# As deep as Go goes; what is deeper than Python's own decoder can go is refused with it.
_DEEPEST = 10_000

_INT64 = range(-(2**63), 2**63)


class GoJSONError(ValueError):
    """What Go would say of this JSON."""


class _Literal(str):
    """A number as it was written."""


Scalar = Literal["string", "bool", "int64", "float32"]


@dataclass(frozen=True)
class Struct:
    """A Go struct, as far as its decoding shows: `type` and `name` are what messages call it.

    A field whose kind is a `Struct` wants an object; one of an embedded struct carries that
    struct's name in `within`.
    """

    type: str
    name: str
    fields: Mapping[str, Scalar | Struct] = field(default_factory=dict)
    within: Mapping[str, str] = field(default_factory=dict)


Found = dict[str, Any]


# -- reading -------------------------------------------------------------------------------------


def read(data: bytes, into: Struct) -> Found:
    """The fields that stand in the object that `data` begins with. Raises `GoJSONError`."""
    return _fields(_first_value(data), into, "")


def read_list(data: bytes, of: Struct) -> list[Found]:
    """The same for an array of such objects; `null` is an empty one."""
    value = _first_value(data)
    if value is None:
        return []
    if not isinstance(value, list):
        raise GoJSONError(
            f"json: cannot unmarshal {_kind(value)} into Go value of type []{of.type}"
        )
    return [_fields(each, of, "") for each in value]


@dataclass(frozen=True)
class _Object:
    """An object with its keys in order, repeated ones too."""

    pairs: tuple[tuple[str, Any], ...]


def _first_value(data: bytes) -> Any:
    start, end = _Scanner(data).first_value()
    text = data[start:end].decode("utf-8", "replace")
    decoder = json.JSONDecoder(
        object_pairs_hook=lambda pairs: _Object(tuple(pairs)),
        parse_int=_Literal,
        parse_float=_Literal,
    )
    try:
        return decoder.decode(text)
    except RecursionError:
        raise GoJSONError("exceeded max depth") from None


def _fields(value: Any, into: Struct, path: str) -> Found:
    if value is None:
        return {}
    if not isinstance(value, _Object):
        raise GoJSONError(
            f"json: cannot unmarshal {_kind(value)} into Go value of type {into.type}"
        )
    by_name = {name.casefold(): name for name in into.fields}
    found: Found = {}
    for key, member in value.pairs:
        name = by_name.get(key.casefold())
        if name is None or member is None:
            continue
        kind = into.fields[name]
        within = into.within.get(name, "")
        place = f"{path}{within}{name}"
        if isinstance(kind, Struct):
            if not isinstance(member, _Object):
                raise _mismatch(_kind(member), into.name, place, kind.type)
            found[name] = found.get(name, {}) | _fields(member, kind, f"{place}.")
        else:
            found[name] = _scalar(member, kind, into.name, place)
    return found


def _scalar(value: Any, kind: Scalar, owner: str, place: str) -> Any:
    if isinstance(value, _Literal):
        number = _number(value, kind)
        if number is None:
            shown = f"number {value}" if kind in ("int64", "float32") else "number"
            raise _mismatch(shown, owner, place, kind)
        return number
    if isinstance(value, bool) and kind == "bool":
        return value
    if isinstance(value, str) and kind == "string":
        return _without_surrogates(value)
    raise _mismatch(_kind(value), owner, place, kind)


def _number(literal: str, kind: Scalar) -> int | float | None:
    if kind == "int64" and re.fullmatch(r"-?[0-9]{1,19}", literal) and int(literal) in _INT64:
        return int(literal)
    if kind == "float32":
        try:
            return float32(float(literal))
        except OverflowError:
            return None
    return None


def float32(number: float) -> float:
    """The number that Go's float32 makes of it. Raises OverflowError."""
    if math.isinf(number):
        raise OverflowError
    (rounded,) = struct.unpack("<f", struct.pack("<f", number))
    return float(rounded)


def _without_surrogates(text: str) -> str:
    """Half of a surrogate pair is no character; Go puts U+FFFD in its place."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _kind(value: Any) -> str:
    match value:
        case _Literal():
            return "number"
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _mismatch(what: str, owner: str, place: str, kind: str) -> GoJSONError:
    return GoJSONError(
        f"json: cannot unmarshal {what} into Go struct field {owner}.{place} of type {kind}"
    )


class _Scanner:
    """Finds the end of the first value and what is wrong before it.

    It keeps its own stack, so that no depth of nesting is too much for it.
    """

    _SPACE = re.compile(rb"[ \t\r\n]*")
    _PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
    _DIGITS = re.compile(rb"[0-9]*")
    _WORDS = (b"true", b"false", b"null")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def first_value(self) -> tuple[int, int]:
        """Where the first value begins and ends. Raises `GoJSONError`."""
        self._skip_space()
        if self._at == len(self._data):
            raise GoJSONError("EOF")
        start = self._at
        open_: list[int] = []
        self._value(open_)
        while open_:
            if len(open_) > _DEEPEST:
                raise GoJSONError("exceeded max depth")
            self._skip_space()
            if open_[-1] == ord("{"):
                self._in_object(open_)
            else:
                self._in_array(open_)
        return start, self._at

    def _in_object(self, open_: list[int]) -> None:
        after = self._take(b",}", "after object key:value pair")
        if after == ord("}"):
            open_.pop()
            return
        self._skip_space()
        self._key(b'"')
        self._value(open_)

    def _in_array(self, open_: list[int]) -> None:
        if self._take(b",]", "after array element") == ord("]"):
            open_.pop()
            return
        self._skip_space()
        self._value(open_)

    def _value(self, open_: list[int]) -> None:
        """One scalar, or the beginning of a container up to the end of its first scalar."""
        while True:
            first = self._peek()
            if first == ord('"'):
                self._at += 1
                return self._string()
            if first == ord("-") or chr(first).isdigit():
                return self._numeric()
            if first in b"{[":
                self._at += 1
                self._skip_space()
                if self._peek() == (ord("}") if first == ord("{") else ord("]")):
                    self._at += 1
                    return None
                open_.append(first)
                if first == ord("{"):
                    self._key(b'"')
                if len(open_) > _DEEPEST:
                    raise GoJSONError("exceeded max depth")
                continue
            return self._word()

    def _key(self, opening: bytes) -> None:
        self._take(opening, "looking for beginning of object key string")
        self._string()
        self._skip_space()
        self._take(b":", "after object key")
        self._skip_space()

    def _string(self) -> None:
        while True:
            self._at = self._match(self._PLAIN)
            stopped = self._take(b'"\\', "in string literal")
            if stopped == ord('"'):
                return
            if self._take(b'bfnrtu"\\/', "in string escape code") == ord("u"):
                for _ in range(4):
                    self._take(b"0123456789abcdefABCDEF", "in \\u hexadecimal character escape")

    def _numeric(self) -> None:
        if self._peek() == ord("-"):
            self._at += 1
        if self._take(b"0123456789", "in numeric literal") != ord("0"):
            self._at = self._match(self._DIGITS)
        if self._data[self._at : self._at + 1] == b".":
            self._at += 1
            self._take(b"0123456789", "after decimal point in numeric literal")
            self._at = self._match(self._DIGITS)
        if self._data[self._at : self._at + 1] in (b"e", b"E"):
            self._at += 1
            if self._peek() in b"+-":
                self._at += 1
            self._take(b"0123456789", "in exponent of numeric literal")
            self._at = self._match(self._DIGITS)

    def _word(self) -> None:
        first = self._peek()
        word = next((each for each in self._WORDS if each[0] == first), None)
        if word is None:
            raise self._invalid("looking for beginning of value")
        for wanted in word:
            self._take(bytes((wanted,)), f"in literal {word.decode()} (expecting '{chr(wanted)}')")

    def _skip_space(self) -> None:
        self._at = self._match(self._SPACE)

    def _match(self, pattern: re.Pattern[bytes]) -> int:
        found = pattern.match(self._data, self._at)
        assert found is not None
        return found.end()

    def _peek(self) -> int:
        if self._at >= len(self._data):
            raise GoJSONError("unexpected EOF")
        return self._data[self._at]

    def _take(self, wanted: bytes, where: str) -> int:
        found = self._peek()
        if found not in wanted:
            raise self._invalid(where)
        self._at += 1
        return found

    def _invalid(self, where: str) -> GoJSONError:
        return GoJSONError(f"invalid character {_quoted(self._data[self._at])} {where}")


_NAMED = {7: "a", 8: "b", 9: "t", 10: "n", 11: "v", 12: "f", 13: "r", 39: "'", 92: "\\"}


def _quoted(byte: int) -> str:
    """One byte in single quotes, taken for the code point of that number, as Go takes it."""
    if byte in _NAMED:
        return f"'\\{_NAMED[byte]}'"
    if byte < 0x20 or byte == 0x7F:
        return f"'\\x{byte:02x}'"
    if 0x80 <= byte <= 0xA0 or byte == 0xAD:
        return f"'\\u{byte:04x}'"
    return f"'{chr(byte)}'"


# -- writing -------------------------------------------------------------------------------------


class Float32(float):
    """A number that is written as Go writes a float32."""

    def __str__(self) -> str:
        shortest = self._shortest()
        if not float(self) or float32(1e-6) <= abs(self) < float32(1e21):
            return format(Decimal(shortest), "f")
        mantissa, exponent = shortest.split("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"

    def _shortest(self) -> str:
        """The fewest digits that give the same float32 again; nine always do."""
        for digits in range(8):
            text = f"{float(self):.{digits}e}"
            with contextlib.suppress(OverflowError):  # rounded up from next to the greatest
                if float32(float(text)) == self:
                    return text
        return f"{float(self):.8e}"


def write(value: Any) -> str:
    """The value as Go writes it: no spaces, keys in the order given, `<`, `>`, `&` escaped."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Float32() | int():
            return str(value)
        case str():
            return _written(value)
        case Mapping():
            return "{" + ",".join(f"{_written(k)}:{write(v)}" for k, v in value.items()) + "}"
        case Sequence():
            return "[" + ",".join(map(write, value)) + "]"
    raise TypeError(f"no JSON for {value!r}")


# `\b` and `\f` are short as in JSON itself; DEL stands as it is.
_ESCAPED = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def _written(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_ESCAPED)
