"""The harm that can be done to a connection. Each fault is a frozen value that says what.

To add a fault, write one dataclass and one line in `FAULTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from squall_proxy.faults.base import (
    CutFault,
    Direction,
    Ending,
    Ends,
    Fault,
    How,
    ListenerFault,
    Rate,
    Seconds,
    StreamFault,
    Way,
)
from squall_proxy.faults.cuts import Close, Fin, HalfClose, Rst, Truncate
from squall_proxy.faults.framing import FragmentMessage, MalformMessage
from squall_proxy.faults.kernel import (
    KERNEL_FAULTS,
    AcceptQueueFull,
    AddressChange,
    DnsFailure,
    IcmpUnreachable,
    NatExpiry,
    NetworkFault,
    PacketBlackhole,
    PacketLoss,
    PmtuBlackhole,
    RstInjection,
    SynDrop,
    Vanish,
)
from squall_proxy.faults.listeners import Flap, Http, Refuse
from squall_proxy.faults.messages import (
    MESSAGE_FAULTS,
    CutMessage,
    DelayMessage,
    DropMessage,
    DuplicateMessage,
    HangingClose,
    HoldMessage,
    InjectMessage,
    ReorderMessage,
)
from squall_proxy.faults.payloads import (
    CorruptMessage,
    EditMessage,
    ReplaceMessage,
    TruncateMessage,
)
from squall_proxy.faults.rules import MessageFault
from squall_proxy.faults.streams import (
    Blackhole,
    Cut,
    HandshakeBlackhole,
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Stall,
    Throttle,
    Timeout,
    Trickle,
)
from squall_proxy.faults.tls import TlsCertificate, TlsCut, TlsFault, TlsHang, TunnelRefused
from squall_proxy.faults.upgrades import SlowUpgrade, TamperUpgrade

_ALL: tuple[type[Fault], ...] = (
    Latency,
    Throttle,
    Trickle,
    Slicer,
    Blackhole,
    Stall,
    HandshakeBlackhole,
    SlowClose,
    Timeout,
    ResetPeer,
    LimitData,
    Cut,
    Rst,
    Fin,
    HalfClose,
    Truncate,
    Close,
    Refuse,
    Flap,
    Http,
    TamperUpgrade,
    SlowUpgrade,
    *MESSAGE_FAULTS,
    TlsCertificate,
    TlsHang,
    TlsCut,
    TunnelRefused,
    *KERNEL_FAULTS,
)

FAULTS: Mapping[str, type[Fault]] = MappingProxyType({fault.name: fault for fault in _ALL})
"""Every fault, under its name in scenario files."""

__all__ = [
    "FAULTS",
    "AcceptQueueFull",
    "AddressChange",
    "Blackhole",
    "Close",
    "CorruptMessage",
    "Cut",
    "CutFault",
    "CutMessage",
    "DelayMessage",
    "Direction",
    "DnsFailure",
    "DropMessage",
    "DuplicateMessage",
    "EditMessage",
    "Ending",
    "Ends",
    "Fault",
    "Fin",
    "Flap",
    "FragmentMessage",
    "HalfClose",
    "HandshakeBlackhole",
    "HangingClose",
    "HoldMessage",
    "How",
    "Http",
    "IcmpUnreachable",
    "InjectMessage",
    "Latency",
    "LimitData",
    "ListenerFault",
    "MalformMessage",
    "MessageFault",
    "NatExpiry",
    "NetworkFault",
    "PacketBlackhole",
    "PacketLoss",
    "PmtuBlackhole",
    "Rate",
    "Refuse",
    "ReorderMessage",
    "ReplaceMessage",
    "ResetPeer",
    "Rst",
    "RstInjection",
    "Seconds",
    "Slicer",
    "SlowClose",
    "SlowUpgrade",
    "Stall",
    "StreamFault",
    "SynDrop",
    "TamperUpgrade",
    "Throttle",
    "Timeout",
    "TlsCertificate",
    "TlsCut",
    "TlsFault",
    "TlsHang",
    "Trickle",
    "Truncate",
    "TruncateMessage",
    "TunnelRefused",
    "Vanish",
    "Way",
]
