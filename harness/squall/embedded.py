"""The backend of our own: the proxy in this process, which does every fault exactly.

    redirect url            adapter ──▶ proxy "ws"   ──▶ ┐
                                    ──▶ proxy "rest" ──▶ ┴ exchange

    redirect http-proxy     adapter ──▶ proxy "ws" (CONNECT, TLS) ──▶ exchange

All proxies of a run number their connections and their faults together.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from random import Random

from squall.backend import HOST, Address, Line, Reach
from squall.redirection import Trust, elsewhere, proxy_variables
from squall_proxy import (
    Fault,
    Injection,
    NetworkFault,
    Proxy,
    Target,
    TlsFault,
    TunnelRefused,
    Vanish,
)
from squall_proxy.kernel import probe
from squall_proxy.networks import HOST_NET, Net


class Embedded:
    """squall_proxy as a backend."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._trust = Trust() if speaks_tls(line) else None
        self._proxies: dict[str, Proxy] = {}
        self._ids = itertools.count(1)
        self._net: Net = HOST_NET
        self._host = HOST

    async def start(self, upstream: Address, through: Address | None = None) -> None:
        """Listen on free ports of this machine.

        What the adapter dials for WebSocket leads `through` another proxy, where there is one.
        """
        if self._trust is not None:
            self._trust.publish()
        tunnel = self._line.redirect == "http-proxy"
        numbers = itertools.count(1)
        for listener in ("ws",) if tunnel else ("ws", "rest"):
            proxy = Proxy(
                through or upstream if listener == "ws" else upstream,
                observe=self._line.observe,
                rng=Random(self._line.rng.random()),
                listener=listener,
                compression=self._line.compression,
                tls=self._trust.authority if self._trust else None,
                tunnel=tunnel,
                numbers=numbers,
                ids=self._ids,
            )
            self._proxies[listener] = proxy
            await proxy.start(self._host, 0, net=self._net)

    async def stop(self) -> None:
        """Close every listener and connection."""
        for proxy in self._proxies.values():
            await proxy.stop()
        if self._trust is not None:
            self._trust.withdraw()

    @property
    def ports(self) -> frozenset[int]:
        """The ports at which the adapter meets it."""
        return frozenset(proxy.address[1] for proxy in self._proxies.values())

    @property
    def reach(self) -> Reach:
        """How the adapter gets here."""
        return way_to(self._line, self._proxies, self._trust)

    def lacks(self, fault: Fault, target: Target) -> str | None:
        """What belongs to a way of getting here that this run does not use, or needs rights."""
        if isinstance(fault, NetworkFault):
            return probe().network or "it acts on packets: run it with --proxy namespace"
        if isinstance(fault, Vanish):
            return self._net.why_not_vanish
        return no_handshake_for(self._line, fault)

    def inject(self, fault: Fault, target: Target) -> Injection:
        """Put a fault in force on the line to the WebSocket endpoint."""
        return self._proxies["ws"].inject(fault, target)

    def heal(self) -> None:
        """Remove every fault."""
        for proxy in self._proxies.values():
            proxy.heal()

    def connection_from(self, address: Address) -> int | None:
        """The number of the connection that reaches the exchange from this address."""
        found = (proxy.connection_from(address) for proxy in self._proxies.values())
        return next((number for number in found if number is not None), None)


def speaks_tls(line: Line) -> bool:
    """Whether the adapter does; where an HTTP proxy leads it, it always does."""
    return line.tls or line.redirect == "http-proxy"


def way_to(line: Line, proxies: Mapping[str, Proxy], trust: Trust | None) -> Reach:
    """How the adapter gets to the proxies "ws" and "rest", and whom it is to trust there."""
    ws = proxies["ws"].address
    variables = dict(trust.variables) if trust else {}
    if line.redirect == "http-proxy":
        return Reach(*elsewhere(), {**variables, **proxy_variables(ws)})
    rest = proxies["rest"].address
    s = "s" if line.tls else ""
    return Reach(f"ws{s}://{ws[0]}:{ws[1]}", f"http{s}://{rest[0]}:{rest[1]}", variables)


def no_handshake_for(line: Line, fault: Fault) -> str | None:
    """Why this line has not the handshake that the fault is about; None where it has."""
    if isinstance(fault, TunnelRefused) and line.redirect != "http-proxy":
        return "the adapter is not led by an HTTP proxy (redirect: http-proxy)"
    if isinstance(fault, TlsFault) and not speaks_tls(line):
        return "the run does without TLS"
    return None
