"""What this machine, and the rights that we have on it, allow of the kernel's faults."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from dataclasses import dataclass

from squall_proxy.kernel import topology
from squall_proxy.networks import HOST_NET

_NOT_LINUX = "it needs Linux"
_TOOLS = {"ip": "iproute2", "nft": "nftables"}


@dataclass(frozen=True)
class Probe:
    """For each ability None, or a sentence that says why it cannot be had."""

    vanish: str | None
    """`Vanish` on sockets of this process's own network."""

    accept_queue_full: str | None
    """`AcceptQueueFull`."""

    network: str | None
    """`KernelNet`, and with it every network fault, and `Vanish` on its sockets."""


@functools.cache
def probe() -> Probe:
    """Try it, once in the life of this process; it takes about 0.2 s."""
    if sys.platform != "linux":
        return Probe(_NOT_LINUX, _NOT_LINUX, _NOT_LINUX)
    return Probe(vanish=HOST_NET.why_not_vanish, accept_queue_full=None, network=_why_no_network())


def _why_no_network() -> str | None:
    for tool, package in _TOOLS.items():
        if shutil.which(tool, path=topology.SEARCHED) is None:
            return f"the program {tool} is not installed (package {package})"
    try:
        process, control = topology.spawn()
    except OSError as error:
        return f"a process of our own cannot be started: {error.strerror}"
    try:
        topology.greet(control)
        control.settimeout(topology.PATIENCE)
        topology.understand(control.recv(topology.MOST))
        topology.ask(control, {"do": "nft", "rules": topology.every_rule()})
        topology.ask(control, {"do": "forget"})
        for fd in topology.ask(control, {"do": "log", **topology.LOG}):
            os.close(fd)
    except (topology.KernelNetError, OSError) as error:
        return str(error)
    finally:
        topology.end(process, control)
    return None
