"""Rules on messages, as two raw sockets see them: which bytes came, when, and how it ended."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest

from frames_witness import built, parsed
from proxy_witness import SWITCH, UPGRADE, Peer, World, now, on
from squall_proxy import (
    Close,
    CorruptMessage,
    CutMessage,
    DelayMessage,
    DropMessage,
    DuplicateMessage,
    EditMessage,
    FragmentMessage,
    HangingClose,
    HoldMessage,
    InjectMessage,
    Latency,
    MalformMessage,
    MessageFault,
    ReorderMessage,
    ReplaceMessage,
    Rst,
    Target,
    TruncateMessage,
)

KEY = b"\x01\x02\x03\x04"
A, B, C = (built(word) for word in (b"a", b'{"b": 1}', b"c"))
UP_A, UP_B, UP_C = (built(word, key=KEY) for word in (b"a", b'{"b": 1}', b"c"))
ON_B: dict[str, Any] = {"where": {"b": 1}}
CLOSE = built(b"\x03\xe8", 8)
UP_CLOSE = built(b"\x03\xe8", 8, key=KEY)

# What the client gets of A, B and C under a rule on B, and what the server of theirs.
OUTCOMES: list[tuple[MessageFault, bytes, bytes]] = [
    (DropMessage(direction="both", **ON_B), A + C, UP_A + UP_C),
    (DuplicateMessage(direction="both", **ON_B), A + B + B + C, UP_A + UP_B + UP_B + UP_C),
    (ReorderMessage(direction="both", **ON_B), A + C + B, UP_A + UP_C + UP_B),
    (
        TruncateMessage(direction="both", keep=2, **ON_B),
        A + built(b'{"') + C,
        UP_A + built(b'{"', key=KEY) + UP_C,
    ),
    (
        ReplaceMessage("new", direction="both", **ON_B),
        A + built(b"new") + C,
        UP_A + built(b"new", key=KEY) + UP_C,
    ),
    (
        EditMessage({"b": 2}, direction="both", **ON_B),
        A + built(b'{"b":2}') + C,
        UP_A + built(b'{"b":2}', key=KEY) + UP_C,
    ),
    (
        InjectMessage("new", place="after", direction="both", **ON_B),
        A + B + built(b"new") + C,
        UP_A + UP_B + built(b"new", key=bytes(4)) + UP_C,
    ),
    (
        FragmentMessage(4, direction="both", **ON_B),
        A + built(b'{"b"', fin=False) + built(b": 1}", 0) + C,
        UP_A + built(b'{"b"', fin=False, key=KEY) + built(b": 1}", 0, key=KEY) + UP_C,
    ),
    (
        CorruptMessage(direction="both", leaves="json", contains="1"),
        A + C,  # the length tells
        UP_A + UP_C,
    ),
    (
        MalformMessage("invalid_utf8", direction="both", **ON_B),
        A + built(b'{"b"\xff 1}') + C,
        UP_A + built(b'{"b"\xff 1}', key=KEY) + UP_C,
    ),
    (
        MalformMessage("wrong_mask", direction="both", **ON_B),
        A + built(b'{"b": 1}', key=bytes(4)) + C,
        UP_A + built(b'{"b": 1}') + UP_C,
    ),
    (
        MalformMessage("wrong_rsv", direction="both", **ON_B),
        A + built(b'{"b": 1}', rsv=1) + C,
        UP_A + built(b'{"b": 1}', rsv=1, key=KEY) + UP_C,
    ),
    (
        MalformMessage("wrong_opcode", direction="both", **ON_B),
        A + built(b'{"b": 1}', 3) + C,
        UP_A + built(b'{"b": 1}', 3, key=KEY) + UP_C,
    ),
    (
        MalformMessage("unfinished", direction="both", **ON_B),
        A + built(b'{"b": 1}', fin=False) + C,
        UP_A + built(b'{"b": 1}', fin=False, key=KEY) + UP_C,
    ),
    (MalformMessage("short", direction="both", **ON_B), A + B[:-4] + C, UP_A + UP_B[:-4] + UP_C),
    (
        MalformMessage("oversize", size=200, direction="both", **ON_B),
        A + built(b'{"b": 1}'.ljust(200)) + C,
        UP_A + built(b'{"b": 1}'.ljust(200), key=KEY) + UP_C,
    ),
]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: str(each[0].settings()))
@on("asyncio", "uvloop")
async def test_each_rule_does_the_same_in_both_directions(
    w: World, outcome: tuple[MessageFault, bytes, bytes]
) -> None:
    fault, down, up = outcome
    client, server = await w.upgrade()
    injection = w.proxy.inject(fault)
    await server.send(A + B + C)
    await client.send(UP_A + UP_B + UP_C)
    if isinstance(fault, CorruptMessage):
        got = await client.read(len(A + B + C))
        (damaged,) = (each.payload for each in parsed(got)[0][1:2])
        assert damaged != b'{"b": 1}'
        assert list(json.loads(damaged)) == ["b"]
    else:
        assert await client.read(len(down)) == down
        assert await server.read(len(up)) == up
        assert await client.hears_nothing(0.02)
    assert injection.fired
    assert w.events.kinds().count("fault_fired") == 1
    injection.heal()
    await server.send(B)
    if not isinstance(fault, CorruptMessage):
        assert await client.read(len(B)) == B


@on()
async def test_a_rule_comes_into_force_in_the_middle_of_a_frame(w: World) -> None:
    client, server = await w.upgrade()
    await server.send(B[:1])
    assert await client.read(1) == B[:1]
    w.proxy.inject(DropMessage())
    await server.send(B[1:] + C)
    assert await client.read(len(B) - 1) == B[1:]
    assert await client.hears_nothing()


@on()
async def test_half_a_frame_passes_when_its_rule_is_removed(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(DropMessage())
    await server.send(B[:5])
    assert await client.hears_nothing()
    injection.heal()
    assert await client.read(5) == B[:5]
    await server.send(B[5:] + C)
    assert await client.read(len(B) - 5 + len(C)) == B[5:] + C


@on("virtual")
async def test_a_delayed_message_is_overtaken_by_all_others(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(DelayMessage(2.0, **ON_B))
    began = now()
    await server.send(A + B + C)
    assert await client.read(len(A + C)) == A + C
    assert now() - began < 1
    assert await client.read(len(B)) == B
    assert 2.0 <= now() - began < 2.2


@on()
async def test_a_delayed_message_is_never_early(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(DelayMessage(0.05))
    for _ in range(5):
        began = now()
        await server.send(A)
        assert await client.read(len(A)) == A
        assert now() - began >= 0.05 - 1e-9


@on("virtual")
async def test_the_end_waits_for_what_is_delayed(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(DelayMessage(2.0, **ON_B))
    began = now()
    await server.send(A + B + CLOSE)
    server.finish()
    assert await client.rest() == (A + B + CLOSE, "fin")
    assert now() - began >= 2


@on()
async def test_pongs_are_held_until_the_rule_is_removed(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(HoldMessage(opcode="pong"))
    await client.send(built(b"1", 9, key=KEY))
    assert await server.read(7) == built(b"1", 9, key=KEY)
    await server.send(built(b"1", 10) + A)
    assert await client.read(len(A)) == A
    injection.heal()
    assert await client.read(3) == built(b"1", 10)


@on()
async def test_pings_are_lost_in_both_directions(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(DropMessage(opcode="ping", direction="both"))
    await client.send(built(b"1", 9, key=KEY) + UP_A)
    assert await server.read(len(UP_A)) == UP_A
    await server.send(built(b"1", 9) + A)
    assert await client.read(len(A)) == A


@on()
async def test_a_reset_is_not_held_up(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(HoldMessage())
    await server.send(A)
    assert await client.hears_nothing()
    server.reset()
    assert await client.rest() == (b"", "rst")


@pytest.mark.parametrize("how", ["fin", "rst"])
@on()
async def test_the_connection_ends_at_a_message(w: World, how: Any) -> None:
    for place, passed in (("before", 0), ("within", 4), ("after", 8)):
        client, server = await w.upgrade()
        w.proxy.inject(
            CutMessage(place, how, contains="second"),  # type: ignore[arg-type]
            Target("newest"),
        )
        await server.send(A)
        assert await client.read(len(A)) == A
        await server.send(built(b"second") + C)
        data, end = await client.rest()
        # What was written before a RST may be lost with it.
        assert data == built(b"second")[:passed] or (how == "rst" and not data)
        assert end == how
        assert (await server.rest())[1] == how
        client.close()
        server.close()


@on()
async def test_a_close_frame_comes_and_the_connection_hangs(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(HangingClose(4001, "later"))
    assert await client.read(9) == built(b"\x0f\xa1later", 8)
    await client.send(built(b"\x0f\xa1", 8, key=KEY))
    await server.send(A)
    assert await client.hears_nothing()
    assert await server.hears_nothing()
    injection.heal()
    assert await client.hears_nothing()  # nothing may follow a Close frame
    client.finish()
    assert await server.rest() == (b"", "fin")


@on()
async def test_behind_a_hanging_close_not_even_the_servers_fin_comes(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(HangingClose(None))
    server.finish()
    await w.events.wait("server_closed")
    assert await client.hears_nothing()
    injection.heal()
    assert await client.hears_nothing()
    client.finish()
    assert await client.rest() == (b"", "fin")
    assert await server.rest() == (b"", "fin")
    await w.events.wait("closed")


@on()
async def test_the_clients_close_frame_is_never_answered(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(
        HangingClose(None, place="instead", opcode="close", direction="client_to_server")
    )
    await server.send(A)
    assert await client.read(len(A)) == A
    await client.send(UP_CLOSE)
    await w.events.wait("fault_fired")
    await server.send(A)
    assert await client.hears_nothing()
    assert await server.hears_nothing()


@on()
async def test_a_rule_waits_for_the_upgrade(w: World) -> None:
    w.proxy.inject(InjectMessage("first"))
    client, server = await w.requested()
    assert await client.hears_nothing(0.05)
    await server.send(SWITCH + A)
    expected = SWITCH + built(b"first") + A
    assert await client.read(len(expected)) == expected


@on()
async def test_rules_count_over_all_connections_and_heed_their_target(w: World) -> None:
    first_client, first = await w.upgrade()
    w.proxy.inject(DropMessage(nth=2, contains="a"))
    client, server = await w.upgrade()
    w.proxy.inject(ReplaceMessage("new", contains="c"), Target("newest"))
    for sender, receiver, got in ((first, first_client, A + C), (server, client, built(b"new"))):
        await sender.send(A + C)
        assert await receiver.read(len(got)) == got
    assert [each["connection"] for each in w.events.of("fault_fired")] == [2, 2]


@on()
async def test_what_is_dropped_is_not_counted_as_passed_on(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(DropMessage(**ON_B))
    await server.send(A + B + C)
    assert await client.read(len(A + C)) == A + C
    server.finish()
    client.finish()
    closed = await w.events.wait("closed")
    assert closed["to_client_bytes"] == len(SWITCH + A + C)
    assert closed["to_server_bytes"] == len(UPGRADE)


@on()
async def test_rules_and_faults_of_the_line_act_together(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(Latency(0.05))
    w.proxy.inject(DropMessage(**ON_B))
    began = now()
    await server.send(A + B + C)
    assert await client.read(len(A + C)) == A + C
    assert now() - began >= 0.05 - 1e-9


@on()
async def test_a_cut_waits_for_the_end_of_a_frame_behind_a_rule(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(DropMessage(**ON_B))
    await server.send(A + C[:1])
    assert await client.read(len(A)) == A
    w.proxy.inject(Close(1012))
    assert await client.read(4) == built(b"\x03\xf4", 8)
    await client.send(built(b"\x03\xf4", 8, key=KEY))
    assert await client.rest() == (b"", "fin")


@on()
async def test_a_reply_finds_its_place_in_the_other_direction(w: World) -> None:
    client, server = await w.upgrade()
    w.proxy.inject(
        InjectMessage("no", place="instead", reply=True, direction="client_to_server", **ON_B)
    )
    await server.send(C[:1])
    assert await client.read(1) == C[:1]
    await client.send(UP_A + UP_B + UP_C)
    assert await server.read(len(UP_A + UP_C)) == UP_A + UP_C
    await server.send(C[1:])
    assert await client.read(6) == C[1:] + built(b"no")


@on("virtual")
async def test_a_goodbye_is_understood_though_a_rule_has_kept_half_a_frame(w: World) -> None:
    client, _ = await w.upgrade()
    w.proxy.inject(DropMessage(direction="client_to_server"))
    await client.send(UP_A[:3])
    assert await client.hears_nothing()
    w.proxy.inject(Close(1012))
    assert await client.read(4) == built(b"\x03\xf4", 8)
    began = now()
    await client.send(UP_A[3:] + UP_CLOSE)
    assert await client.rest() == (b"", "fin")
    assert now() - began < 4


@on()
async def test_a_rule_may_be_removed_while_it_is_told_of(w: World) -> None:
    client, server = await w.upgrade()
    w.events.react = lambda kind, _: w.proxy.heal() if kind == "fault_fired" else None
    for fault, heard in ((DropMessage(), B + C), (HoldMessage(), A + B + C)):
        w.proxy.inject(fault)
        await server.send(A + B + C[:1])
        assert await client.read(len(heard) - 2) == heard[:-2]
        await server.send(C[1:])
        assert await client.read(2) == C[1:]


@on("asyncio", "uvloop")
async def test_who_sends_more_than_can_be_held_has_to_wait(w: World) -> None:
    client, server = await w.upgrade()
    injection = w.proxy.inject(HoldMessage())
    message = built(bytes(500_000), 2)
    sent = 0
    try:
        while sent < 100:
            await asyncio.wait_for(server.send(message), 0.5)
            sent += 1
    except TimeoutError:
        pass
    assert 8 < sent < 60
    assert await client.hears_nothing()
    injection.heal()
    assert await client.read(sent * len(message)) == message * sent


@on()
async def test_a_reset_connection_takes_its_rules_along(w: World) -> None:
    client, server = await w.upgrade()
    delayed = w.proxy.inject(DelayMessage(0.05))
    await server.send(A)
    await asyncio.sleep(0.01)
    w.proxy.inject(Rst())
    assert (await client.rest())[1] == "rst"
    await w.events.wait("closed")
    await asyncio.sleep(0.1)
    delayed.heal()


@on("asyncio")
async def test_odd_bytes_neither_crash_nor_hang_a_connection(w: World) -> None:
    rng = random.Random(20)
    faults: list[MessageFault] = [each for each, _, _ in OUTCOMES]
    faults += [DelayMessage(0.001, opcode="any"), HoldMessage(opcode="any"), CutMessage()]
    for number in range(1, 301):
        client, server = await w.upgrade()
        injections = [
            w.proxy.inject(fault, Target("newest"))
            for fault in rng.sample(faults, rng.randrange(4))
        ]
        for _ in range(rng.randrange(1, 5)):
            sender: Peer = rng.choice((client, server))
            good = built(rng.randbytes(rng.randrange(200)), rng.randrange(16), rsv=rng.randrange(8))
            try:
                await sender.send(rng.choice((good, rng.randbytes(rng.randrange(1, 60)), B, UP_B)))
            except OSError:
                break
            await asyncio.sleep(0)
        client.close()
        server.close()
        await asyncio.wait_for(w.events.wait("closed", number), 5)
        for injection in injections:
            injection.heal()
