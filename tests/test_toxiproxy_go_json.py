"""JSON as Go reads and writes it. The messages are those that a real Toxiproxy 2.12 gave."""

from __future__ import annotations

import contextlib
import json
import math
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from squall_proxy.toxiproxy.go_json import Float32, GoJSONError, Struct, read, read_list, write

THING = Struct(
    "pkg.Thing",
    "Thing",
    {
        "name": "string",
        "on": "bool",
        "size": "int64",
        "share": "float32",
        "parts": Struct("pkg.Parts", "Parts", {"left": "int64", "right": "int64"}),
    },
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "EOF"),
        (" \n", "EOF"),
        ("tru", "unexpected EOF"),
        ("-", "unexpected EOF"),
        ("{", "unexpected EOF"),
        ('{"a":1', "unexpected EOF"),
        ("garbage", "invalid character 'g' looking for beginning of value"),
        ("trux", "invalid character 'x' in literal true (expecting 'e')"),
        ("{a", "invalid character 'a' looking for beginning of object key string"),
        ("{'", "invalid character '\\'' looking for beginning of object key string"),
        ('{"a"x', "invalid character 'x' after object key"),
        ('{"a":1x', "invalid character 'x' after object key:value pair"),
        ('{"a":01', "invalid character '1' after object key:value pair"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ("[1x", "invalid character 'x' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ('"\\x', "invalid character 'x' in string escape code"),
        ('"\\u12g', "invalid character 'g' in \\u hexadecimal character escape"),
        ('{"a":"\t"}', "invalid character '\\t' in string literal"),
        ('{"a":-x', "invalid character 'x' in numeric literal"),
        ('{"a":1.x', "invalid character 'x' after decimal point in numeric literal"),
        ('{"a":1ex', "invalid character 'x' in exponent of numeric literal"),
        ('{"a":é', "invalid character 'Ã' looking for beginning of value"),
        ("[" * 20_000, "exceeded max depth"),
    ],
)
def test_broken_json_is_named_as_go_names_it(body: str, message: str) -> None:
    with pytest.raises(GoJSONError) as caught:
        read(body.encode(), THING)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[1]", "json: cannot unmarshal array into Go value of type pkg.Thing"),
        ('"x"', "json: cannot unmarshal string into Go value of type pkg.Thing"),
        ("1x", "json: cannot unmarshal number into Go value of type pkg.Thing"),
        (
            '{"on":"x","name":5}',
            "json: cannot unmarshal string into Go struct field Thing.on of type bool",
        ),
        (
            '{"name":1}',
            "json: cannot unmarshal number into Go struct field Thing.name of type string",
        ),
        (
            '{"size":1.5}',
            "json: cannot unmarshal number 1.5 into Go struct field Thing.size of type int64",
        ),
        (
            '{"size":1e3}',
            "json: cannot unmarshal number 1e3 into Go struct field Thing.size of type int64",
        ),
        (
            '{"size":9223372036854775808}',
            "json: cannot unmarshal number 9223372036854775808 into Go struct field Thing.size"
            " of type int64",
        ),
        (
            '{"share":1e40}',
            "json: cannot unmarshal number 1e40 into Go struct field Thing.share of type float32",
        ),
        (
            '{"parts":5}',
            "json: cannot unmarshal number into Go struct field Thing.parts of type pkg.Parts",
        ),
        (
            '{"parts":{"left":true}}',
            "json: cannot unmarshal bool into Go struct field Parts.parts.left of type int64",
        ),
    ],
)
def test_values_of_the_wrong_type_are_named_as_go_names_them(body: str, message: str) -> None:
    with pytest.raises(GoJSONError) as caught:
        read(body.encode(), THING)
    assert str(caught.value) == message


def test_only_the_first_value_is_read_and_keys_have_no_case() -> None:
    assert read(b'{"NAME":"a","Size":-7,"more":[{}]} trailing', THING) == {"name": "a", "size": -7}


def test_null_and_unknown_keys_change_nothing() -> None:
    assert read(b'{"name":null,"parts":null,"nope":1}', THING) == {}
    assert read(b"null", THING) == {}


def test_the_last_of_two_equal_keys_wins_and_objects_are_merged() -> None:
    body = b'{"size":1,"size":2,"parts":{"left":1},"parts":{"right":2}}'
    assert read(body, THING) == {"size": 2, "parts": {"left": 1, "right": 2}}


def test_a_list_may_be_null() -> None:
    assert read_list(b"null", THING) == []
    assert read_list(b'[{"size":1},null]', THING) == [{"size": 1}, {}]


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert read(b'{"name":"\\ud800"}', THING) == {"name": "\ufffd"}


def test_what_html_could_misread_is_escaped() -> None:
    assert write({"<a>": '\u2028&é\x01\b"'}) == (
        '{"\\u003ca\\u003e":"\\u2028\\u0026é\\u0001\\b\\""}'
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.0, "1"),
        (0.0, "0"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (-1.0, "-1"),
        (1e-7, "1e-7"),
        (1e-6, "0.000001"),
        (1e21, "1e+21"),
        (123456789.0, "123456790"),
    ],
)
def test_a_float32_is_as_short_as_go_writes_it(number: float, text: str) -> None:
    assert str(Float32(struct.unpack("f", struct.pack("f", number))[0])) == text


@example(3.4025001647762064e38)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_comes_back_as_it_was(number: float) -> None:
    again = read(write({"share": Float32(number)}).encode(), THING)["share"]
    assert (again, math.copysign(1, again)) == (number, math.copysign(1, number))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_all_json_is_good_syntax(value: object) -> None:
    wrapped = json.dumps({"nope": value}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert read(wrapped, THING) == {}


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789.eE+-truefalsnl \\', max_size=40))
def test_any_bytes_are_read_or_refused(body: bytes | str) -> None:
    data = body if isinstance(body, bytes) else body.encode()
    with contextlib.suppress(GoJSONError):
        assert isinstance(read(data, THING), dict)
