"""Faults as values, and any of them at any time."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_witness import WAYS, World, on
from squall_proxy import (
    FAULTS,
    Blackhole,
    Close,
    Flap,
    HandshakeBlackhole,
    Http,
    Latency,
    Refuse,
    Slicer,
    SlowClose,
    Stall,
    Target,
    Throttle,
    Trickle,
)

# `FUZZ=20` makes the search twenty times as long.
FACTOR = int(os.environ.get("FUZZ", "1"))


def test_every_fault_has_its_name_in_the_table_and_a_line_of_help() -> None:
    for name, fault in FAULTS.items():
        assert fault.name == name
        assert dataclasses.is_dataclass(fault)
        assert (fault.__doc__ or "").splitlines()[0].endswith(".")
        assert {f.name for f in dataclasses.fields(fault)} <= set(
            typing.get_type_hints(fault, include_extras=True)
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Close(1006), "use `fin`"),
        (lambda: Close(70_000), "16 bits"),
        (lambda: Close(1000, "x" * 124), "123"),
        (lambda: Flap(how="close", upgrade=False), "fin or rst"),
        (lambda: Flap(after=-1), "0 or more"),
        (lambda: Flap(code=1006), "use `fin`"),
        (lambda: Throttle(0), "above 0"),
        (lambda: Trickle(0), "above 0"),
        (lambda: Latency(-1), "0 or more"),
        (lambda: Latency(float("nan")), "0 or more"),
        (lambda: Http(101), "200 to 599"),
        (lambda: Http(503, {"X": "a\r\nb"}), "line break"),
        (lambda: Target("latest"), "newest"),  # type: ignore[arg-type]
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_a_reason(
    make: typing.Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@on("asyncio")
async def test_faults_for_new_connections_have_no_target(w: World) -> None:
    for fault in (Refuse(), HandshakeBlackhole(), Http(503), Flap()):
        with pytest.raises(ValueError, match="no target"):
            w.proxy.inject(fault, Target("newest"))


# Any faults, at any time


anything = st.one_of(
    st.builds(Latency, st.floats(0, 2), st.floats(0, 2), st.sampled_from(WAYS)),
    st.builds(Throttle, st.floats(100, 10_000), st.sampled_from(WAYS)),
    st.builds(Trickle, st.floats(0.01, 1), st.sampled_from(WAYS)),
    st.builds(Blackhole, st.sampled_from(WAYS)),
    st.builds(Stall, st.sampled_from(WAYS)),
    st.builds(Slicer, st.integers(10, 50), st.integers(0, 9), st.floats(0, 1)),
    st.builds(SlowClose, st.floats(0, 2), st.sampled_from(WAYS)),
)
moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("up", "down")), st.binary(min_size=1, max_size=5000)),
        st.tuples(st.just("inject"), anything),
        st.tuples(st.just("change"), st.tuples(st.integers(0, 9), anything)),
        st.tuples(st.just("heal"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.floats(0, 3)),
    ),
    max_size=25,
)


@settings(derandomize=True, deadline=None, max_examples=60 * FACTOR)
@given(moves)
def test_no_fault_that_is_healed_has_cost_a_byte(steps: list[tuple[str, typing.Any]]) -> None:
    @on("virtual", websocket=False)
    async def scenario(w: World) -> None:
        client, server = await w.connect()
        sent = {"up": b"", "down": b""}
        for what, value in steps:
            if what in sent:
                await (client if what == "up" else server).send(value)
                sent[what] += value
            elif what == "inject":
                w.proxy.inject(value)
            elif what == "wait":
                await asyncio.sleep(value)
            elif injections := list(w.proxy._injections.values()):
                if what == "heal":
                    injections[value % len(injections)].heal()
                else:
                    number, fault = value
                    w.proxy.change(injections[number % len(injections)], fault)
        client.finish()
        server.finish()
        w.proxy.heal()
        assert await server.rest() == (sent["up"], "fin")
        assert await client.rest() == (sent["down"], "fin")
        closed = await w.events.wait("closed")
        assert closed["to_server_bytes"] == len(sent["up"])
        assert closed["to_client_bytes"] == len(sent["down"])

    scenario("virtual")
