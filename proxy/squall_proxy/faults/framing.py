"""Faults on the frames of a message, which say the same or break the rules of RFC 6455."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from squall_proxy.faults.base import check_above_zero
from squall_proxy.faults.rules import Act, MessageFault, Sending, Step
from squall_proxy.frames import CLOSE, CONTINUATION, frame
from squall_proxy.messages import Message, mask_for

_LARGEST = 64 * 1024 * 1024
# Reserved for data and for control frames to come (RFC 6455 §5.2).
_UNKNOWN_DATA, _UNKNOWN_CONTROL = 0x3, 0xB
_RSV3 = 0x1  # of the three bits; no registered extension uses it


@dataclass(frozen=True)
class FragmentMessage(MessageFault):
    """Messages come in fragments with `size` bytes of payload each (RFC 6455 §5.4)."""

    name: ClassVar[str] = "fragment_message"
    size: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above_zero(self, "size")

    def attach(self, rng: Random) -> Act:
        """Sends them in pieces; control frames cannot be cut."""

        def fragment(message: Message) -> Sequence[Step] | None:
            payload = message.payload or b""
            if message.control or len(payload) <= self.size:
                return None
            key, end = mask_for(message.way, message.key), len(payload)
            frames = (
                frame(
                    CONTINUATION if start else message.opcode,
                    payload[start : start + self.size],
                    fin=start + self.size >= end,
                    key=key,
                )
                for start in range(0, end, self.size)
            )
            return (Sending(message.in_frames(*frames)),)

        return fragment


@dataclass(frozen=True)
class MalformMessage(MessageFault):
    """Messages break the rules of RFC 6455, which a peer must answer with 1002, 1007 or 1009.

    `invalid_utf8`: a byte that is never in UTF-8 (§8.1). `wrong_mask`: masked where it must not
    be, or the reverse (§5.1). `wrong_rsv`: a reserved bit (§5.2). `wrong_opcode`: a reserved
    opcode (§5.2). `unfinished`: no frame says that it ends (§5.4). `short`: half of it is
    missing, so that what follows is taken for its rest. `oversize`: filled up with spaces to
    `size` bytes, which no rule forbids, but every client has its limit.
    """

    name: ClassVar[str] = "malform_message"
    kind: Literal[
        "invalid_utf8",
        "wrong_mask",
        "wrong_rsv",
        "wrong_opcode",
        "unfinished",
        "short",
        "oversize",
    ]
    size: int = 16 * 1024 * 1024 + 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.size <= _LARGEST:
            raise ValueError(f"{self.name}: size is {self.size}; it is at most {_LARGEST}")

    def attach(self, rng: Random) -> Act:
        """Sends the malformed frame."""

        def malform(message: Message) -> Sequence[Step] | None:
            if message.payload is None:
                return None
            wire = self._malformed(message, message.payload)
            return (Sending(message.broken(wire)),) if wire != message.wire else None

        return malform

    def _malformed(self, message: Message, payload: bytes) -> bytes:
        key = mask_for(message.way, message.key)
        match self.kind:
            case "invalid_utf8":
                # The code of a Close frame is no text.
                middle = max(2 if message.opcode == CLOSE else 0, len(payload) // 2)
                payload = payload[:middle] + b"\xff" + payload[middle + 1 :]
                return frame(message.opcode, payload, key=key)
            case "wrong_mask":
                wrong = bytes(4) if key is None else None
                return frame(message.opcode, payload, key=wrong)
            case "wrong_rsv":
                return frame(message.opcode, payload, key=key, rsv=_RSV3)
            case "wrong_opcode":
                unknown = _UNKNOWN_CONTROL if message.control else _UNKNOWN_DATA
                return frame(unknown, payload, key=key)
            case "unfinished":
                return frame(message.opcode, payload, key=key, fin=False)
            case "short":
                whole = frame(message.opcode, payload, key=key)
                return whole[: len(whole) - (len(payload) + 1) // 2]
            case "oversize":
                return frame(message.opcode, payload.ljust(self.size), key=key)
