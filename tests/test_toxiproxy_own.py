"""toxiproxy/own.py: faults that are ordered for an instant to come, and for a time."""

from __future__ import annotations

import json

import pytest

from toxiproxy_witness import Bench, served


async def until(bench: Bench, *words: str) -> float:
    """The `at` of the first event that holds these words."""
    async for chunk in bench.server.log.lines(-1.0, follow=True):
        for line in chunk.splitlines():
            if all(word.encode() in line for word in words):
                at: float = json.loads(line)["at"]
                return at
    raise AssertionError("the log ended")


@served
async def test_a_fault_begins_in_time_and_ends_in_time(bench: Bench) -> None:
    await bench.proxy()
    said = {"do": "latency", "delay": "50ms", "in": "120ms", "lasting": "150ms"}
    made = await bench.call("POST", "/squall/faults", said)
    assert made.status == 201
    assert made.json["active"] is False
    assert 0 < made.json["in"] <= 0.12
    began = await until(bench, "fault_started", f'"id": {made.json["id"]}')
    ended = await until(bench, "fault_ended", f'"id": {made.json["id"]}')
    # Never early; how late, the machine decides.
    assert ended - began >= 0.149
    assert (await bench.call("GET", "/squall/faults")).json == []


@served
async def test_what_is_still_to_come_is_listed_and_can_be_taken_back(bench: Bench) -> None:
    await bench.proxy()
    made = await bench.call("POST", "/squall/faults", {"do": "refuse", "in": "1h"})
    (planned,) = (await bench.call("GET", "/squall/faults")).json
    assert (planned["id"], planned["do"], planned["active"]) == (made.json["id"], "refuse", False)
    assert 3590 < planned["in"] <= 3600
    gone = await bench.call("DELETE", f"/squall/faults/{made.json['id']}")
    assert gone.status == 204
    assert (await bench.call("GET", "/squall/faults")).json == []
    again = await bench.call("DELETE", f"/squall/faults/{made.json['id']}")
    assert again.status == 404


@served
async def test_all_are_taken_back_at_once(bench: Bench) -> None:
    await bench.proxy()
    for when in ({}, {"in": "1h"}, {"lasting": "1h"}):
        await bench.call("POST", "/squall/faults", {"do": "latency", "delay": "1s", **when})
    assert len((await bench.call("GET", "/squall/faults")).json) == 3
    assert (await bench.call("DELETE", "/squall/faults")).status == 204
    assert (await bench.call("GET", "/squall/faults")).json == []


@served
async def test_a_fault_that_is_removed_before_its_end_ends_once(bench: Bench) -> None:
    await bench.proxy()
    said = {"do": "latency", "delay": "50ms", "lasting": "100ms"}
    made = await bench.call("POST", "/squall/faults", said)
    await bench.call("DELETE", f"/squall/faults/{made.json['id']}")
    await bench.call("POST", "/squall/faults", {"do": "rst", "in": "200ms"})
    await until(bench, "fault_started", '"fault": "rst"')
    ended = [line for line in bench.server.log.since(-1.0) if "fault_ended" in line]
    assert len([line for line in ended if "latency" in line]) == 1


@served
async def test_what_has_no_place_is_told_when_it_is_ordered(bench: Bench) -> None:
    await bench.proxy()
    made = await bench.call("POST", "/squall/faults", {"do": "close", "code": 1012, "in": "1h"})
    assert made.status == 400
    assert "needs WebSocket" in made.text


@served
async def test_what_could_not_be_done_when_its_time_came_stays_listed_with_the_reason(
    bench: Bench,
) -> None:
    await bench.proxy()
    await bench.call("POST", "/squall/faults", {"do": "refuse", "in": "3s"})
    await bench.call("POST", "/proxies/p", {"enabled": False})
    await bench.proxy("other")
    said = {"do": "refuse", "in": "3s", "proxy": "other"}
    await bench.call("POST", "/squall/faults", said)
    await until(bench, "fault_started", "refuse")
    (left,) = [
        each for each in (await bench.call("GET", "/squall/faults")).json if each["proxy"] == "p"
    ]
    assert left["why"] == "proxy p is disabled"
    assert left["active"] is False


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"in": 2}, "durations carry a unit: 2s or 2ms"),
        ({"in": "soon"}, "in is a number with its unit"),
        ({"lasting": "5"}, "durations carry a unit: 5s or 5ms"),
        ({"within": "5s"}, "rst has no 'within'"),
    ],
)
def test_a_mistake_in_the_timing_is_told(said: dict[str, object], why: str) -> None:
    @served
    async def asks(bench: Bench) -> None:
        await bench.proxy()
        made = await bench.call("POST", "/squall/faults", {"do": "rst", **said})
        assert made.status == 400
        assert why in made.text

    asks("asyncio")
