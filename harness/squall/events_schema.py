"""The adapter protocol's lines as a JSON Schema, and what is wrong with one of them.

`squall schema events` prints it. The same schema names the mistakes in an event for
`squall doctor`, which must not need a validator that a user has not installed: `mistakes` reads
the few keywords that are used here. docs/adapter-protocol.md says what the lines mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from squall.errors import did_you_mean

Schema = Mapping[str, Any]

_TEXT = {"type": "string"}
_WORDS = {"type": ["string", "null"]}
_TRUTH = {"type": "boolean"}
_NUMBER = {"type": "integer"}
_NAMES = {"type": "array", "items": _TEXT}
_FREE = {"type": "object"}

_STATES = (
    "connecting",
    "connected",
    "authenticated",
    "live",
    "disconnected",
    "circuit_open",
    "gave_up",
    "stopped",
)


def _line(key: str, name: str, about: str, fields: Schema, *optional: str) -> Schema:
    """An object that `key` names. Fields beyond these are allowed: nobody reads them."""
    return {
        "type": "object",
        "description": about,
        "properties": {key: {"const": name}, **fields},
        "required": [key, *(field for field in fields if field not in optional)],
    }


def _command(name: str, about: str, fields: Schema | None = None, *optional: str) -> Schema:
    return _line("do", name, about, {"id": _NUMBER, **(fields or {})}, *optional)


COMMANDS: Mapping[str, Schema] = {
    "subscribe": _command("subscribe", "Keep these channels too.", {"channels": _NAMES}),
    "unsubscribe": _command("unsubscribe", "Give these channels up.", {"channels": _NAMES}),
    "request": _command(
        "request", "Send this to the venue.", {"method": _TEXT, "params": _FREE}, "params"
    ),
    "health": _command("health", "Reply with `ok: true` only while data is fresh."),
    "disconnect": _command("disconnect", "Close the connection and stay closed."),
    "stop": _command("stop", "Stop, as at the end of standard input."),
}

EVENTS: Mapping[str, Schema] = {
    "ready": _line(
        "event",
        "ready",
        "The first line: which commands are understood.",
        {"commands": {"type": "array", "items": {"enum": list(COMMANDS)}}},
    ),
    "message": _line(
        "event",
        "message",
        "A datum is handed to the consumer.",
        {"channel": _TEXT, "seq": {"type": ["integer", "null"]}, "gap": _TRUTH},
        "seq",
        "gap",
    ),
    "state": _line(
        "event",
        "state",
        "What the adapter believes has changed.",
        {"state": {"enum": list(_STATES)}, "reason": _WORDS},
        "reason",
    ),
    "reply": _line(
        "event",
        "reply",
        "A command is done.",
        {"id": _NUMBER, "ok": _TRUTH, "error": _WORDS, "indefinite": _TRUTH},
        "error",
        "indefinite",
    ),
    "log": _line("event", "log", "Anything else worth keeping.", {"message": _TEXT}),
}

EVENTS_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "A line of the Squall adapter protocol",
    "anyOf": [{"$ref": "#/$defs/event"}, {"$ref": "#/$defs/command"}],
    "$defs": {
        "event": {
            "description": "What an adapter prints on standard output.",
            "oneOf": list(EVENTS.values()),
        },
        "command": {
            "description": "What an adapter reads from standard input.",
            "oneOf": list(COMMANDS.values()),
        },
    },
}


def mistakes(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an event, a sentence each; empty where nothing is."""
    name = event.get("event")
    if name is None:
        return ["'event' is missing"]
    if not isinstance(name, str) or name not in EVENTS:
        return [f"unknown event {name!r}.{did_you_mean(str(name), EVENTS)}"]
    return [f"{name}: {wrong}" for wrong in _mistakes(event, EVENTS[name], "")]


def _mistakes(value: Any, schema: Schema, at: str) -> Iterator[str]:
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at} is {value!r}.{did_you_mean(str(value), schema['enum'])}"
    types = schema.get("type", ())
    types = [types] if isinstance(types, str) else types
    if types and not any(_is(value, each) for each in types):
        yield f"{at} is {value!r}, not {' or '.join(_SPOKEN[each] for each in types)}"
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _mistakes(each, schema.get("items", {}), f"{at}[{number}]")
    elif isinstance(value, Mapping):
        for name in schema.get("required", ()):
            if name not in value:
                yield f"'{name}' is missing"
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield from _mistakes(value[name], inner, name)


_PYTHON: Mapping[str, type | tuple[type, ...]] = {
    "array": list,
    "boolean": bool,
    "null": type(None),
    "object": Mapping,
    "string": str,
}

_SPOKEN: Mapping[str, str] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "object": "an object",
    "string": "a text",
}


def _is(value: Any, name: str) -> bool:
    if name == "integer":
        # JSON knows one kind of number, in which 41.0 is whole, and a truth is none.
        whole = isinstance(value, float) and value.is_integer()
        return whole or (isinstance(value, int) and not isinstance(value, bool))
    return isinstance(value, _PYTHON[name])
