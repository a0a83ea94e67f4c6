"""The harm that can be done to WebSocket messages, one at a time.

    {do: drop_message, where: {method: subscription, params.channel: "book.*"}, nth: 3}

Whole messages only are changed or left out, so that framing and compression stay what they were;
except by `malform_message`, which is there to break them. Here are the faults that leave a
message what it is, or end the conversation with it; `payloads` and `framing` have the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, Literal

from squall_proxy.faults.base import (
    WAYS,
    How,
    Seconds,
    Way,
    check_above_zero,
    check_not_negative,
)
from squall_proxy.faults.framing import FragmentMessage, MalformMessage
from squall_proxy.faults.payloads import (
    CorruptMessage,
    EditMessage,
    ReplaceMessage,
    TruncateMessage,
    spelt,
)
from squall_proxy.faults.rules import Act, Finish, Hush, MessageFault, Sending, Step
from squall_proxy.frames import BINARY, CLOSE, PING, PONG, TEXT, close_payload
from squall_proxy.messages import Message, say

_OPCODES = {"text": TEXT, "binary": BINARY, "ping": PING, "pong": PONG, "close": CLOSE}


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
        payload = close_payload(self.code, self.reason) if close else spelt(self.payload)
        return say(way, _OPCODES[self.frame], payload)


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
    the client, say. `code` null leaves even the Close frame out. A connection that was hit stays
    dead until its client leaves it, also when the fault is removed before.
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


def _back(way: Way) -> Way:
    return "server_to_client" if way == "client_to_server" else "client_to_server"


MESSAGE_FAULTS: tuple[type[MessageFault], ...] = (
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
