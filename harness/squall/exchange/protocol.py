"""What a venue's dialect must offer: the seam between the exchange and its spelling.

The exchange knows connections, tokens, subscriptions, orders, heartbeats and faults. A dialect
knows how one venue spells them. It holds no state, so one instance serves every run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.orders import Order
    from squall.exchange.session import Session

RequestId = int | float | str | None


class Op(StrEnum):
    """What a request is about, whatever its venue calls it."""

    AUTH = "auth"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    HEARTBEAT = "heartbeat"
    TEST = "test"
    ORDER = "order"
    CANCEL = "cancel"
    OTHER = "other"


class Trouble(StrEnum):
    """Failures that every venue has an error code for."""

    BAD_CREDENTIALS = "bad credentials"
    UNAUTHORIZED = "unauthorized"
    RATE = "too many requests"
    MAINTENANCE = "maintenance"
    INTERNAL = "internal error"


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a client, as far as it can be understood.

    `authenticated` tells how things stood when the request arrived: a request that was sent before
    the ack of the login counts as sent too early. `missing` is how many of the last channels a
    fault leaves out of a subscription.
    """

    method: str
    op: Op = Op.OTHER
    id: RequestId = None
    params: Mapping[str, Any] = field(default_factory=dict)
    private: bool = False
    channels: tuple[str, ...] = ()
    grant: str = ""
    material: str = ""
    access_token: str | None = None
    authenticated: bool = False
    received: float = 0.0
    missing: int = 0


class VenueError(Exception):
    """A request fails in a way that the venue has a code for.

    `injected` tells that a fault caused it, `terminates` that the session ends with it.
    """

    def __init__(
        self,
        code: int,
        message: str,
        data: Mapping[str, Any] | None = None,
        *,
        id: RequestId = None,
        injected: bool = False,
        terminates: bool = False,
    ) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.data = data
        self.id = id
        self.injected = injected
        self.terminates = terminates


@dataclass(frozen=True, slots=True)
class Message:
    """One data message. `seq` is the venue's own number, of the last item where there are several,
    and None where the venue has none.
    """

    text: str
    seq: int | None = None
    snapshot: bool = False


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to an HTTP request; `retry_after` in seconds where it carries that header."""

    status: int
    body: str
    content_type: str = "application/json"
    retry_after: float | None = None


class Dialect(ABC):
    """How one venue spells requests, replies, channels and data."""

    name: ClassVar[str]
    path: ClassVar[str]

    @abstractmethod
    def channels(self, kind: str, count: int) -> list[str]:
        """The first `count` channels of a kind: trades, book, ticker or orders (private).

        Raises ValueError where the venue has no such kind, or fewer channels of it.
        """

    @abstractmethod
    def is_private(self, channel: str) -> bool:
        """Whether the channel needs authentication."""

    @abstractmethod
    def kind(self, channel: str) -> str | None:
        """The channel's kind, or None where the venue has no such channel."""

    @abstractmethod
    def parse(self, text: str) -> Request:
        """Understand a message of the client. Raises VenueError where that is impossible."""

    @abstractmethod
    def answer(self, exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
        """Carry out a request and spell the reply, or replies. Raises VenueError."""

    @abstractmethod
    def error(self, exchange: Exchange, request: Request, error: VenueError) -> str:
        """Spell an error reply."""

    @abstractmethod
    def trouble(self, trouble: Trouble) -> VenueError:
        """The venue's own code for a common failure."""

    @abstractmethod
    def explain(self, code: int) -> str:
        """The venue's own words for an error code."""

    @abstractmethod
    def flows(self, exchange: Exchange, channel: str) -> bool:
        """Whether the channel has steady traffic."""

    @abstractmethod
    def data(self, exchange: Exchange, channel: str, number: int) -> Message:
        """Data message `number` of a channel that flows."""

    @abstractmethod
    def snapshot(self, exchange: Exchange, channel: str, number: int) -> Message | None:
        """What a new subscriber gets first after `number` messages, or None."""

    @abstractmethod
    def order_message(self, exchange: Exchange, channel: str, order: Order) -> Message | None:
        """The news of an order, or None where the channel does not tell of it."""

    @abstractmethod
    def heartbeat(self) -> tuple[str, str]:
        """The venue's application-level heartbeat, and its request for a sign of life."""

    @abstractmethod
    def notice(self, locked: bool) -> tuple[str, Message]:
        """The channel that tells of planned maintenance, and the message."""

    @abstractmethod
    def rest(self, exchange: Exchange, method: str, target: str) -> HttpAnswer:
        """Answer an HTTP request."""
