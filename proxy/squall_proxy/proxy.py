"""The fault-injecting proxy: one listening port, one upstream, and the faults in force."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator

from squall_proxy.connection import Connection, Surroundings
from squall_proxy.faults import CutFault, Fault, ListenerFault, Refuse, StreamFault
from squall_proxy.injection import ALL, Injection, Observe, Target
from squall_proxy.link import Filter
from squall_proxy.side import Side
from squall_proxy.sockets import Address, Listener, check_numeric
from squall_proxy.timers import Timers

# Half of the time in which `stop` is done: connections may end by themselves, then must.
_PATIENCE = 1.0


class Proxy:
    """Stands between a client and `upstream`, reports what it sees, does harm when asked to.

    `observe(kind, connection, **detail)` gets the events of docs/history.md. With `websocket`
    the proxy reads HTTP heads and frame headers as they pass, so that upgrades are seen and
    WebSocket faults have their place; without, it is a plain TCP proxy. Two proxies of one run
    share `numbers` of connections, and `ids` of faults.
    """

    def __init__(
        self,
        upstream: Address,
        *,
        observe: Observe,
        rng: random.Random,
        listener: str = "ws",
        websocket: bool = True,
        numbers: Iterator[int] | None = None,
        ids: Iterator[int] | None = None,
    ) -> None:
        self._upstream = upstream
        self._observe = observe
        self._rng = rng
        self._name = listener
        self._websocket = websocket
        self._numbers = numbers or itertools.count(1)
        self._ids = ids or itertools.count(1)
        self._connections: dict[int, Connection] = {}
        self._dialled_from: dict[Address, int] = {}
        self._injections: dict[int, Injection] = {}
        self._listener: Listener | None = None
        self._around: Surroundings | None = None
        self._gone = asyncio.Event()

    @property
    def address(self) -> Address:
        """Where it listens."""
        assert self._listener is not None, "the proxy has not been started"
        return self._listener.address

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on a numeric address. Raises OSError where that cannot be had."""
        for address in (host, self._upstream[0]):
            check_numeric(address)
        self._around = Surroundings(
            upstream=self._upstream,
            websocket=self._websocket,
            observe=self._observe,
            timers=Timers(asyncio.get_running_loop()),
            arrived=self._arrived,
            dialling_from=self._dialling_from,
            closed=self._closed,
        )
        self._listener = Listener(host, port, self._accept)
        self._listener.open()
        host, port = self._listener.address
        self._observe("listening", listener=self._name, host=host, port=port)

    def inject(self, fault: Fault, target: Target = ALL) -> Injection:
        """Put a fault in force; it is when this returns."""
        if self._listener is None:
            raise RuntimeError("a fault needs a proxy that has been started")
        if fault.needs_websocket and not self._websocket:
            raise ValueError(f"{fault.name} needs WebSocket; listener {self._name!r} is plain TCP")
        if fault.only_new and target.which != "all":
            raise ValueError(f"{fault.name} meets new connections; it has no target")
        injection = Injection(next(self._ids), fault, target, self._observe, self.heal)
        self._injections[injection.id] = injection
        hit = self._matching(target)
        injection.start()
        match fault:
            case _ if not injection.active:
                pass  # an observer has removed it at once
            case StreamFault(only_new=False):
                for connection in hit:
                    connection.attach(injection, self._make_filter)
            case CutFault():
                injection.expect(connection.number for connection in hit)
                for connection in hit:
                    if injection.active:
                        connection.strike(injection)
            case Refuse(how="refused"):
                self._listener.close()
                injection.bite(None)
        return injection

    def heal(self, injection: Injection | None = None) -> None:
        """Remove one fault, or all of them; what they held flows on, in order."""
        if injection is None:
            for each in tuple(self._injections.values()):
                self.heal(each)
            return
        if self._injections.pop(injection.id, None) is None:
            return
        injection.end()
        for connection in tuple(self._connections.values()):
            connection.release(injection)
        if self._listener and not any(map(_refuses, self._injections.values())):
            self._listener.open()

    def connection_from(self, address: Address) -> int | None:
        """Which connection dials upstream from this local address."""
        return self._dialled_from.get((address[0], address[1]))

    async def stop(self) -> None:
        """Close the port and every connection, within 2 s."""
        if self._listener is None:
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

    def _make_filter(self, fault: StreamFault) -> Filter:
        return fault.attach(self._rng)

    def _matching(self, target: Target) -> list[Connection]:
        there = [connection for connection in self._connections.values() if not connection.over]
        held = [connection for connection in there if connection.held_by_client]
        match target.which:
            case "all":
                return there
            case "newest":
                return held[-1:]
            case "oldest":
                return held[:1]
            case number:
                return [connection for connection in there if connection.number == number]

    def _meeting(self) -> Injection | None:
        """The listener's fault that a new connection meets: the latest."""
        for injection in reversed(self._injections.values()):
            if isinstance(injection.fault, ListenerFault) and not _refuses(injection):
                return injection
        return None

    def _accept(self) -> Side:
        assert self._around is not None
        return Connection(self._around).client

    def _arrived(self, connection: Connection) -> None:
        connection.number = next(self._numbers)
        self._connections[connection.number] = connection
        for injection in tuple(self._injections.values()):
            if isinstance(injection.fault, StreamFault) and injection.target.which == "all":
                connection.attach(injection, self._make_filter)
        self._observe(
            "dialled", connection.number, listener=self._name, peer=connection.client.peer
        )
        connection.meet(self._meeting())
        if self._listener is None:
            connection.shutdown()

    def _dialling_from(self, connection: Connection, address: Address) -> None:
        self._dialled_from[address] = connection.number
        connection.dialled_from = address

    def _closed(self, connection: Connection) -> None:
        del self._connections[connection.number]
        # The port may belong to a younger connection by now.
        address = connection.dialled_from
        if address and self._dialled_from.get(address) == connection.number:
            del self._dialled_from[address]
        if not self._connections:
            self._gone.set()


def _refuses(injection: Injection) -> bool:
    return isinstance(injection.fault, Refuse) and injection.fault.how == "refused"
