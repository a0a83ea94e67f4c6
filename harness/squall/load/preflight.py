"""What must be true before a storm begins: enough open files, Locust, and a gateway that is ours.

Each connection is an open file of the worker that has it and of the exchange, and two of the
proxy. Python starts with the soft limit, which anybody may raise up to the hard one; that is done
here, and all processes of the storm inherit it.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import math
import resource
import sys
from urllib.parse import urlsplit

from squall.errors import NetworkError, SquallError
from squall.load.storm import Storm

SPARE = 256
"""Open files that a process needs beside its connections."""


def check_locust() -> None:
    """Raise `SquallError` where Locust is not installed."""
    if importlib.util.find_spec("locust") is None:
        raise SquallError("squall load needs Locust; install it with: pip install 'squall[load]'")


def open_files(storm: Storm, workers: int, *, proxy: bool) -> int:
    """How many files the largest of the processes has open."""
    users = storm.most_users
    return SPARE + max(2 * users if proxy else users, math.ceil(users / workers))


def allow_open_files(needed: int) -> None:
    """Raise the soft limit to what is needed. Raises `SquallError` where the hard one is below."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SquallError(too_few(needed, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def too_few(needed: int, hard: int) -> str:
    """What to do about a hard limit that is too low."""
    command = (
        f"sudo prlimit --pid $$ --nofile={needed}:{needed}"
        if sys.platform == "linux"
        else f"sudo launchctl limit maxfiles {needed} {needed}"
    )
    return (
        f"this storm needs {needed:,} open files in one process, and {hard:,} are allowed here "
        f"(ulimit -Hn). Raise the limit of this shell with\n\n    {command}\n\n"
        f"or take fewer users, with --users"
    )


def check_url(url: str, permitted: str | None) -> None:
    """Raise `NetworkError` for what is no WebSocket's address, or somebody else's."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("ws", "wss") or not parts.hostname or port == -1:
        raise NetworkError(f"--url: '{url}' is no WebSocket's address, such as ws://127.0.0.1:9000")
    if not _is_here(parts.hostname) and parts.hostname != permitted:
        raise NetworkError(
            f"--url: {parts.hostname} is not this machine, and a storm is an attack on whoever has "
            f"not asked for it. If it is yours to storm, say so: --permit {parts.hostname}"
        )


def upstream(url: str) -> str:
    """HOST:PORT of a ws:// address."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"[{host}]:{parts.port or 80}" if ":" in host else f"{host}:{parts.port or 80}"


def through(url: str, host: str, port: int) -> str:
    """The same address, but at the proxy."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{host}:{port}").geturl()


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
