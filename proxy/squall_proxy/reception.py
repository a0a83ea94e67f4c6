"""What a connection meets before its first request, told to the proxy and decided by its faults."""

from __future__ import annotations

from squall_proxy.connection import Connection
from squall_proxy.injection import Observe


class Reception:
    """The `Handshake` of one connection."""

    def __init__(self, connection: Connection, observe: Observe) -> None:
        self._connection = connection
        self._observe = observe

    @property
    def held(self) -> bool:
        """Whether a fault swallows the handshake, as it would any other bytes."""
        return self._connection.mute

    def meets(self) -> object:
        """The listener's fault that the connection met when it came."""
        met = self._connection.met
        return met.fault if met else None

    def fired(self) -> None:
        """Say that this fault has bitten."""
        if met := self._connection.met:
            met.bite(self._connection.number)

    def tunnelled(self, host: str, port: int) -> None:
        """Say where the client wanted to go."""
        self._observe("tunnel_requested", self._connection.number, host=host, port=port)

    def established(self, version: str) -> None:
        """Say that TLS is up."""
        self._observe("tls_established", self._connection.number, version=version)

    def failed(self, why: str) -> None:
        """Say that TLS is not up, and why."""
        self._observe("tls_failed", self._connection.number, why=why)
