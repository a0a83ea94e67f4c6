"""The harm that only a kernel can do: to packets, addresses and names, not to a stream's bytes.

A network fault says what the router is to do with packets, in nft's language: `rules` are pure
text. The first word of each is its condition, and `LOGGED` in front of the verdict lets the
harness see each packet that is hit. The router stands between the adapter and the proxy
(`KernelNet`), and what happens there, neither of the two ends' kernels knows of.

`Vanish` and `AcceptQueueFull` need no such network: they are done to the proxy's own sockets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from squall_proxy.faults.base import CutFault, Direction, Fault, ListenerFault, Way

TO_CLIENT, TO_SERVER = "rc", "rs"
"""The router's interfaces, by where they lead."""

LOGGED = "log group 1 snaplen 64 queue-threshold 1"

_FROM: dict[Way, str] = {"client_to_server": TO_CLIENT, "server_to_client": TO_SERVER}

# RFC 791 asks every network for 68 bytes; where TCP options leave no room, nothing could pass.
_SMALLEST_MTU = 100


@dataclass(frozen=True)
class NetworkFault(Fault):
    """Acts on the packets between the adapter and the proxy, of all connections."""

    # What it has done stays done, and it is over at once.
    strikes_once: ClassVar[bool] = False

    def rules(self) -> tuple[str, ...]:
        """What the router does with packets while it is in force."""
        return ()


def _of(fault: NetworkFault) -> str:
    """The condition for packets of the fault's direction."""
    direction: Direction = getattr(fault, "direction", "both")
    return "" if direction == "both" else f"iifname {_FROM[direction]} "


@dataclass(frozen=True)
class PacketBlackhole(NetworkFault):
    """Packets vanish: nothing is acknowledged, not even by a kernel, and dials hang.

    `blackhole` lets the proxy's kernel acknowledge what it then swallows; under this one the
    client's own kernel retransmits, and TCP_USER_TIMEOUT and keepalive have their say.
    """

    name: ClassVar[str] = "packet_blackhole"
    direction: Direction = "both"

    def rules(self) -> tuple[str, ...]:
        """Drop all."""
        return (f"{_of(self)}{LOGGED} drop",)


@dataclass(frozen=True)
class SynDrop(NetworkFault):
    """New connections hang in SYN_SENT; those that are up are left alone."""

    name: ClassVar[str] = "syn_drop"

    def rules(self) -> tuple[str, ...]:
        """Drop what has SYN and not ACK."""
        return (f"tcp flags & (syn | ack) == syn {LOGGED} drop",)


@dataclass(frozen=True)
class PacketLoss(NetworkFault):
    """About so many of the packets, 0 to 1, are lost. The kernel draws: a seed changes nothing."""

    name: ClassVar[str] = "packet_loss"
    fraction: float
    direction: Direction = "both"

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"packet_loss: fraction is {self.fraction}; it is above 0, up to 1")

    def rules(self) -> tuple[str, ...]:
        """Draw for each packet."""
        parts = max(1, round(self.fraction * 10_000))
        return (f"{_of(self)}numgen random mod 10000 < {parts} {LOGGED} drop",)


@dataclass(frozen=True)
class PmtuBlackhole(NetworkFault):
    """Packets of more than `mtu` bytes are lost and nobody is told (RFC 2923 §2.1).

    The handshake and heartbeats pass; the first large message does not, nor does what follows.
    """

    name: ClassVar[str] = "pmtu_blackhole"
    mtu: Annotated[int, "bytes"] = 576
    direction: Direction = "both"

    def __post_init__(self) -> None:
        if self.mtu < _SMALLEST_MTU:
            raise ValueError(f"pmtu_blackhole: mtu is {self.mtu}; it is {_SMALLEST_MTU} or more")

    def rules(self) -> tuple[str, ...]:
        """Drop what is larger."""
        return (f"{_of(self)}meta length > {self.mtu} {LOGGED} drop",)


@dataclass(frozen=True)
class IcmpUnreachable(NetworkFault):
    """The client's packets are answered by ICMP: there is no way to the server.

    A dial fails at once. A connection that is up takes it for a hint (RFC 1122 §4.2.3.9) and
    goes on trying.
    """

    name: ClassVar[str] = "icmp_unreachable"
    kind: Literal["host", "net", "port", "admin_prohibited"] = "host"

    def rules(self) -> tuple[str, ...]:
        """Reject what comes from the client."""
        kind = {
            "host": "icmp type host-unreachable",
            "net": "icmp type net-unreachable",
            "port": "icmp type port-unreachable",
            "admin_prohibited": "icmp type admin-prohibited",
        }[self.kind]
        return (f"iifname {TO_CLIENT} {LOGGED} reject with {kind}",)


@dataclass(frozen=True)
class RstInjection(NetworkFault):
    """Whoever sends a packet gets a RST from the middle; the other side hears nothing of it."""

    name: ClassVar[str] = "rst_injection"
    direction: Direction = "both"

    def rules(self) -> tuple[str, ...]:
        """Reject TCP in its own language."""
        return (f"{_of(self)}meta l4proto tcp {LOGGED} reject with tcp reset",)


@dataclass(frozen=True)
class NatExpiry(NetworkFault):
    """The router forgets all connections, as a NAT does with idle ones (RFC 5382 §5).

    Packets of those are lost from then on; new connections work. It strikes once and is over.
    """

    name: ClassVar[str] = "nat_expiry"
    strikes_once: ClassVar[bool] = True


@dataclass(frozen=True)
class AddressChange(NetworkFault):
    """The client's address changes, as when a laptop goes from one network to the next.

    Connections from the old one fall silent; new ones work. It strikes once and is over.
    """

    name: ClassVar[str] = "address_change"
    strikes_once: ClassVar[bool] = True


@dataclass(frozen=True)
class DnsFailure(NetworkFault):
    """Names are not found: the answer is an error, or has no address in it, or never comes."""

    name: ClassVar[str] = "dns_failure"
    how: Literal["nxdomain", "servfail", "refused", "no_address", "silence"] = "nxdomain"


@dataclass(frozen=True)
class Vanish(CutFault):
    """The client's connection vanishes, as when the server's machine dies: neither FIN nor RST.

    What the client sends next is answered by a RST; one that only listens waits for ever. The
    exchange sees its side reset. Linux only, with CAP_NET_ADMIN where the socket lives.
    """

    name: ClassVar[str] = "vanish"


@dataclass(frozen=True)
class AcceptQueueFull(ListenerFault):
    """New connections hang in SYN_SENT: the port listens, but its queue is full.

    The kernel sends their SYN again after 1 s, 3 s, 7 s, ...; healed, the next one is answered.
    Linux only, without any rights.
    """

    name: ClassVar[str] = "accept_queue_full"


KERNEL_FAULTS: tuple[type[Fault], ...] = (
    Vanish,
    AcceptQueueFull,
    PacketBlackhole,
    SynDrop,
    PacketLoss,
    PmtuBlackhole,
    IcmpUnreachable,
    RstInjection,
    NatExpiry,
    AddressChange,
    DnsFailure,
)
