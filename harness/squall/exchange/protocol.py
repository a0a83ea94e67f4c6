"""What a venue's dialect must offer: the seam between the exchange and its spelling.

The exchange knows connections, tokens, subscriptions, orders, heartbeats and faults. A dialect
knows how one venue spells them. It holds no state, so one instance serves every run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from squall.exchange.manners import Manners

if TYPE_CHECKING:
    from squall.exchange.core import Exchange
    from squall.exchange.orders import Order
    from squall.exchange.session import Session

RequestId = int | float | str | None

# What a venue lacks together: settings, faults, and events that a step waits for.
CREDITS = ("credit_pool", "credit_cost", "credit_refill")
TESTS = (
    *("test_burst", "test_requested", "test_answered"),
    *("heartbeat_set", "heartbeat_minimum", "ping_interval", "ping_timeout"),
)


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

    @property
    def logs_in(self) -> bool:
        """Whether it proves who its sender is: a login, or a request that bears its own proof."""
        return self.op is Op.AUTH or bool(self.material)


class VenueError(Exception):
    """A request fails in a way that the venue has a code for.

    `injected` tells that a fault caused it, `terminates` that the session ends with it.
    """

    def __init__(
        self,
        code: int | str,
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
class HttpRequest:
    """An HTTP request that asks for no WebSocket. Names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the question mark."""
        return self.target.partition("?")[2]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """The answer to an HTTP request; `retry_after` in seconds where it carries that header."""

    status: int
    body: str
    content_type: str = "application/json"
    retry_after: float | None = None


class Dialect(ABC):
    """How one venue spells requests, replies, channels and data.

    `path` is where a client connects, `private_path` where it must go for private data, None
    where one endpoint serves both. `codes` are those of common failures, `errors` the words that go
    with codes, `unexplained` those for a code that has none. `listed` has the channels of each
    kind that scenarios ask for. `absent` says why what a scenario asks for makes no sense here;
    `foreign` is how methods begin that only Deribit has.
    """

    name: ClassVar[str]
    path: ClassVar[str]
    private_path: ClassVar[str | None] = None
    manners: ClassVar[Manners] = Manners()
    codes: ClassVar[Mapping[Trouble, int | str]]
    errors: ClassVar[Mapping[int, str]] = MappingProxyType({})
    unexplained: ClassVar[str] = "error"
    listed: ClassVar[Mapping[str, Sequence[str]]]
    absent: ClassVar[Mapping[str, str]]
    foreign: ClassVar[tuple[str, ...]] = ("private/", "public/")

    def lacks(self, what: str) -> str | None:
        """Why something that a scenario may ask for makes no sense here; None where it does.

        `what` is a fault, a setting of the exchange, a kind of event that a step waits for, or a
        method that a step requests.
        """
        if what.startswith(self.foreign):
            return f"{what} is no method of {self.name}"
        return self.absent.get(what)

    def serves(self, path: str) -> bool:
        """Whether there is a WebSocket endpoint at this path, which has no query."""
        return path == self.path

    def opened(self, exchange: Exchange, session: Session) -> None:
        """Do what the venue does when a connection is up."""
        return None

    def channels(self, kind: str, count: int) -> list[str]:
        """The first `count` channels of a kind: trades, book, ticker or orders (private).

        Raises ValueError where the venue has no such kind, or fewer channels of it. A venue that
        tells of all orders on one channel has that one, however many are asked for.
        """
        if kind not in self.listed:
            known = ", ".join(sorted(self.listed))
            raise ValueError(f"{self.name} has no channels of kind '{kind}'. Known: {known}.")
        names = self.listed[kind]
        enough = 0 <= count <= len(names) or (kind == "orders" and len(names) == 1)
        if not enough:
            raise ValueError(
                f"{count} channels of kind '{kind}' were asked for; there are {len(names)}"
            )
        return list(names[:count])

    @abstractmethod
    def is_private(self, channel: str) -> bool:
        """Whether the channel needs authentication."""

    @abstractmethod
    def kind(self, channel: str) -> str | None:
        """The channel's kind, or None where the venue has no such channel."""

    @abstractmethod
    def parse(self, text: str) -> Request:
        """Understand a message of the client. Raises VenueError where that is impossible."""

    def vouches(self, exchange: Exchange, session: Session, request: Request) -> bool:
        """Whether the request itself proves who sent it, so that it needs no login before it."""
        return False

    @abstractmethod
    def answer(self, exchange: Exchange, session: Session, request: Request) -> Sequence[str]:
        """Carry out a request and spell the reply, or replies. Raises VenueError."""

    @abstractmethod
    def error(
        self, exchange: Exchange, session: Session, request: Request, error: VenueError
    ) -> str | None:
        """Spell an error reply; None where the venue says nothing."""

    def trouble(self, trouble: Trouble) -> VenueError:
        """The venue's own error for a common failure."""
        code = self.codes[trouble]
        return VenueError(code, self.explain(code))

    def unauthorized(self, exchange: Exchange, request: Request) -> VenueError:
        """The error for a private request that neither a login nor a proof goes with."""
        return self.trouble(Trouble.UNAUTHORIZED)

    def explain(self, code: int | str) -> str:
        """The venue's own words for an error code, which may be words itself."""
        return code if isinstance(code, str) else self.errors.get(code, self.unexplained)

    def flows(self, exchange: Exchange, channel: str) -> bool:
        """Whether the channel has steady traffic: news of orders where the settings say so."""
        kind = self.kind(channel)
        return exchange.settings.order_updates if kind == "orders" else kind != "other"

    @abstractmethod
    def data(self, exchange: Exchange, channel: str, number: int) -> Message:
        """Data message `number` of a channel that flows."""

    @abstractmethod
    def snapshot(self, exchange: Exchange, channel: str, number: int) -> Message | None:
        """What a new subscriber gets first after `number` messages, or None."""

    @abstractmethod
    def order_message(self, exchange: Exchange, channel: str, order: Order) -> Message | None:
        """The news of an order, or None where the channel does not tell of it."""

    def with_bad_checksum(self, message: Message) -> Message | None:
        """The message with a checksum that does not fit; None where the venue has none."""
        return None

    def envelope(self, session: Session, channel: str, text: str) -> str:
        """A data message as this connection gets it."""
        return text

    def token_ended(self, exchange: Exchange, session: Session) -> None:
        """The token on which a connection lived has come to its end."""
        if exchange.settings.expiry_ends_subscriptions:
            exchange.broadcast.unsubscribe_private(session)

    # --- liveness and notices ---------------------------------------------------------------------

    def heartbeat(self) -> tuple[str, str]:
        """The venue's application-level heartbeat, and its request for a sign of life."""
        raise NotImplementedError(f"{self.name} has no heartbeat that clients ask for")

    def keepalive(self) -> str:
        """What the venue says when it has nothing to say."""
        raise NotImplementedError(f"{self.name} keeps silent")

    @abstractmethod
    def notice(self, exchange: Exchange, session: Session, locked: bool) -> tuple[str, str] | None:
        """What a connection is told of planned maintenance, and on which channel."""

    # --- HTTP -------------------------------------------------------------------------------------

    @abstractmethod
    def rest(self, exchange: Exchange, number: int, request: HttpRequest) -> HttpAnswer:
        """Answer an HTTP request. Raises VenueError."""

    def understand(self, exchange: Exchange, request: HttpRequest) -> Request | None:
        """The HTTP request as faults see it; None where they leave HTTP alone."""
        return None

    def http_error(self, exchange: Exchange, error: VenueError) -> HttpAnswer:
        """Spell an error over HTTP."""
        raise error
