"""JSON-RPC 2.0 as Deribit speaks it over WebSocket: named parameters, no batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

AUTHORIZATION_REQUIRED = 10000
TOO_MANY_REQUESTS = 10028
SECURITY_KEY_OVER_LIMIT = 12998
LOGIN_OVER_LIMIT = 12003
INVALID_CREDENTIALS = 13004
UNAUTHORIZED = 13009
SECURITY_KEY_ERROR = 13668
TIMED_OUT = 13888


@dataclass(frozen=True, slots=True)
class Error:
    """An error answer."""

    code: int
    message: str
    data: Any = None

    def __str__(self) -> str:
        return f"{self.code} {self.message[:200]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to the request with this id; `id` is None where the exchange could not tell."""

    id: int | str | None
    result: Any = None
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that answers nothing."""

    method: str
    params: Mapping[str, Any]


def encode(id: int, method: str, params: Mapping[str, Any]) -> str:
    """A request. It always has an id: an answer without one could not be told from another."""
    return json.dumps(
        {"jsonrpc": "2.0", "id": id, "method": method, "params": params}, separators=(",", ":")
    )


def decode(message: str | bytes) -> Answer | Notification | None:
    """What a message says; None where it is no JSON-RPC."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    method, params = found.get("method"), found.get("params")
    if isinstance(method, str):
        return Notification(method, params if isinstance(params, dict) else {})
    id, error = found.get("id"), found.get("error")
    if not isinstance(id, int | str | None):
        return None
    if isinstance(error, dict) and isinstance(error.get("code"), int):
        return Answer(id, error=Error(error["code"], str(error.get("message")), error.get("data")))
    return Answer(id, result=found["result"]) if "result" in found else None
