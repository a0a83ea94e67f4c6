"""Every number that the adapter uses, with its unit and the reason for its default.

Durations are seconds. A setting that may be switched off takes None (`null` in JSON).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints


class SettingsError(ValueError):
    """A setting has the wrong type or an impossible value; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the adapter behaves. The defaults suit Deribit and survive its maintenance windows."""

    connect_timeout: float = 10.0
    """Seconds for TCP, TLS and the HTTP upgrade together."""

    close_timeout: float = 2.0
    """Seconds that a peer has for its half of a closing handshake; then the line is aborted."""

    ping_interval: float | None = 5.0
    """Seconds between WebSocket pings; None sends none."""

    pong_timeout: float = 5.0
    """Seconds until a ping without its pong means that the line is dead.

    Data that still flows in proves nothing about the way out: one direction can die alone.
    """

    silence_timeout: float | None = 15.0
    """Seconds without any inbound message or pong until the line is dead; None never judges."""

    heartbeat_interval: float | None = 30.0
    """Seconds between the exchange's own heartbeats (Deribit wants at least 10); None asks for
    none. Two intervals without one mean that the line is dead."""

    ack_timeout: float = 5.0
    """Seconds for the answer to authentication, subscribe and set_heartbeat."""

    request_timeout: float = 30.0
    """Seconds for the answer to a request of the user."""

    reconnect_on_error: bool = True
    """Whether a *stand-alone client* dials again by itself. The adapter always switches it off
    in the client that it owns: exactly one layer may reconnect."""

    first_delay_max: float = 1.0
    """Seconds: the first dial after a loss waits a random time up to this, later ones no less.
    RFC 6455 section 7.2.3 suggests up to 5, which is kinder where many adapters share a line."""

    backoff_base: float = 1.0
    """Seconds: ceiling of the random delay after the first failure; it doubles each time."""

    backoff_max: float = 30.0
    """Seconds: that ceiling grows no further. (The guide's 60 s break its own alert on
    reconnects that take longer than 30 s.)"""

    stable_after: float = 10.0
    """Seconds live before failures are forgotten. A mere upgrade forgets none, or a server
    that accepts and closes would be dialled in a tight loop."""

    max_attempts: int | None = None
    """Failed dials in a row before giving up; None never does. (The guide's 10 last for about
    five minutes, a maintenance window for up to thirty.)"""

    breaker_failures: int | None = 5
    """Failures in a row that open the circuit breaker; None has no breaker."""

    breaker_open: float = 20.0
    """Seconds without any dial once the circuit is open (then up to a quarter more, at random,
    so that many adapters do not return together). Shorter than the guide's 60: after a heal an
    open circuit is what delays the recovery, and `backoff_max` already slows the dials."""

    ban_wait: float = 30.0
    """Seconds to stay away after a 403 without Retry-After: a ban of unknown length."""

    limit_wait: float = 5.0
    """Seconds to stay away after the exchange cut us off for too many requests: Deribit's pool
    of 50 000 credits refills at 10 000 a second."""

    auth_grant: Literal["client_signature", "client_credentials"] = "client_signature"
    """How to authenticate. A signature is made afresh each time and never shows the secret."""

    auth_attempts: int = 3
    """Rejections of the credentials in a row before giving up for good."""

    auth_retry: float = 2.0
    """Seconds: ceiling of the pause after the first rejection; it doubles each time."""

    token_refresh_at: float = 0.8
    """Fraction of a token's life after which it is refreshed."""

    subscribe_batch: int = 50
    """Channels in one subscribe request."""

    subscribe_pause: float = 0.1
    """Seconds between two subscribe requests."""

    stale_after: float | None = 10.0
    """Seconds without data until a market data channel is reported as stale; None reports
    nothing. Never a reason to tear the connection down: others may be fine."""

    cancel_on_disconnect: bool = False
    """Whether the exchange shall cancel open orders when the connection is lost."""

    reconcile_orders: bool = True
    """Whether to query open orders after each login, where an orders channel is wanted."""

    max_message_bytes: int = 16 * 1024 * 1024
    """Bytes: a longer message ends the connection."""

    compression: bool = False
    """Whether to offer permessage-deflate."""

    def __post_init__(self) -> None:
        for name, value in ((f.name, getattr(self, f.name)) for f in fields(self)):
            problem = _problem(name, value)
            if problem:
                raise SettingsError(problem)
        if self.backoff_max < self.backoff_base:
            raise SettingsError(
                f"backoff_max ({self.backoff_max}) must be at least "
                f"backoff_base ({self.backoff_base})"
            )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> tuple[Settings, list[str]]:
        """Settings from JSON, and the names among them that mean nothing to this adapter.

        Raises `SettingsError`. Unknown names are no error: a scenario's settings are written
        for many adapters.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(name for name in mapping if name not in known)
        return cls(**{name: mapping[name] for name in mapping if name in known}), unknown


_HINTS: dict[str, Any] = {}
_MAY_BE_ZERO = {"first_delay_max", "subscribe_pause", "stable_after", "ban_wait", "limit_wait"}


def _problem(name: str, value: object) -> str | None:
    """What is wrong with a value, in one sentence; None where nothing is."""
    if not _HINTS:
        _HINTS.update(get_type_hints(Settings))
    kinds = get_args(_HINTS[name]) or (_HINTS[name],)
    if value is None and NoneType in kinds:
        return None
    if isinstance(kinds[0], str):
        wanted = " or ".join(repr(kind) for kind in kinds)
        return None if value in kinds else f"{name} must be {wanted}, not {value!r}"
    if bool in kinds:
        return None if isinstance(value, bool) else f"{name} must be true or false, not {value!r}"
    if int in kinds:
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        return None if whole else f"{name} must be a whole number above 0, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{name} must be a number, not {value!r}"
    if name == "token_refresh_at" and not 0 < value <= 1:
        return f"{name} must be a fraction between 0 and 1, not {value!r}"
    if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
        return f"{name} must be above 0, not {value!r}"
    return None
