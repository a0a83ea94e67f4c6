"""Faults on the bytes of a connection, as two raw sockets see them."""

from __future__ import annotations

import asyncio
import sys

import pytest

from frames_witness import built
from proxy_witness import TICK, TOCK, UPGRADE, World, now, on, passes
from squall_proxy import (
    Blackhole,
    Latency,
    Stall,
    Throttle,
    Trickle,
)


@on()
async def test_latency_delays_both_directions_and_is_never_early(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Latency(0.05))
    assert not injection.fired
    for sender, receiver in ((client, server), (server, client)):
        for _ in range(5):
            began = now()
            await passes(sender, receiver, TICK)
            assert now() - began >= 0.05 - 1e-9
    assert injection.fired
    assert [e["connection"] for e in w.events.of("fault_fired")] == [1]


@on()
async def test_latency_in_one_direction_leaves_the_other_alone(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Latency(60, direction="server_to_client"))
    await passes(client, server, TOCK)
    assert not injection.fired
    await server.send(TICK)
    assert await client.hears_nothing()
    assert injection.fired


@on()
async def test_jitter_never_reorders(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Latency(0.02, jitter=0.02))
    whole = b""
    for n in range(30):
        whole += built(b"%d" % n)
        await server.send(built(b"%d" % n))
        await asyncio.sleep(0.001)
    assert await client.read(len(whole)) == whole


@on()
async def test_latency_delays_the_end_as_well(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Latency(0.1))
    began = now()
    await server.send(TICK)
    server.finish()
    assert await client.rest() == (TICK, "fin")
    assert now() - began >= 0.1 - 1e-9


@on("virtual")
async def test_a_long_line_is_not_a_slow_one(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Latency(10))
    began = now()
    for _ in range(20):
        await server.send(bytes(20_000))
    await client.read(400_000)
    assert 10 <= now() - began < 15


@on()
async def test_a_heal_lets_what_is_late_go_at_once(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Latency(60))
    await server.send(TICK)
    await w.events.wait("fault_fired")
    injection.heal()
    injection.heal()
    await server.send(built(b"next"))
    assert await client.read(12) == TICK + built(b"next")
    assert w.events.kinds().count("fault_ended") == 1


@on()
async def test_throttle_keeps_to_its_rate(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Throttle(100_000))
    began = now()
    await passes(server, client, bytes(20_000))
    assert now() - began >= 0.2 - 1e-9


@on()
async def test_trickle_passes_a_byte_at_a_time(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Trickle(0.05))
    began = now()
    await server.send(TICK)
    for n in range(1, len(TICK) + 1):
        await client.read(1)
        assert now() - began >= n * 0.05 - 1e-9
    await server.send(bytes(500))
    await client.read(1)
    injection.heal()
    assert await client.read(499) == bytes(499)


@on()
async def test_blackhole_swallows_even_the_fin(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Blackhole())
    await client.send(TOCK)
    client.finish()
    assert (await w.events.wait("client_closed"))["how"] == "fin"
    assert await server.hears_nothing()
    assert "closed" not in w.events.kinds()


@on()
async def test_blackhole_hides_a_dead_client_from_the_server(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Blackhole())
    client.reset()
    assert (await w.events.wait("client_closed"))["how"] == "rst"
    assert await server.hears_nothing()
    await server.send(TICK)
    injection.heal()
    assert (await server.rest())[1] == "rst"
    await w.events.wait("closed")


@on()
async def test_blackhole_hides_a_dead_server_from_the_client(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Blackhole("server_to_client"))
    server.reset()
    assert (await w.events.wait("server_closed"))["how"] == "rst"
    await client.send(TOCK)
    assert await client.hears_nothing()
    injection.heal()
    assert (await client.rest())[1] == "rst"


@on()
async def test_what_a_blackhole_held_follows_in_order_when_it_is_gone(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Blackhole())
    await client.send(TOCK)
    for n in range(50):
        await server.send(built(b"%03d" % n))
    server.finish()
    await w.events.wait("server_closed")
    assert await client.hears_nothing()
    injection.heal()
    assert await client.rest() == (b"".join(built(b"%03d" % n) for n in range(50)), "fin")
    assert await server.read(len(TOCK)) == TOCK


@on()
async def test_blackhole_in_one_direction_lets_the_other_pass(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Blackhole("client_to_server"))
    await client.send(TOCK)
    await w.events.wait("fault_fired")
    await passes(server, client, TICK)
    assert await server.hears_nothing()


@on("asyncio", "uvloop")
async def test_a_blackhole_that_had_to_discard_ends_in_a_reset(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Blackhole("server_to_client"))
    await server.send(bytes(3_000_000))
    server.finish()
    await w.events.wait("server_closed")
    injection.heal()
    assert await client.rest() == (b"", "rst")
    assert (await w.events.wait("closed"))["by"] == "server"


@on()
async def test_new_connections_vanish_in_a_blackhole_too(w: World) -> None:
    injection = w.proxy.inject(Blackhole())
    client = await w.dial()
    await client.send(UPGRADE)
    await w.events.wait("fault_fired")
    assert await client.hears_nothing()
    assert w.proxy.connection_from(("127.0.0.1", 0)) is None
    injection.heal()
    server = await w.accept()
    assert await server.read(len(UPGRADE)) == UPGRADE


@on()
async def test_who_gave_up_in_a_blackhole_is_not_connected_afterwards(w: World) -> None:
    injection = w.proxy.inject(Blackhole())
    client = await w.dial()
    await client.send(UPGRADE)
    client.finish()
    await w.events.wait("client_closed")
    injection.heal()
    await client.rest()
    await w.events.wait("closed")
    await w.upgrade()


@on("asyncio", "uvloop")
async def test_stall_closes_the_senders_window(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Stall("server_to_client"))
    sent = await server.send_until_stuck()
    assert injection.fired
    assert await client.hears_nothing()
    injection.heal()
    await asyncio.wait_for(client.read(sent), 10)


@pytest.mark.skipif(sys.platform != "linux", reason="needs TCP_INFO")
@pytest.mark.parametrize("how", ["fin", "rst"])
@on()
async def test_who_leaves_a_stalled_connection_is_noticed(w: World, how: str) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Stall())
    await client.send(TOCK)
    await w.events.wait("fault_fired")
    await client.send(TOCK)
    if how == "fin":
        client.finish()
    else:
        client.reset()
    assert (await w.events.wait("client_closed"))["how"] == how
    assert await server.hears_nothing()
    injection.heal()
    received, ended = await server.rest()
    assert ended == how
    if how == "fin":
        assert received == TOCK + TOCK
        assert w.events.kinds().count("client_closed") == 1


@on()
async def test_faults_add_up_in_the_order_of_their_injection(w: World) -> None:
    client, server = await w.upgrade()
    first = w.proxy.inject(Latency(0.05))
    w.proxy.inject(Throttle(1000))
    began = now()
    await passes(server, client, bytes(50))
    assert now() - began >= 0.1 - 1e-9
    first.heal()
    await passes(server, client, bytes(50))
