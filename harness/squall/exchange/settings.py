"""The numbers of the mock exchange. Every one is a setting; the defaults are the venue's own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

Seconds = Annotated[float, "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the mock exchange behaves when nothing is wrong with it."""

    ack_latency: Seconds = 0.015
    """Seconds between a request and its reply. Requests take effect when they are answered.
    Not zero: one popular client fails when the ack beats its own bookkeeping."""

    tick: Seconds = 0.5
    """Seconds between two data messages of one channel."""

    trades_per_message: int = 1
    """How many trades a trades message holds."""

    order_updates: bool = True
    """Private order channels send every tick too, as if the account also traded elsewhere."""

    epoch: float = 1_767_225_600.0
    """What the venue's wall clock showed when the exchange started, in seconds since 1970."""

    token_lifetime: Seconds = 900.0
    """Seconds for which an access token is valid (`expires_in`)."""

    expiry_ends_subscriptions: bool = False
    """Whether a token's end also ends the private subscriptions of its connection: undocumented."""

    repeat_sends_snapshot: bool = True
    """Whether subscribing to a book that is served already sends a snapshot: undocumented."""

    listen_key_lifetime: Seconds = 3600.0
    """Seconds for which a Binance listenKey lives without a keepalive."""

    receive_window: Seconds = 5.0
    """How far the timestamp of a signed request may lie behind the venue's clock (Binance)."""

    heartbeat_minimum: Seconds = 10.0
    """The shortest heartbeat interval, in seconds, that a client may ask for."""

    inactivity_limit: Seconds = 600.0
    """Seconds of silence after which cancel-on-disconnect strikes on an open connection."""

    credit_pool: int = 50_000
    """Request credits that a connection starts with, and that it cannot exceed."""

    credit_cost: int = 500
    """Credits that a request outside the matching engine costs."""

    credit_refill: float = 10_000.0
    """Credits that flow back each second."""

    matching_burst: int = 20
    """Order requests that a connection may send at once."""

    matching_rate: float = 5.0
    """Order requests that a connection may send each second in the long run."""

    termination_code: int = 1008
    """Close code of a session that the venue ends over a limit: undocumented."""

    close_timeout: Seconds = 5.0
    """Seconds for which the exchange waits for the client's half of a closing handshake."""

    max_message_bytes: int = 1_048_576
    """Longest message in bytes that a client may send; a longer one is answered with close 1009."""

    permessage_deflate: bool = False
    """Whether an offer of permessage-deflate is granted (RFC 7692). Messages of 64 bytes and more
    are compressed then, for each connection by itself."""

    max_unsent_bytes: int = 4_194_304
    """Unsent bytes of one connection at which a client that does not read is cut off."""

    slow_consumer_code: int = 1008
    """Close code of a connection whose client does not read (Coinbase has 4005 for it). The Close
    frame waits behind what is unsent: after `close_timeout` the connection is dropped."""

    batch_interval: Seconds = 0.0
    """Seconds between two moments at which data messages are sent: those of one connection that
    are due by then go out together. At 0 each is sent by itself, when it is due."""

    # What follows overrules the venue's own manners where it is not None.

    login_in_order: bool | None = None
    """Whether a private request may follow a login at once, without waiting for its answer."""

    connections_per_address: int | None = None
    """How many WebSocket connections one address may hold; the next is refused with HTTP 429."""

    attempt_limit: int | None = None
    """How many WebSocket connections one address may ask for in any `attempt_window`."""

    attempt_window: Seconds | None = None
    """The rolling window of `attempt_limit`, in seconds."""

    ban_lifetime: Seconds | None = None
    """Seconds for which an address is refused that went over `attempt_limit`."""

    message_limit: int | None = None
    """How many messages, pings and pongs among them, a client may send in any second."""

    channel_limit: int | None = None
    """How many channels one connection may hold."""

    ping_interval: Seconds | None = None
    """Seconds between two WebSocket pings of the venue."""

    ping_timeout: Seconds | None = None
    """Seconds within which the pong is due."""

    keepalive_interval: Seconds | None = None
    """Seconds of silence after which the venue says that it is still there."""

    idle_limit: Seconds | None = None
    """Seconds after which a connection is closed on which neither side says anything."""

    connection_lifetime: Seconds | None = None
    """Seconds after which every connection is closed."""

    shutdown_notice: Seconds | None = None
    """How long before the end of its lifetime a connection is told."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 0:
                raise ValueError(f"{field.name} is {value}; it cannot be negative")
        for name in ("tick", "trades_per_message", "credit_refill", "matching_rate"):
            if not getattr(self, name):
                raise ValueError(f"{name} is 0; it must be more than that")
        if self.batch_interval > self.tick:
            raise ValueError(
                f"batch_interval is {self.batch_interval} and longer than tick, {self.tick}:"
                " messages would be left out"
            )
        check_close_code(self.termination_code)
        check_close_code(self.slow_consumer_code)


def check_close_code(code: int) -> None:
    """Raise ValueError for a code that a Close frame cannot carry (RFC 6455, section 7.4)."""
    if code in (1004, 1005, 1006) or not (1000 <= code <= 1014 or 3000 <= code <= 4999):
        hint = " Cut the connection at the proxy with `fin` or `rst` instead." * (code == 1006)
        raise ValueError(
            f"{code} is no code that a Close frame can carry;"
            f" 1000-1003, 1007-1014 and 3000-4999 are.{hint}"
        )
