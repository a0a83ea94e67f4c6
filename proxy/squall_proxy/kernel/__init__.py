"""Faults that need the kernel: packets, addresses and names in a network of our own; and `vanish`.

Nothing here touches this machine's own network: see `warden`.
"""

from squall_proxy.kernel.net import KernelNet
from squall_proxy.kernel.rights import Probe, probe
from squall_proxy.kernel.topology import KernelNetError

__all__ = ["KernelNet", "KernelNetError", "Probe", "probe"]
