"""The kernel's faults as values, the bytes they are told by, and those of the proxy's own port."""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys

import pytest

from proxy_witness import World, on
from squall_proxy import (
    AcceptQueueFull,
    IcmpUnreachable,
    NetworkFault,
    PacketBlackhole,
    PacketLoss,
    PmtuBlackhole,
    Target,
    Vanish,
)
from squall_proxy.faults.kernel import KERNEL_FAULTS
from squall_proxy.kernel import probe, topology
from squall_proxy.kernel.names import Failure, answer
from squall_proxy.kernel.packets import Packet, logged, sockets

HEAD = struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0)
QUESTION = b"\x08exchange\x04test\x00" + struct.pack("!HH", 1, 1)


# -- values --------------------------------------------------------------------------------------


def test_a_direction_is_the_interface_at_which_packets_come_in() -> None:
    (both,) = PacketBlackhole().rules()
    (up,) = PacketBlackhole("client_to_server").rules()
    (down,) = PacketBlackhole("server_to_client").rules()
    assert not both.startswith("iifname")
    assert up == f"iifname rc {both}"
    assert down == f"iifname rs {both}"


def test_loss_is_drawn_in_ten_thousandths_and_never_none() -> None:
    assert "mod 10000 < 100 " in PacketLoss(0.01).rules()[0]
    assert "mod 10000 < 1 " in PacketLoss(1e-9).rules()[0]


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_loss_is_a_part_of_the_whole(fraction: float) -> None:
    with pytest.raises(ValueError, match="packet_loss: fraction"):
        PacketLoss(fraction)


def test_a_path_takes_some_bytes() -> None:
    with pytest.raises(ValueError, match="mtu is 50; it is 100 or more"):
        PmtuBlackhole(50)


def test_every_rule_replaces_those_before_in_one_transaction() -> None:
    text = topology.rules([PacketBlackhole(), IcmpUnreachable("port")], forgetful=False)
    first, *rest = text.splitlines()
    assert first == "flush chain inet squall faults"
    assert [line.startswith("add rule inet squall faults ") for line in rest] == [True, True]


# -- names ---------------------------------------------------------------------------------------


def test_every_name_leads_to_the_server() -> None:
    reply = answer(HEAD + QUESTION, "198.51.100.1")
    assert reply is not None
    assert reply[:2] == HEAD[:2]
    assert struct.unpack_from("!HHHHH", reply, 2) == (0x8180, 1, 1, 0, 0)
    assert reply.endswith(socket.inet_aton("198.51.100.1"))


def test_an_address_of_another_family_is_not_there() -> None:
    reply = answer(HEAD + QUESTION[:-4] + struct.pack("!HH", 28, 1), "198.51.100.1")
    assert reply is not None
    assert struct.unpack_from("!HHH", reply, 2) == (0x8180, 1, 0)


@pytest.mark.parametrize(
    ("failure", "rcode"), [("nxdomain", 3), ("servfail", 2), ("refused", 5), ("no_address", 0)]
)
def test_a_failure_is_answered_without_an_address(failure: Failure, rcode: int) -> None:
    reply = answer(HEAD + QUESTION, "198.51.100.1", failure)
    assert reply is not None
    assert reply[3] & 15 == rcode
    assert reply[6:8] == b"\0\0"


def test_silence_is_no_answer() -> None:
    assert answer(HEAD + QUESTION, "198.51.100.1", "silence") is None


@pytest.mark.parametrize(
    "query",
    [
        b"",
        HEAD,
        HEAD + QUESTION[:-1],
        HEAD + b"\xc0\x0c\0\1\0\1",
        HEAD[:2] + b"\x81\x80" + HEAD[4:] + QUESTION,
        HEAD + b"\x3f",
    ],
)
def test_what_is_no_query_gets_no_answer(query: bytes) -> None:
    assert answer(query, "198.51.100.1") is None


# -- what kernels tell ---------------------------------------------------------------------------


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(packet: bytes) -> bytes:
    body = bytes(4) + attribute(10, b"x") + attribute(9, packet)
    return struct.pack("=IHHII", 16 + len(body), 4 << 8, 0, 0, 0) + body


def tcp(flags: int) -> bytes:
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes((192, 0, 2, 1)), bytes(4))
    return ip + struct.pack("!HHIIBBHHH", 40001, 9000, 0, 0, 0x50, flags, 0, 0, 0)


def test_logged_packets_are_read_one_after_the_other() -> None:
    syn, ack = logged(message(tcp(0x02)) + message(tcp(0x12)))
    assert syn == Packet("192.0.2.1", 40001, "0.0.0.0", 9000, dials=True)
    assert ack is not None
    assert not ack.dials


@pytest.mark.parametrize("packet", [b"", b"\x60" + bytes(60), tcp(2)[:30], bytes(40)])
def test_what_is_no_tcp_over_ipv4_is_none(packet: bytes) -> None:
    assert list(logged(message(packet))) == [None]


def test_a_table_of_sockets_tells_their_states() -> None:
    local = f"{int.from_bytes(bytes((192, 0, 2, 1)), sys.byteorder):08X}:9C41"
    table = f"  sl  local_address rem_address   st\n   0: {local} 00000000:2328 04 0:0 0\n"
    assert sockets(table) == {("192.0.2.1", 40001): 4}


# -- the proxy's own port ------------------------------------------------------------------------


@on("asyncio", "uvloop", websocket=False)
async def test_a_connection_that_vanishes_says_nothing_and_answers_the_next_word_by_rst(
    world: World,
) -> None:
    if why := probe().vanish:
        pytest.skip(why)
    client, server = await world.connect()
    await client.send(b"x")
    assert await server.read(1) == b"x"
    world.proxy.inject(Vanish())
    assert (await server.rest())[1] == "rst"
    assert await client.hears_nothing(0.3)
    await client.send(b"are you there?")
    assert await client.rest() == (b"", "rst")
    assert world.events.kinds(1)[1:] == ["fault_fired", "closed"]


@on("asyncio", "uvloop", websocket=False)
async def test_without_the_right_a_vanish_is_refused_in_words(world: World) -> None:
    if probe().vanish is None:
        pytest.skip("this process has the right")
    with pytest.raises(ValueError, match=r"vanish: (it needs Linux|TCP_REPAIR needs)"):
        world.proxy.inject(Vanish())


@on("asyncio", "uvloop", websocket=False)
async def test_a_full_queue_lets_dials_hang_and_open_connections_go_on(world: World) -> None:
    if why := probe().accept_queue_full:
        pytest.skip(why)
    client, server = await world.connect()
    full = world.proxy.inject(AcceptQueueFull())
    dial = asyncio.create_task(world.dial())
    done, _ = await asyncio.wait([dial], timeout=0.3)
    assert not done
    await client.send(b"still here")
    assert await server.read(10) == b"still here"
    full.heal()
    late = await dial  # at the kernel's next try, after a second
    behind = await world.accept()
    await late.send(b"at last")
    assert await behind.read(7) == b"at last"
    assert world.events.of("fault_fired") == [
        {"fault": "accept_queue_full", "id": full.id, "connection": None}
    ]


@on("asyncio", websocket=False)
async def test_a_queue_is_full_for_all(world: World) -> None:
    with pytest.raises(ValueError, match="it has no target"):
        world.proxy.inject(AcceptQueueFull(), Target(fraction=0.5))


@on("asyncio", websocket=False)
async def test_a_proxy_alone_has_no_packets_to_harm(world: World) -> None:
    for kind in KERNEL_FAULTS:
        if issubclass(kind, NetworkFault) and kind is not PacketLoss:
            with pytest.raises(ValueError, match="acts on packets"):
                world.proxy.inject(kind())


def test_the_probe_gives_reasons_in_place_of_rights() -> None:
    code = (
        "from squall_proxy.kernel import probe; import sys; sys.platform = 'darwin'; print(probe())"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.count("it needs Linux") == 3
