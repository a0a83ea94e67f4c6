"""Whatever comes in, in whatever pieces, under whatever rules: what no rule took is untouched."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Sequence
from random import Random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_witness import built, parsed, pieces
from squall_proxy.engine import MessageEngine, Output, Rule, Write
from squall_proxy.faults import (
    DelayMessage,
    DropMessage,
    HoldMessage,
    InjectMessage,
    MessageFault,
    ReorderMessage,
)
from squall_proxy.faults.messages import MESSAGE_FAULTS
from squall_proxy.frames import FrameTracker
from squall_proxy.patterns import Pattern

# `FUZZ=100` makes the searches a hundred times as long.
FACTOR = int(os.environ.get("FUZZ", "1"))
often = settings(derandomize=True, deadline=None, max_examples=500 * FACTOR)

Way = Literal["client_to_server", "server_to_client"]
KEYS: dict[Way, bytes | None] = {
    "client_to_server": b"\xa1\x02\x33\x04",
    "server_to_client": None,
}
ways = st.sampled_from(tuple(KEYS))

words = st.one_of(
    st.sampled_from(["", "drop", "héllo", '{"n": 1}', '{"n": 2, "s": "drop"}', "[1, [2, 3]]"]),
    st.text(max_size=300),
    st.integers(120, 70_000).map(lambda size: "x" * size),
)


@st.composite
def messages(draw: st.DrawFn, way: Way) -> list[bytes]:
    """One message in frames, with control frames between them, or a control frame."""
    key = KEYS[way]
    data = draw(words).encode()
    kind = draw(st.sampled_from(["whole", "whole", "whole", "fragments", "control"]))
    if kind == "control":
        return [built(data[:125], draw(st.sampled_from([9, 10])), key=key)]
    opcode = draw(st.sampled_from([1, 2]))
    if kind == "whole":
        return [built(data, opcode, key=key)]
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(data)), max_size=3))), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(edges)]
    frames = []
    for index, piece in enumerate(parts):
        last = index == len(parts) - 1
        frames.append(built(piece, 0 if index else opcode, fin=last, key=key))
        if not last and draw(st.booleans()):
            frames.append(built(b"between", 9, key=key))
    return frames


def streams(way: Way) -> st.SearchStrategy[list[bytes]]:
    return st.lists(messages(way), max_size=8).map(lambda each: list(itertools.chain(*each)))


def kept_in_order(frames: Sequence[bytes], control: bool) -> list[bytes]:
    return [frame for frame in frames if (frame[0] & 8 != 0) == control]


MATCHES_NOTHING: list[dict[str, Any]] = [
    {"where": {"n": 99}},
    {"contains": "nowhere to be found"},
    {"opcode": "close"},
    {"since": Pattern(opcode="close")},
    {"nth": 1000},
    {"where": {"n": {"above": 99}}, "opcode": "any"},
]
# What those need that cannot do without a setting, or would not wait for a message.
SETTINGS: dict[str, dict[str, Any]] = {
    "delay_message": {"delay": 1.0},
    "replace_message": {"payload": "other"},
    "edit_message": {"put": {"n": 3}},
    "malform_message": {"kind": "wrong_rsv"},
    "inject_message": {"payload": "new", "place": "before"},
    "hanging_close": {"place": "instead"},
}
HARMS = [functools.partial(each, **SETTINGS.get(each.name, {})) for each in MESSAGE_FAULTS]
which = st.fixed_dictionaries(
    {
        "direction": st.sampled_from(["both", *KEYS]),
        "opcode": st.sampled_from(["data", "text", "binary", "ping", "pong", "close", "any"]),
    },
    optional={
        "where": st.sampled_from([{"n": 1}, {"n": {"above": 0}}, {"s": "dr*"}, {"*": "drop"}]),
        "contains": st.sampled_from(["drop", "", "x"]),
        "since": st.sampled_from([Pattern(opcode="ping"), Pattern(contains="x")]),
        "before": st.sampled_from([Pattern(opcode="pong"), Pattern(where={"n": 2})]),
        "times": st.integers(1, 3),
        "every": st.integers(1, 3),
    },
)
rules = st.builds(lambda make, fields: make(**fields), st.sampled_from(HARMS), which)


def written(outputs: Sequence[Output], way: str) -> bytes:
    return b"".join(each.data for each in outputs if isinstance(each, Write) and each.way == way)


@often
@given(st.data(), ways, st.lists(st.integers(0), max_size=12))
def test_what_no_rule_takes_leaves_byte_for_byte(
    data: st.DataObject, way: Way, places: list[int]
) -> None:
    frames = data.draw(streams(way))
    harm = data.draw(st.sampled_from(HARMS))
    fault = harm(direction="both", **data.draw(st.sampled_from(MATCHES_NOTHING)))
    engine, out = MessageEngine(lambda _: None), b""
    engine.add(Rule(1, fault, Random(1)), 0.0)
    for piece in pieces(b"".join(frames), places):
        out += written(engine.feed(way, piece, 0.0), way)
    assert engine.due() is None
    seen, rest = parsed(out)
    assert not rest
    for control in (False, True):
        wires = [each.wire for each in seen]
        assert kept_in_order(wires, control) == kept_in_order(frames, control)


@often
@given(st.data(), ways, st.lists(st.integers(0), max_size=12))
def test_what_a_rule_does_not_take_keeps_its_bytes_and_order(
    data: st.DataObject, way: Way, places: list[int]
) -> None:
    frames = data.draw(streams(way))
    engine, out = MessageEngine(lambda _: None), b""
    engine.add(Rule(1, DropMessage(direction="both", contains="drop"), Random(1)), 0.0)
    for piece in pieces(b"".join(frames), places):
        out += written(engine.feed(way, piece, 0.0), way)
    expected: list[bytes] = []
    parts: list[bytes] = []
    said = b""
    for frame in frames:
        (seen,), _ = parsed(frame)
        if seen.opcode >= 8:
            continue
        parts.append(frame)
        said += seen.payload
        if seen.fin:
            expected += [] if b"drop" in said else parts
            parts, said = [], b""
    left = [each.wire for each in parsed(out)[0]]
    assert kept_in_order(left, control=False) == expected
    assert kept_in_order(left, control=True) == kept_in_order(frames, control=True)


lossless = st.builds(
    lambda make, fields: make(**fields),
    st.sampled_from([HoldMessage, ReorderMessage, lambda **how: DelayMessage(1.0, **how)]),
    which,
)


class Direction:
    """A direction that goes through the engine only while there are rules, as in the proxy."""

    def __init__(self, way: Way) -> None:
        self.way: Way = way
        self.out = b""
        self.now = 0.0
        self.engine = MessageEngine(lambda _: None)
        self._tracker = FrameTracker()
        self._in_front = False
        self._numbers = itertools.count(1)

    def add(self, fault: MessageFault) -> int:
        if not self._in_front:
            left, begun = self._tracker.under_way
            self.engine.join(self.way, left, begun, self._tracker.in_message)
            self._in_front = True
        number = next(self._numbers)
        self._take(self.engine.add(Rule(number, fault, Random(1)), self.now))
        return number

    def remove(self, number: int) -> None:
        self._take(self.engine.remove(number, self.now))

    def feed(self, data: bytes) -> None:
        if self._in_front:
            self._take(self.engine.feed(self.way, data, self.now))
        else:
            self._pass(data)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self._take(self.engine.tick(self.now))

    def _take(self, outputs: Sequence[Output]) -> None:
        self._pass(written(outputs, self.way))
        if self._in_front and self.engine.idle(self.way):
            self._in_front = False
            self._pass(self.engine.release(self.way))

    def _pass(self, data: bytes) -> None:
        self.out += data
        self._tracker.feed(data)


@often
@given(
    st.data(),
    ways,
    st.lists(st.integers(0), max_size=12),
    st.lists(lossless | st.just(InjectMessage("injected", direction="both")), max_size=4),
)
def test_rules_that_come_and_go_lose_nothing_that_they_do_not_take(
    data: st.DataObject, way: Way, places: list[int], faults: list[MessageFault]
) -> None:
    line, live, injected = Direction(way), [], 0
    frames = data.draw(streams(way))
    for piece in pieces(b"".join(frames), places):
        if data.draw(st.booleans()) and faults:
            injected += isinstance(faults[-1], InjectMessage)
            live.append(line.add(faults.pop()))
        line.feed(piece)
        if data.draw(st.booleans()) and live:
            line.remove(live.pop(0))
        line.wait(0.6)
    for number in live:
        line.remove(number)
    line.wait(2.0)
    assert line.engine.due() is None
    assert line.engine.held(way) == 0
    seen, rest = parsed(line.out)
    assert not rest
    extra = [each for each in seen if each.payload == b"injected"]
    assert len(extra) == injected
    assert sorted(each.wire for each in seen if each not in extra) == sorted(frames)
    in_message = False
    for each in seen:
        if each.opcode < 8:
            assert (each.opcode == 0) == in_message
            in_message = not each.fin


@settings(derandomize=True, deadline=None, max_examples=2_000 * FACTOR)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.builds(
                built,
                st.binary(max_size=130),
                st.integers(0, 15),
                fin=st.booleans(),
                rsv=st.integers(0, 7),
                key=st.sampled_from([None, b"abcd"]),
            ),
            st.just(b"\x82\xff" + b"\xff" * 8),
        ),
        max_size=12,
    ),
    st.lists(rules, min_size=1, max_size=3),
    ways,
)
def test_no_stream_of_bytes_is_too_odd(
    chunks: list[bytes], faults: list[MessageFault], way: Way
) -> None:
    engine = MessageEngine(lambda _: None)
    for number, fault in enumerate(faults, 1):
        engine.add(Rule(number, fault, Random(number)), 0.0)
    for index, chunk in enumerate(chunks):
        engine.feed(way, chunk, float(index))
        engine.tick(index + 0.5)
    engine.end(way, 20.0)
    for number in range(1, len(faults) + 1):
        engine.remove(number, 21.0)
    engine.tick(1000.0)
    assert engine.due() is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
def test_a_long_stream_passes_in_pieces_of_any_size(size: int) -> None:
    frames = [built(json.dumps({"n": n}).encode(), 1 + n % 2) for n in range(300)]
    engine, out = MessageEngine(lambda _: None), b""
    engine.add(Rule(1, DropMessage(where={"n": {"one_of": [5, 77]}}), Random(1)), 0.0)
    data = b"".join(frames)
    for start in range(0, len(data), size):
        out += written(
            engine.feed("server_to_client", data[start : start + size], 0.0), "server_to_client"
        )
    assert out == b"".join(frame for n, frame in enumerate(frames) if n not in (5, 77))
