"""Three networks, as data, and the words in which the warden is asked to build and change them.

    client 192.0.2.1 ─── .254 router .254 ─── 198.51.100.1 server

The addresses are for documentation (RFC 5737): nobody takes them for somebody's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from squall_proxy.faults.kernel import KERNEL_FAULTS, NetworkFault, PacketLoss

MOST = 1 << 16
PATIENCE = 15.0
_ENDS_WITHIN = 1.5

SERVER = "198.51.100.1"
CLIENTS = ("192.0.2.1", "192.0.2.2")
SERVER_NAME = "exchange.test"
"""Its name, though every other leads there, too; `test` is nobody's (RFC 6761 §6.2)."""

LOG = {"group": 1, "bytes": 64}

_SBIN = "/usr/sbin:/sbin:/usr/local/sbin"
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), _SBIN))

_CLIENT_ROUTER, _SERVER_ROUTER = "192.0.2.254", "198.51.100.254"

_OVERLAY = {
    "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n",
    # Elsewhere names may be looked up by a daemon, which lives outside.
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}

_LINKS = (
    (
        "router",
        "link set lo up\n"
        "link add rc type veth peer name eth0 netns {client}\n"
        "link add rs type veth peer name eth0 netns {server}\n"
        f"addr add {_CLIENT_ROUTER}/24 dev rc\n"
        f"addr add {_SERVER_ROUTER}/24 dev rs\n"
        "link set rc up\nlink set rs up\n",
    ),
    (
        "client",
        f"link set lo up\nlink set eth0 up\naddr add {CLIENTS[0]}/24 dev eth0\n"
        f"route add default via {_CLIENT_ROUTER}\n",
    ),
    (
        "server",
        f"link set lo up\nlink set eth0 up\naddr add {SERVER}/24 dev eth0\n"
        f"route add default via {_SERVER_ROUTER}\n",
    ),
)

_SETTINGS = (
    ("router", "ipv4/ip_forward", "1"),
    # One ICMP answer a second would be too few for a client that dials again at once.
    ("router", "ipv4/icmp_ratelimit", "0"),
    # A connection that the router has forgotten stays forgotten.
    ("router", "netfilter/nf_conntrack_tcp_loose", "0"),
    # The server tries a dead line often and long, so that it notices soon when it is healed.
    ("server", "ipv4/tcp_rto_max_ms", "1000"),
    ("server", "ipv4/tcp_retries2", "255"),
    ("server", "core/somaxconn", "4096"),
)

_BASE = """\
table inet squall {
  chain known {
    type filter hook forward priority -10; policy accept;
    ct state established counter
  }
  chain faults {
    type filter hook forward priority 0; policy accept;
  }
}
"""


class KernelNetError(Exception):
    """A network of our own cannot be had, or changed; the message says why."""


def spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a warden; it lives until the socket to it is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    warden = Path(__file__).with_name("warden.py")
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", str(warden), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": SEARCHED},
                # Ctrl-C is for the harness, which then stops this in good order.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return process, ours


def end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    """Let a warden end, and with it all that it holds."""
    control.close()
    try:
        process.wait(_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def greet(control: socket.socket) -> None:
    """Tell the warden what to build, and which network is not ours."""
    told = {
        "foreign": os.stat("/proc/self/ns/net").st_ino,
        "links": _LINKS,
        "settings": _SETTINGS,
        "rules": _BASE,
        "overlay": _OVERLAY,
    }
    control.send(json.dumps(told).encode())


def understand(reply: bytes) -> dict[str, Any]:
    """What the warden said. Raises `KernelNetError` where it could not do as asked."""
    told: dict[str, Any] = json.loads(reply) if reply else {"error": "the warden has died"}
    if "error" in told:
        raise KernelNetError(told["error"])
    return told


def ask(control: socket.socket, request: dict[str, Any], fds: Iterable[int] = ()) -> list[int]:
    """Have the warden do something, now; what it may give is an open file."""
    socket.send_fds(control, [json.dumps(request).encode()], list(fds))
    reply, given, _, _ = socket.recv_fds(control, MOST, 1)
    understand(reply)
    return given


def rules(faults: Iterable[NetworkFault], *, forgetful: bool) -> str:
    """The router's rules while these faults are in force; they replace those before at once.

    `forgetful`: what it does not know, or not any more, it does not pass on.
    """
    said = [rule for fault in faults for rule in fault.rules()]
    if forgetful:
        said.append("ct state invalid log group 1 snaplen 64 queue-threshold 1 drop")
    added = "".join(f"add rule inet squall faults {rule}\n" for rule in said)
    return f"flush chain inet squall faults\n{added}"


def every_rule() -> str:
    """All kinds of rules that there are, to see whether this kernel has them."""
    faults: list[NetworkFault] = [PacketLoss(0.5)]
    for kind in KERNEL_FAULTS:
        if issubclass(kind, NetworkFault) and kind is not PacketLoss:
            faults.append(kind())
    return rules(faults, forgetful=True)


def address_change(new: str, old: str) -> str:
    """What makes the client's address another one."""
    # Its route goes with the last address of a network.
    return (
        f"addr del {old}/24 dev eth0\naddr add {new}/24 dev eth0\n"
        f"route add default via {_CLIENT_ROUTER}\n"
    )
