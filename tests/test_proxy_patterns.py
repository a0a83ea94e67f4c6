"""Which messages a pattern is for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_witness import built, masked
from squall_proxy.faults import DropMessage
from squall_proxy.messages import Message
from squall_proxy.patterns import Matcher, Pattern, values_at, with_value

TICK = {
    "method": "subscription",
    "params": {"channel": "book.BTC-PERPETUAL.100ms", "data": {"seq": 7, "ok": True, "none": None}},
    "list": [{"a": 1}, {"a": "two"}],
}


def said(document: Any, opcode: int = 1) -> Message:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Message("server_to_client", opcode, (built(data, opcode),))


def fits(document: Any, **pattern: Any) -> bool:
    return Matcher(Pattern(**pattern)).fits(said(document))


@pytest.mark.parametrize(
    "where",
    [
        {"method": "subscription"},
        {"method": "sub*", "params.channel": "book.*.100ms"},
        {"params.channel": "book.BTC-PERPETUAL.???ms"},
        {"params.data.seq": 7},
        {"params.data.seq": {"above": 6, "below": 8}},
        {"params.data.ok": True},
        {"params.data.none": None},
        {"params.data": {"exists": True}},
        {"missing": {"exists": False}},
        {"list.1.a": "two"},
        {"list.*.a": 1},
        {"*.channel": "book.*"},
        {"params.channel": {"contains": "BTC"}},
        {"params.data": {"contains": "seq"}},
        {"method": {"not": "heartbeat"}},
        {"method": {"one_of": ["heartbeat", "subscr*"]}},
    ],
)
def test_where_finds_what_is_there(where: dict[str, Any]) -> None:
    assert fits(TICK, where=where)


@pytest.mark.parametrize(
    "where",
    [
        {"method": "Subscription"},
        {"method": "sub"},
        {"params.data.seq": "7"},
        {"params.data.seq": True},
        {"params.data.ok": 1},
        {"params.data.seq": {"above": 7}},
        {"params.data.none": {"exists": False}},
        {"list.2.a": 1},
        {"missing": {"not": "x"}},
        {"method.deeper": "x"},
        {"method": {"one_of": ["heartbeat"]}},
        {"params.data.ok": {"above": 0}},
    ],
)
def test_where_does_not_find_what_is_not(where: dict[str, Any]) -> None:
    assert not fits(TICK, where=where)


def test_escapes_do_not_hide_a_value() -> None:
    assert fits(rb'{"method":"public\/subscribe"}', where={"method": "public/subscribe"})
    assert fits(rb'{"m\u0065thod":"\u0061"}', where={"method": "a"})
    assert fits('{"name":"é"}'.encode(), where={"name": "é"})
    assert fits(rb'{"name":"\u00e9"}', where={"name": "é"})


@pytest.mark.parametrize("data", [b"", b"no json", b"\xff\xfe", b"[" * 60_000, b"1" * 5000])
def test_what_is_no_json_has_no_values(data: bytes) -> None:
    assert not fits(data, where={"a": 1})
    assert not fits(data, where={"a": {"exists": False}})
    assert fits(data)


def test_contains_looks_at_text_and_bytes() -> None:
    assert fits(b"one two", contains="e t")
    assert not fits(b"one two", contains="three")


@pytest.mark.parametrize(
    ("opcode", "kinds"),
    [
        (1, {"data", "text", "any"}),
        (2, {"data", "binary", "any"}),
        (8, {"close", "any"}),
        (9, {"ping", "any"}),
        (10, {"pong", "any"}),
        (3, {"any"}),
    ],
)
def test_opcodes_have_names(opcode: int, kinds: set[str]) -> None:
    for kind in ("data", "text", "binary", "ping", "pong", "close", "any"):
        matcher = Matcher(Pattern(opcode=kind))
        assert matcher.fits(said(b"", opcode)) == (kind in kinds)


def test_directions_are_told_apart() -> None:
    message = Message("client_to_server", 1, (masked(b"{}"),))
    assert Matcher(Pattern()).fits(message)
    assert Matcher(Pattern(direction="client_to_server")).fits(message)
    assert not Matcher(Pattern(direction="server_to_client")).fits(message)


def test_same_compares_with_an_earlier_message() -> None:
    matcher = Matcher(Pattern(same="id"))
    since = [said({"id": 7}), said({"id": "8"})]
    assert matcher.fits(said({"id": 7}), since)
    assert not matcher.fits(said({"id": 8}), since)
    assert not matcher.fits(said({}), since)


@pytest.mark.parametrize(
    "wrong",
    [
        {"where": {"a": {"grater": 1}}},
        {"where": {"a": {}}},
        {"where": {"a": {"above": "1"}}},
        {"where": {"a": {"one_of": 1}}},
        {"nth": 0},
        {"nth": 1, "every": 2},
        {"same": "id"},
    ],
)
def test_patterns_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"where|nth|same"):
        DropMessage(**wrong)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.dictionaries(st.text(alphabet='ab*0é"\\/', min_size=1), json_values), st.booleans())
def test_whatever_stands_there_is_found_by_its_own_value(
    document: dict[str, Any], ascii_only: bool
) -> None:
    data = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    for key, value in document.items():
        if "." in key or key == "*" or isinstance(value, dict):
            continue
        if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            continue
        assert fits(data, where={key: value}), key


def test_a_value_is_put_where_there_is_a_place_for_it() -> None:
    document: Any = {"a": [{"b": 1}, {"b": 2}], "c": {}}
    assert with_value(document, "a.*.b", 9)
    assert with_value(document, "c.d", "new")
    assert not with_value(document, "x.y", 1)
    assert not with_value(document, "a.5", 1)
    assert document == {"a": [{"b": 9}, {"b": 9}], "c": {"d": "new"}}
    assert values_at(document, ("a", "1", "b")) == [9]
