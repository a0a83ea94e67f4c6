"""The process that holds the namespaces of one `KernelNet`, and lives no longer than its owner.

    client ── rc ─ router ─ rs ── server

It makes a user namespace and three network namespaces in it, joins them by veth pairs, and then
does what it is told over a socket: rules in the router, sockets of the server's. The kernel gives
it no right over any other network: a user namespace has none. As root, where user namespaces are
forbidden, it makes the network namespaces alone; and in any case it runs no command before it has
seen that it stands in a namespace of its own.

Nothing has a name, so nothing is left behind: when its owner ends, by whatever death, the socket
is closed, this process ends, and the kernel takes the namespaces down. It is started by its path
and imports nothing of Squall's.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

Where = Literal["client", "router", "server"]
Request = dict[str, Any]

# <linux/sched.h>, <sys/mount.h>, <linux/tcp.h>, <linux/netfilter/nfnetlink*.h>
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x1000, 1 << 14, 1 << 18, 2
TCP_REPAIR = 19
NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_ACK, NLMSG_ERROR = 1, 4, 2
CTNETLINK_DELETE = (1 << 8) | 2
NFLOG_CONFIG = (4 << 8) | 1

MOST = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class WardenError(Exception):
    """What could not be done, in words for the user."""


def main() -> None:
    """Build, say so, and do as told until the other end of the socket is closed."""
    control = socket.socket(fileno=int(sys.argv[1]))
    told = json.loads(control.recv(MOST))
    try:
        warden = Warden(told)
    except (WardenError, OSError) as error:
        control.send(json.dumps({"error": str(error)}).encode())
        return
    control.send(json.dumps({"holds": warden.files}).encode())
    while True:
        data, fds, _, _ = socket.recv_fds(control, MOST, 1)
        if not data:
            return
        made: list[int] = []
        try:
            made = warden.do(json.loads(data), fds)
            reply: Request = {}
        except (WardenError, OSError) as error:
            reply = {"error": str(error)}
        socket.send_fds(control, [json.dumps(reply).encode()], made)
        for fd in (*fds, *made):
            os.close(fd)


class Warden:
    """Three networks, each held by an open file."""

    def __init__(self, told: Request) -> None:
        self._foreign = told["foreign"]  # the inode of the network that is not ours
        self.files: dict[str, int] = {}
        _own_rights()
        for where in ("router", "server", "client"):
            if where != "router":
                _call("unshare", CLONE_NEWNET)
            else:
                self._few_buckets()
            self.files[where] = os.open("/proc/self/ns/net", os.O_RDONLY)
        _overlay({Path(path): text for path, text in told["overlay"].items()})
        self._names = self._socket("client", socket.AF_INET, socket.SOCK_DGRAM)
        for where, batch in told["links"]:
            me = f"/proc/{os.getpid()}/fd"
            named = {name: f"{me}/{fd}" for name, fd in self.files.items()}
            self._run(where, ["ip", "-batch", "-"], batch.format(**named))
        for where, path, value in told["settings"]:
            self._set(where, path, value)
        self._run("router", ["nft", "-f", "-"], told["rules"])
        with self._within("client"):
            self._names.bind(("127.0.0.1", 53))

    def do(self, request: Request, fds: Sequence[int]) -> list[int]:
        """Carry out one request; what it returns are files for the owner."""
        match request["do"]:
            case "nft":
                self._run("router", ["nft", "-f", "-"], request["rules"])
            case "ip":
                self._run(request["where"], ["ip", "-batch", "-"], request["batch"])
            case "forget":
                with self._within("router"):
                    _netfilter(CTNETLINK_DELETE, 0, b"").close()
            case "log":
                with self._within("router"):
                    return [_log(request["group"], request["bytes"]).detach()]
            case "socket":
                made = self._socket("server", request["family"], socket.SOCK_STREAM)
                return [made.detach()]
            case "sockets":
                with self._within("client"):
                    return [os.open("/proc/self/net/tcp", os.O_RDONLY)]
            case "names":
                return [os.dup(self._names.fileno())]
            case "repair":
                with socket.socket(fileno=os.dup(fds[0])) as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        return []

    def _few_buckets(self) -> None:
        """Give networks to come a small table of sockets: who looks for one reads all of it."""
        file = Path("/proc/sys/net/ipv4/tcp_child_ehash_entries")
        if file.exists():
            file.write_text("4096")

    @contextmanager
    def _within(self, where: str) -> Iterator[None]:
        """Stand in one of the networks, and make sure of it."""
        _call("setns", self.files[where], CLONE_NEWNET)
        here = os.stat("/proc/self/ns/net").st_ino
        if here == self._foreign or here != os.fstat(self.files[where]).st_ino:
            raise WardenError("not in a network of its own: nothing was done")
        try:
            yield
        finally:
            _call("setns", self.files["router"], CLONE_NEWNET)

    def _run(self, where: str, command: Sequence[str], text: str) -> None:
        with self._within(where):
            try:
                done = subprocess.run(
                    command, input=text, capture_output=True, text=True, timeout=10, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise WardenError(f"{command[0]}: {error}") from error
        if done.returncode:
            raise WardenError(f"{command[0]}: {done.stderr.strip() or done.returncode}")

    def _set(self, where: str, path: str, value: str) -> None:
        with self._within(where):
            file = Path("/proc/sys/net") / path
            if file.exists():  # some are younger than the oldest kernel that will do
                file.write_text(value)

    def _socket(self, where: str, family: int, kind: int) -> socket.socket:
        with self._within(where):
            return socket.socket(family, kind)


def _own_rights() -> None:
    """A user, a mount and a network namespace of our own, with all rights in these alone."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        _call("unshare", CLONE_NEWUSER)
    except OSError:
        pass  # root may do without
    else:
        _identify(uid, gid)
    try:
        _call("unshare", CLONE_NEWNS | CLONE_NEWNET)
    except OSError as error:
        raise WardenError(
            f"no network of our own is allowed here ({error.strerror}): run as root, or allow user "
            "namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, "
            "kernel.apparmor_restrict_unprivileged_userns)"
        ) from error
    _call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)


def _identify(uid: int, gid: int) -> None:
    """Be root in the new user namespace, and who we were outside."""
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise WardenError(
            f"user {uid} cannot have a user namespace here ({error.strerror}): "
            "run as another user, or as root with all capabilities"
        ) from error


def _overlay(files: dict[Path, str]) -> None:
    """Let these files, where they exist, read otherwise in our mount namespace."""
    there = {path.resolve(): text for path, text in files.items() if path.exists()}
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None)
    for number, (path, text) in enumerate(there.items()):
        if str(path).startswith("/tmp/"):
            continue  # hidden by now
        source = Path("/tmp") / str(number)
        source.write_text(text)
        source.chmod(0o644)
        _call("mount", bytes(source), bytes(path), None, MS_BIND, None)
    _call("umount2", b"/tmp", MNT_DETACH)  # the files stay where they are bound to


def _log(group: int, size: int) -> socket.socket:
    """A socket that gets the beginning of every packet which a rule logs to this group."""
    attribute = struct.pack("=HHB3x", 5, 1, 1)  # NFULA_CFG_CMD: bind
    sock = _netfilter(NFLOG_CONFIG, group, attribute)
    mode = struct.pack("=HH", 10, 2) + struct.pack("!IBx", size, 2) + bytes(2)  # NFULA_CFG_MODE
    _netfilter(NFLOG_CONFIG, group, mode, sock)
    return sock


def _netfilter(
    kind: int, resource: int, attributes: bytes, sock: socket.socket | None = None
) -> socket.socket:
    """Send a message to netfilter over a new socket, or this one, and await its consent."""
    if sock is None:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        sock.bind((0, 0))
    body = struct.pack("!BBH", 0, 0, resource) + attributes
    head = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | NLM_F_ACK, 1, 0)
    sock.send(head + body)
    _, kind, _, _, _, error = struct.unpack_from("=IHHIIi", sock.recv(MOST))
    if kind == NLMSG_ERROR and error:
        raise OSError(-error, os.strerror(-error))
    return sock


def _call(name: str, *arguments: int | bytes | None) -> None:
    """Call a function of the C library that Python has not in every version."""
    if getattr(_libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    main()
