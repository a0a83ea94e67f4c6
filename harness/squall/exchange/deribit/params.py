"""Reading the parameters of a request. What is missing or of the wrong type is -32602."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from squall.exchange.deribit.market import INSTRUMENTS
from squall.exchange.deribit.wire import failure

Params = Mapping[str, Any]


def text(params: Params, name: str, default: str | None = None) -> str:
    """A string; required unless it has a default."""
    found = params.get(name, default)
    if not isinstance(found, str):
        raise failure(-32602, param=name, reason="must be a string")
    return found


def number(params: Params, name: str, default: float | None = None) -> float:
    """A finite number; required unless it has a default."""
    found = params.get(name, default)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise failure(-32602, param=name, reason="must be a number")
    try:
        value = float(found)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise failure(-32602, param=name, reason="is out of range")
    return value


def choice(params: Params, name: str, *allowed: str, default: str | None = None) -> str:
    """One of a few words."""
    found = text(params, name, default)
    if found not in allowed:
        raise failure(-32602, param=name, reason=f"must be one of {', '.join(allowed)}")
    return found


def strings(params: Params, name: str) -> tuple[str, ...]:
    """A list of strings."""
    found = params.get(name)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise failure(-32602, param=name, reason="must be a list of strings")
    return tuple(found)


def instrument(params: Params) -> str:
    """The name of an instrument that Deribit lists."""
    found = text(params, "instrument_name")
    if found not in INSTRUMENTS:
        raise failure(-32602, param="instrument_name", reason="unknown instrument")
    return found
