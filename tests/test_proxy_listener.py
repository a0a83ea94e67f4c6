"""What new connections meet while a listener fault is in force."""

from __future__ import annotations

import socket
from typing import Literal

import pytest

from proxy_witness import SWITCH, TICK, UPGRADE, World, now, on, passes
from squall_proxy import (
    Flap,
    HandshakeBlackhole,
    Http,
    Refuse,
    Target,
)


@on()
async def test_refused_dials_are_refused_by_the_kernel_and_the_port_stays_ours(w: World) -> None:
    client, server = await w.upgrade()
    for _ in range(3):
        injection = w.proxy.inject(Refuse())
        assert injection.fired
        with pytest.raises(ConnectionRefusedError):
            await w.dial()
        taken = socket.socket()
        with pytest.raises(OSError, match="in use"):
            taken.bind(w.proxy.address)
        taken.close()
        await passes(server, client, TICK)
        w.proxy.heal()
        await w.upgrade()


@on()
async def test_two_refusals_are_healed_one_by_one(w: World) -> None:
    first, second = w.proxy.inject(Refuse()), w.proxy.inject(Refuse())
    first.heal()
    with pytest.raises(ConnectionRefusedError):
        await w.dial()
    second.heal()
    # Refused again before the loop could accept: nothing may be left listening.
    third = w.proxy.inject(Refuse())
    with pytest.raises(ConnectionRefusedError):
        await w.dial()
    third.heal()
    await w.upgrade()


@on()
async def test_refusal_can_be_a_reset_or_an_end_after_the_accept(w: World) -> None:
    for how, seen in (("reset", "rst"), ("closed", "fin")):
        with_fault = w.proxy.inject(Refuse(how))  # type: ignore[arg-type]
        client = await w.dial()
        assert await client.rest() == (b"", seen)
        client.close()
        with_fault.heal()
    await w.events.wait("closed", 2)
    assert [e["connection"] for e in w.events.of("fault_fired")] == [1, 2]
    await w.upgrade()


@on()
async def test_flap_closes_right_after_the_upgrade(w: World) -> None:
    injection = w.proxy.inject(Flap(code=1008))
    client, server = await w.upgrade()
    assert await client.read(4) == b"\x88\x02\x03\xf0"
    assert (await server.rest())[1] == "fin"
    assert injection.fired
    injection.heal()
    client, server = await w.upgrade()
    await passes(server, client, TICK)


@on()
async def test_flap_lets_a_connection_live_for_its_time(w: World) -> None:
    w.proxy.inject(Flap(after=0.1, how="rst"))
    began = now()
    client, server = await w.upgrade()
    await passes(server, client, TICK)
    assert await client.rest() == (b"", "rst")
    assert now() - began >= 0.1 - 1e-9


@on()
async def test_flap_without_upgrade_does_not_dial_the_exchange(w: World) -> None:
    injection = w.proxy.inject(Flap(after=0.05, how="fin", upgrade=False))
    client = await w.dial()
    await client.send(UPGRADE)
    assert await client.rest() == (b"", "fin")
    client.close()
    await w.events.wait("closed")
    client = await w.dial()
    await w.events.wait("dialled", 2)
    injection.heal()
    await w.accept()  # what was not yet ended works after all
    assert [e["connection"] for e in w.events.of("fault_fired")] == [1]


@on()
async def test_a_handshake_can_hang_before_the_exchange_is_dialled(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(HandshakeBlackhole("tcp"))
    second = await w.dial()
    await second.send(UPGRADE)
    assert (await w.events.wait("fault_fired"))["connection"] == 2
    assert await second.hears_nothing()
    await passes(server, client, TICK)
    injection.heal()
    await w.upgrade()  # this one is the next that the exchange sees
    assert await second.hears_nothing()
    assert "upgraded" not in w.events.kinds(2)


@on()
async def test_a_handshake_can_hang_when_the_answer_is_due(w: World) -> None:
    injection = w.proxy.inject(HandshakeBlackhole("upgrade"))
    client, server = await w.requested()
    await server.send(SWITCH)
    assert await client.hears_nothing()
    assert injection.fired
    injection.heal()
    await server.send(TICK)
    assert await client.hears_nothing()
    assert "upgraded" not in w.events.kinds()
    client.finish()
    assert await server.rest() == (b"", "fin")
    server.close()
    assert await client.rest() == (b"", "fin")
    await w.events.wait("closed")


@on()
async def test_an_answer_that_was_not_yet_due_is_not_lost(w: World) -> None:
    injection = w.proxy.inject(HandshakeBlackhole("upgrade"))
    client, server = await w.requested()
    injection.heal()
    await server.send(SWITCH)
    assert await client.read(len(SWITCH)) == SWITCH
    assert not injection.fired


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("phase", ["tcp", "upgrade"])
@pytest.mark.parametrize("healed", [False, True])
@on()
async def test_who_leaves_a_lost_handshake_leaves_nothing_behind(
    w: World, how: str, phase: Literal["tcp", "upgrade"], healed: bool
) -> None:
    injection = w.proxy.inject(HandshakeBlackhole(phase))
    client = await w.dial()
    await client.send(UPGRADE)
    if phase == "upgrade":
        server = await w.accept()
        await server.send(SWITCH)
    await w.events.wait("fault_fired")
    if healed:
        injection.heal()
    if how == "fin":
        client.finish()
    else:
        client.reset()
    await w.events.wait("client_closed")
    injection.heal()
    if how == "fin":
        assert await client.rest() == (b"", "fin")
    if phase == "upgrade":
        assert (await server.rest())[1] == how
        server.close()
    await w.events.wait("closed")
    await w.upgrade()


@on()
async def test_every_second_handshake_can_be_lost(w: World) -> None:
    w.proxy.inject(HandshakeBlackhole(), Target(every=2))
    w.proxy.inject(Refuse("reset"), Target(every=3))
    await w.upgrade()
    second = await w.dial()
    assert await second.hears_nothing()
    assert await (await w.dial()).rest() == (b"", "rst")
    assert [e["connection"] for e in w.events.of("fault_fired")] == [2, 3]


@on()
async def test_http_answers_in_the_exchanges_stead(w: World) -> None:
    injection = w.proxy.inject(Http(429, {"Retry-After": "10"}, "slow down"))
    client = await w.dial()
    await client.send(UPGRADE)
    answer, how = await client.rest()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"Retry-After: 10" in head.split(b"\r\n")
    assert b"Content-Length: 9" in head.split(b"\r\n")
    assert (body, how) == (b"slow down", "fin")
    refused = await w.events.wait("upgrade_refused")
    assert (refused["status"], refused["retry_after"], refused["by"]) == (429, 10.0, "proxy")
    assert injection.fired
    injection.heal()
    await w.upgrade()  # the first connection that the server ever sees
    assert w.events.of("closed") == [] or w.events.of("closed")[0]["to_server_bytes"] == 0


@on()
async def test_http_that_ends_before_the_request_lets_it_pass(w: World) -> None:
    injection = w.proxy.inject(Http(503))
    client = await w.dial()
    await w.events.wait("dialled")
    injection.heal()
    await client.send(UPGRADE)
    assert await (await w.accept()).read(len(UPGRADE)) == UPGRADE
    assert not injection.fired
