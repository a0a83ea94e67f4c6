"""Wrong ways to watch the line: not at all, half of it, or without drawing the conclusion."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection

from gallery.dialling import for_ever
from gallery.good import Adapter
from gallery.specimen import Counting, specimen

SILENCE = 15.0


@specimen(
    bug="https://github.com/sammchardy/python-binance/issues/1057",
    caught={
        "half-open": "detects_silence",
        "vanish": "data_resumes",
        "blackhole-unacked": "detects_silence",
    },
)
class NeverNoticesSilence(Adapter):
    """It waits for data on a dead line for ever."""

    async def watch_line(self) -> None:
        await for_ever()


@specimen(
    bug="https://github.com/python-websockets/websockets/issues/1185",
    caught={"deaf-uplink": "detects_silence"},
)
class WatchesInboundOnly(Adapter):
    """It takes the line for healthy as long as data comes in, though nothing it sends goes out."""

    async def ask_for_heartbeat(self) -> None:
        """Where the venue watches the line too, it ends such a connection itself."""

    async def watch_line(self) -> None:
        while True:
            before = max(self.heard.values(), default=0.0)
            await self.answer_test()  # a sign of life, for whose answer it does not look
            await asyncio.sleep(SILENCE)
            if max(self.heard.values(), default=0.0) == before:
                raise TimeoutError(f"no data for {SILENCE} s")


@specimen(
    bug="https://github.com/stomp-js/stompjs/issues/226",
    caught={
        "half-open": "detects_silence",
        "silent-after-upgrade": "detects_silence",
    },
)
class WaitsForCloseHandshake(Adapter):
    """It notices that the line is dead, says goodbye, and waits for the answer."""

    async def hang_up(self) -> None:
        assert self.ws is not None
        self.ws.close_timeout = None
        try:
            await self.ws.close()
        finally:
            await super().hang_up()


@specimen(
    bug="https://github.com/fiduswriter/fiduswriter/issues/1322",
    caught={
        "half-open": "one_connection",
        "old-line-revives": "one_connection",
        "short-blackout": "one_connection",
    },
)
class KeepsOldConnection(Adapter):
    """It dials a new connection and leaves the old one open."""

    old: tuple[ClientConnection, ...] = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # It doubts so soon that the old one may come to life again.
        self.settings = replace(
            self.settings, ping_interval=0.5, pong_timeout=1.0, first_delay_max=0.5
        )

    async def hang_up(self) -> None:
        if self.ws is not None and not self.stopping:
            self.old = (*self.old, self.ws)
            self.ws = None
        else:
            await super().hang_up()

    async def stop(self, *tasks: asyncio.Task[None]) -> None:
        await super().stop(*tasks)
        for ws in self.old:
            ws.transport.abort()


@specimen(
    bug="https://github.com/nomeida/hyperliquid/issues/76",
    caught={"half-open": "knows_it_is_stale"},
)
class CallsItselfLive(Adapter):
    """It tells its consumer that it is live, whatever happens."""

    def state(self, state: str, reason: str | None = None) -> None:
        if state in ("live", "stopped"):
            super().state(state, reason)

    def log(self, message: str) -> None:
        pass

    def numbered(self, channel: str, seq: int, gap: bool) -> None:
        super().numbered(channel, seq, gap=False)

    def healthy(self) -> bool:
        return True


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/20836",
    caught={"stalled-channel": "knows_it_is_stale"},
)
class OverlooksStalledChannel(Adapter):
    """It never notices that one channel has fallen silent while the others go on."""

    async def watch_channels(self) -> None:
        await for_ever()

    def stale(self) -> list[str]:
        return []


@specimen(
    bug="https://github.com/f0cii/deribit-api/issues/5",
    caught={"test-request": "answers_heartbeats"},
)
class AnswersNoTest(Adapter):
    """It asks for heartbeats and does not answer the venue's test requests."""

    async def answer_test(self) -> None:
        pass


@specimen(
    bug="https://github.com/f0cii/deribit-api/issues/5",
    caught={"test-request": "answers_heartbeats"},
)
class AnswersTestsOnFirstConnection(Counting):
    """It answers test requests until it has reconnected."""

    async def answer_test(self) -> None:
        if not self.reconnected:
            await super().answer_test()
