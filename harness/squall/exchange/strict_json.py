"""JSON as it is defined, which has no NaN and no Infinity (RFC 8259, section 6); Python's has."""

from __future__ import annotations

import json


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


# Made once: with an option, `json.loads` makes a new decoder for every text.
decode = json.JSONDecoder(parse_constant=_refuse).decode
"""What a text says. Raises ValueError where it is no JSON, RecursionError where it is too deep."""
