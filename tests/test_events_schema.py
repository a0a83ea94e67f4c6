"""events_schema.py: the mistakes that are named are those that a JSON Schema validator finds."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.driver import EVENTS as HEARD
from squall.events_schema import COMMANDS, EVENTS, EVENTS_SCHEMA, mistakes

EVENT = jsonschema.Draft202012Validator({**EVENTS_SCHEMA, "anyOf": [{"$ref": "#/$defs/event"}]})
LINE = jsonschema.Draft202012Validator(EVENTS_SCHEMA)

GOOD: list[dict[str, Any]] = [
    {"event": "ready", "commands": []},
    {"event": "ready", "commands": ["subscribe", "health"]},
    {"event": "message", "channel": "trades.BTC-PERPETUAL.100ms", "seq": 41},
    {"event": "message", "channel": "ticker.BTC-PERPETUAL.100ms", "seq": None},
    {"event": "message", "channel": "book.BTC-PERPETUAL.100ms", "seq": 7, "gap": True},
    {"event": "state", "state": "disconnected", "reason": "no pong for 10 s"},
    {"event": "reply", "id": 1, "ok": True},
    {"event": "reply", "id": 2, "ok": False, "error": "not connected", "indefinite": False},
    {"event": "log", "message": "hello"},
]

BAD: list[tuple[dict[str, Any], str]] = [
    ({"state": "live"}, "'event' is missing"),
    ({"event": "mesage"}, "unknown event 'mesage'. Did you mean 'message'?"),
    ({"event": ["ready"]}, "unknown event ['ready']."),
    ({"event": "ready"}, "ready: 'commands' is missing"),
    ({"event": "ready", "commands": "all"}, "ready: commands is 'all', not a list"),
    (
        {"event": "ready", "commands": ["subscribe", "healthy"]},
        "ready: commands[1] is 'healthy'. Did you mean 'health'?",
    ),
    ({"event": "message", "chanel": "x"}, "message: 'channel' is missing"),
    (
        {"event": "message", "channel": "x", "seq": "41"},
        "message: seq is '41', not a whole number or null",
    ),
    (
        {"event": "message", "channel": "x", "gap": 1},
        "message: gap is 1, not true or false",
    ),
    (
        {"event": "state", "state": "disconected"},
        "state: state is 'disconected'. Did you mean 'disconnected'?",
    ),
    ({"event": "reply", "id": True, "ok": True}, "reply: id is True, not a whole number"),
]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(EVENTS_SCHEMA)


def test_the_driver_hears_every_event_of_the_schema() -> None:
    assert set(EVENTS) == set(HEARD)


@pytest.mark.parametrize("event", GOOD, ids=str)
def test_good_events_have_no_mistakes(event: dict[str, Any]) -> None:
    assert mistakes(event) == []
    assert LINE.is_valid(event)


@pytest.mark.parametrize(("event", "said"), BAD, ids=lambda each: str(each)[:60])
def test_a_mistake_is_named(event: dict[str, Any], said: str) -> None:
    found = mistakes(event)
    assert len(found) == 1
    assert found[0].startswith(said)
    assert not EVENT.is_valid(event)


def test_the_commands_that_squall_sends_are_lines_of_the_protocol() -> None:
    for command in (
        {"id": 1, "do": "subscribe", "channels": ["x"]},
        {"id": 2, "do": "request", "method": "private/buy", "params": {"amount": 10}},
        {"id": 3, "do": "health"},
    ):
        assert command["do"] in COMMANDS
        assert LINE.is_valid(command)
    assert not LINE.is_valid({"id": 1, "do": "subscribe"})


_VALUES = st.none() | st.booleans() | st.integers() | st.sampled_from([1.0, 0.5]) | st.just("x")
_FIELDS = sorted(
    {field for schema in EVENTS.values() for field in schema["properties"]} - {"event"}
)


@given(
    name=st.sampled_from(sorted(EVENTS)),
    fields=st.dictionaries(
        st.sampled_from(_FIELDS),
        _VALUES
        | st.sampled_from(["live", "stopped", "subscribe"])
        | st.lists(st.sampled_from([*COMMANDS, "nothing"]), max_size=2),
    ),
)
def test_any_event_is_judged_as_a_validator_judges_it(name: str, fields: dict[str, Any]) -> None:
    event = {"event": name, **fields}
    assert (mistakes(event) == []) == EVENT.is_valid(event)
