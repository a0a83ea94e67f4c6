"""Binance's JSON: requests understood, replies and errors spelt.

Market streams answer `{"result": …, "id": …}` and `{"code": 0 to 3, "msg": …, "id": …}`; the
WebSocket API answers with a status like HTTP's. Which of the two it is, the path decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from squall.exchange import strict_json
from squall.exchange.protocol import HttpAnswer, RequestId, Trouble, VenueError

# errors.md; codes 0 to 3 are those of web-socket-streams.md, "Error Messages".
ERRORS: Mapping[int, str] = MappingProxyType(
    {
        0: "Unknown property",
        1: "Invalid value type: expected Boolean",
        2: "Invalid request",
        3: "Invalid JSON: expected value at line 1 column 1",
        -1000: "An unknown error occurred while processing the request.",
        -1001: "Internal error; unable to process your request. Please try again.",
        -1002: "You are not authorized to execute this request.",
        -1003: "Too many requests; current limit of IP is exceeded.",
        -1016: "This service is no longer available.",
        -1021: "Timestamp for this request is outside of the recvWindow.",
        -1022: "Signature for this request is not valid.",
        -1034: "Too many connections.",
        -1100: "Illegal characters found in a parameter.",
        -1102: "A mandatory parameter was not sent, was empty/null, or malformed.",
        -1121: "Invalid symbol.",
        -1125: "This listenKey does not exist.",
        -1135: "Invalid JSON Request",
        -1999: "Unknown method.",
        -2011: "Unknown order sent.",
        -2013: "Order does not exist.",
        -2015: "Invalid API-key, IP, or permissions for action.",
    }
)
CODES: Mapping[Trouble, int] = MappingProxyType(
    {
        Trouble.BAD_CREDENTIALS: -2015,
        Trouble.UNAUTHORIZED: -1002,
        Trouble.RATE: -1003,
        Trouble.MAINTENANCE: -1016,
        Trouble.INTERNAL: -1001,
    }
)
_STREAM_CODES = frozenset({0, 1, 2, 3})
_UNAUTHORIZED = frozenset({-1002, -2015})
_LIMITS = frozenset({429, 418})
_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
_INT64 = 2**63
BAN_SECONDS = 120.0
"""How long a client is asked to stay away: 418 bans begin at 2 minutes."""


def failure(code: int, message: str = "", *, id: RequestId = None) -> VenueError:
    """An error of Binance by its code."""
    return VenueError(code, message or ERRORS[code], id=id)


def decode(text: str) -> tuple[str, RequestId, Any]:
    """Method, id and parameters of a request. Raises VenueError where there is none."""
    try:
        found = strict_json.decode(text)
    except (ValueError, RecursionError):
        raise failure(3) from None
    if not isinstance(found, dict):
        raise failure(2, "Invalid request: expected an object")
    id = found.get("id")
    if not _is_id(id):
        wanted = "request ID must be a 64-bit integer, up to 36 alphanumerics, or null"
        raise failure(2, f"Invalid request: {wanted}")
    method = found.get("method")
    if not isinstance(method, str):
        raise failure(2, "Invalid request: missing field `method` at line 1 column 1", id=id)
    return method, id, found.get("params")


def _is_id(id: object) -> bool:
    match id:
        case None:
            return True
        case bool():
            return False
        case int():
            return -_INT64 <= id < _INT64
        case str():
            return bool(_ID.fullmatch(id))
    return False


def stream_reply(id: RequestId, result: Any) -> str:
    """A reply on a market stream."""
    return json.dumps({"result": result, "id": id})


def stream_error(id: RequestId, error: VenueError) -> str:
    """An error on a market stream."""
    return json.dumps({"code": error.code, "msg": error.message, "id": id})


def api_reply(id: RequestId, result: Any) -> str:
    """A reply of the WebSocket API."""
    return json.dumps({"id": id, "status": 200, "result": result, "rateLimits": _rate_limits()})


def api_error(id: RequestId, error: VenueError, now: float) -> str:
    """An error of the WebSocket API; `now` is the venue's wall clock."""
    status, body = _status(error)
    if status in _LIMITS:
        until = int((now + BAN_SECONDS) * 1000)
        body["data"] = {"serverTime": int(now * 1000), "retryAfter": until}
    return json.dumps({"id": id, "status": status, "error": body, "rateLimits": _rate_limits()})


def http_error(error: VenueError) -> HttpAnswer:
    """An error over HTTP."""
    status, body = _status(error)
    retry_after = BAN_SECONDS if status in _LIMITS else None
    return HttpAnswer(status, json.dumps(body), retry_after=retry_after)


def _status(error: VenueError) -> tuple[int, dict[str, Any]]:
    """The HTTP status of an error, and its body. A fault may name the status as its code."""
    code = error.code
    if code in _STREAM_CODES:
        code = -1135
    if isinstance(code, int) and 400 <= code < 600:
        inner = -1003 if code in _LIMITS else -1001
        return code, {"code": inner, "msg": ERRORS[inner]}
    if code == -1003:
        return 429, {"code": code, "msg": error.message}
    if code in _UNAUTHORIZED:
        return 401, {"code": code, "msg": error.message}
    return 400, {"code": code, "msg": error.message}


def _rate_limits() -> list[dict[str, Any]]:
    return [
        {
            "rateLimitType": "REQUEST_WEIGHT",
            "interval": "MINUTE",
            "intervalNum": 1,
            "limit": 6000,
            "count": 2,
        }
    ]
