"""The operating system as a witness: what a process tree holds, read from /proc.

Sockets are told by the run's ports, not by inode, so that TIME_WAIT and orphaned sockets, which
belong to no process any more, are seen as well.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

PROC = Path("/proc")

# include/net/tcp_states.h of the Linux kernel
TCP_STATES = {
    "01": "ESTABLISHED",
    "02": "SYN_SENT",
    "03": "SYN_RECV",
    "04": "FIN_WAIT1",
    "05": "FIN_WAIT2",
    "06": "TIME_WAIT",
    "07": "CLOSE",
    "08": "CLOSE_WAIT",
    "09": "LAST_ACK",
    "0A": "LISTEN",
    "0B": "CLOSING",
}


def available() -> bool:
    """Whether this system has a Linux /proc to read."""
    return (PROC / "self" / "net" / "tcp").exists()


def sample(pid: int, ports: Collection[int]) -> dict[str, Any] | None:
    """What the process `pid` and its descendants hold; None where it is gone or unreadable.

    `fds` and `threads` are counts, `children` counts descendants, `rss_bytes` is resident
    memory, `cpu_seconds` user plus system time, `sockets` maps a TCP state to the number of
    client sockets towards `ports`. Reading it takes some 30 ms: call it in a thread.
    """
    tree = list(_tree(pid))
    fds = threads = rss = ticks = 0
    for member in tree:
        folder = PROC / str(member)
        try:
            fds += len(os.listdir(folder / "fd"))
            threads += len(os.listdir(folder / "task"))
            rss += int((folder / "statm").read_text().split()[1])
            # proc(5): fields 14 and 15; the command name in front may hold anything but ")"
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        except (OSError, IndexError, ValueError):
            if member == pid:
                return None
    return {
        "fds": fds,
        "threads": threads,
        "children": len(tree) - 1,
        "rss_bytes": rss * os.sysconf("SC_PAGE_SIZE"),
        "cpu_seconds": ticks / os.sysconf("SC_CLK_TCK"),
        "sockets": sockets(ports, pid),
    }


def sockets(ports: Collection[int], pid: int | None = None) -> dict[str, int]:
    """TCP sockets towards `ports` by state, in the network namespace of `pid` (or our own)."""
    found: Counter[str] = Counter()
    net = PROC / (str(pid) if pid is not None else "self") / "net"
    for table in ("tcp", "tcp6"):
        try:
            lines = (net / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, _, remote, state = line.split()[:4]
            if int(remote.rpartition(":")[2], 16) in ports:
                found[TCP_STATES.get(state, state)] += 1
    return dict(found)


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in os.listdir(PROC / str(pid) / "task"):
            children = (PROC / str(pid) / "task" / task / "children").read_text()
            for child in children.split():
                yield from _tree(int(child))
    except OSError:
        return
