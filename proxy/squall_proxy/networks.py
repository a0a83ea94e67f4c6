"""Where a proxy's listening sockets live: in this machine's own network, as a rule.

`squall_proxy.kernel` has another, in which packets can be harmed.
"""

from __future__ import annotations

import socket
import sys
from typing import Protocol

from squall_proxy.sockets import stream_socket

# <linux/tcp.h>. A socket under repair is closed without a word to its peer.
TCP_REPAIR = 19


class Net(Protocol):
    """A network that a proxy can listen in."""

    @property
    def why_not_vanish(self) -> str | None:
        """Why its sockets cannot vanish, as a sentence; None where they can."""

    def stream_socket(self, host: str) -> socket.socket:
        """A TCP socket that does not block, for a numeric address of either family."""

    def repair(self, sock: socket.socket) -> None:
        """Let a socket vanish when it is closed: neither FIN nor RST. Raises OSError."""


class HostNet:
    """The network of this process."""

    @property
    def why_not_vanish(self) -> str | None:
        """TCP_REPAIR is for Linux, and for who may administer the network."""
        if sys.platform != "linux":
            return "it needs Linux"
        with socket.socket() as sock:
            try:
                self.repair(sock)
            except OSError as error:
                return f"TCP_REPAIR needs CAP_NET_ADMIN, as root has it ({error.strerror})"
        return None

    def stream_socket(self, host: str) -> socket.socket:
        """Straight from the kernel."""
        return stream_socket(host)

    def repair(self, sock: socket.socket) -> None:
        """Straight to the kernel."""
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)


HOST_NET = HostNet()
