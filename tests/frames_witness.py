"""Frames as the tests read and write them.

It shares no code with the proxy, so that the two cannot be wrong together.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import NamedTuple


class Seen(NamedTuple):
    """One frame."""

    fin: bool
    rsv: int
    opcode: int
    masked: bool
    payload: bytes
    wire: bytes


def parsed(data: bytes) -> tuple[list[Seen], bytes]:
    """The frames in these bytes, and what is left over."""
    seen = []
    while len(data) >= 2:
        first, second = data[0], data[1]
        size, start = second % 128, 2
        if size == 126:
            if len(data) < 4:
                break
            (size,), start = struct.unpack(">H", data[2:4]), 4
        elif size == 127:
            if len(data) < 10:
                break
            (size,), start = struct.unpack(">Q", data[2:10]), 10
        key = data[start : start + 4] if second >= 128 else b""
        start += len(key)
        if len(data) < start + size or (second >= 128 and len(key) < 4):
            break
        payload = data[start : start + size]
        if key:
            payload = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
        wire, data = data[: start + size], data[start + size :]
        seen.append(Seen(first >= 128, first >> 4 & 7, first % 16, second >= 128, payload, wire))
    return seen, data


def built(
    payload: bytes,
    opcode: int = 1,
    *,
    fin: bool = True,
    rsv: int = 0,
    key: bytes | None = None,
) -> bytes:
    """A frame; with a key, a client's."""
    bit = 128 if key is not None else 0
    head = bytes([fin << 7 | rsv << 4 | opcode])
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """A client's frame, under a key of zeros."""
    return built(payload, opcode, key=bytes(4))


def texts(data: bytes) -> list[str]:
    """The payloads of the frames in these bytes, all of them whole."""
    seen, rest = parsed(data)
    assert not rest
    return [each.payload.decode() for each in seen]


def pieces(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The bytes, cut at these places; those that lie beyond the end begin anew at its start."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]
