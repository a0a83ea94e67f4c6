"""Faults on what a message says: another payload in a frame that is as valid as before."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

from squall_proxy.faults.base import check_not_negative
from squall_proxy.faults.rules import Act, MessageFault, Sending, Step
from squall_proxy.messages import NOT_JSON, Message
from squall_proxy.patterns import with_value


@dataclass(frozen=True)
class CorruptMessage(MessageFault):
    """The payload is damaged, the frame is not.

    What it leaves: `json`, one digit is another; `text`, still UTF-8 but no JSON any more;
    `frame`, a byte is any other.
    """

    name: ClassVar[str] = "corrupt_message"
    leaves: Literal["json", "text", "frame"] = "text"

    def attach(self, rng: Random) -> Act:
        """Sends another payload."""
        damage = _DAMAGES[self.leaves]

        def corrupt(message: Message) -> Sequence[Step] | None:
            payload = damage(message.payload, rng) if message.payload else None
            return None if payload is None else (Sending(message.saying(payload)),)

        return corrupt


@dataclass(frozen=True)
class TruncateMessage(MessageFault):
    """Only the first `keep` bytes of the payload come, in a valid frame; or the first half."""

    name: ClassVar[str] = "truncate_message"
    keep: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "keep")

    def attach(self, rng: Random) -> Act:
        """Sends the beginning."""

        def shorten(message: Message) -> Sequence[Step] | None:
            payload = message.payload or b""
            keep = len(payload) // 2 if self.keep is None else self.keep
            return (Sending(message.saying(payload[:keep])),) if keep < len(payload) else None

        return shorten


@dataclass(frozen=True)
class ReplaceMessage(MessageFault):
    """Messages are replaced by `payload`: a text as it stands, anything else as JSON."""

    name: ClassVar[str] = "replace_message"
    payload: Any

    def attach(self, rng: Random) -> Act:
        """Sends the other payload."""
        payload = spelt(self.payload)
        return lambda message: (Sending(message.saying(payload)),)


@dataclass(frozen=True)
class EditMessage(MessageFault):
    """Values of their JSON are changed: `put` names dotted paths and what stands there now."""

    name: ClassVar[str] = "edit_message"
    put: Mapping[str, Any]

    def attach(self, rng: Random) -> Act:
        """Sends the changed JSON."""

        def edit(message: Message) -> Sequence[Step] | None:
            if message.json is NOT_JSON:
                return None
            document = copy.deepcopy(message.json)
            placed = [with_value(document, path, value) for path, value in self.put.items()]
            return (Sending(message.saying(spelt(document))),) if any(placed) else None

        return edit


def spelt(payload: Any) -> bytes:
    """A text as it stands, anything else as JSON."""
    if isinstance(payload, str):
        return payload.encode()
    return json.dumps(payload, separators=(",", ":")).encode()


# Damage ------------------------------------------------------------------------------------


def _another_byte(payload: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(payload))
    return _with(payload, place, payload[place] ^ rng.randrange(1, 256))


def _another_digit(payload: bytes, rng: Random) -> bytes | None:
    """The same JSON with another digit in a number or a text; None where there is no digit."""
    places = [place for place, byte in enumerate(payload) if byte in b"0123456789"]
    if not places:
        return None
    place = rng.choice(places)
    # None of them is made a 0, which cannot stand in front.
    digit = rng.choice([digit for digit in b"123456789" if digit != payload[place]])
    return _with(payload, place, digit)


def _no_json(payload: bytes, rng: Random) -> bytes | None:
    """UTF-8 of the same length that is no JSON; None for what is no UTF-8 either."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        return None
    places = [place for place, byte in enumerate(payload) if byte in b'{}[]",:']
    damaged = _with(payload, rng.choice(places), ord("#")) if places else payload
    try:
        json.loads(damaged)
    except (ValueError, RecursionError):
        return damaged
    # A colon in a text, say, is not missed. Nothing begins with #; one letter may take 4 bytes.
    first = len(payload.decode()[0].encode())
    return b"#" * first + payload[first:]


def _with(payload: bytes, place: int, byte: int) -> bytes:
    return payload[:place] + bytes((byte,)) + payload[place + 1 :]


_DAMAGES: Mapping[str, Callable[[bytes, Random], bytes | None]] = {
    "json": _another_digit,
    "text": _no_json,
    "frame": _another_byte,
}
