"""What stands between the adapter and the mock exchange: the seam behind `--proxy NAME`.

    embedded    squall_proxy in this process: every fault, exactly
    toxiproxy   a Toxiproxy server of its own, for what its toxics can do
    namespace   the embedded one in a network of its own, for faults of packets as well
    mitmproxy   mitmproxy in a subprocess, between two of our own proxies: TLS and CONNECT are its

A backend serves one run. It is built from a `Line`, which says what that run wants of it, started
with the exchange's address, and says how the adapter reaches it. What it sees it reports as source
`proxy`, in the words of docs/history.md, whatever does the harm underneath.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Literal, Protocol

from squall_proxy import Compression, Fault, Injection, Target

HOST = "127.0.0.1"

Address = tuple[str, int]
Observe = Callable[..., None]
Redirect = Literal["url", "http-proxy"]


@dataclass(frozen=True)
class Line:
    """What a run wants of its backend."""

    observe: Observe
    """Told what happens on the line: `observe(kind, connection, **detail)`."""

    rng: Random
    """All chance comes from here."""

    tls: bool = False
    """The adapter speaks `wss://` and `https://`; the exchange behind does not."""

    compression: Compression = "independent"
    """What becomes of an offer of permessage-deflate."""

    redirect: Redirect = "url"
    """The adapter dials the URL that it is told, or a host of its own through an HTTP proxy."""


@dataclass(frozen=True)
class Reach:
    """What an adapter must know to get to a backend."""

    ws: str
    """The beginning of WebSocket URLs, without a path: `ws://127.0.0.1:40001`."""

    rest: str
    """The beginning of HTTP URLs: `http://127.0.0.1:40002`."""

    variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables of its environment: whom to trust, which HTTP proxy to use."""

    prefix: tuple[str, ...] = ()
    """Words in front of its command, which start it in the network where all this can be had."""


class Backend(Protocol):
    """One of the ways to do harm to the line. Its constructor takes a `Line`."""

    async def start(self, upstream: Address) -> None:
        """Listen on free ports, in front of this exchange.

        Raises OSError where a port cannot be had, and `SquallError` for what the user can mend.
        """

    async def stop(self) -> None:
        """Close every listener and connection, within 2 s; also where `start` has failed."""

    @property
    def ports(self) -> frozenset[int]:
        """The ports at which the adapter meets it."""

    @property
    def reach(self) -> Reach:
        """How the adapter gets here, once it is started."""

    def lacks(self, fault: Fault, target: Target) -> str | None:
        """Why it cannot do this, as the end of a sentence; None where it can.

        Asked before anything is started: a scenario that needs what is lacking is UNSUPPORTED.
        """

    def inject(self, fault: Fault, target: Target) -> Injection:
        """Put a fault in force on the line to the WebSocket endpoint; it is when this returns."""

    def heal(self) -> None:
        """Remove every fault."""

    def connection_from(self, address: Address) -> int | None:
        """The number of the adapter's connection that reaches the exchange from this address."""
