"""Wrong ways to read: in pieces, twice, without a doubt, or never again after nonsense."""

from __future__ import annotations

import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus
from websockets.protocol import State

from gallery.deribit import numbers
from gallery.dialling import for_ever
from gallery.good import Adapter
from gallery.line import LOST
from gallery.specimen import specimen


@specimen(
    bug="https://github.com/bitrich-info/xchange-stream/pull/360",
    caught={"fragmented-messages": "subscriptions_restored"},
)
class ReadsFirstFragments(Adapter):
    """It takes the first fragment of a message for all of it."""

    async def next_text(self) -> str | bytes:
        assert self.ws is not None
        fragments = [fragment async for fragment in self.ws.recv_streaming()]
        return fragments[0]


@specimen(
    bug="https://github.com/ccx-api/ccx-api/pull/16",
    caught={"fragmented-messages": "stays_alive"},
)
class KnowsNoContinuation(Adapter):
    """It knows whole messages only, and crashes on a frame that goes on with one."""

    async def next_text(self) -> str | bytes:
        assert self.ws is not None
        (message,) = [fragment async for fragment in self.ws.recv_streaming()]
        return message


@specimen(
    bug="https://github.com/altangent/ccxws/issues/26",
    caught={"strange-messages": "stays_alive"},
)
class DiesOfNonsense(Adapter):
    """It expects JSON in every message, and crashes on anything else."""

    def parsed(self, text: str | bytes) -> Any:
        return json.loads(text)


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/18854",
    caught={"unordered-deltas-duplicate-message": "no_silent_loss"},
)
class DeliversTwice(Adapter):
    """It hands on to its consumer whatever comes, though it came before."""

    def deliver(self, channel: str, data: Any) -> None:
        number = numbers(channel, data)
        if number is not None and number.seq == self.last.get(channel):
            self.numbered(channel, number.seq, gap=False)
        super().deliver(channel, data)


@specimen(
    bug="https://github.com/knowm/XChange/pull/4099",
    caught={"unordered-deltas-reorder-message": "no_silent_loss"},
)
class KeepsNoOrder(Adapter):
    """It hands on the changes of a book as they come, though their numbers do not chain."""

    def deliver(self, channel: str, data: Any) -> None:
        number = numbers(channel, data)
        last = self.last.get(channel)
        if number is None or number.snapshot or number.follows == last or number.seq == last:
            super().deliver(channel, data)
        else:
            self.heard[channel] = self.now()
            self.last[channel] = number.seq
            self.numbered(channel, number.seq, gap=False)


@specimen(
    bug="https://github.com/alpacahq/alpaca-trade-api-csharp/issues/422",
    caught={
        "broken-frame-invalid-utf8": "data_resumes",
        "oversize-message": "data_resumes",
        "tampered-upgrade-wrong-accept": "data_resumes",
        "broken-frame-wrong-mask": "data_resumes",
        "broken-frame-wrong-rsv": "data_resumes",
        "broken-frame-wrong-opcode": "data_resumes",
        "broken-frame-unfinished": "data_resumes",
        "tampered-upgrade-no-upgrade": "data_resumes",
        "tampered-upgrade-wrong-subprotocol": "data_resumes",
        "tampered-upgrade-truncated": "data_resumes",
        "compressed-messages": "data_resumes",
    },
)
class TakesNonsenseForFinal(Adapter):
    """It makes no further attempt once the exchange has broken the protocol, or its limits."""

    async def after(self, error: Exception) -> None:
        match error:
            case InvalidStatus():
                pass
            case InvalidHandshake():
                await for_ever()
            case ConnectionClosedError(sent=close) if close and close.code in (1002, 1007, 1009):
                await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/faye/faye-websocket-node/issues/58",
    caught={
        "hanging-close-1001": "data_resumes",
        "hanging-close-1013": "data_resumes",
    },
)
class LeavesTheEndToTheServer(Adapter):
    """It answers a Close frame, and waits for the server to end the TCP connection."""

    async def dial(self) -> ClientConnection:
        ws = await super().dial()
        ws.close_timeout = None
        return ws

    async def watch_line(self) -> None:
        assert self.ws is not None
        try:
            await super().watch_line()
        except LOST:
            if self.ws.state is State.OPEN:
                raise
            await for_ever()
