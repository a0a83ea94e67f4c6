"""What was done to the adapter, and where it went silent without a word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from squall.checks.connection import Connection
from squall.history import Event
from squall.service import STRIKES

# Faults of the proxy after which nothing tells the adapter that the line is dead.
SILENCES = frozenset(
    {"blackhole", "packet_blackhole", "stall", "trickle", "handshake_blackhole", "tls_hang"}
)
# The same seen from the exchange: it lives, but says nothing, or never answers a Close frame.
EXCHANGE_SILENCES = frozenset({"stall_channel", "no_ping", "ignore_close"})

# In force, these do not keep an adapter from dialling and being served.
_HARMLESS = frozenset({"latency", *STRIKES})
_CLOSED_EXCHANGE = frozenset({"maintenance", "ban", "limit", "revoke", "reject_auth"})


@dataclass(eq=False)
class Disturbance:
    """Something done to the adapter: a fault of the line or the exchange, or its own freezing."""

    what: str
    source: str
    started: Event
    fired: list[Event] = field(default_factory=list)
    ended: Event | None = None

    @property
    def at(self) -> float:
        """When it began, in seconds."""
        return self.started.at

    @property
    def until(self) -> float:
        """When it was healed; infinity where that never happened."""
        return self.ended.at if self.ended else math.inf

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the fault."""
        found: Mapping[str, Any] = self.started.get("settings") or {}
        return found

    @property
    def blocks_dialling(self) -> bool:
        """Whether, while it is in force, a new connection may fail through no fault of its own."""
        if self.source == "exchange":
            return self.what in _CLOSED_EXCHANGE
        return self.what not in _HARMLESS

    def overlaps(self, begin: float, end: float) -> bool:
        """Whether it was in force at any time from `begin` to `end`."""
        return self.at <= end and self.until >= begin


@dataclass(frozen=True)
class Silence:
    """A connection, or a feed, on which the adapter hears nothing more and is not told so.

    `onset` is the first byte or message that did not arrive; `since` is when the silence was
    arranged, which is at most one data interval earlier.
    """

    disturbance: Disturbance
    onset: Event
    since: float
    connection: Connection | None
