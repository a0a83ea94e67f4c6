"""The JSON Schema of `results.json`: what other tools may rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from squall.verdict import Outcome

_TEXT = {"type": "string"}
_SECONDS = {"type": "number", "minimum": 0}
_OUTCOME = {"enum": [outcome.value for outcome in Outcome]}


def _closed(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": dict(items)}


_EVENT = {
    "type": "object",
    "description": "An event of docs/history.md.",
    "properties": {
        "at": {"type": "number"},
        "source": _TEXT,
        "kind": _TEXT,
        "connection": {"type": "integer"},
    },
    "required": ["at", "source", "kind"],
}

_CHECK = _closed(
    {
        "name": _TEXT,
        "id": _TEXT,
        "outcome": _OUTCOME,
        "why": _TEXT,
        "evidence": _list_of(_EVENT),
    }
)

_KNOWN = _closed(
    {
        "outcome": {"enum": ["fail", "unknown"]},
        "reason": _TEXT,
        "sometimes": {"type": "boolean", "description": "Left to chance: it may pass too."},
        "link": {"type": ["string", "null"]},
    }
)

_SCENARIO = _closed(
    {
        "name": _TEXT,
        "covers": _list_of(_TEXT),
        "outcome": _OUTCOME,
        "seconds": {**_SECONDS, "description": "On the run's own clock."},
        "seed": {"type": "integer"},
        "history": {
            "type": ["string", "null"],
            "description": "Relative to this file; null where nothing was run.",
        },
        "why": {**_TEXT, "description": "The sentence of the verdict that decided."},
        "error": {**_TEXT, "description": "Why there is no verdict; absent where there is one."},
        "known": {**_KNOWN, "description": "What the manifest says of this scenario."},
        "times": {"type": "object", "description": "Measured on the way, in seconds."},
        "checks": _list_of(_CHECK),
    },
    "error",
    "known",
)

RESULTS_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Results of a Squall suite",
    **_closed(
        {
            "squall": {**_TEXT, "description": "The version."},
            "seed": {
                "type": ["integer", "null"],
                "description": "Null where each scenario had its own.",
            },
            "adapter": _TEXT,
            "profile": _TEXT,
            "clock": {"enum": ["real", "virtual"]},
            "started": {"type": "string", "format": "date-time"},
            "seconds": {**_SECONDS, "description": "Real time of the whole."},
            "interrupted": {
                "type": "boolean",
                "description": "Also true in a file that was written before the suite was over.",
            },
            "scenarios": _list_of(_SCENARIO),
        }
    ),
}
