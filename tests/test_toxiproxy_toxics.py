"""What each toxic does to bytes and ends, seen from raw sockets on both sides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable

import pytest

from proxy_witness import Peer
from squall_proxy import LimitData, Stall, Target, Throttle
from squall_proxy.toxiproxy.toxics import TOXICS, Toxic
from toxiproxy_witness import Bench, served


async def took(reading: Awaitable[object]) -> float:
    began = time.monotonic()
    await reading
    return time.monotonic() - began


def test_every_toxic_of_toxiproxy_is_there() -> None:
    assert set(TOXICS) == {
        "noop",
        "latency",
        "bandwidth",
        "slow_close",
        "timeout",
        "reset_peer",
        "slicer",
        "limit_data",
    }


def test_attributes_become_settings_and_toxicity_a_share_of_connections() -> None:
    down = Toxic("t", TOXICS["bandwidth"], "DownStream", 0.25, {"rate": 5})
    assert down.fault == Throttle(5000.0, direction="server_to_client")
    assert down.target == Target(fraction=0.25)
    assert Toxic("t", TOXICS["bandwidth"], "upstream").fault == Stall("client_to_server")
    assert Toxic("t", TOXICS["limit_data"], "upstream", 7.0, {"bytes": -3}).fault == LimitData(
        0, direction="client_to_server"
    )
    assert Toxic("t", TOXICS["noop"], "upstream", -1.0).target == Target(fraction=0.0)
    assert Toxic("t", TOXICS["noop"], "upstream").fault is None


@pytest.mark.parametrize("given", [{"rate": -1}, {"rate": -(2**63)}])
def test_attributes_that_crash_toxiproxy_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="rate"):
        _ = Toxic("t", TOXICS["bandwidth"], "upstream", 1.0, given).fault


@served
async def test_latency_delays_its_direction_alone_and_its_end_frees_what_it_held(
    b: Bench,
) -> None:
    client, server = await b.pair()
    await b.toxic("latency", attributes={"latency": 100})
    await client.send(b"up")
    assert await server.read(2) == b"up"
    await server.send(b"down")
    assert await took(client.read(4)) >= 0.095
    await b.call(
        "PATCH", "/proxies/p/toxics/latency_downstream", {"attributes": {"latency": 60_000}}
    )
    await server.send(b"held")
    assert await client.hears_nothing()
    await b.call("DELETE", "/proxies/p/toxics/latency_downstream")
    assert await client.read(4) == b"held"


@served
async def test_bandwidth_limits_and_at_0_holds_everything_without_loss(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("bandwidth", stream="upstream", attributes={"rate": 100})
    sending = asyncio.ensure_future(client.send(bytes(20_000)))
    assert await took(server.read(20_000)) >= 0.15
    await sending
    await b.call("PATCH", "/proxies/p/toxics/bandwidth_upstream", {"attributes": {"rate": 0}})
    await client.send(b"held")
    assert await server.hears_nothing()
    assert (await b.call("DELETE", "/proxies/p/toxics/bandwidth_upstream")).status == 204
    assert await server.read(4) == b"held"


@served
async def test_slow_close_delays_the_end_and_half_a_close_is_carried(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("slow_close", stream="upstream", attributes={"delay": 100})
    client.finish()
    assert await took(server.rest()) >= 0.095
    await server.send(b"answer")
    server.finish()
    assert await client.rest() == (b"answer", "fin")


@served
async def test_timeout_discards_and_ends_the_connection_after_silence(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("timeout", attributes={"timeout": 100})
    await server.send(b"lost")
    assert await took(client.rest()) >= 0.095
    assert await server.rest() == (b"", "fin")


@served
async def test_the_removal_of_a_timeout_ends_the_connection_it_took_from(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("timeout", attributes={"timeout": 0})
    await server.send(b"lost")
    assert await client.hears_nothing()
    assert (await b.call("DELETE", "/proxies/p/toxics/timeout_downstream")).status == 204
    assert await client.rest() == (b"", "fin")
    assert await server.rest() == (b"", "fin")


@served
async def test_a_change_of_a_timeout_ends_nothing(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("timeout", stream="upstream", attributes={"timeout": 0})
    change = {"attributes": {"timeout": 60_000}}
    assert (await b.call("PATCH", "/proxies/p/toxics/timeout_upstream", change)).status == 200
    await server.send(b"still here")
    assert await client.read(10) == b"still here"


@served
async def test_reset_peer_resets_idle_connections_and_those_to_come(b: Bench) -> None:
    listen = await b.proxy()
    client, server = await b.connect(listen)
    await b.toxic("reset_peer", attributes={"timeout": 50})
    assert await client.rest() == (b"", "rst")
    assert await server.rest() == (b"", "rst")
    later, _ = await b.connect(listen)
    assert await later.rest() == (b"", "rst")


@served
async def test_the_removal_of_a_reset_that_is_to_come_waits_for_nothing(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("reset_peer", attributes={"timeout": 60_000})
    await server.send(b"held")
    began = time.monotonic()
    assert (await b.call("DELETE", "/proxies/p/toxics/reset_peer_downstream")).status == 204
    assert time.monotonic() - began < 5
    assert await client.read(4) == b"held"


@served
async def test_slicer_cuts_and_loses_nothing(b: Bench) -> None:
    client, server = await b.pair()
    sizes = {"average_size": 64, "size_variation": 32, "delay": 10}
    await b.toxic("slicer", attributes=sizes)
    sent = bytes(range(256)) * 20
    await server.send(sent)
    assert await client.read(len(sent)) == sent


@served
async def test_limit_data_ends_the_connection_behind_the_last_byte(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("limit_data", attributes={"bytes": 5})
    await server.send(b"1234567")
    assert await client.rest() == (b"12345", "fin")


@served
async def test_toxicity_is_drawn_once_a_connection(b: Bench) -> None:
    listen = await b.proxy()
    pairs = [await b.connect(listen) for _ in range(40)]
    await b.toxic("bandwidth", attributes={"rate": 0}, toxicity=0.5)
    await b.toxic("latency", attributes={"latency": 1})  # the next one in the chain
    path = "/proxies/p/toxics/bandwidth_downstream"

    async def hit() -> list[bool]:
        for _, server in pairs:
            await server.send(b"x")
        await asyncio.sleep(0.1)
        return [not heard(client) for client, _ in pairs]

    def heard(client: Peer) -> bool:
        try:
            return bool(client.sock.recv(1 << 16))
        except BlockingIOError:
            return False

    first = await hit()
    assert 5 < sum(first) < 35
    await b.call("PATCH", path, {})
    await b.call("DELETE", "/proxies/p/toxics/latency_downstream")
    assert await hit() == first
    await b.call("PATCH", path, {"toxicity": 0})
    assert not any(await hit())
    await b.call("PATCH", path, {"toxicity": 0.5})
    assert await hit() == first


@served
async def test_toxics_stay_in_the_order_in_which_they_were_added(b: Bench) -> None:
    client, server = await b.pair()
    await b.toxic("limit_data", attributes={"bytes": 4})
    await b.toxic("slow_close", attributes={"delay": 0})
    await b.call("PATCH", "/proxies/p/toxics/limit_data_downstream", {"attributes": {"bytes": 6}})
    names = [each["name"] for each in (await b.call("GET", "/proxies/p/toxics")).json]
    assert names == ["limit_data_downstream", "slow_close_downstream"]
    await server.send(b"12345678")
    assert await client.rest() == (b"123456", "fin")
