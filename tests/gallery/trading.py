"""Wrong ways to treat what matters most: orders, and the numbers of messages."""

from __future__ import annotations

from typing import Any

from gallery.deribit import Json
from gallery.good import Adapter
from gallery.specimen import specimen


class Queueing(Adapter):
    """Sends what is in its queue as soon as it is live again."""

    queue: tuple[Json, ...] = ()

    def state(self, state: str, reason: str | None = None) -> None:
        super().state(state, reason)
        if state == "live":
            waiting, self.queue = self.queue, ()
            for command in waiting:
                self.begin(command)


@specimen(
    bug="https://github.com/Marfusios/websocket-client/issues/142",
    caught={"queued-orders": "no_replayed_orders"},
)
class FlushesQueuedOrders(Queueing):
    """It queues orders during an outage and sends them after it."""

    async def request(self, command: Json) -> None:
        if self.live_since is None:
            self.queue = (*self.queue, command)
        else:
            await super().request(command)


@specimen(
    bug="https://github.com/yubing744/trading-gpt/issues/94",
    caught={"pending-requests": "no_replayed_orders"},
)
class RepeatsLostOrders(Queueing):
    """It sends an order again when the answer was lost, though the first may have been placed."""

    def reply(self, command: Json, **answer: Any) -> None:
        if answer.get("indefinite"):
            self.queue = (*self.queue, command)
        else:
            super().reply(command, **answer)


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/26766",
    caught={"pending-requests": "requests_finish"},
)
class LeavesRequestsPending(Adapter):
    """It never ends the requests whose answer was lost with the connection."""

    def fail_requests(self) -> None:
        if self.stopping:
            self.requests.clear()

    def patience(self, method: str) -> float | None:
        return None if method.startswith("private/") else super().patience(method)


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/17827",
    caught={"sequence-gap": "resynchronises", "lost-delta": "resynchronises"},
)
class IgnoresBookGaps(Adapter):
    """It applies changes to a book that has missed one."""

    def mend(self, channel: str) -> None:
        pass


@specimen(
    bug="https://github.com/bmoscon/cryptofeed/issues/604",
    caught={
        "sequence-gap": "no_silent_loss",
        "lost-delta": "no_silent_loss",
        "unordered-deltas-reorder-message": "no_silent_loss",
    },
)
class HidesGaps(Adapter):
    """It does not tell its consumer that messages are missing."""

    def numbered(self, channel: str, seq: int, gap: bool) -> None:
        super().numbered(channel, seq, gap=False)
