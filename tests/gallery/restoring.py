"""Wrong ways to restore subscriptions: none, some, too many, or those that nobody wants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gallery.good import Adapter
from gallery.specimen import Counting, specimen


@specimen(
    bug="https://github.com/bybit-exchange/pybit/issues/76",
    caught={
        "reset": "subscriptions_restored",
        "restore-all": "subscriptions_restored",
        "maintenance": "subscriptions_restored",
    },
)
class NeverResubscribes(Counting):
    """It reconnects and does not subscribe to anything."""

    def missing(self) -> list[str]:
        return [] if self.reconnected else super().missing()


@specimen(
    bug="https://github.com/knowm/XChange/pull/4968",
    caught={"reset": "subscriptions_restored"},
)
class RestoresPublicOnly(Counting):
    """It restores its public channels and forgets the private ones."""

    def missing(self) -> list[str]:
        missing = super().missing()
        return [c for c in missing if not (self.reconnected and self.is_private(c))]


@specimen(
    bug="https://github.com/ZenHive/zen_websocket/blob/8a884a823f41fd6b7c0639d0ccf2efa9c62c3483/lib/zen_websocket/examples/deribit_genserver_adapter.ex",
    caught={"reset": "subscriptions_restored"},
)
class RestoresPrivateByPublicMethod(Counting):
    """It asks for every channel through public/subscribe when it restores them."""

    def is_private(self, channel: str) -> bool:
        return not self.reconnected and super().is_private(channel)


@specimen(
    bug="https://github.com/askmike/deribit-v2-ws/pull/19",
    caught={"no-growth": "no_duplicates"},
)
class DoublesSubscriptions(Counting):
    """Its list of what to restore doubles with each reconnect."""

    async def ask(self, verb: str, channels: list[str]) -> set[str]:
        done: set[str] = set()
        for _ in range(2 ** (self.connections - 1) if verb == "subscribe" else 1):
            done |= await super().ask(verb, channels)
        return done


@specimen(
    bug="https://github.com/8ball030/derive_client/pull/210",
    caught={
        "drop-during-restore": "subscriptions_restored",
        "drop-per-phase-subscribe-requested": "subscriptions_restored",
        "drop-per-phase-subscribed": "subscriptions_restored",
    },
)
class ForgetsBeforeAck(Adapter):
    """It takes channels off its list when it asks for them, and puts them back with the ack."""

    taken: frozenset[str] = frozenset()

    def missing(self) -> list[str]:
        return [channel for channel in super().missing() if channel not in self.taken]

    async def ask(self, verb: str, channels: list[str]) -> set[str]:
        if verb == "subscribe":
            self.taken |= set(channels)
        done = await super().ask(verb, channels)
        self.taken -= done
        return done


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/10280",
    caught={"partial-ack": "subscriptions_restored"},
)
class IgnoresAckList(Adapter):
    """It takes every answer to a subscribe for a full yes."""

    def acknowledged(self, verb: str, asked: list[str], answer: list[str]) -> set[str]:
        return super().acknowledged(verb, asked, asked)


@specimen(
    bug="https://github.com/JKorf/Binance.Net/issues/948",
    caught={
        "lost-ack": "subscriptions_restored",
        "lost-answer-public-subscribe": "subscriptions_restored",
    },
)
class WaitsForAckForEver(Adapter):
    """It never asks again when the answer to a subscribe is lost."""

    def patience(self, method: str) -> float | None:
        return None if method.endswith("subscribe") else super().patience(method)


@specimen(
    bug="https://github.com/nautechsystems/nautilus_trader/issues/5012",
    caught={"paced-restore": "paces_requests"},
)
class SubscribesOneByOne(Adapter):
    """It sends one subscribe message a channel, all at once."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.settings = replace(self.settings, subscribe_batch=1)


@specimen(
    bug="https://github.com/bitfinexcom/bitfinex-api-py/issues/96",
    caught={"drop-after-unsubscribe": "removed_stay_removed"},
)
class RestoresUnsubscribed(Adapter):
    """It restores what was unsubscribed before the drop."""

    given_up: tuple[str, ...] = ()

    def unwant(self, channels: list[str]) -> None:
        super().unwant(channels)
        self.given_up = (*self.given_up, *channels)

    def forget(self) -> None:
        super().forget()
        self.wanted |= dict.fromkeys(self.given_up)


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/27296",
    caught={"change-while-down": "subscriptions_restored"},
)
class ForgetsWishesWhileDown(Adapter):
    """It says yes to a subscribe during an outage, and forgets it."""

    def want(self, channels: list[str]) -> None:
        if self.live_since is not None:
            super().want(channels)
