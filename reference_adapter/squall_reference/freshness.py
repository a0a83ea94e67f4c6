"""Which channels have gone quiet while their connection lives.

One stalled channel among many is no reason to tear the connection down, but the consumer must be
able to tell an old price from a steady one (ccxt#20836: a book froze on a living connection).
"""

from __future__ import annotations

from collections.abc import Iterable


def speaks_only_on_events(channel: str) -> bool:
    """Whether silence is normal: an account's own channels speak only when something happens."""
    return channel.startswith(("user.", "platform_state", "announcements"))


class Freshness:
    """When each channel last had data. `limit` seconds without make it stale; None never."""

    def __init__(self, limit: float | None) -> None:
        self.stale: set[str] = set()
        self.deadline: float | None = None
        self._limit = limit
        self._heard: dict[str, float] = {}

    def watch(self, channels: Iterable[str], now: float) -> None:
        """Watch exactly these channels; the time of a new one begins now."""
        if self._limit is None:
            return
        market_data = [c for c in channels if not speaks_only_on_events(c)]
        self._heard = {c: self._heard.get(c, now) for c in market_data}
        self.stale.intersection_update(market_data)
        if not market_data:
            self.deadline = None
        elif self.deadline is None:
            self.deadline = now + self._limit

    def heard(self, channel: str, now: float) -> bool:
        """Data came; True where the channel was stale until now."""
        if channel in self._heard:
            self._heard[channel] = now
        was_stale = channel in self.stale
        self.stale.discard(channel)
        return was_stale

    def look(self, now: float) -> list[str]:
        """The channels that have become stale. Between two looks lies half the limit."""
        if self._limit is None or self.deadline is None or self.deadline > now:
            return []
        self.deadline = now + self._limit / 2
        due = now - self._limit
        found = [c for c, at in self._heard.items() if at <= due and c not in self.stale]
        self.stale.update(found)
        return found
