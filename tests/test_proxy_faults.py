"""Each fault, as two raw sockets see it: what came, when, and how it ended."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import sys
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy_witness import SWITCH, UPGRADE, Peer, World, frame, masked, now, on
from squall_proxy import (
    FAULTS,
    Blackhole,
    Close,
    Direction,
    Fin,
    Flap,
    HandshakeBlackhole,
    Http,
    Latency,
    Refuse,
    Rst,
    Stall,
    Target,
    Throttle,
    Trickle,
    Truncate,
)

TICK = frame(b"tick")
TOCK = masked(b"tock")
WAYS: tuple[Direction, ...] = ("both", "client_to_server", "server_to_client")


async def passes(w: World, sender: Peer, receiver: Peer, data: bytes) -> None:
    await sender.send(data)
    assert await asyncio.wait_for(receiver.read(len(data)), 5) == data


# Stream faults


@on()
async def test_latency_delays_both_directions_and_is_never_early(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Latency(0.05))
    assert not injection.fired
    for sender, receiver in ((client, server), (server, client)):
        for _ in range(5):
            began = now()
            await passes(w, sender, receiver, TICK)
            assert now() - began >= 0.05 - 1e-9
    assert injection.fired
    assert [e["connection"] for e in w.events.of("fault_fired")] == [1]


@on()
async def test_latency_in_one_direction_leaves_the_other_alone(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Latency(60, direction="server_to_client"))
    await passes(w, client, server, TOCK)
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
        whole += frame(b"%d" % n)
        await server.send(frame(b"%d" % n))
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


@on()
async def test_a_heal_lets_what_is_late_go_at_once(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(Latency(60))
    await server.send(TICK)
    await w.events.wait("fault_fired")
    injection.heal()
    injection.heal()
    await server.send(frame(b"next"))
    assert await client.read(12) == TICK + frame(b"next")
    assert w.events.kinds().count("fault_ended") == 1


@on()
async def test_throttle_keeps_to_its_rate(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Throttle(100_000))
    began = now()
    await passes(w, server, client, bytes(20_000))
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
        await server.send(frame(b"%03d" % n))
    server.finish()
    await w.events.wait("server_closed")
    assert await client.hears_nothing()
    injection.heal()
    assert await client.rest() == (b"".join(frame(b"%03d" % n) for n in range(50)), "fin")
    assert await server.read(len(TOCK)) == TOCK


@on()
async def test_blackhole_in_one_direction_lets_the_other_pass(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Blackhole("client_to_server"))
    await client.send(TOCK)
    await w.events.wait("fault_fired")
    await passes(w, server, client, TICK)
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
def test_who_leaves_a_stalled_connection_is_noticed(how: str) -> None:
    @on()
    async def scenario(w: World) -> None:
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

    for loop in ("asyncio", "uvloop", "virtual"):
        scenario(loop)


@on()
async def test_faults_add_up_in_the_order_of_their_injection(w: World) -> None:
    client, server = await w.upgrade()
    first = w.proxy.inject(Latency(0.05))
    w.proxy.inject(Throttle(1000))
    began = now()
    await passes(w, server, client, bytes(50))
    assert now() - began >= 0.1 - 1e-9
    first.heal()
    await passes(w, server, client, bytes(50))


# Cuts


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


@on()
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
    await server.send(frame(b"x" * 100)[:50])
    await client.read(50)
    injection = w.proxy.inject(Truncate())
    assert not injection.fired
    await server.send(frame(b"x" * 100)[50:] + frame(b"y" * 98) + frame(b"z"))
    assert await client.rest() == (frame(b"x" * 100)[50:] + frame(b"y" * 98)[:50], "fin")
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
    await passes(w, server, client, TICK[:1])
    injection.heal()
    await passes(w, server, client, TICK[1:] + TICK)
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
    await passes(w, server, client, TICK[:3])
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
    await passes(w, pairs[2][1], pairs[2][0], TICK)
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
    await passes(w, server, client, TICK)


# Listener faults


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
        await passes(w, server, client, TICK)
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
    await passes(w, server, client, TICK)


@on()
async def test_flap_lets_a_connection_live_for_its_time(w: World) -> None:
    w.proxy.inject(Flap(after=0.1, how="rst"))
    began = now()
    client, server = await w.upgrade()
    await passes(w, server, client, TICK)
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
    assert await second.hears_nothing()
    await passes(w, server, client, TICK)
    injection.heal()
    server = await w.accept()
    assert await server.read(len(UPGRADE)) == UPGRADE


@on()
async def test_a_handshake_can_hang_when_the_answer_is_due(w: World) -> None:
    injection = w.proxy.inject(HandshakeBlackhole("upgrade"))
    client, server = await w.connect()
    await client.send(UPGRADE)
    assert await server.read(len(UPGRADE)) == UPGRADE
    await server.send(SWITCH)
    assert await client.hears_nothing()
    assert injection.fired
    assert "upgraded" not in w.events.kinds()
    injection.heal()
    assert await client.read(len(SWITCH)) == SWITCH
    assert w.events.kinds()[-2:] == ["fault_ended", "upgraded"]


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


# Values


def test_every_fault_has_its_name_in_the_table_and_a_line_of_help() -> None:
    assert set(FAULTS) == {
        "latency",
        "throttle",
        "trickle",
        "blackhole",
        "stall",
        "handshake_blackhole",
        "rst",
        "fin",
        "truncate",
        "close",
        "refuse",
        "flap",
        "http",
    }
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
)
moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("up", "down")), st.binary(min_size=1, max_size=5000)),
        st.tuples(st.just("inject"), anything),
        st.tuples(st.just("heal"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.floats(0, 3)),
    ),
    max_size=25,
)


@settings(derandomize=True, deadline=None, max_examples=60)
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
            elif w.proxy._injections:
                injections = list(w.proxy._injections.values())
                injections[value % len(injections)].heal()
        client.finish()
        server.finish()
        w.proxy.heal()
        assert await server.rest() == (sent["up"], "fin")
        assert await client.rest() == (sent["down"], "fin")
        closed = await w.events.wait("closed")
        assert closed["to_server_bytes"] == len(sent["up"])
        assert closed["to_client_bytes"] == len(sent["down"])

    scenario("virtual")
