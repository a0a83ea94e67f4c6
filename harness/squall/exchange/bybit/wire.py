"""Bybit's JSON: requests understood, replies and errors spelt.

Public and private connections answer `{"success": …, "ret_msg": …, "conn_id": …, "op": …}`; those
for trading `{"retCode": …, "retMsg": …, "connId": …}`, as the REST API does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from squall.exchange import strict_json
from squall.exchange.protocol import HttpAnswer, RequestId, Trouble, VenueError
from squall.exchange.tokens import fingerprint

# docs/v5/error.mdx, and the codes of the trade socket beside them.
ERRORS: Mapping[int, str] = MappingProxyType(
    {
        10001: "Params Error",
        10002: "The request time exceeds the time window range.",
        10003: "API key is invalid.",
        10004: "Error sign, please check your signature generation algorithm.",
        10005: "Request not authorized",
        10006: "Too many visits. Exceeded the API Rate Limit.",
        10016: "Internal server error.",
        10019: "ws trade service is restarting, do not accept new request",
        10404: "error:handler not found",
        10429: "Too many requests",
        20001: "Repeat auth",
        20003: "Too frequent requests under the same session",
        20006: "Duplicate reqId",
        110001: "Order does not exist",
    }
)
CODES: Mapping[Trouble, int] = MappingProxyType(
    {
        Trouble.BAD_CREDENTIALS: 10003,
        Trouble.UNAUTHORIZED: 10005,
        Trouble.RATE: 20003,
        Trouble.MAINTENANCE: 10019,
        Trouble.INTERNAL: 10016,
    }
)


def failure(code: int, message: str = "", *, id: RequestId = None) -> VenueError:
    """An error of Bybit by its code."""
    return VenueError(code, message or ERRORS[code], id=id)


def no_topic(topic: str) -> VenueError:
    """One topic that does not exist fails the whole request that it is in."""
    return failure(10404, f"error:handler not found,topic:{topic}")


def decode(text: str) -> tuple[str, RequestId, list[Any]]:
    """Operation, id and arguments of a request. Raises VenueError where there is none."""
    try:
        found = strict_json.decode(text)
    except (ValueError, RecursionError):
        raise failure(10001) from None
    if not isinstance(found, dict):
        raise failure(10001)
    id = found.get("req_id", found.get("reqId"))
    id = id if isinstance(id, str) else None
    op, args = found.get("op"), found.get("args", [])
    if not isinstance(op, str) or not isinstance(args, list):
        raise failure(10001, id=id)
    return op, id, args


def connection_id(number: int) -> str:
    """What Bybit calls this connection."""
    return fingerprint("connection", number)


def reply(op: str, id: RequestId, number: int, said: str = "") -> str:
    """A confirmation."""
    return _outcome(True, op, id, number, said)


def error(op: str, id: RequestId, number: int, wrong: VenueError) -> str:
    """An error, on public and private connections."""
    return _outcome(False, op, id, number, wrong.message)


def _outcome(success: bool, op: str, id: RequestId, number: int, said: str) -> str:
    outcome: dict[str, Any] = {"success": success, "ret_msg": said}
    outcome["conn_id"] = connection_id(number)
    if id is not None:
        outcome["req_id"] = id
    return json.dumps({**outcome, "op": op})


def trade_reply(op: str, id: RequestId, number: int, data: Any) -> str:
    """A confirmation on a connection for trading."""
    return _trade(op, id, number, 0, "OK", data)


def trade_error(op: str, id: RequestId, number: int, wrong: VenueError) -> str:
    """An error there."""
    return _trade(op, id, number, wrong.code, wrong.message, {})


def _trade(op: str, id: RequestId, number: int, code: int | str, said: str, data: Any) -> str:
    envelope: dict[str, Any] = {} if id is None else {"reqId": id}
    outcome = {"retCode": code, "retMsg": said, "op": op, "data": data}
    return json.dumps({**envelope, **outcome, "connId": connection_id(number)})


def rest(result: Any, now: float) -> HttpAnswer:
    """An answer of the REST API; `now` is the venue's wall clock."""
    return _rest(0, "OK", result, now)


def rest_error(wrong: VenueError, now: float) -> HttpAnswer:
    """An error of the REST API: HTTP 200, unless a fault names another status as its code."""
    code = wrong.code
    if isinstance(code, int) and 400 <= code < 600:
        return HttpAnswer(code, f"{code}\n", "text/plain")
    return _rest(code, wrong.message, {}, now)


def _rest(code: int | str, said: str, result: Any, now: float) -> HttpAnswer:
    body = {"retCode": code, "retMsg": said, "result": result, "retExtInfo": {}}
    return HttpAnswer(200, json.dumps({**body, "time": int(now * 1000)}))


def pong(id: RequestId, number: int, now: str, *, private: bool) -> str:
    """The pong of option and private connections."""
    envelope: dict[str, Any] = {} if id is None else {"req_id": id}
    answer = {**envelope, "op": "pong", "args": [now]}
    return json.dumps(answer | ({"conn_id": connection_id(number)} if private else {}))
