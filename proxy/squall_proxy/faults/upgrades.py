"""The harm that can be done to an upgrade to WebSocket that the exchange grants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from squall_proxy.faults.base import Fault, Seconds, StreamFault, Way, check_above_zero
from squall_proxy.http1 import EXTENSIONS, HEAD_END, HEAD_LIMIT, with_field
from squall_proxy.link import Chunk, End, Filter

# The answer to a key of 16 zero bytes (RFC 6455 §4.2.2).
_OTHER_ACCEPT = "ICX+Yqv66kxgM0FcWaLWlFLwTAI="


@dataclass(frozen=True)
class TamperUpgrade(Fault):
    """The exchange's 101 is passed on with something wrong about it (RFC 6455 §4.1).

    `wrong_accept`: the accept key of another request. `no_accept`, `no_upgrade`: that header is
    missing. `wrong_subprotocol`, `wrong_extension`: one that was never offered. `truncated`: half
    of the head, then FIN. `no_extensions` takes the client's offer of extensions out instead,
    which is nothing wrong: the messages are not compressed then.
    """

    name: ClassVar[str] = "tamper_upgrade"
    only_new: ClassVar[bool] = True
    kind: Literal[
        "wrong_accept",
        "no_accept",
        "no_upgrade",
        "wrong_subprotocol",
        "wrong_extension",
        "truncated",
        "no_extensions",
    ] = "wrong_accept"

    @property
    def needs_websocket(self) -> bool:
        """It reads heads."""
        return True

    @property
    def ends(self) -> bool:
        """The connection ends behind the answer."""
        return self.kind == "truncated"

    def request(self, head: bytes) -> bytes:
        """The request as the exchange gets it."""
        return with_field(head, EXTENSIONS, "") if self.kind == "no_extensions" else head

    def answer(self, head: bytes) -> bytes:
        """The exchange's 101 as the client gets it."""
        return _TAMPERING[self.kind](head)


_TAMPERING: dict[str, Callable[[bytes], bytes]] = {
    "wrong_accept": lambda head: with_field(head, "Sec-WebSocket-Accept", _OTHER_ACCEPT),
    "no_accept": lambda head: with_field(head, "Sec-WebSocket-Accept", ""),
    "no_upgrade": lambda head: with_field(head, "Upgrade", ""),
    "wrong_subprotocol": lambda head: with_field(head, "Sec-WebSocket-Protocol", "unasked"),
    "wrong_extension": lambda head: with_field(head, EXTENSIONS, "x-unasked"),
    "truncated": lambda head: head[: len(head) // 2],
    "no_extensions": lambda head: head,
}


@dataclass(frozen=True)
class SlowUpgrade(StreamFault):
    """The head of the answer to an upgrade comes byte for byte, one every `interval`."""

    name: ClassVar[str] = "slow_upgrade"
    only_new: ClassVar[bool] = True
    interval: Seconds = 0.1

    def __post_init__(self) -> None:
        check_above_zero(self, "interval")

    def ways(self) -> tuple[Way, ...]:
        """The answer's."""
        return ("server_to_client",)

    def attach(self, rng: Random) -> Filter:
        """Spaces the bytes of the first head; what follows it comes behind the last of them."""
        head, began = bytearray(), 0.0

        def slow(chunk: Chunk) -> Iterator[Chunk]:
            nonlocal began
            if isinstance(chunk.data, End) or chunk.offset > len(head):
                yield chunk
                return
            if not chunk.offset:
                began = chunk.due
            head[chunk.offset :] = chunk.data
            found = head.find(HEAD_END)
            end = min(len(head) if found < 0 else found + len(HEAD_END), HEAD_LIMIT)
            last = max(chunk.offset, end)
            for offset in range(chunk.offset, last):
                due = max(chunk.due, began + offset * self.interval)
                yield Chunk(bytes(head[offset : offset + 1]), due, offset)
            del head[HEAD_LIMIT:]
            rest = chunk.data[last - chunk.offset :]
            if rest:
                yield Chunk(rest, max(chunk.due, began + end * self.interval), last)

        return slow
