"""Deribit's JSON-RPC 2.0: requests understood, replies and errors spelt.

Every reply carries `usIn`, `usOut`, `usDiff` (microseconds) and `testnet`. Parameters are named,
and batches are not supported (https://docs.deribit.com/#json-rpc).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from squall.exchange import strict_json
from squall.exchange.protocol import RequestId, Trouble, VenueError

# https://docs.deribit.com/#rpc-error-codes. A newer page calls 13009 `invalid_token`; live traffic
# and the table do not.
ERRORS: Mapping[int, str] = MappingProxyType(
    {
        10000: "authorization_required",
        10028: "too_many_requests",
        10040: "retry",
        10041: "settlement_in_progress",
        10047: "matching_engine_queue_full",
        10048: "not_on_this_server",
        10049: "cancel_on_disconnect_failed",
        10066: "too_many_concurrent_requests",
        11029: "invalid_arguments",
        11044: "not_open_order",
        11050: "bad_request",
        11051: "system_maintenance",
        11052: "subscribe_error_unsubscribed",
        11056: "unauthenticated_public_requests_temporarily_disabled",
        11094: "internal_server_error",
        12003: "login_over_limit",
        12998: "security_key_authorization_over_limit",
        13004: "invalid_credentials",
        13009: "unauthorized",
        13020: "not_found",
        13021: "forbidden",
        13025: "method_switched_off_by_admin",
        13028: "temporarily_unavailable",
        13668: "security_key_authorization_error",
        13778: "raw_subscriptions_not_available_for_unauthorized",
        13888: "timed_out",
        -32600: "Invalid request",
        -32601: "Method not found",
        -32602: "Invalid params",
        -32700: "Parse error",
    }
)
CODES: Mapping[Trouble, int] = MappingProxyType(
    {
        Trouble.BAD_CREDENTIALS: 13004,
        Trouble.UNAUTHORIZED: 13009,
        Trouble.RATE: 10028,
        Trouble.MAINTENANCE: 11051,
        Trouble.INTERNAL: 11094,
    }
)


def failure(code: int, *, id: RequestId = None, **data: Any) -> VenueError:
    """An error of Deribit by its code."""
    return VenueError(code, ERRORS[code], data or None, id=id)


def decode(text: str) -> tuple[str, RequestId, Mapping[str, Any]]:
    """Method, id and parameters of a request. Raises VenueError where there is none."""
    try:
        found = strict_json.decode(text)
    except (ValueError, RecursionError):
        raise failure(-32700) from None
    if not isinstance(found, dict):
        raise failure(-32600, reason="a request is a JSON object; batches are not supported")
    id = found.get("id")
    if isinstance(id, bool) or not isinstance(id, int | float | str | None):
        raise failure(-32600, param="id", reason="must be a number or a string")
    if isinstance(id, float) and not math.isfinite(id):
        raise failure(-32600, param="id", reason="is out of range")
    method = found.get("method")
    if not isinstance(method, str):
        raise failure(-32600, id=id, param="method", reason="must be a string")
    params = found.get("params")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise failure(11050, id=id, param="params", reason="must be an object of named parameters")
    return method, id, params


def reply(id: RequestId, result: Any, received: float, now: float) -> str:
    """A reply; the times are the venue's wall clock."""
    return _reply(id, {"result": result}, received, now)


def error_reply(id: RequestId, error: VenueError, received: float, now: float) -> str:
    """An error reply."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data:
        body["data"] = dict(error.data)
    return _reply(id, {"error": body}, received, now)


def _reply(id: RequestId, outcome: dict[str, Any], received: float, now: float) -> str:
    us_in, us_out = int(received * 1_000_000), int(now * 1_000_000)
    envelope: dict[str, Any] = {"jsonrpc": "2.0"}
    if id is not None:
        envelope["id"] = id
    timing = {"usIn": us_in, "usOut": us_out, "usDiff": us_out - us_in, "testnet": True}
    return json.dumps(envelope | outcome | timing)


def notification(method: str, params: Mapping[str, Any]) -> str:
    """A message that nobody asked for."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params})


def subscription(channel: str, data: Any) -> str:
    """A data message of a channel."""
    return notification("subscription", {"channel": channel, "data": data})
