"""Packets harmed between raw sockets in a network of our own and a proxy in another.

The client's sockets are made by a process of the tests' in the client's network, which shares no
code with the proxy; what its kernel tells them is the evidence.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy_witness import Ends, Events, Peer, raw_server, within
from squall_proxy import (
    AddressChange,
    DnsFailure,
    IcmpUnreachable,
    NatExpiry,
    PacketBlackhole,
    PacketLoss,
    PmtuBlackhole,
    Proxy,
    RstInjection,
    SynDrop,
    Vanish,
)
from squall_proxy.kernel import KernelNet, KernelNetError, probe

pytestmark = pytest.mark.skipif(bool(probe().network), reason=probe().network or "")

USER_TIMEOUT = 18  # TCP_USER_TIMEOUT of <linux/tcp.h>, in milliseconds

GIVER = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as control:
    while control.recv(1):
        with socket.socket() as made:
            socket.send_fds(control, [b"x"], [made.fileno()])
"""


class NetWorld(Ends):
    """A raw server, a proxy before it in the server's network, and sockets in the client's."""

    def __init__(
        self, net: KernelNet, proxy: Proxy, events: Events, upstream: socket.socket, giver: int
    ) -> None:
        super().__init__(upstream)
        self.net = net
        self.proxy = proxy
        self.events = events
        self._giver = socket.socket(fileno=giver)

    async def dial(self, *, patience: float | None = None) -> Peer:
        """A client in its own network; unacknowledged for so long, it gives up."""
        self._giver.send(b"x")
        _, (fd,), _, _ = socket.recv_fds(self._giver, 1, 1)
        sock = socket.socket(fileno=fd)
        if patience is not None:
            sock.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, int(patience * 1000))
        peer = self.keep(sock)
        await asyncio.get_running_loop().sock_connect(sock, self.proxy.address)
        return peer

    async def connect(self, *, patience: float | None = None) -> tuple[Peer, Peer]:
        client = await self.dial(patience=patience)
        return client, await self.accept()

    async def dial_hangs(self, seconds: float = 0.3) -> bool:
        try:
            await asyncio.wait_for(self.dial(), seconds)
        except TimeoutError:
            return True
        return False

    async def run(self, *command: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *self.net.run_in_client(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    def hang_up(self) -> None:
        self._giver.close()
        super().hang_up()


@contextlib.asynccontextmanager
async def net_world() -> AsyncIterator[NetWorld]:
    events = Events()
    async with KernelNet(events.observe) as net:
        with raw_server() as upstream:
            address: tuple[str, int] = upstream.getsockname()
            proxy = Proxy(address, observe=net.heard, rng=random.Random(7), websocket=False)
            await proxy.start(net.server, 0, net=net)
            ours, theirs = socket.socketpair()
            command = net.run_in_client([sys.executable, "-c", GIVER, str(theirs.fileno())])
            giver = await asyncio.create_subprocess_exec(*command, pass_fds=[theirs.fileno()])
            theirs.close()
            world = NetWorld(net, proxy, events, upstream, ours.detach())
            try:
                yield world
            finally:
                world.hang_up()
                await giver.wait()
                net.heal()
                await proxy.stop()


networked = within(net_world, "asyncio", "uvloop")
"""Run the test on both real loops, in networks of its own."""


async def error_of(peer: Peer) -> int | None:
    """The error by which a connection ends."""
    try:
        assert await asyncio.get_running_loop().sock_recv(peer.sock, 1) == b""
    except OSError as error:
        return error.errno
    return None


async def passes(sender: Peer, reader: Peer, data: bytes = b"tick") -> bool:
    await sender.send(data)
    try:
        return await asyncio.wait_for(reader.read(len(data)), 5) == data
    except TimeoutError:
        return False


# -- packets -------------------------------------------------------------------------------------


@networked
async def test_what_a_blackhole_takes_no_kernel_acknowledges(world: NetWorld) -> None:
    client, server = await world.connect(patience=1)
    assert await passes(client, server)
    blackhole = world.net.inject(PacketBlackhole())
    await client.send(b"lost")
    assert await server.hears_nothing(0.2)
    assert await error_of(client) == errno.ETIMEDOUT
    assert await world.dial_hangs()
    assert blackhole.fired
    assert world.events.of("fault_fired")[0]["connection"] == 1


@networked
async def test_when_packets_pass_again_no_byte_is_missing(world: NetWorld) -> None:
    client, server = await world.connect()
    blackhole = world.net.inject(PacketBlackhole())
    for word in (b"one ", b"two ", b"three"):
        await client.send(word)
    assert await server.hears_nothing()
    blackhole.heal()
    assert await server.read(13) == b"one two three"
    assert [kind for kind in world.events.kinds() if kind.startswith("fault")] == [
        "fault_started",
        "fault_fired",
        "fault_ended",
    ]


@networked
async def test_one_way_the_other_still_speaks(world: NetWorld) -> None:
    client, server = await world.connect()
    world.net.inject(PacketBlackhole("client_to_server"))
    await client.send(b"lost")
    assert await passes(server, client)
    assert await server.hears_nothing()


@networked
async def test_the_clients_kernel_tells_who_left_into_a_blackhole(world: NetWorld) -> None:
    leaver, left = await world.connect()
    breaker, broken = await world.connect()
    await world.connect()
    world.net.inject(PacketBlackhole())
    leaver.finish()
    breaker.reset()
    await world.events.wait("client_closed", 2)
    assert {e["connection"]: e["how"] for e in world.events.of("client_closed")} == {
        1: "fin",
        2: "rst",
    }
    world.net.heal()
    assert await left.rest() == (b"", "fin")
    await broken.send(b"are you there?")
    assert await broken.rest() == (b"", "rst")
    assert len(world.events.of("client_closed")) == 2  # nobody leaves twice


@networked
async def test_a_dial_into_nothing_is_seen_once(world: NetWorld) -> None:
    world.net.inject(SynDrop())
    assert await world.dial_hangs(1.3)  # its kernel has sent the SYN again by now
    (lost,) = world.events.of("dial_lost")
    assert lost["peer"].startswith(world.net.client)


@networked
async def test_lost_syns_leave_open_connections_alone(world: NetWorld) -> None:
    client, server = await world.connect()
    drop = world.net.inject(SynDrop())
    dial = asyncio.create_task(world.connect())
    assert not (await asyncio.wait([dial], timeout=0.3))[0]
    assert await passes(client, server)
    assert await passes(server, client)
    drop.heal()
    assert await passes(*await dial)


@networked
async def test_lost_packets_are_sent_again_in_order(world: NetWorld) -> None:
    client, server = await world.connect()
    loss = world.net.inject(PacketLoss(0.1))
    data = bytes(random.Random(3).randbytes(200_000))
    for _ in range(50):  # on loopback, 200 kB may go in five packets, and chance spare them all
        sending = asyncio.create_task(client.send(data))
        assert await server.read(len(data)) == data
        await sending
        if loss.fired:
            break
    assert loss.fired


@networked
async def test_a_path_with_a_small_mtu_passes_small_messages_only(world: NetWorld) -> None:
    client, server = await world.connect(patience=1)
    world.net.inject(PmtuBlackhole(576))
    assert await passes(client, server, b"heartbeat")
    await client.send(bytes(1200))
    assert await server.hears_nothing(0.3)
    assert await error_of(client) == errno.ETIMEDOUT


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("host", errno.EHOSTUNREACH),
        ("net", errno.ENETUNREACH),
        ("port", errno.ECONNREFUSED),
        ("admin_prohibited", errno.EHOSTUNREACH),
    ],
)
@networked
async def test_icmp_fails_a_dial_at_once_and_is_a_hint_to_an_open_connection(
    world: NetWorld, kind: Any, error: int
) -> None:
    client, server = await world.connect()
    unreachable = world.net.inject(IcmpUnreachable(kind))
    with pytest.raises(OSError, match="Connect call failed") as told:
        await world.dial()
    assert told.value.errno == error
    await client.send(b"later")
    assert await client.hears_nothing(0.3)
    unreachable.heal()
    assert await server.read(5) == b"later"


@networked
async def test_a_reset_from_the_middle_meets_who_speaks_next(world: NetWorld) -> None:
    client, server = await world.connect()
    world.net.inject(RstInjection("client_to_server"))
    assert await client.hears_nothing()
    await client.send(b"x")
    assert await error_of(client) == errno.ECONNRESET
    assert await server.hears_nothing()
    with pytest.raises(ConnectionRefusedError):
        await world.dial()


@networked
async def test_a_nat_that_forgets_keeps_new_connections_only(world: NetWorld) -> None:
    client, server = await world.connect()
    expiry = world.net.inject(NatExpiry())
    assert not expiry.active
    await client.send(b"lost")
    assert await server.hears_nothing(0.3)
    assert await passes(*await world.connect())
    world.net.heal()
    assert await server.hears_nothing(0.3)
    assert await client.hears_nothing()


@networked
async def test_a_new_address_leaves_old_connections_silent(world: NetWorld) -> None:
    client, server = await world.connect(patience=1)
    before = world.net.client
    world.net.inject(AddressChange())
    assert world.net.client != before
    with contextlib.suppress(OSError):
        await client.send(b"lost")
    assert await server.hears_nothing(0.3)
    assert await passes(*await world.connect())
    assert str(world.events.of("dialled")[-1]["peer"]).startswith(f"{world.net.client}:")
    world.net.inject(AddressChange())
    assert world.net.client == before
    assert await passes(*await world.connect())


@networked
async def test_a_socket_of_that_network_vanishes_without_rights_in_ours(world: NetWorld) -> None:
    client, server = await world.connect()
    world.proxy.inject(Vanish())
    assert (await server.rest())[1] == "rst"
    assert await client.hears_nothing(0.3)
    await client.send(b"are you there?")
    assert await error_of(client) == errno.ECONNRESET


# -- names ---------------------------------------------------------------------------------------


RESOLVE = "import socket; print(socket.getaddrinfo('{}', 80, socket.AF_INET)[0][4][0])"


@networked
async def test_every_name_leads_to_the_server(world: NetWorld) -> None:
    for name in (world.net.server_name, "www.deribit.com"):
        status, said = await world.run(sys.executable, "-c", RESOLVE.format(name))
        assert (status, said.strip()) == (0, world.net.server)


@pytest.mark.parametrize("how", ["nxdomain", "servfail", "refused", "no_address", "silence"])
@networked
async def test_a_name_fails_until_it_is_healed(world: NetWorld, how: Any) -> None:
    resolve = RESOLVE.format(world.net.server_name)
    failure = world.net.inject(DnsFailure(how))
    status, said = await world.run(sys.executable, "-c", resolve)
    assert status
    assert "gaierror" in said
    assert failure.fired
    failure.heal()
    assert await world.run(sys.executable, "-c", resolve) == (0, f"{world.net.server}\n")


# -- the network itself --------------------------------------------------------------------------


def state_of_this_machine() -> list[str]:
    """What a careless program would have changed."""
    commands = (["ip", "addr"], ["ip", "route"], ["nft", "list", "ruleset"], ["ip", "netns"])
    told = [subprocess.run(c, capture_output=True, text=True, check=False).stdout for c in commands]
    files = ("/etc/resolv.conf", "/proc/sys/net/ipv4/ip_forward", "/proc/self/mountinfo")
    return told + [Path(file).read_text() for file in files if Path(file).exists()]


def test_nothing_of_this_machine_is_touched() -> None:
    before = state_of_this_machine()

    async def test() -> None:
        async with net_world() as world:
            world.net.inject(PacketBlackhole())
            world.net.inject(NatExpiry())
            world.net.inject(DnsFailure())
            assert state_of_this_machine() == before

    asyncio.run(test())
    assert state_of_this_machine() == before


@networked
async def test_a_command_keeps_its_folder_and_its_status(world: NetWorld) -> None:
    assert await world.run("pwd") == (0, f"{os.getcwd()}\n")
    assert (await world.run("sh", "-c", "exit 7"))[0] == 7
    status, said = await world.run("no-such-program")
    assert (status, "no-such-program: No such file" in said) == (127, True)


OWNER = """
import asyncio, sys
from squall_proxy.kernel import KernelNet

async def main():
    async with KernelNet(lambda *a, **k: None) as net:
        print(net.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_the_networks_end_with_their_owner_whatever_its_death() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{OWNER}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        warden = int(owner.stdout.readline())
        watch = os.pidfd_open(warden)
        owner.send_signal(signal.SIGKILL)
        owner.wait()

    async def ended() -> None:
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(watch, gone.set)
        await asyncio.wait_for(gone.wait(), 10)
        loop.remove_reader(watch)

    asyncio.run(ended())
    os.close(watch)


@networked
async def test_a_rule_that_cannot_be_had_is_no_fault_in_force(world: NetWorld) -> None:
    class Nonsense(PacketBlackhole):
        def rules(self) -> tuple[str, ...]:
            return ("no such rule",)

    client, server = await world.connect()
    with pytest.raises(KernelNetError, match="nft: "):
        world.net.inject(Nonsense())
    assert not world.events.of("fault_started")
    assert await passes(client, server)
    world.net.inject(PacketBlackhole()).heal()


def test_without_networks_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("squall_proxy.kernel.net.probe", lambda: type(probe())("a", "b", "no way"))

    async def test() -> None:
        with pytest.raises(KernelNetError, match="no way"):
            await KernelNet(lambda *a, **k: None).start()

    asyncio.run(test())
