"""`host:port` as Go's package net reads it, and the words in which it refuses."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import re
import socket
from dataclasses import dataclass

RESOLVE_WITHIN = 5.0


class GoNetError(Exception):
    """What Go would say of an address, or of a port that cannot be had."""


@dataclass(frozen=True)
class Resolved:
    """A numeric address; without a host it means all of this machine's."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def everywhere(self) -> bool:
        """All addresses of this machine; Go listens on both families then."""
        return self.host in ("", "0.0.0.0", "::")


async def resolve(address: str) -> Resolved:
    """The numeric form of an address; names of hosts and services are looked up.

    Raises `GoNetError`. The empty address is any port, everywhere.
    """
    if not address:
        return Resolved("", 0)
    host, service = _split(address)
    return Resolved(await _host(host), _port(service))


def _split(address: str) -> tuple[str, str]:
    """Go's net.SplitHostPort."""
    colon = address.rfind(":")
    if colon < 0:
        raise _wrong(address, "missing port in address")
    if address.startswith("["):
        end = address.find("]")
        if end < 0:
            raise _wrong(address, "missing ']' in address")
        if end + 1 != colon:
            colons = address[end + 1 : end + 2] == ":"
            raise _wrong(address, f"{'too many colons' if colons else 'missing port'} in address")
        host, opening, closing = address[1:end], address[1:], address[end + 1 :]
    else:
        host, opening, closing = address[:colon], address, address
        if ":" in host:
            raise _wrong(address, "too many colons in address")
    if "[" in opening:
        raise _wrong(address, "unexpected '[' in address")
    if "]" in closing:
        raise _wrong(address, "unexpected ']' in address")
    return host, address[colon + 1 :]


def _wrong(address: str, why: str) -> GoNetError:
    return GoNetError(f"address {address}: {why}")


def _port(service: str) -> int:
    if re.fullmatch(r"[+-]?[0-9]*", service, re.ASCII) and service not in ("+", "-"):
        port = int(service or "0")
        if not 0 <= port <= 65_535:
            raise _wrong(service, "invalid port")
        return port
    try:
        return socket.getservbyname(service, "tcp")
    except (OSError, ValueError):
        raise GoNetError(f"lookup tcp/{service}: unknown port") from None


async def _host(name: str) -> str:
    if name in ("", "localhost"):
        return name and "127.0.0.1"
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    looking = loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.wait_for(looking, RESOLVE_WITHIN)
    except (OSError, UnicodeError, ValueError, TimeoutError):
        raise GoNetError(f"lookup {name}: no such host") from None
    # Go prefers IPv4 where a name has both.
    found.sort(key=lambda each: each[0] != socket.AF_INET)
    return str(found[0][4][0])


_REASONS = {
    errno.EADDRINUSE: "address already in use",
    errno.EADDRNOTAVAIL: "cannot assign requested address",
    errno.EACCES: "permission denied",
}


def cannot_bind(address: Resolved, error: OSError) -> GoNetError:
    """What Go says where a port cannot be had."""
    why = _REASONS.get(error.errno or 0) or os.strerror(error.errno or 0).lower()
    return GoNetError(f"listen tcp {address}: bind: {why}")
