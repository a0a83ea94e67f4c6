"""What all faults on messages have in common: each is a rule.

It says which messages (`where` and the other keys of a `Pattern`), when (`since`, `before`), how
many of them (`nth`, `every`, `times`), and what is done. `attach` gives the function that does it:
from a message to what is sent in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any, NamedTuple

from squall_proxy.faults.base import Direction, Fault, How, Way
from squall_proxy.messages import Message
from squall_proxy.patterns import Pattern


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


def _said(pattern: Pattern) -> dict[str, Any]:
    """The fields of a pattern that are set, as plain values."""
    values = {each.name: getattr(pattern, each.name) for each in fields(pattern)}
    return {
        name: _said(value) if isinstance(value, Pattern) else value
        for name, value in values.items()
        if value not in (None, {})
    }
