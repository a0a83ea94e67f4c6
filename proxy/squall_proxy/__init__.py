"""A proxy that does harm to WebSocket and TCP connections, and reports what it saw of them.

It knows nothing of scenarios or exchanges. A fault is a value; `Proxy.inject` puts it in force.
"""

from squall_proxy import faults
from squall_proxy.certificates import Authority
from squall_proxy.deflate import Compression
from squall_proxy.faults import *  # noqa: F403  # its `__all__` is a promise, too
from squall_proxy.injection import Injection, Target
from squall_proxy.patterns import Pattern
from squall_proxy.proxy import Proxy
from squall_proxy.tls import Certificates

__all__ = [
    "Authority",
    "Certificates",
    "Compression",
    "Injection",
    "Pattern",
    "Proxy",
    "Target",
]
__all__ += faults.__all__
