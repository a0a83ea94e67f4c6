"""What can be wrong with a venue. A fault is a frozen value; its methods say what it changes.

The exchange asks every fault in force at a few points: when a client wants to connect, when a
request arrives, when a data message is due, when a heartbeat is due and when a client says goodbye.
A fault overrides the questions that concern it. What it must remember is kept in its `Injection`.

To add a fault, write one dataclass and add it to the table of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from squall.exchange.protocol import HttpAnswer, Message, Request, Trouble, VenueError

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.feeds import Feed
    from squall.exchange.injection import Injection


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What becomes of a request: it is late, fails, is swallowed or is carried out in part."""

    delay: float = 0.0
    error: VenueError | None = None
    swallowed: bool = False
    carried_out: bool = True
    missing: int = 0

    def joined(self, other: Ruling) -> Ruling:
        """Both at once; the first error speaks."""
        return Ruling(
            delay=self.delay + other.delay,
            error=self.error or other.error,
            swallowed=self.swallowed or other.swallowed,
            carried_out=self.carried_out and other.carried_out,
            missing=self.missing + other.missing,
        )


@dataclass(frozen=True, slots=True)
class Excess:
    """A client sent too much: how many messages in the window, and the close code for it."""

    count: int
    code: int


@dataclass(frozen=True)
class ExchangeFault:
    """A venue as it should be: every question has its ordinary answer."""

    name: ClassVar[str]
    silences_heartbeats: ClassVar[bool] = False
    ignores_close: ClassVar[bool] = False
    locks: ClassVar[bool] = False

    @property
    def uses(self) -> int | None:
        """After how many uses the fault is over by itself; None where it lasts until healed."""
        return None

    def begin(self, exchange: Exchange, injection: Injection) -> None:
        """Do what is to be done at once."""

    def end(self, exchange: Exchange, injection: Injection) -> None:
        """Put right what does not come right by itself."""

    def refusal(self) -> HttpAnswer | None:
        """The answer to a client that wants to connect, where it is refused."""
        return None

    def ruling(self, exchange: Exchange, request: Request) -> Ruling | None:
        """What becomes of a request, where the fault concerns it."""
        return None

    def excess(self, injection: Injection, connection: int, now: float) -> Excess | None:
        """Whether one more message is too much."""
        return None

    def silences(self, exchange: Exchange, injection: Injection, channel: str) -> bool:
        """Whether a channel has nothing to say."""
        return False

    def renumber(self, exchange: Exchange, injection: Injection, feed: Feed) -> list[int] | None:
        """Which messages a feed sends now, by number, where it is not the next one."""
        return None

    def alter(
        self, exchange: Exchange, injection: Injection, feed: Feed, number: int, message: Message
    ) -> Message | None:
        """What a feed sends instead of its message `number`, where that is something else."""
        return None


def failure(exchange: Exchange, code: int | None, message: str, trouble: Trouble) -> VenueError:
    """The error that a fault asks for: by its code, or the venue's own for such trouble."""
    if code is None:
        return injected(exchange.dialect.trouble(trouble))
    return VenueError(code, message or exchange.dialect.explain(code), injected=True)


def injected(error: VenueError) -> VenueError:
    """The same error, marked as the work of a fault."""
    error.injected = True
    return error


def check_count(field: str, count: int | None) -> None:
    """Raise ValueError for a count below 1."""
    if count is not None and count < 1:
        raise ValueError(f"{field} is {count}; it must be at least 1")
