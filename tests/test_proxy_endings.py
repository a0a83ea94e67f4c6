"""Faults that end connections by time, by bytes or by halves, as two raw sockets see them."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from proxy_witness import TICK, TOCK, UPGRADE, World, now, on, passes
from squall_proxy import (
    Cut,
    Fault,
    Fin,
    HalfClose,
    Latency,
    LimitData,
    ResetPeer,
    Rst,
    Slicer,
    SlowClose,
    Target,
    Timeout,
)

# limit_data and cut: to the byte


@on()
async def test_limit_data_passes_so_many_bytes_and_then_the_end(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(LimitData(100, direction="server_to_client"))
    await passes(client, server, bytes(500))
    await passes(server, client, bytes(60))
    assert not injection.fired
    await server.send(b"x" * 41)
    assert await client.rest() == (b"x" * 40, "fin")
    assert await server.rest() == (b"", "fin")
    assert injection.fired
    client.close()
    server.close()
    closed = await w.events.wait("closed")
    assert (closed["by"], closed["how"]) == ("proxy", "fin")


@on()
async def test_limit_data_ends_behind_the_very_last_byte(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(LimitData(6, how="rst"))
    await server.send(TICK)
    received, how = await client.rest()
    assert how == "rst"
    assert TICK.startswith(received)  # a RST may overtake what the client has not read
    assert (await server.rest())[1] == "rst"
    assert injection.fired


@on()
async def test_limit_data_of_nothing_ends_at_the_first_byte_and_meets_new_connections(
    w: World,
) -> None:
    w.proxy.inject(LimitData(0))
    for number in (1, 2):
        client = await w.dial()
        await client.send(UPGRADE)
        assert await client.rest() == (b"", "fin")
        client.close()
        assert (await w.events.wait("fault_fired", number))["connection"] == number


@on()
async def test_a_limit_is_counted_once_though_faults_change_meanwhile(w: World) -> None:
    client, server = await w.upgrade()
    late = w.proxy.inject(Latency(60))
    w.proxy.inject(LimitData(10, direction="server_to_client"))
    later = w.proxy.inject(Latency(60))
    await server.send(b"0123456789abcdef")
    assert await client.hears_nothing()
    late.heal()
    assert await client.hears_nothing()
    later.heal()
    assert await client.rest() == (b"0123456789", "fin")


@on()
async def test_cut_lets_traffic_pass_until_its_time(w: World) -> None:
    client, server = await w.upgrade()
    began = now()
    injection = w.proxy.inject(Cut(lifetime=0.1))
    await passes(client, server, TOCK)
    await passes(server, client, TICK)
    assert not injection.fired
    assert await client.rest() == (b"", "rst")
    assert (await server.rest())[1] == "rst"
    assert now() - began >= 0.1 - 1e-9
    second, server = await w.upgrade()
    began = now()
    assert await second.rest() == (b"", "rst")
    assert now() - began >= 0.05
    injection.heal()
    third, server = await w.upgrade()
    await asyncio.sleep(0.2)
    await passes(server, third, TICK)


@on()
async def test_cut_can_be_taken_back_before_its_time(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Cut(lifetime=0.1, bytes=1000, how="fin"))
    await passes(server, client, bytes(999))
    injection.heal()
    await asyncio.sleep(0.2)
    await passes(server, client, bytes(999))
    assert not injection.fired


@on()
async def test_cut_after_bytes(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Cut(bytes=9, how="fin"))
    await server.send(TICK + TICK)
    assert await client.rest() == ((TICK + TICK)[:9], "fin")


# reset_peer and timeout


@on()
async def test_reset_peer_resets_idle_connections_and_new_ones(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(ResetPeer())
    assert await client.rest() == (b"", "rst")
    assert (await server.rest())[1] == "rst"
    assert await (await w.dial()).rest() == (b"", "rst")
    injection.heal()
    await w.events.wait("closed", 2)


@on()
async def test_reset_peer_holds_what_comes_before_the_reset(w: World) -> None:
    client, server = await w.upgrade()
    began = now()
    w.proxy.inject(ResetPeer(delay=0.1))
    await server.send(TICK)
    assert await client.rest() == (b"", "rst")
    assert now() - began >= 0.1 - 1e-9


@on()
async def test_reset_peer_taken_back_in_time_has_cost_nothing(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(ResetPeer(delay=60))
    await server.send(TICK)
    assert await client.hears_nothing()
    injection.heal()
    assert await client.read(len(TICK)) == TICK


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("fault", [Rst, ResetPeer])
def test_a_reset_of_one_side_leaves_the_other_open(
    side: Literal["client", "server"], fault: type[Rst] | type[ResetPeer]
) -> None:
    @on()
    async def scenario(w: World) -> None:
        client, server = await w.upgrade()
        hit, left = (client, server) if side == "client" else (server, client)
        w.proxy.inject(fault(side=side))
        assert await hit.rest() == (b"", "rst")
        await left.send(bytes(100_000))  # swallowed
        assert await left.hears_nothing()
        assert "closed" not in w.events.kinds()
        left.finish()
        assert await left.rest() == (b"", "fin")
        closed = await w.events.wait("closed")
        assert (closed["by"], closed["how"]) == ("proxy", "rst")

    for loop in ("asyncio", "uvloop", "virtual"):
        scenario(loop)


@on()
async def test_timeout_discards_and_ends_after_silence(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Timeout(silence=0.3))
    for _ in range(4):
        await client.send(TOCK)
        assert await server.hears_nothing(0.1)
    began = now()
    assert await client.rest() == (b"", "fin")
    assert await server.rest() == (b"", "fin")
    assert now() - began >= 0.1  # silence counts from the last bytes, not from the injection


@on()
async def test_timeout_of_nothing_is_for_ever_and_its_end_closes(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Timeout(direction="server_to_client"))
    await server.send(TICK)
    await w.events.wait("fault_fired")
    assert await client.hears_nothing()
    await passes(client, server, TOCK)
    injection.heal()
    assert await client.rest() == (b"", "fin")
    assert await server.rest() == (b"", "fin")
    await w.events.wait("fault_ended")
    await w.upgrade()


@on()
async def test_timeout_lets_an_end_pass(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Timeout())
    await server.send(TICK)
    server.finish()
    assert await client.rest() == (b"", "fin")


@on("asyncio", "uvloop")
async def test_what_is_discarded_takes_no_memory_and_stops_nobody(w: World) -> None:
    _, server = await w.upgrade()
    w.proxy.inject(Timeout())
    await server.send(bytes(20_000_000))
    server.finish()
    (connection,) = w.proxy._connections.values()
    await w.events.wait("server_closed")
    assert connection.server.received >= 20_000_000
    assert connection.down._queue().held == 0


# slow_close, half_close, slicer


@on()
async def test_slow_close_delays_the_end_and_nothing_else(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(SlowClose(0.1))
    await passes(server, client, TICK)
    assert not injection.fired
    began = now()
    server.finish()
    assert await client.rest() == (b"", "fin")
    assert now() - began >= 0.1 - 1e-9
    assert injection.fired


@on()
async def test_slow_close_that_is_healed_closes_at_once(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(SlowClose(60))
    server.finish()
    await w.events.wait("fault_fired")
    injection.heal()
    assert await client.rest() == (b"", "fin")


@on()
async def test_half_close_ends_one_way_and_carries_the_other(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(HalfClose("client"))
    assert await client.rest() == (b"", "fin")
    await server.send(TICK)  # to nobody
    await passes(client, server, TOCK)
    assert injection.fired
    assert "fault_ended" in w.events.kinds()
    client.finish()
    assert await server.rest() == (b"", "fin")
    server.finish()
    closed = await w.events.wait("closed")
    assert (closed["by"], closed["how"]) == ("proxy", "fin")


@on()
async def test_half_close_of_the_server(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(HalfClose("server"))
    assert await server.rest() == (b"", "fin")
    await passes(server, client, TICK)


@on()
async def test_slices_arrive_in_order_and_never_early(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Slicer(average_size=10, size_variation=5, delay=0.01))
    data = bytes(range(100))
    began = now()
    await passes(server, client, data)
    assert now() - began >= 0.05


# Attached when something comes


@on()
async def test_faults_on_idle_connections_act_from_the_first_byte(w: World) -> None:
    client, server = await w.upgrade()
    first = w.proxy.inject(Latency(0.05, direction="server_to_client"))
    second = w.proxy.inject(LimitData(4))
    assert w.proxy.connections[0].faults == (first.id, second.id)
    began = now()
    await server.send(TICK)
    assert await client.rest() == (TICK[:4], "fin")
    assert now() - began >= 0.05 - 1e-9


@on(websocket=False)
async def test_faults_that_came_and_went_on_an_idle_connection_leave_no_trace(w: World) -> None:
    client, server = await w.connect()
    await passes(client, server, TOCK)
    (connection,) = w.proxy._connections.values()
    before = connection.up.source.write, connection.down.source.write
    injections = [w.proxy.inject(LimitData(0)) for _ in range(3)]
    assert (connection.up.source.write, connection.down.source.write) != before
    for injection in injections:
        injection.heal()
    await passes(server, client, TICK)
    await passes(client, server, TOCK)
    assert "fault_fired" not in w.events.kinds()


@on()
async def test_an_end_is_late_too_on_a_connection_that_was_idle(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(SlowClose(0.05))
    w.proxy.inject(Latency(0.05))
    began = now()
    server.finish()
    assert await client.rest() == (b"", "fin")
    assert now() - began >= 0.1 - 1e-9


# Targets


@on()
async def test_every_third_connection_is_hit_those_to_come_as_well(w: World) -> None:
    pairs = [await w.upgrade() for _ in range(4)]
    w.proxy.inject(Latency(60, direction="server_to_client"), Target(every=3))
    pairs += [await w.upgrade() for _ in range(1)]
    sixth, server = await w.connect()
    await server.send(TICK)
    await pairs[2][1].send(TICK)
    assert await pairs[2][0].hears_nothing()
    assert await sixth.hears_nothing(0.01)
    for n in (0, 1, 3, 4):
        await passes(pairs[n][1], pairs[n][0], TICK)


@on()
async def test_a_fraction_is_drawn_once_for_each_connection(w: World) -> None:
    pairs = [await w.upgrade() for _ in range(60)]
    injection = w.proxy.inject(Rst(), Target(fraction=0.5))
    hit = {e["connection"] for e in w.events.of("fault_fired")}
    assert 15 < len(hit) < 45
    assert {n for n in range(1, 61) if n in hit} == hit
    for number, (client, server) in enumerate(pairs, 1):
        if number in hit:
            assert (await client.rest())[1] == "rst"
        else:
            await passes(server, client, TICK)
    assert injection.fired


@on()
async def test_a_fraction_of_nothing_is_nothing_and_of_one_is_all(w: World) -> None:
    pairs = [await w.upgrade() for _ in range(5)]
    w.proxy.inject(Rst(), Target(fraction=0.0))
    assert w.events.kinds()[-2:] == ["fault_started", "fault_ended"]
    for client, server in pairs:
        await passes(server, client, TICK)
    w.proxy.inject(Rst(), Target(fraction=1.0))
    for client, _ in pairs:
        assert (await client.rest())[1] == "rst"


@on()
async def test_a_target_can_wait_until_a_connection_is_so_old(w: World) -> None:
    client, server = await w.upgrade()
    began = now()
    injection = w.proxy.inject(Rst(), Target(after=0.2))
    assert injection.active
    assert not injection.fired
    await passes(server, client, TICK)
    assert await client.rest() == (b"", "rst")
    assert now() - began >= 0.1
    assert not injection.active


@on()
async def test_a_target_can_wait_until_so_many_bytes_were_carried(w: World) -> None:
    client, server = await w.upgrade()
    (connection,) = w.proxy._connections.values()
    carried = connection.client.received + connection.server.received
    injection = w.proxy.inject(Fin(), Target(after_bytes=carried + 20))
    await passes(client, server, bytes(10))
    await passes(server, client, bytes(9))
    assert not injection.fired
    await server.send(b"abc")
    assert await client.rest() == (b"a", "fin")
    assert injection.fired


@on()
async def test_faults_that_wait_for_bytes_come_one_after_the_other(w: World) -> None:
    client, server = await w.connect()
    late = w.proxy.inject(Latency(60), Target(after_bytes=10))
    w.proxy.inject(LimitData(3, direction="server_to_client"), Target(after_bytes=5))
    await server.send(b"0123456789abcdef")
    assert await client.rest() == (b"01234567", "fin")
    assert not late.fired or late.active


@pytest.mark.parametrize("fault", [Rst(), Cut(lifetime=5), Latency(1)])
def test_an_aim_can_be_taken_back(fault: Fault) -> None:
    @on()
    async def scenario(w: World) -> None:
        client, server = await w.upgrade()
        by_time = w.proxy.inject(fault, Target(after=0.2))
        by_bytes = w.proxy.inject(fault, Target(after_bytes=1_000_000))
        by_time.heal()
        by_bytes.heal()
        await asyncio.sleep(0.3)
        await passes(server, client, bytes(100_000))
        assert not by_time.fired
        assert not by_bytes.fired

    for loop in ("asyncio", "uvloop", "virtual"):
        scenario(loop)


@on()
async def test_a_cut_that_waits_ends_with_its_connections(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Rst(), Target(after=600))
    client.close()
    server.close()
    await w.events.wait("closed")
    assert not injection.active
    assert not injection.fired
