"""What a core asks of its shell, and what it tells its owner.

A core (`Client`, `Session`) does no I/O. It is told what happened and when, and answers with a
list of these values. A shell carries out the first group and reports the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a connection within `timeout` seconds; answer `connected` or `disconnected`."""

    timeout: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send one text message."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a WebSocket ping; answer `pong` when its pong arrives."""


@dataclass(frozen=True, slots=True)
class Close:
    """Begin the closing handshake; answer `disconnected` when the socket is gone."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Drop the socket, or the dial, at once; answer `disconnected` when it is gone."""


@dataclass(frozen=True, slots=True)
class Up:
    """The client has a connection."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message for the client's owner."""

    message: str | bytes


@dataclass(frozen=True, slots=True)
class Loss:
    """Why there is no connection: a dial that failed, or a connection that ended.

    `status` is that of an HTTP answer other than 101, `retry_after` its Retry-After in seconds.
    """

    reason: str
    status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Down:
    """The client has no connection any more, or never got one.

    What it had is of no use from now on. `Finished`, or the next dial, waits for its socket.
    """

    loss: Loss


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No dial will follow: attempts are used up, or the credentials are wrong."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Data for the consumer. `gap`: messages before it are missing."""

    channel: str
    data: Any
    seq: int | None
    gap: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of a request. `indefinite`: whether it took effect is not known."""

    tag: Any
    ok: bool
    error: str | None = None
    indefinite: bool = False
    result: Any = None


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """The open orders as the exchange knows them, queried after each login."""

    orders: list[Any]


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The adapter believes itself in another state."""

    state: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """A remark worth keeping. Never holds a secret or a token."""

    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The core is done and will ask for nothing more; `status` is the process's exit status."""

    status: int


Action = (
    Dial
    | Send
    | Ping
    | Close
    | Abort
    | Up
    | Down
    | Received
    | GiveUp
    | Deliver
    | Reply
    | OpenOrders
    | StateChanged
    | Log
    | Finished
)
Actions = list[Action]


class Core(Protocol):
    """What a shell can run: a stand-alone `Client`, or a `Session`."""

    @property
    def deadline(self) -> float | None:
        """When `tick` is due, if nothing happens before."""

    def start(self, now: float) -> Actions:
        """Begin."""

    def connected(self, now: float) -> Actions:
        """The dial succeeded: the 101 has arrived."""

    def received(self, message: str | bytes, now: float) -> Actions:
        """A whole message has arrived."""

    def pong(self, now: float) -> Actions:
        """The pong of our last ping has arrived."""

    def disconnected(self, loss: Loss, now: float) -> Actions:
        """The dial failed, or the connection ended; its socket is gone."""

    def tick(self, now: float) -> Actions:
        """Do what is due."""

    def stop(self, now: float) -> Actions:
        """End cleanly; `Finished` follows when the connection is gone."""


class LineObserver(Protocol):
    """Who wants to know what a core has no use for: a load generator, say."""

    def opened(self) -> None:
        """The first half of a dial is done: TCP is there, on asyncio also TLS where it is used.

        It falls between `StateChanged("connecting")` and `StateChanged("connected")`.
        """

    def received(self, size: int) -> None:
        """A message of `size` characters, or bytes where it is binary, has arrived."""
