"""What kernels tell: the router's of packets (NFLOG), the client's of sockets. No I/O."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

_NFLOG_PACKET = (4 << 8) | 0  # NFNL_SUBSYS_ULOG, NFULNL_MSG_PACKET
_PAYLOAD = 9  # NFULA_PAYLOAD
_HEAD, _GENERAL = 16, 4  # struct nlmsghdr, struct nfgenmsg
_TCP = 6
_SYN, _ACK = 0x02, 0x10


class Packet(NamedTuple):
    """A TCP packet, as far as its headers tell."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    dials: bool
    """SYN without ACK: the first packet of a connection."""


def logged(data: bytes) -> Iterator[Packet | None]:
    """The packets in one datagram of the log; None stands for one that is not TCP over IPv4."""
    at = 0
    while at + _HEAD <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < _HEAD:
            return
        if kind == _NFLOG_PACKET:
            yield _packet(_attribute(data[at + _HEAD + _GENERAL : at + length], _PAYLOAD))
        at += _aligned(length)


def sockets(table: str) -> dict[tuple[str, int], int]:
    """The state of each TCP socket in a /proc/net/tcp, by its local address."""
    found = {}
    for line in table.splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        host, port = local.split(":")
        there = ".".join(map(str, int(host, 16).to_bytes(4, sys.byteorder)))
        found[there, int(port, 16)] = int(state, 16)
    return found


def _attribute(data: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if kind == wanted:
            return data[at + 4 : at + length]
        at += _aligned(max(length, 4))
    return b""


def _packet(data: bytes) -> Packet | None:
    if len(data) < 20 or data[0] >> 4 != 4 or data[9] != _TCP:
        return None
    tcp = data[(data[0] & 15) * 4 :]
    if len(tcp) < 14:
        return None
    source, destination = (".".join(map(str, data[at : at + 4])) for at in (12, 16))
    ports = struct.unpack_from("!HH", tcp)
    return Packet(
        source=source,
        source_port=ports[0],
        destination=destination,
        destination_port=ports[1],
        dials=tcp[13] & (_SYN | _ACK) == _SYN,
    )


def _aligned(length: int) -> int:
    return (length + 3) & ~3
