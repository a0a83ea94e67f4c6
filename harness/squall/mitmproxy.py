"""The mitmproxy backend: one mitmproxy in a subprocess, between two proxies of our own.

    adapter ──▶ front ──▶ mitmproxy ──▶ back ──▶ exchange
                TCP       CONNECT, TLS  HTTP, WebSocket

The front does to the adapter's own socket what happens on TCP, and it does that exactly. The back
sees decrypted bytes and does what needs them. mitmproxy, in between, turns a RST into a FIN, and
an end before the answer into an answer of its own; but front and back know which of their
connections belong together, so an end that one of them sees, or makes, is made by the other too.
What both report is told as one story, under the number that the front gave the connection.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from squall.backend import HOST, Address, Line, Reach
from squall.embedded import no_handshake_for, speaks_tls, way_to
from squall.errors import NetworkError
from squall.redirection import Trust
from squall_proxy import (
    Cut,
    Fault,
    HandshakeBlackhole,
    Injection,
    LimitData,
    NetworkFault,
    Proxy,
    SlowUpgrade,
    Target,
    TlsCertificate,
    TlsCut,
    TlsFault,
    TlsHang,
    TunnelRefused,
    Vanish,
)
from squall_proxy.faults import How
from squall_proxy.mitm import Mitmproxy, MitmproxyError
from squall_proxy.networks import HOST_NET

_NOBODY = 0
"""A number that no connection has."""


class Mitm:
    """mitmproxy as a backend."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._observe = line.observe
        self._tunnel = line.redirect == "http-proxy"
        self._trust = Trust()
        self._mitmproxy = Mitmproxy(self._ask)
        self._proxies: dict[str, Proxy] = {}
        self._ids = itertools.count(1)
        self._handshakes: dict[int, Injection] = {}
        # mitmproxy's own address, to the numbers of the front and the back that it is between:
        # it says whose it is, and the back accepts it, in either order.
        self._says: dict[Address, int] = {}
        self._dialled: dict[Address, int] = {}
        self._fronts: dict[int, int] = {}  # the back's number to the front's
        self._backs: dict[int, int] = {}
        self._ended: dict[int, tuple[str, str]] = {}
        self._answered: set[int] = set()
        self._reset: set[int] = set()  # to be reset once mitmproxy has passed everything on
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    async def start(self, upstream: Address) -> None:
        """Start the back, mitmproxy, and the front, in this order."""
        self._trust.publish()
        self._folder = tempfile.TemporaryDirectory(prefix="squall-chains-")
        numbers = itertools.count(1)
        back = self._proxy(upstream, "back", self._from_back, itertools.count(1))
        await back.start(HOST, 0)
        authority = self._trust.authority
        try:
            await self._mitmproxy.start(
                back.address, authority.private_key + authority.certificate, tunnel=self._tunnel
            )
        except MitmproxyError as error:
            raise NetworkError(str(error)) from error
        leads_to = self._mitmproxy.address
        await self._proxy(leads_to, "ws", self._from_front, numbers, websocket=False).start(HOST, 0)
        if not self._tunnel:
            await self._proxy(upstream, "rest", self._observe, numbers).start(HOST, 0)

    def _proxy(
        self,
        upstream: Address,
        listener: str,
        observe: Any,
        numbers: Any,
        *,
        websocket: bool = True,
    ) -> Proxy:
        proxy = self._proxies[listener] = Proxy(
            upstream,
            observe=observe,
            rng=Random(self._line.rng.random()),
            listener=listener,
            websocket=websocket,
            compression=self._line.compression,
            tls=self._trust.authority if listener == "rest" and self._line.tls else None,
            numbers=numbers,
            ids=self._ids,
        )
        return proxy

    async def stop(self) -> None:
        """Close every listener and connection, and end mitmproxy."""
        for listener in ("ws", "rest"):
            if listener in self._proxies:
                await self._proxies[listener].stop()
        await self._mitmproxy.stop()
        if "back" in self._proxies:
            await self._proxies["back"].stop()
        self._trust.withdraw()
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def ports(self) -> frozenset[int]:
        """The ports at which the adapter meets it."""
        there = (proxy.address[1] for name, proxy in self._proxies.items() if name != "back")
        return frozenset(there)

    @property
    def reach(self) -> Reach:
        """How the adapter gets here."""
        trust = self._trust if speaks_tls(self._line) else None
        return way_to(self._line, self._proxies, trust)

    def lacks(self, fault: Fault, target: Target) -> str | None:
        """What belongs to a way of getting here that this run does not use, or needs rights."""
        if isinstance(fault, NetworkFault):
            return "it acts on packets: run it with --proxy namespace"
        if isinstance(fault, Vanish):
            return HOST_NET.why_not_vanish
        return no_handshake_for(self._line, fault)

    # -- faults ------------------------------------------------------------------------------

    def inject(self, fault: Fault, target: Target) -> Injection:
        """Put a fault in force where it belongs: before, in, or behind mitmproxy."""
        if isinstance(fault, TlsFault | TunnelRefused):
            rng = Random(self._line.rng.random())
            injection = Injection(next(self._ids), fault, target, self._observe, self._remove, rng)
            self._handshakes[injection.id] = injection
            injection.start()
            return injection
        if not _behind(fault):
            return self._proxies["ws"].inject(fault, target)
        if isinstance(target.which, int):
            target = replace(target, which=self._backs.get(target.which, _NOBODY))
        return self._proxies["back"].inject(fault, target)

    def heal(self) -> None:
        """Remove every fault."""
        for proxy in self._proxies.values():
            proxy.heal()
        for injection in tuple(self._handshakes.values()):
            injection.heal()

    def _remove(self, injection: Injection) -> None:
        del self._handshakes[injection.id]
        injection.end()

    def connection_from(self, address: Address) -> int | None:
        """The number of the connection that reaches the exchange from this address."""
        behind = self._proxies["back"].connection_from(address)
        if behind is not None:
            return self._fronts.get(behind)
        rest = self._proxies.get("rest")
        return rest.connection_from(address) if rest else None

    # -- what mitmproxy asks and tells -------------------------------------------------------

    def _ask(self, told: dict[str, Any]) -> dict[str, Any]:
        number = self._proxies["ws"].connection_from(_address(told["client"]))
        if number is None:
            return {}  # it has just gone
        match told["what"]:
            case "tunnel":
                self._observe("tunnel_requested", number, host=told["host"], port=told["port"])
                return self._tunnel_for(number)
            case "hello":
                return self._greeting(number, told["host"])
            case "linked":
                address = _address(told["server"])
                self._says[address] = number
                self._link(address)
            case "tls_established":
                self._observe("tls_established", number, version=told["version"])
            case "tls_failed":
                self._observe("tls_failed", number, why=told["why"])
        return {}

    def _tunnel_for(self, number: int) -> dict[str, Any]:
        injection = self._met(TunnelRefused, number)
        match injection.fault if injection else None:
            case TunnelRefused(status) if injection:
                injection.bite(number)
                return {"status": status}
        return {}

    def _greeting(self, number: int, host: str) -> dict[str, Any]:
        """What to do with a ClientHello; nothing said, mitmproxy certifies `host` itself."""
        injection = self._met(TlsFault, number)
        if injection is None:
            return {}
        injection.bite(number)
        match injection.fault:
            case TlsCertificate(kind):
                assert self._folder is not None
                chain = Path(self._folder.name) / f"{kind}-{number}.pem"
                chain.write_bytes(self._trust.authority.leaf(host, kind))
                return {"chain": str(chain)}
            case TlsCut(how):
                self._proxies["ws"].end(number, "server", how)
            case TlsHang():
                pass
        return {"hang": True}

    def _met(self, kind: type[Fault], number: int) -> Injection | None:
        for injection in reversed(self._handshakes.values()):
            if isinstance(injection.fault, kind) and injection.picks(number):
                return injection
        return None

    def _link(self, address: Address) -> None:
        """Note which connections belong together, once both halves of that are known."""
        if address in self._says and address in self._dialled:
            number, behind = self._says.pop(address), self._dialled.pop(address)
            self._fronts[behind] = number
            self._backs[number] = behind

    # -- what the two proxies see ------------------------------------------------------------

    def _from_front(self, kind: str, number: int | None = None, /, **detail: Any) -> None:
        match kind:
            case "server_closed" if number is not None:
                # mitmproxy has passed on all that it had, and says FIN, whatever it was told.
                if number in self._reset:
                    self._reset.discard(number)
                    self._proxies["ws"].end(number, "server", "rst")
                return
            case "client_closed" if number is not None:
                self._ended.setdefault(number, ("client", detail["how"]))
                if detail["how"] == "rst":
                    self._reset_behind(number)
            case "closed" if number is not None:
                by, how = self._ended.pop(number, (detail["by"], detail["how"]))
                if how == "rst":
                    self._reset_behind(number)
                self._backs.pop(number, None)
                self._answered.discard(number)
                self._reset.discard(number)
                detail |= {"by": by, "how": how}
        self._observe(kind, number, **detail)

    def _reset_behind(self, number: int) -> None:
        behind = self._backs.get(number)
        if behind is not None:
            self._proxies["back"].end(behind, "client", "rst")

    def _from_back(self, kind: str, number: int | None = None, /, **detail: Any) -> None:
        front = None if number is None else self._fronts.get(number)
        match kind:
            case "listening" | "client_closed":
                return
            case "dialled" if number is not None:
                host, _, port = str(detail["peer"]).rpartition(":")
                self._dialled[host, int(port)] = number
                self._link((host, int(port)))
                return
            case "closed" if number is not None:
                self._fronts.pop(number, None)
                if front is not None and detail["by"] == "proxy":
                    self._end_in_front(front, detail["how"])
                return
            case "upgraded" | "upgrade_refused" if front is not None:
                self._answered.add(front)
            case "server_closed" if front is not None:
                self._ended.setdefault(front, ("server", detail["how"]))
                self._end_in_front(front, detail["how"])
        self._observe(kind, front, **detail)

    def _end_in_front(self, number: int, how: How) -> None:
        """See to it that the adapter's connection ends as the exchange's did."""
        if number not in self._answered:
            # mitmproxy would answer the request itself, with 502.
            self._proxies["ws"].end(number, "server", how)
        elif how == "rst":
            self._reset.add(number)


def _behind(fault: Fault) -> bool:
    """Whether it needs decrypted bytes: to read them, or to count them."""
    match fault:
        case HandshakeBlackhole(phase="upgrade") | SlowUpgrade() | LimitData():
            return True
        case Cut(bytes=int()):
            return True
    return fault.needs_websocket


def _address(pair: Any) -> Address:
    return (str(pair[0]), int(pair[1]))
