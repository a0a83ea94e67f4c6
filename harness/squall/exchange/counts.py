"""What the exchange has counted since it began: plain numbers, so that counting costs nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Each only ever grows. `dials` are TCP connections that were accepted."""

    dials: int = 0
    dials_refused: int = 0
    """Connections closed at once, because the process was out of file descriptors."""

    upgrades: int = 0
    upgrades_refused: int = 0
    """HTTP refusals of a WebSocket: limits, bans, maintenance."""

    logins: int = 0
    logins_failed: int = 0
    subscriptions: int = 0
    """Channels that were granted; one that was served already is not counted again."""

    messages_in: int = 0
    """Text messages; pings, pongs and Close frames are none."""

    messages_out: int = 0
    bytes_in: int = 0
    """Bytes of connections, HTTP and frames and all."""

    bytes_out: int = 0
    slow_consumers: int = 0
    """Connections cut off because their client did not read."""
