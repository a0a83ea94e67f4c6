"""The embedded proxy in a network of its own: faults of packets, addresses and names as well.

    adapter ── router ── proxy "ws", "rest" ──▶ exchange
      its own network        this process

The adapter runs in the client's network of a `KernelNet`, and dials a name there. The proxy stays
in this process and listens in the server's network, so that it does all that it does elsewhere;
network faults strike in between. Needs Linux, nft and ip, and root or user namespaces.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from squall.backend import Address, Line, Reach
from squall.embedded import Embedded
from squall.errors import NetworkError
from squall_proxy import Fault, Injection, NetworkFault, Target
from squall_proxy.kernel import KernelNet, KernelNetError


class Namespaced(Embedded):
    """squall_proxy as a backend, behind a router that does harm."""

    def __init__(self, line: Line) -> None:
        ids = itertools.count(1)
        self._network = KernelNet(line.observe, ids=ids)
        super().__init__(replace(line, observe=self._network.heard))
        self._ids = ids

    async def start(self, upstream: Address, through: Address | None = None) -> None:
        """Make the network, and listen there."""
        try:
            await self._network.start()
        except KernelNetError as error:
            raise NetworkError(f"--proxy namespace: {error}") from error
        self._net, self._host = self._network, self._network.server
        await super().start(upstream, through)

    async def stop(self) -> None:
        """Close every listener and connection, then end the network."""
        await super().stop()
        await self._network.stop()

    @property
    def reach(self) -> Reach:
        """How the adapter gets here: started in the client's network, by the server's name."""
        reach = super().reach
        address, name = self._network.server, self._network.server_name
        return replace(
            reach,
            ws=reach.ws.replace(address, name),
            rest=reach.rest.replace(address, name),
            prefix=tuple(self._network.run_in_client(())),
        )

    def lacks(self, fault: Fault, target: Target) -> str | None:
        """Aim: packets are harmed whosever they are."""
        if not isinstance(fault, NetworkFault):
            return super().lacks(fault, target)
        return None if target == Target() else "it cannot tell connections apart"

    def inject(self, fault: Fault, target: Target) -> Injection:
        """Put a fault in force: in the router, or in the proxy."""
        if isinstance(fault, NetworkFault):
            return self._network.inject(fault)
        return super().inject(fault, target)

    def heal(self) -> None:
        """Remove every fault."""
        self._network.heal()
        super().heal()
