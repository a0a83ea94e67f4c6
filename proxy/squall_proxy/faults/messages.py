"""The harm that can be done to WebSocket messages, one at a time.

    {do: drop_message, where: {method: subscription, params.channel: "book.*"}, nth: 3}

A message fault is a rule: which messages (`where` and the other keys of a `Pattern`), when
(`since`, `before`), how many of them (`nth`, `every`, `times`), and what is done. `attach` gives
the function that does it: from a message to what is sent in its place. Whole messages only are
changed or left out, so that framing and compression stay what they were; except by
`malform_message`, which is there to break them.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any, ClassVar, Literal, NamedTuple

from squall_proxy.faults.base import (
    WAYS,
    Direction,
    Fault,
    How,
    Seconds,
    Way,
    check_above_zero,
    check_not_negative,
)
from squall_proxy.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    close_payload,
    frame,
)
from squall_proxy.messages import NOT_JSON, Message, mask_for, say
from squall_proxy.patterns import Pattern, with_value

_LARGEST = 64 * 1024 * 1024
_OPCODES = {"text": TEXT, "binary": BINARY, "ping": PING, "pong": PONG, "close": CLOSE}
# Reserved for data and for control frames to come (RFC 6455 §5.2).
_UNKNOWN_DATA, _UNKNOWN_CONTROL = 0x3, 0xB
_RSV3 = 0x1  # of the three bits; no registered extension uses it


class Sending(NamedTuple):
    """A message leaves, so long after the one that it stands for came in."""

    message: Message
    delay: float = 0.0
    """Infinity holds it until the fault is removed."""

    behind_next: bool = False
    """It waits for the next message and leaves behind that one."""


class Finish(NamedTuple):
    """The connection ends here."""

    how: How


class Hush(NamedTuple):
    """Nothing is passed on any more, in neither direction, but the sockets stay."""


Step = Sending | Finish | Hush
Act = Callable[[Message], Sequence[Step] | None]
"""From a message to what happens in its place; None where there is nothing to do to it."""


@dataclass(frozen=True, kw_only=True)
class MessageFault(Fault, Pattern):
    """Acts on messages that fit, for as long as it is in force."""

    direction: Direction = "server_to_client"
    """The direction in which they go."""

    since: Pattern | None = None
    """Only after a message like this went by, on the same connection."""

    before: Pattern | None = None
    """Only until a message like this goes by; with `since`, until the answer to that, say."""

    nth: int | None = None
    """Only the nth message that fits, counted over all connections."""

    every: int | None = None
    """Only every so manieth."""

    times: int | None = None
    """No more than so many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("nth", "every", "times"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{self.name}: {name} is {value}; it counts from 1")
        if self.nth is not None and self.every is not None:
            raise ValueError(f"{self.name}: nth or every, not both")
        if self.same is not None and self.since is None:
            raise ValueError(f"{self.name}: same compares with the message of `since`; say which")

    @property
    def needs_websocket(self) -> bool:
        """It reads frames."""
        return True

    def settings(self) -> dict[str, Any]:
        """The fields as plain values, patterns too; what is not set is left out."""
        return _said(self)

    def reach(self) -> tuple[Way, ...]:
        """The directions into which it may send something, or which it may silence."""
        return self.ways()

    @property
    def at_once(self) -> bool:
        """It does its part when it comes into force, and waits for no message."""
        return False

    def opening(self) -> Sequence[Step]:
        """What an `at_once` fault does to a connection."""
        raise NotImplementedError

    def attach(self, rng: Random) -> Act:
        """The function that acts on a message that fits."""
        raise NotImplementedError


@dataclass(frozen=True)
class DropMessage(MessageFault):
    """Messages are lost."""

    name: ClassVar[str] = "drop_message"

    def attach(self, rng: Random) -> Act:
        """Sends nothing."""
        return lambda message: ()


@dataclass(frozen=True)
class DelayMessage(MessageFault):
    """Messages come `delay` later, give or take up to `jitter`; others overtake them meanwhile."""

    name: ClassVar[str] = "delay_message"
    delay: Seconds
    jitter: Seconds = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "delay", "jitter")

    def attach(self, rng: Random) -> Act:
        """Sends them late."""

        def late(message: Message) -> Sequence[Step]:
            spread = rng.uniform(-self.jitter, self.jitter) if self.jitter else 0.0
            return (Sending(message, max(0.0, self.delay + spread)),)

        return late


@dataclass(frozen=True)
class HoldMessage(MessageFault):
    """Messages are held until the fault is removed, and come then; others overtake them.

    The end of the connection overtakes them too, and they are lost: nothing follows a Close.
    """

    name: ClassVar[str] = "hold_message"

    def attach(self, rng: Random) -> Act:
        """Sends them never."""
        return lambda message: (Sending(message, math.inf),)


@dataclass(frozen=True)
class DuplicateMessage(MessageFault):
    """Messages come again, `copies` times, the first copy `delay` after the original."""

    name: ClassVar[str] = "duplicate_message"
    copies: int = 1
    delay: Seconds = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above_zero(self, "copies")
        check_not_negative(self, "delay")

    def attach(self, rng: Random) -> Act:
        """Sends them more than once, in the same bytes."""
        return lambda message: (
            Sending(message),
            *(Sending(message, self.delay) for _ in range(self.copies)),
        )


@dataclass(frozen=True)
class ReorderMessage(MessageFault):
    """A message changes places with the next one of its direction."""

    name: ClassVar[str] = "reorder_message"

    def attach(self, rng: Random) -> Act:
        """Sends it behind the next one."""
        return lambda message: (Sending(message, behind_next=True),)


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
        payload = _spelt(self.payload)
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
            return (Sending(message.saying(_spelt(document))),) if any(placed) else None

        return edit


@dataclass(frozen=True)
class InjectMessage(MessageFault):
    """A message that nobody sent comes: now, or `before` or `after` each one that fits.

    It is a `frame` of that opcode with `payload`; a Close frame has `code` and `reason`, and the
    code may be any. With `reply` it goes back to the sender of the message that fits.
    """

    name: ClassVar[str] = "inject_message"
    payload: Any = ""
    place: Literal["now", "before", "after", "instead"] = "now"
    frame: Literal["text", "binary", "ping", "pong", "close"] = "text"
    code: int | None = 1000
    reason: str = ""
    reply: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        close_payload(self.code, self.reason)
        if self.at_once and self.reply:
            raise ValueError(f"{self.name}: a reply needs a message; place is before or after")

    @property
    def at_once(self) -> bool:
        """Where it waits for no message."""
        return self.place == "now"

    def reach(self) -> tuple[Way, ...]:
        """Both, for a reply."""
        return WAYS if self.reply else self.ways()

    def opening(self) -> Sequence[Step]:
        """Sends it."""
        return tuple(Sending(self._made(way)) for way in self.ways())

    def attach(self, rng: Random) -> Act:
        """Sends it beside the message."""

        def inject(message: Message) -> Sequence[Step]:
            made = Sending(self._made(_back(message.way) if self.reply else message.way))
            if self.place == "instead":
                return (made,)
            other = Sending(message)
            return (made, other) if self.place == "before" else (other, made)

        return inject

    def _made(self, way: Way) -> Message:
        close = self.frame == "close"
        payload = close_payload(self.code, self.reason) if close else _spelt(self.payload)
        return say(way, _OPCODES[self.frame], payload)


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


@dataclass(frozen=True)
class CutMessage(MessageFault):
    """The connection ends at a message: `before` it, in the middle (`within`), or `after` it."""

    name: ClassVar[str] = "cut_message"
    place: Literal["before", "within", "after"] = "within"
    how: How = "fin"

    def attach(self, rng: Random) -> Act:
        """Sends what still goes out, and the end."""

        def cut(message: Message) -> Sequence[Step]:
            wire = message.wire
            passed = {"before": b"", "within": wire[: len(wire) // 2], "after": wire}[self.place]
            last = (Sending(message.broken(passed)),) if passed else ()
            return (*last, Finish(self.how))

        return cut


@dataclass(frozen=True)
class HangingClose(MessageFault):
    """A Close frame comes, and then nothing: no answer to the peer's own, and no end of TCP.

    With `place` now it comes at once, otherwise in place of a message that fits: a Close frame of
    the client, say. `code` null leaves even the Close frame out.
    """

    name: ClassVar[str] = "hanging_close"
    code: int | None = 1000
    reason: str = ""
    place: Literal["now", "instead"] = "now"

    def __post_init__(self) -> None:
        super().__post_init__()
        close_payload(self.code, self.reason)

    @property
    def at_once(self) -> bool:
        """Where it waits for no message."""
        return self.place == "now"

    def reach(self) -> tuple[Way, ...]:
        """Both."""
        return WAYS

    def opening(self) -> Sequence[Step]:
        """Sends a Close frame to the client, and no more."""
        if self.code is None:
            return (Hush(),)
        payload = close_payload(self.code, self.reason)
        return (Sending(say("server_to_client", CLOSE, payload)), Hush())

    def attach(self, rng: Random) -> Act:
        """Does the same at a message."""
        return lambda message: self.opening()


def _said(pattern: Pattern) -> dict[str, Any]:
    """The fields of a pattern that are set, as plain values."""
    values = {each.name: getattr(pattern, each.name) for each in fields(pattern)}
    return {
        name: _said(value) if isinstance(value, Pattern) else value
        for name, value in values.items()
        if value not in (None, {})
    }


def _back(way: Way) -> Way:
    return "server_to_client" if way == "client_to_server" else "client_to_server"


def _spelt(payload: Any) -> bytes:
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

MESSAGE_FAULTS: tuple[type[Fault], ...] = (
    DropMessage,
    DelayMessage,
    HoldMessage,
    DuplicateMessage,
    ReorderMessage,
    CorruptMessage,
    TruncateMessage,
    ReplaceMessage,
    EditMessage,
    InjectMessage,
    FragmentMessage,
    MalformMessage,
    CutMessage,
    HangingClose,
)
