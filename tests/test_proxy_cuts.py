"""Cuts, as two raw sockets see them: what still came, and how it ended."""

from __future__ import annotations

import asyncio

from frames_witness import built, masked
from proxy_witness import SWITCH, TICK, TOCK, UPGRADE, World, now, on, passes
from squall_proxy import (
    Blackhole,
    Close,
    Fin,
    Latency,
    Rst,
    Target,
    Truncate,
)


@on()
async def test_rst_resets_both_sides_of_an_idle_connection(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Rst())
    assert await client.rest() == (b"", "rst")
    assert await server.rest() == (b"", "rst")
    assert injection.fired
    closed = await w.events.wait("closed")
    assert (closed["by"], closed["how"]) == ("proxy", "rst")
    assert w.events.kinds()[-4:] == ["fault_started", "fault_fired", "fault_ended", "closed"]


@on("asyncio", "uvloop")
async def test_rst_reaches_who_does_not_read(w: World) -> None:
    client, server = await w.upgrade()
    await server.send_until_stuck()
    w.proxy.inject(Rst())
    await server.send_until_refused()
    assert (await client.rest())[1] == "rst"


@on()
async def test_fin_ends_both_sides_without_a_close_frame(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Fin())
    assert await client.rest() == (b"", "fin")
    assert await server.rest() == (b"", "fin")
    await client.send(TOCK)  # in vain, but no reason for a reset
    client.finish()
    server.finish()
    closed = await w.events.wait("closed")
    assert (closed["by"], closed["how"]) == ("proxy", "fin")
    assert (await w.events.wait("client_closed"))["how"] == "fin"


@on("virtual")
async def test_who_never_answers_a_fin_is_left_after_a_while(w: World) -> None:
    await w.upgrade()
    w.proxy.inject(Fin())
    began = now()
    await w.events.wait("closed")
    assert now() - began >= 5


@on()
async def test_truncate_cuts_the_next_frame_in_its_middle(w: World) -> None:
    client, server = await w.upgrade()
    await server.send(built(b"x" * 100)[:50])
    await client.read(50)
    injection = w.proxy.inject(Truncate())
    assert not injection.fired
    await server.send(built(b"x" * 100)[50:] + built(b"y" * 98) + built(b"z"))
    assert await client.rest() == (built(b"x" * 100)[50:] + built(b"y" * 98)[:50], "fin")
    assert (await server.rest())[1] == "fin"
    assert injection.fired


@on()
async def test_truncate_works_on_the_smallest_frames_and_byte_by_byte(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Truncate("client_to_server"))
    ping = masked(b"", opcode=9)
    for byte in ping:
        await client.send(bytes((byte,)))
        await asyncio.sleep(0.001)
    assert await server.rest() == (ping[:3], "fin")


@on()
async def test_truncate_can_be_taken_back(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Truncate())
    await passes(server, client, TICK[:1])
    injection.heal()
    await passes(server, client, TICK[1:] + TICK)
    assert not injection.fired
    assert w.events.kinds()[-1] == "fault_ended"


@on()
async def test_close_waits_for_the_clients_answer_before_it_ends_the_connection(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Close(1012, "restart"))
    goodbye = b"\x88\x09\x03\xf4restart"
    assert await client.read(len(goodbye)) == goodbye
    assert await server.rest() == (b"", "fin")
    await client.send(TOCK)
    assert await client.hears_nothing()
    await client.send(masked(b"\x03\xf4", opcode=8))
    assert await client.rest() == (b"", "fin")
    client.close()
    server.close()
    closed = await w.events.wait("closed")
    assert (closed["by"], closed["how"]) == ("proxy", "fin")


@on("virtual")
async def test_close_gives_up_on_a_client_that_does_not_answer(w: World) -> None:
    client, _ = await w.upgrade()
    w.proxy.inject(Close())
    began = now()
    assert await client.rest() == (b"\x88\x02\x03\xe8", "fin")
    assert now() - began >= 5


@on()
async def test_close_stands_between_two_frames(w: World) -> None:
    client, server = await w.upgrade()
    await passes(server, client, TICK[:3])
    injection = w.proxy.inject(Close(1001))
    assert await client.hears_nothing()
    assert not injection.fired
    assert w.events.kinds()[-1] == "fault_started"
    await server.send(TICK[3:] + TICK)
    client.finish()
    assert await client.rest() == (TICK[3:] + b"\x88\x02\x03\xe9", "fin")
    assert injection.fired
    assert "fault_ended" in w.events.kinds()


@on()
async def test_close_waits_for_an_upgrade_that_is_under_way(w: World) -> None:
    client, server = await w.connect()
    await client.send(UPGRADE)
    await w.events.wait("upgrade_requested")
    w.proxy.inject(Close(1013))
    await server.send(SWITCH)
    await client.read(len(SWITCH))
    assert await client.read(4) == b"\x88\x02\x03\xf5"


@on()
async def test_a_close_travels_behind_what_is_in_flight(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Latency(0.1))
    await server.send(TICK)
    await w.events.wait("fault_fired")
    w.proxy.inject(Close(1000))
    assert await client.read(len(TICK) + 4) == TICK + b"\x88\x02\x03\xe8"


@on()
async def test_a_cut_that_never_found_its_place_ends_with_the_connection(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Truncate())
    client.close()
    server.close()
    await w.events.wait("closed")
    assert not injection.fired
    assert w.events.kinds()[-2:] == ["fault_ended", "closed"]


@on()
async def test_a_cut_that_hits_nothing_is_over_at_once(w: World) -> None:
    injection = w.proxy.inject(Rst())
    assert not injection.fired
    assert w.events.kinds() == ["listening", "fault_started", "fault_ended"]


@on()
async def test_targets_choose_among_what_the_client_still_holds(w: World) -> None:
    pairs = [await w.upgrade() for _ in range(4)]
    hole = w.proxy.inject(Blackhole(), Target(1))
    pairs[0][0].finish()
    await w.events.wait("client_closed")
    w.proxy.inject(Rst(), Target("oldest"))
    w.proxy.inject(Rst(), Target("newest"))
    assert (await pairs[1][0].rest())[1] == "rst"
    assert (await pairs[3][0].rest())[1] == "rst"
    await passes(pairs[2][1], pairs[2][0], TICK)
    w.proxy.inject(Rst(), Target(3))
    assert (await pairs[2][0].rest())[1] == "rst"
    assert await pairs[0][1].hears_nothing()
    hole.heal()
    assert await pairs[0][1].rest() == (b"", "fin")


@on()
async def test_a_target_by_name_does_not_reach_later_connections(w: World) -> None:
    await w.upgrade()
    w.proxy.inject(Blackhole(), Target("newest"))
    client, server = await w.upgrade()
    await passes(server, client, TICK)
