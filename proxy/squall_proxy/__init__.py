"""A proxy that does harm to WebSocket and TCP connections, and reports what it saw of them.

It knows nothing of scenarios or exchanges. A fault is a value; `Proxy.inject` puts it in force.
"""

from squall_proxy.faults import (
    FAULTS,
    Blackhole,
    Close,
    CutFault,
    Direction,
    Fault,
    Fin,
    Flap,
    HandshakeBlackhole,
    Http,
    Latency,
    ListenerFault,
    Rate,
    Refuse,
    Rst,
    Seconds,
    Stall,
    StreamFault,
    Throttle,
    Trickle,
    Truncate,
)
from squall_proxy.injection import Injection, Target
from squall_proxy.proxy import Proxy

__all__ = [
    "FAULTS",
    "Blackhole",
    "Close",
    "CutFault",
    "Direction",
    "Fault",
    "Fin",
    "Flap",
    "HandshakeBlackhole",
    "Http",
    "Injection",
    "Latency",
    "ListenerFault",
    "Proxy",
    "Rate",
    "Refuse",
    "Rst",
    "Seconds",
    "Stall",
    "StreamFault",
    "Target",
    "Throttle",
    "Trickle",
    "Truncate",
]
