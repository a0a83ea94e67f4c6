"""A network of our own between the adapter and the proxy, in which packets can be harmed.

    async with KernelNet(observe) as net:
        proxy = Proxy(upstream, observe=net.heard, rng=rng)
        await proxy.start(net.server, 0, net=net)       # its port is in the server's network
        await create_subprocess_exec(*net.run_in_client(command))
        blackhole = net.inject(PacketBlackhole())
        blackhole.heal()

Only sockets live there: the proxy stays in this process, and listens on sockets that the warden
makes in the server's network and hands over. Two kernels are witnesses: the router logs what it
drops, which tells what a fault has hit, and what the adapter dials in vain; the client's tells
which connections the adapter has left, though no FIN or RST came through.

Changing the network blocks the event loop for as long as nft takes, some 10 ms.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, cast

from squall_proxy.faults.kernel import AddressChange, DnsFailure, NatExpiry, NetworkFault
from squall_proxy.injection import ALL, Injection, Observe
from squall_proxy.kernel import topology
from squall_proxy.kernel.names import answer
from squall_proxy.kernel.packets import Packet, logged, sockets
from squall_proxy.kernel.rights import probe
from squall_proxy.kernel.topology import KernelNetError

_BURST = 64
_INTERVAL = 0.1
_HELD = (1, 8)  # ESTABLISHED, CLOSE_WAIT (include/net/tcp_states.h)


class KernelNet:
    """A client's, a router's and a server's network; `start` makes them, `stop` ends them."""

    server = topology.SERVER
    """The address at which servers listen."""

    server_name = topology.SERVER_NAME
    """A name for it, which fails when names do."""

    def __init__(self, observe: Observe, *, ids: Iterator[int] | None = None) -> None:
        self.client = topology.CLIENTS[0]
        self._observe = observe
        self._ids = ids or itertools.count(1)
        self._injections: dict[int, Injection] = {}
        self._forgetful: Injection | None = None
        self._numbers: dict[tuple[str, int], int] = {}
        self._left: set[int] = set()
        self._lost: set[tuple[str, int]] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._log: socket.socket | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._names: asyncio.DatagramTransport | None = None
        self._client_file = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Make the networks. Raises `KernelNetError` where they cannot be had."""
        if why := probe().network:
            raise KernelNetError(why)
        loop = asyncio.get_running_loop()
        self._process, self._control = topology.spawn()
        try:
            topology.greet(self._control)
            self._control.setblocking(False)
            said = await asyncio.wait_for(
                loop.sock_recv(self._control, topology.MOST), topology.PATIENCE
            )
            self._client_file = topology.understand(said)["holds"]["client"]
            self._control.settimeout(topology.PATIENCE)
            self._log = socket.socket(fileno=self._file({"do": "log", **topology.LOG}))
            self._log.setblocking(False)
            loop.add_reader(self._log, self._read_log)
            names = socket.socket(fileno=self._file({"do": "names"}))
            names.setblocking(False)
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _NameServer(self._failure), sock=names
            )
            self._names = transport
        except BaseException as error:
            await self.stop()
            if isinstance(error, OSError):
                raise KernelNetError(f"the warden does not answer: {error}") from error
            raise

    async def stop(self) -> None:
        """End everything there is; a second time does nothing."""
        if self._watch is not None:
            self._watch.cancel()
        if self._log is not None:
            asyncio.get_running_loop().remove_reader(self._log)
            self._log.close()
        if self._names is not None:
            self._names.close()
        if self._process is not None and self._control is not None:
            topology.end(self._process, self._control)
        self._watch = self._log = self._names = self._process = self._control = None
        self.heal()  # in words only: the router is gone

    @property
    def pid(self) -> int:
        """The process that holds it."""
        assert self._process is not None, "the network has not been started"
        return self._process.pid

    def run_in_client(self, command: Sequence[str]) -> list[str]:
        """The command that runs this one in the client's network."""
        enter = str(Path(__file__).with_name("enter.py"))
        return [sys.executable, "-I", enter, str(self.pid), str(self._client_file), *command]

    # -- what a proxy needs of a network ------------------------------------------------------

    def stream_socket(self, host: str) -> socket.socket:
        """A TCP socket in the server's network."""
        sock = socket.socket(fileno=self._file({"do": "socket", "family": int(socket.AF_INET)}))
        sock.setblocking(False)
        return sock

    @property
    def why_not_vanish(self) -> None:
        """Its sockets can vanish: the warden has the right."""
        return None

    def repair(self, sock: socket.socket) -> None:
        """Let a socket vanish when it is closed."""
        self._ask({"do": "repair"}, sock.fileno())

    # -- faults -------------------------------------------------------------------------------

    def inject(self, fault: NetworkFault) -> Injection:
        """Put a fault in force; it is when this returns."""
        if self._control is None:
            raise RuntimeError("a fault needs a network that has been started")
        # What chance there is, is the kernel's.
        injection = Injection(next(self._ids), fault, ALL, self._observe, self._remove, Random(0))
        self._injections[injection.id] = injection
        try:
            self._apply()
        except BaseException:
            del self._injections[injection.id]
            raise
        injection.start()
        if self._watch is None:
            self._look_again()
        match fault:
            case AddressChange():
                self._change_address()
            case NatExpiry():
                self._forget(injection)
        if fault.strikes_once:
            injection.bite(None)
            injection.heal()
        return injection

    def heal(self) -> None:
        """Remove every fault; packets that were lost are TCP's to send again."""
        for injection in tuple(self._injections.values()):
            injection.heal()

    def _remove(self, injection: Injection) -> None:
        del self._injections[injection.id]
        if self._control is not None:
            self._read_log()  # what it did before its end is still told as its doing
            self._look()
            self._apply()
        injection.end()

    def _apply(self) -> None:
        rules = topology.rules(self._faults(), forgetful=self._forgetful is not None)
        self._ask({"do": "nft", "rules": rules})

    def _faults(self) -> list[NetworkFault]:
        return [cast(NetworkFault, each.fault) for each in self._injections.values()]

    def _change_address(self) -> None:
        old, self.client = self.client, next(a for a in topology.CLIENTS if a != self.client)
        batch = topology.address_change(self.client, old)
        self._ask({"do": "ip", "where": "client", "batch": batch})

    def _forget(self, injection: Injection) -> None:
        self._forgetful = injection
        self._apply()
        self._ask({"do": "forget"})

    def _failure(self) -> DnsFailure | None:
        for injection in reversed(self._injections.values()):
            if isinstance(injection.fault, DnsFailure):
                injection.bite(None)
                return injection.fault
        return None

    # -- kernels as witnesses --------------------------------------------------------------

    def heard(self, kind: str, connection: int | None = None, /, **detail: Any) -> None:
        """Pass on what a proxy in the server's network reports.

        A connection that the client was seen to leave is not left a second time.
        """
        if connection is not None:
            match kind:
                case "dialled":
                    host, _, port = str(detail["peer"]).rpartition(":")
                    self._numbers[host, int(port)] = connection
                    self._lost.discard((host, int(port)))
                case "client_closed" if connection in self._left:
                    return
                case "client_closed":
                    self._left.add(connection)
                case "closed":
                    self._left.discard(connection)
                    self._numbers = {k: v for k, v in self._numbers.items() if v != connection}
        self._observe(kind, connection, **detail)

    def _read_log(self) -> None:
        for _ in range(_BURST):
            try:
                data = cast(socket.socket, self._log).recv(topology.MOST)
            except OSError:  # nothing more, or too much for its buffer
                return
            for packet in logged(data):
                self._dropped(packet)

    def _dropped(self, packet: Packet | None) -> None:
        number = None
        from_client = packet is not None and packet.destination == self.server
        if packet is not None:
            there = (
                (packet.source, packet.source_port)
                if from_client
                else (packet.destination, packet.destination_port)
            )
            number = self._numbers.get(there)
        for injection in tuple(self._injections.values()):
            # A dial has no number yet; it counts where nothing else was hit.
            acts = bool(cast(NetworkFault, injection.fault).rules())
            if acts and (number is not None or not injection.fired):
                injection.bite(number)
        if number is None and packet is not None and packet.dials and there not in self._lost:
            self._lost.add(there)  # its kernel will say it again and again
            self._observe("dial_lost", None, peer=f"{packet.source}:{packet.source_port}")

    def _look(self) -> None:
        """See which connections the client has left: the proxy may never hear of it."""
        with open(self._file({"do": "sockets"}), encoding="ascii") as table:
            states = sockets(table.read())
        for there, number in tuple(self._numbers.items()):
            state = states.get(there)
            if state not in _HELD and number not in self._left:
                self._left.add(number)
                self._observe("client_closed", number, how="fin" if state else "rst")

    def _look_again(self) -> None:
        self._look()
        self._watch = asyncio.get_running_loop().call_later(_INTERVAL, self._look_again)

    # -- the warden ---------------------------------------------------------------------------

    def _ask(self, request: dict[str, Any], *fds: int) -> list[int]:
        assert self._control is not None, "the network has not been started"
        return topology.ask(self._control, request, fds)

    def _file(self, request: dict[str, Any]) -> int:
        (fd,) = self._ask(request)
        return fd


class _NameServer(asyncio.DatagramProtocol):
    """Answers the client's resolver."""

    def __init__(self, failing: Callable[[], DnsFailure | None]) -> None:
        self._failing = failing
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Answers go out here."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Answer, as the fault in force has it."""
        fault = self._failing()
        reply = answer(data, topology.SERVER, fault.how if fault else None)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)
