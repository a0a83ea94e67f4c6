"""One WebSocket connection as the venue sees it, and the allowance it draws on."""

from __future__ import annotations

from collections import deque
from typing import Any

from squall.exchange.heartbeats import Heartbeat
from squall.exchange.manners import Manners
from squall.exchange.settings import Settings
from squall.exchange.tokens import Token


class Bucket:
    """A token bucket: `size` at most, `refill` more each second."""

    def __init__(self, size: float, refill: float, now: float) -> None:
        self._size, self._refill = size, refill
        self._level, self._at = size, now

    def take(self, cost: float, now: float) -> bool:
        """Take `cost`, or nothing and say False where there is not enough."""
        self._level = min(self._size, self._level + (now - self._at) * self._refill)
        self._at = now
        if cost > self._level:
            return False
        self._level -= cost
        return True


class Window:
    """A rolling window: what happened within the last `per` seconds."""

    def __init__(self, per: float) -> None:
        self._per = per
        self._times: deque[float] = deque()

    def add(self, now: float) -> int:
        """One more; how many there are now."""
        self._times.append(now)
        while self._times[0] <= now - self._per:
            self._times.popleft()
        return len(self._times)


class Session:
    """What the venue remembers of a connection. All of it dies with the connection.

    `subscriptions` counts the messages that were sent on each channel.
    A `condemned` one has gone over a limit: it gets the error and is closed. One that
    `said_goodbye` waits for an answer that a fault withholds. `state` is the dialect's own.
    """

    def __init__(
        self,
        number: int,
        path: str,
        address: str,
        settings: Settings,
        manners: Manners,
        now: float,
    ) -> None:
        self.number = number
        self.path = path
        self.address = address
        self.open = True
        self.condemned = False
        self.said_goodbye = False
        self.token: Token | None = None
        self.subscriptions: dict[str, int] = {}
        self.snapshots_owed: set[str] = set()
        self.heartbeat: Heartbeat | None = None
        self.cancel_on_disconnect = False
        self.requests = 0
        self.state: Any = None
        self.last_heard = now
        self.last_sent = now
        self.message_limit = manners.message_limit
        self.idle_limit = manners.idle_limit
        self.arrivals = Window(1.0)
        self.last_due = now
        self.credits = Bucket(settings.credit_pool, settings.credit_refill, now)
        self.matching = Bucket(settings.matching_burst, settings.matching_rate, now)

    def authenticated(self, now: float) -> bool:
        """Whether it has logged in, and its token still lives."""
        return self.token is not None and self.token.live(now)
