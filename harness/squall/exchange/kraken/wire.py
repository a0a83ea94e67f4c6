"""Kraken's JSON: requests understood, replies and errors spelt.

Errors are words, not numbers: a class in capitals and what is wrong, `EAPI:Invalid key`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from squall.exchange import strict_json
from squall.exchange.protocol import HttpAnswer, RequestId, Trouble, VenueError

BAD_KEY = "EAPI:Invalid key"
BAD_SIGNATURE = "EAPI:Invalid signature"
BAD_NONCE = "EAPI:Invalid nonce"
BAD_SESSION = "ESession:Invalid session"
BAD_ARGUMENTS = "EGeneral:Invalid arguments"
INTERNAL = "EGeneral:Internal error"
UNKNOWN_METHOD = "EGeneral:Unknown method"
UNAVAILABLE = "EService:Unavailable"
UNKNOWN_ORDER = "EOrder:Unknown order"
UNKNOWN_PAIR = "EQuery:Unknown asset pair"
MESSAGE_RATE = "Exceeded msg rate"
MALFORMED = "Malformed request"
NO_CHANNEL = "Channel not supported"
NO_SYMBOL = "Currency pair not supported"
CODES: Mapping[Trouble, str] = MappingProxyType(
    {
        Trouble.BAD_CREDENTIALS: BAD_KEY,
        Trouble.UNAUTHORIZED: BAD_SESSION,
        Trouble.RATE: MESSAGE_RATE,
        Trouble.MAINTENANCE: UNAVAILABLE,
        Trouble.INTERNAL: INTERNAL,
    }
)


def failure(code: str, message: str = "", *, id: RequestId = None) -> VenueError:
    """An error of Kraken by its words."""
    return VenueError(code, message or code, id=id)


def decode(text: str) -> tuple[str, RequestId, Mapping[str, Any]]:
    """Method, id and parameters of a request. Raises VenueError where there is none."""
    try:
        found = strict_json.decode(text)
    except (ValueError, RecursionError):
        raise failure(MALFORMED) from None
    if not isinstance(found, dict):
        raise failure(MALFORMED)
    id = found.get("req_id")
    id = id if isinstance(id, int) and not isinstance(id, bool) else None
    method, params = found.get("method"), found.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict):
        raise failure(MALFORMED, id=id)
    return method, id, params


def moment(now: float) -> str:
    """A wall clock's time as Kraken writes it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def reply(
    method: str, id: RequestId, times: tuple[float, float], result: Mapping[str, Any] | None = None
) -> str:
    """A confirmation; `times` are when the request came and when it is answered."""
    outcome: dict[str, Any] = {"method": method}
    if result is not None:
        outcome |= {"result": result, "success": True}
    return _reply(outcome, id, times)


def error(
    method: str,
    id: RequestId,
    times: tuple[float, float],
    wrong: VenueError,
    symbol: str | None = None,
) -> str:
    """An error, of one symbol where it is about one."""
    outcome: dict[str, Any] = {"error": wrong.message, "method": method, "success": False}
    if symbol is not None:
        outcome["symbol"] = symbol
    return _reply(outcome, id, times)


def _reply(outcome: dict[str, Any], id: RequestId, times: tuple[float, float]) -> str:
    if id is not None:
        outcome["req_id"] = id
    return json.dumps({**outcome, "time_in": moment(times[0]), "time_out": moment(times[1])})


def rest(result: Any) -> HttpAnswer:
    """An answer of the REST API."""
    return HttpAnswer(200, json.dumps({"error": [], "result": result}))


def rest_error(wrong: VenueError) -> HttpAnswer:
    """An error of the REST API: HTTP 200, unless a fault names another status as its code."""
    if isinstance(wrong.code, int) and 400 <= wrong.code < 600:
        return HttpAnswer(wrong.code, f"{wrong.code}\n", "text/plain")
    return HttpAnswer(200, json.dumps({"error": [wrong.message]}))
