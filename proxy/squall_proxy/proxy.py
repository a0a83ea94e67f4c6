"""The fault-injecting proxy: one listening port, one upstream, and the faults in force."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from typing import Literal

from squall_proxy.connection import Connection, Surroundings
from squall_proxy.deflate import Compression
from squall_proxy.engine import Rule
from squall_proxy.faults import (
    AcceptQueueFull,
    CutFault,
    Fault,
    How,
    ListenerFault,
    MessageFault,
    NetworkFault,
    Refuse,
    StreamFault,
    TamperUpgrade,
    TlsFault,
    TunnelRefused,
    Vanish,
)
from squall_proxy.injection import ALL, Injection, Observe, Target
from squall_proxy.link import End, Filter
from squall_proxy.networks import HOST_NET, Net
from squall_proxy.reception import Reception
from squall_proxy.sockets import Address, Listener, check_numeric
from squall_proxy.status import Status, Traffic
from squall_proxy.timers import Timers
from squall_proxy.tls import Certificates, TlsServer
from squall_proxy.tunnel import TunnelRequest

# Half of the time in which `stop` is done: connections may end by themselves, then must.
_PATIENCE = 1.0


class Proxy:
    """Stands between a client and `upstream`, reports what it sees, does harm when asked to.

    `observe(kind, connection, **detail)` gets the events of docs/history.md. With `websocket`
    the proxy reads HTTP heads and frame headers as they pass, so that upgrades are seen and
    WebSocket faults have their place; without, it is a plain TCP proxy. Two proxies of one run
    share `numbers` of connections, and `ids` of faults. With `tls` clients are to speak TLS, and
    with `tunnel` to ask for a tunnel first, as an HTTP proxy's do; the upstream sees neither.
    """

    def __init__(
        self,
        upstream: Address,
        *,
        observe: Observe,
        rng: random.Random,
        listener: str = "ws",
        websocket: bool = True,
        compression: Compression = "independent",
        tls: Certificates | None = None,
        tunnel: bool = False,
        numbers: Iterator[int] | None = None,
        ids: Iterator[int] | None = None,
    ) -> None:
        if tunnel and tls is None:
            raise ValueError("a tunnel leads to TLS: give the proxy `tls`, too")
        self._upstream = upstream
        self._observe = observe
        self._rng = rng
        self._name = listener
        self._websocket = websocket
        self._compression: Compression = compression
        self._tls = tls
        self._tunnel = tunnel
        self._numbers = numbers or itertools.count(1)
        self._ids = ids or itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self._carried = [0, 0, 0, 0]  # by connections that are gone, as `Traffic` has it
        self._unplaced: dict[int, Connection] = {}  # nobody has asked for their addresses yet
        self._dialled_from: dict[Address, int] = {}
        self._injections: dict[int, Injection] = {}
        self._rules: dict[int, Rule] = {}
        self._listener: Listener | None = None
        self._around: Surroundings | None = None
        self._net: Net = HOST_NET
        self._gone = asyncio.Event()

    @property
    def address(self) -> Address:
        """Where it listens."""
        assert self._listener is not None, "the proxy has not been started"
        return self._listener.address

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, net: Net = HOST_NET) -> None:
        """Listen on a numeric address of `net`. Raises OSError where that cannot be had."""
        for address in (host, self._upstream[0]):
            check_numeric(address)
        self._net = net
        self._listener = Listener(host, port, self._accept, net.stream_socket)
        self._around = Surroundings(
            upstream=self._upstream,
            websocket=self._websocket,
            compression=self._compression,
            observe=self._observe,
            timers=Timers.of(asyncio.get_running_loop()),
            arrived=self._arrived,
            repair=net.repair,
            closed=self._closed,
        )
        self._listener.open()
        host, port = self._listener.address
        self._observe("listening", listener=self._name, host=host, port=port)

    def check(self, fault: Fault, target: Target = ALL) -> None:
        """Raise ValueError for a fault that has no place here, RuntimeError before the start."""
        if self._listener is None:
            raise RuntimeError("a fault needs a proxy that has been started")
        if fault.needs_websocket and not self._websocket:
            raise ValueError(f"{fault.name} needs WebSocket; listener {self._name!r} is plain TCP")
        if isinstance(fault, TlsFault) and self._tls is None:
            raise ValueError(f"{fault.name} needs TLS; listener {self._name!r} has none")
        if isinstance(fault, TunnelRefused) and not self._tunnel:
            raise ValueError(f"{fault.name} needs an HTTP proxy; listener {self._name!r} is none")
        if fault.only_new and (target.which != "all" or target.waits):
            raise ValueError(f"{fault.name} meets new connections; it has no target among others")
        if isinstance(fault, Refuse) and fault.how == "refused" and target != ALL:
            raise ValueError("refuse: the kernel refuses all; with a target, set `how` to reset")
        if isinstance(fault, AcceptQueueFull) and target != ALL:
            raise ValueError("accept_queue_full: the queue is full for all; it has no target")
        if isinstance(fault, Vanish) and (why := self._net.why_not_vanish):
            raise ValueError(f"vanish: {why}")
        if isinstance(fault, NetworkFault):
            raise ValueError(f"{fault.name} acts on packets; a proxy has none: use a KernelNet")

    def inject(self, fault: Fault, target: Target = ALL, number: int | None = None) -> Injection:
        """Put a fault in force; it is when this returns. `number` is its id, else the next."""
        self.check(fault, target)
        id = next(self._ids) if number is None else number
        injection = Injection(id, fault, target, self._observe, self._remove, self._rng)
        self._injections[injection.id] = injection
        hit = [each for each in self._matching(target) if injection.picks(each.number)]
        if isinstance(fault, MessageFault):
            self._rules[injection.id] = Rule(injection.id, fault, self._rng)
        injection.start()
        match fault:
            case _ if not injection.active:
                pass  # an observer has removed it at once
            case StreamFault(only_new=False):
                for connection in hit:
                    connection.attach(injection, self._make_filter)
            case MessageFault():
                for connection in hit:
                    self._attach(connection, injection)
            case CutFault():
                injection.expect(connection.number for connection in hit)
                for connection in hit:
                    if injection.active:
                        connection.strike(injection)
            case _ if _refuses(injection):
                self._listen()
                injection.bite(None)
        return injection

    def change(
        self, injection: Injection, fault: StreamFault, target: Target | None = None
    ) -> None:
        """Let a stream fault in force do otherwise, in its place among the others.

        It keeps its connections, or with a `target` (among all) is moved to those of that; what
        chance has said of a connection stays as it was.
        """
        if not isinstance(injection.fault, StreamFault) or fault.only_new or not injection.active:
            raise ValueError(f"only a stream fault in force can become {fault.name}")
        if target is not None and (target.which, injection.target.which) != ("all", "all"):
            raise ValueError("a target can only be changed among all")
        injection.change(fault, target)
        for connection in tuple(self._connections.values()):
            if target is None or connection.has(injection) == injection.picks(connection.number):
                connection.change(injection, self._make_filter)
            elif injection.picks(connection.number):
                connection.attach(injection, self._make_filter)
            else:
                connection.release(injection)

    def heal(self) -> None:
        """Remove every fault; what they held flows on, in order."""
        for injection in tuple(self._injections.values()):
            injection.heal()

    def _remove(self, injection: Injection) -> None:
        del self._injections[injection.id]
        self._rules.pop(injection.id, None)
        injection.end()
        for connection in tuple(self._connections.values()):
            connection.release(injection)
            if self._tls is not None and isinstance(connection.client.transport, TlsServer):
                connection.client.transport.go_on()
        self._listen()

    def end(self, number: int, by: Literal["client", "server"], how: How) -> None:
        """Let a connection end as if that peer had ended it so: at another hop of its way it did.

        The other peer gets that end behind what is in flight, and when no fault holds it.
        """
        connection = self._connections.get(number)
        if connection is not None:
            side = connection.client if by == "client" else connection.server
            connection.ended(side, End(how))
            side.abort()

    def connection_from(self, address: Address) -> int | None:
        """Which connection dials upstream from this local address."""
        # To ask the kernel for every address would make each connection dearer for nothing.
        for number, connection in tuple(self._unplaced.items()):
            if (dialled_from := connection.dialled_from) is not None:
                self._dialled_from[dialled_from] = number
                del self._unplaced[number]
        return self._dialled_from.get((address[0], address[1]))

    @property
    def connections(self) -> list[Status]:
        """Those that are live, the oldest first."""
        return [connection.status for connection in self._connections.values()]

    @property
    def traffic(self) -> Traffic:
        """What it has carried since it was made."""
        live = (connection.traffic for connection in self._connections.values())
        return sum(live, Traffic(*self._carried))

    async def stop(self) -> None:
        """Close the port and every connection, within 2 s."""
        if self._listener is None or self._around is None:
            return
        self._listener.release()
        self._listener = None
        for connection in tuple(self._connections.values()):
            connection.shutdown()
        if not await self._all_gone():
            for connection in tuple(self._connections.values()):
                connection.abort()
            await self._all_gone()
        self.heal()
        self._around.timers.release()

    def _listen(self) -> None:
        """Open, jam or close the port, as the latest fault has it."""
        if self._listener is None:
            return
        faults = (each.fault for each in reversed(self._injections.values()) if _refuses(each))
        match next(faults, None):
            case None:
                self._listener.open()
            case AcceptQueueFull():
                self._listener.jam()
            case _:
                self._listener.close()

    async def _all_gone(self) -> bool:
        """Wait for the last connection; whether it is gone."""
        if not self._connections:
            return True
        self._gone.clear()
        try:
            await asyncio.wait_for(self._gone.wait(), _PATIENCE)
        except TimeoutError:
            return False
        return True

    def _attach(self, connection: Connection, injection: Injection) -> None:
        """Put a fault that acts on what passes in force on this connection."""
        match injection.fault:
            case StreamFault():
                connection.attach(injection, self._make_filter)
            case MessageFault():
                connection.edit(injection, self._rules[injection.id])
            case TamperUpgrade():
                connection.tamper(injection)

    def _make_filter(self, fault: StreamFault) -> Filter:
        return fault.attach(self._rng)

    def _matching(self, target: Target) -> list[Connection]:
        there = [connection for connection in self._connections.values() if not connection.over]
        if target.which == "all":
            return there
        held = [connection for connection in there if connection.held_by_client]
        match target.which:
            case "newest":
                return held[-1:]
            case "oldest":
                return held[:1]
            case number:
                return [connection for connection in there if connection.number == number]

    def _meeting(self, connection: Connection) -> Injection | None:
        """The listener's fault that a new connection meets: the latest."""
        for injection in reversed(self._injections.values()):
            if not isinstance(injection.fault, ListenerFault) or _refuses(injection):
                continue
            if injection.picks(connection.number):
                return injection
        return None

    def _accept(self) -> asyncio.Protocol:
        assert self._around is not None
        connection = Connection(self._around)
        if self._tls is None:
            return connection.client
        reception = Reception(connection, self._observe)
        tunnel = TunnelRequest() if self._tunnel else None
        return TlsServer(connection.client, self._tls, reception, tunnel)

    def _arrived(self, connection: Connection) -> None:
        connection.number = next(self._numbers)
        self._connections[connection.number] = self._unplaced[connection.number] = connection
        for injection in tuple(self._injections.values()):
            if (
                isinstance(injection.fault, StreamFault | MessageFault | TamperUpgrade)
                and injection.target.which == "all"
                and injection.picks(connection.number)
            ):
                self._attach(connection, injection)
        self._observe(
            "dialled", connection.number, listener=self._name, peer=connection.client.peer
        )
        connection.meet(self._meeting(connection))
        if self._listener is None:
            connection.shutdown()

    def _closed(self, connection: Connection) -> None:
        del self._connections[connection.number]
        carried, came, went = self._carried, connection.client.received, connection.server.received
        carried[0] += came
        carried[1] += max(0, came - connection.up.undelivered)
        carried[2] += went
        carried[3] += max(0, went - connection.down.undelivered)
        if self._unplaced.pop(connection.number, None) is None:
            # The port may belong to a younger connection by now.
            address = connection.dialled_from
            if address and self._dialled_from.get(address) == connection.number:
                del self._dialled_from[address]
        if not self._connections:
            self._gone.set()


def _refuses(injection: Injection) -> bool:
    """The kernel does it, and no connection comes up."""
    fault = injection.fault
    return isinstance(fault, AcceptQueueFull) or (
        isinstance(fault, Refuse) and fault.how == "refused"
    )
