"""The harm that can be done before a client gets to its first request: in the handshake of TLS, or
where an HTTP proxy is asked for a tunnel. Each fault meets new connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from squall_proxy.faults.base import ListenerFault

Defect = Literal["expired", "wrong_host", "untrusted"]


@dataclass(frozen=True)
class TlsFault(ListenerFault):
    """Stands between a ClientHello and its answer."""


@dataclass(frozen=True)
class TlsCertificate(TlsFault):
    """The server's certificate is not to be accepted; who accepts it reaches the exchange."""

    name: ClassVar[str] = "tls_certificate"
    kind: Defect = "expired"

    @property
    def dials(self) -> bool:
        """A client that does not mind is served, so that it can be caught."""
        return True


@dataclass(frozen=True)
class TlsHang(TlsFault):
    """The ClientHello is never answered."""

    name: ClassVar[str] = "tls_hang"


@dataclass(frozen=True)
class TlsCut(TlsFault):
    """The handshake is cut in the middle of the server's first flight."""

    name: ClassVar[str] = "tls_cut"
    how: Literal["rst", "fin"] = "rst"


@dataclass(frozen=True)
class TunnelRefused(ListenerFault):
    """CONNECT is answered with `status`: what a proxy says when a name has no address."""

    name: ClassVar[str] = "tunnel_refused"
    status: int = 502

    def __post_init__(self) -> None:
        if not 400 <= self.status <= 599:
            raise ValueError(f"tunnel_refused: status is {self.status}; it must be 400 to 599")
