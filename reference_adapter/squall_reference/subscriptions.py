"""Subscriptions: what is wanted, what the exchange has confirmed, and the next step between.

The difference of two sets is asked for, one request at a time, until there is none. So a lost
connection empties one set and everything is restored; a short list in an ack leaves a channel
missing and it is asked for again; a change of mind during an outage touches `wanted` only. The
guide tracks one set and sends without reading the acks, which loses a channel for good when the
exchange does not take it (Deribit 11052).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Literal

from squall_reference.redial import backoff_ceiling
from squall_reference.settings import Settings


def is_private(channel: str) -> bool:
    """Whether a channel needs an authenticated connection: `user.*`, and raw feeds.

    Those go through `private/subscribe`; the guide's library sends them through
    `public/subscribe`, where Deribit just leaves them out of its answer.
    """
    return channel.startswith("user.") or channel.endswith(".raw")


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: begin or end the service of some channels, all private or all public."""

    op: Literal["subscribe", "unsubscribe"]
    private: bool
    channels: tuple[str, ...]

    @property
    def method(self) -> str:
        """The method's name on the wire."""
        return f"{'private' if self.private else 'public'}/{self.op}"


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A channel was asked for in vain `times` times; it is not asked for before `until`."""

    times: int
    until: float


class Subscriptions:
    """Steers the confirmed set towards the wanted set, in batches, at a bounded pace."""

    def __init__(self, settings: Settings, rng: Random) -> None:
        self.wanted: dict[str, None] = {}  # An ordered set.
        self.confirmed: set[str] = set()
        self.missing: list[str] = []  # Wanted, but not confirmed.
        self._surplus: list[str] = []  # Served, perhaps, and to be unsubscribed.
        self._settings = settings
        self._rng = rng
        self._asking = False
        self._pause_until: float | None = None
        self._uncertain: set[str] = set()
        self._again: set[str] = set()
        self._refusals: dict[str, _Refusal] = {}

    @property
    def complete(self) -> bool:
        """Exactly the wanted channels are confirmed, and nothing is being changed."""
        return not self.missing and not self._surplus and not self._asking

    def want(self, channels: Iterable[str]) -> None:
        """Add to the wanted channels."""
        self.wanted.update(dict.fromkeys(channels))
        self._compare()

    def unwant(self, channels: Iterable[str]) -> None:
        """Take from the wanted channels."""
        for channel in channels:
            self.wanted.pop(channel, None)
            self._again.discard(channel)
            self._refusals.pop(channel, None)
        self._compare()

    def resynchronise(self, channel: str) -> None:
        """Subscribe this one channel anew, for a fresh snapshot."""
        if channel in self.wanted:
            self._again.add(channel)
            self._compare()

    def disconnected(self) -> None:
        """The subscriptions died with the connection. What is wanted is still wanted."""
        self.confirmed.clear()
        self._uncertain.clear()
        self._again.clear()
        self._refusals.clear()
        self._asking = False
        self._pause_until = None
        self._compare()

    def next(self, now: float) -> Ask | None:
        """The next request, if there is one to make now. Its end must be told before the next."""
        if self._asking or (self._pause_until is not None and self._pause_until > now):
            return None
        ask = self._ask("unsubscribe", self._surplus, now)
        ask = ask or self._ask("subscribe", self.missing, now)
        self._asking = ask is not None
        return ask

    def _compare(self) -> None:
        # Done on a change, not on each look: each message of the exchange takes a look.
        served = sorted(self.confirmed | self._uncertain)
        self.missing = [c for c in self.wanted if c not in self.confirmed]
        self._surplus = [c for c in served if c not in self.wanted or c in self._again]

    def _ask(
        self, op: Literal["subscribe", "unsubscribe"], channels: list[str], now: float
    ) -> Ask | None:
        ready = [c for c in channels if self._ready_at(c) <= now]
        if not ready:
            return None
        private = is_private(ready[0])
        alike = [channel for channel in ready if is_private(channel) == private]
        return Ask(op, private, tuple(alike[: self._settings.subscribe_batch]))

    def _ready_at(self, channel: str) -> float:
        refusal = self._refusals.get(channel)
        return refusal.until if refusal is not None else 0.0

    def answered(self, ask: Ask, granted: Iterable[str], now: float) -> list[str]:
        """The exchange took an ask; what it left out of a subscribe is returned."""
        self._ended(now)
        if ask.op == "unsubscribe":
            # What the answer leaves out was not served before either.
            for known in (self.confirmed, self._uncertain, self._again):
                known.difference_update(ask.channels)
            self._compare()
            return []
        taken = set(granted).intersection(ask.channels)
        self.confirmed |= taken
        self._uncertain -= taken
        for channel in taken:
            self._refusals.pop(channel, None)
        self._compare()
        return self._refuse([c for c in ask.channels if c not in taken], now)

    def failed(self, ask: Ask, now: float) -> list[str]:
        """An ask was refused or never answered; the channels in question are returned."""
        self._ended(now)
        # Nobody knows whether the exchange took it before its answer was lost. So the channels
        # are neither confirmed nor gone: they are asked for again if they are wanted then, and
        # unsubscribed if they are not.
        self.confirmed.difference_update(ask.channels)
        self._uncertain.update(ask.channels)
        self._compare()
        return self._refuse(list(ask.channels), now)

    def _ended(self, now: float) -> None:
        self._asking = False
        self._pause_until = now + self._settings.subscribe_pause

    def _refuse(self, channels: list[str], now: float) -> list[str]:
        settings = self._settings
        for channel in channels:
            earlier = self._refusals.get(channel)
            times = earlier.times if earlier is not None else 0
            ceiling = backoff_ceiling(times, settings.backoff_base, settings.backoff_max)
            # Equal jitter, not full: a channel that is refused is never asked for at once.
            delay = ceiling * self._rng.uniform(0.5, 1.0)
            self._refusals[channel] = _Refusal(times + 1, now + delay)
        return channels

    @property
    def deadline(self) -> float | None:
        """When there may be something to ask for; None while nothing is, or an ask is out."""
        if self._asking:
            return None
        wrong = self._surplus + self.missing
        if not wrong:
            return None
        return max(min(map(self._ready_at, wrong)), self._pause_until or 0.0)
