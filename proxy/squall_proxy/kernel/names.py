"""A name server in which every name leads to one address (RFC 1035). No I/O: bytes to bytes."""

from __future__ import annotations

import ipaddress
from typing import Literal

Failure = Literal["nxdomain", "servfail", "refused", "no_address", "silence"]

_HEADER = 12
_A, _ANY, _IN = 1, 255, 1
_RESPONSE, _RECURSION_AVAILABLE, _RECURSION_DESIRED = 0x8000, 0x0080, 0x0100
_RCODES: dict[Failure, int] = {"servfail": 2, "nxdomain": 3, "refused": 5}
_POINTER_TO_QUESTION = b"\xc0\x0c"
# Who remembers an answer would not notice that names fail.
_TTL = bytes(4)


def answer(query: bytes, address: str, failure: Failure | None = None) -> bytes | None:
    """What to answer to a query; None for nothing, as also to what is no query."""
    question = _question(query)
    if question is None or failure == "silence":
        return None
    kind, klass = question[-4:-2], question[-2:]
    found = (
        failure is None
        and int.from_bytes(kind, "big") in (_A, _ANY)
        and int.from_bytes(klass, "big") == _IN
    )
    flags = int.from_bytes(query[2:4], "big") & _RECURSION_DESIRED
    flags |= _RESPONSE | _RECURSION_AVAILABLE | (_RCODES.get(failure, 0) if failure else 0)
    head = query[:2] + flags.to_bytes(2, "big") + b"\0\1" + bytes((0, found)) + bytes(4)
    if not found:
        return head + question
    there = ipaddress.IPv4Address(address).packed
    record = _POINTER_TO_QUESTION + b"\0\1\0\1" + _TTL + len(there).to_bytes(2, "big") + there
    return head + question + record


def _question(query: bytes) -> bytes | None:
    """The one question of a query, as it stands there; None where there is none to be read."""
    if len(query) < _HEADER or query[2] & 0x80 or query[4:6] != b"\0\1":
        return None
    at = _HEADER
    while at < len(query) and query[at]:
        if query[at] > 63:  # a pointer, which no question has, or nonsense
            return None
        at += 1 + query[at]
    end = at + 1 + 4
    return query[_HEADER:end] if end <= len(query) else None
