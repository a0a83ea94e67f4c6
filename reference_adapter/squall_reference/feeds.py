"""The channels of the adapter: kept subscribed, checked for gaps, watched for silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from squall_reference.actions import Actions, Deliver, Log
from squall_reference.freshness import Freshness
from squall_reference.sequences import Sequences
from squall_reference.settings import Settings
from squall_reference.subscriptions import Ask, Subscriptions


class Feeds:
    """What the consumer wants to hear, and how much of it can be trusted."""

    def __init__(self, settings: Settings, rng: Random) -> None:
        self._settings = settings
        self._subscriptions = Subscriptions(settings, rng)
        self._sequences = Sequences()
        self._freshness = Freshness(settings.stale_after)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The channels that the consumer wants."""
        return tuple(self._subscriptions.wanted)

    @property
    def missing(self) -> tuple[str, ...]:
        """Wanted, but not confirmed by the exchange."""
        return tuple(self._subscriptions.missing)

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Silent for too long, or waiting for a snapshot after a gap."""
        return tuple(sorted(self._freshness.stale | self._sequences.out_of_sync))

    @property
    def complete(self) -> bool:
        """The exchange has confirmed exactly what is wanted."""
        return self._subscriptions.complete

    @property
    def ask_due(self) -> float | None:
        """When to call `next`, on a connection that may subscribe."""
        return self._subscriptions.deadline

    @property
    def look_due(self) -> float | None:
        """When to call `look`."""
        return self._freshness.deadline

    def want(self, channels: Iterable[str]) -> None:
        """The consumer wants these too."""
        self._subscriptions.want(channels)

    def unwant(self, channels: Iterable[str], now: float) -> None:
        """The consumer wants these no longer."""
        channels = list(channels)
        self._subscriptions.unwant(channels)
        for channel in channels:
            self._sequences.forget(channel)
        self._watch(now)

    def next(self, now: float) -> Ask | None:
        """The next request on the way to what is wanted, if it is time for one."""
        return self._subscriptions.next(now)

    def answered(self, ask: Ask, result: Any, now: float) -> Actions:
        """The exchange answered; its list is compared with what was asked."""
        granted = [c for c in result if isinstance(c, str)] if isinstance(result, list) else []
        refused = self._subscriptions.answered(ask, granted, now)
        self._watch(now)
        if not refused:
            return []
        return [Log(f"the exchange left out {', '.join(refused)}; asking again")]

    def failed(self, ask: Ask, why: str, now: float) -> Actions:
        """The exchange refused, or did not answer."""
        self._subscriptions.failed(ask, now)
        self._watch(now)
        return [Log(f"{ask.method} of {len(ask.channels)} channels: {why}; asking again")]

    def data(self, channel: str, data: Any, now: float) -> Actions:
        """Data came: deliver what the consumer has not seen, and mend a gap."""
        if channel not in self._subscriptions.wanted:
            return []
        actions: Actions = []
        reading = self._sequences.read(channel, data)
        if reading.data is not None:
            if self._freshness.heard(channel, now):
                actions.append(Log(f"fresh again: {channel}"))
            actions.append(Deliver(channel, reading.data, reading.seq, reading.gap))
        if reading.resynchronise:
            self._subscriptions.resynchronise(channel)
            actions.append(Log(f"gap: {channel}: subscribing anew for a snapshot"))
        return actions

    def look(self, now: float) -> Actions:
        """Report the channels that have become stale; ask again for a snapshot overdue."""
        actions: Actions = []
        for channel in self._freshness.look(now):
            actions.append(Log(f"stale: {channel}: no data for {self._settings.stale_after:g} s"))
            if channel in self._sequences.out_of_sync:
                self._subscriptions.resynchronise(channel)
        return actions

    def disconnected(self) -> None:
        """The connection is gone, and every subscription with it."""
        self._subscriptions.disconnected()
        self._sequences.disconnected()
        self._freshness = Freshness(self._settings.stale_after)

    def _watch(self, now: float) -> None:
        subscriptions = self._subscriptions
        served = [c for c in subscriptions.wanted if c in subscriptions.confirmed]
        self._freshness.watch(served, now)


def subscription_data(params: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Channel and data of a `subscription` notification; None where it has another shape."""
    channel = params.get("channel")
    return (channel, params["data"]) if isinstance(channel, str) and "data" in params else None
