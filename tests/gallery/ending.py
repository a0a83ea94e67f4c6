"""Wrong ways to end: not at all, not for good, with a crash, or leaving things behind."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from websockets.asyncio.client import ClientConnection

from gallery.good import Adapter
from gallery.specimen import specimen


@specimen(
    bug="https://github.com/bitrich-info/xchange-stream/issues/136",
    caught={
        "stop-when-steady": "clean_stop",
        "stop-in-backoff": "clean_stop",
        "stop-in-blackhole": "clean_stop",
        "stop-in-handshake": "clean_stop",
    },
)
class DoesNotStop(Adapter):
    """It goes on when it is asked to stop."""

    async def obey(self) -> None:
        while True:
            await super().obey()


@specimen(
    bug="https://github.com/lukeed/sockette/issues/49",
    caught={"stop-when-steady": "clean_stop"},
)
class RedialsAfterStop(Adapter):
    """It takes its own goodbye for a lost connection, and dials again."""

    async def stop(self, *tasks: asyncio.Task[None]) -> None:
        if self.ws is not None:
            await self.ws.close()
        await asyncio.sleep(4.0)
        await super().stop(*tasks)

    def delay(self, error: Exception) -> float:
        return 3.0 if self.stopping else super().delay(error)


@specimen(
    bug="https://github.com/centrifugal/centrifuge-python/issues/19",
    caught={"reset": "stays_alive"},
)
class LosesAnException(Adapter):
    """It starts a task after a drop, and nobody looks at how the task ends."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.chores: set[asyncio.Task[None]] = set()

    async def after(self, error: Exception) -> None:
        chore = asyncio.create_task(self.fetch_missed_trades())
        self.chores.add(chore)
        chore.add_done_callback(self.chores.discard)
        await super().after(error)

    async def fetch_missed_trades(self) -> None:
        await self.call("public/get_last_trades_by_instrument")


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/28440",
    caught={
        "short-cycles": "no_growth",
        "leak-cycles": "no_growth",
    },
    process=True,
)
class LeaksSockets(Adapter):
    """It keeps a handle on the socket of every connection that it ever had."""

    kept: tuple[int, ...] = ()

    async def dial(self) -> ClientConnection:
        ws = await super().dial()
        self.kept = (*self.kept, os.dup(ws.transport.get_extra_info("socket").fileno()))
        return ws


@specimen(
    bug="https://github.com/slazarov/python-bittrex-websocket/issues/61",
    caught={"short-cycles": "no_growth"},
    process=True,
)
class LeaksThreads(Adapter):
    """It starts a thread a connection, which never ends."""

    async def after(self, error: Exception) -> None:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        await super().after(error)


@specimen(
    bug="https://github.com/ElementsProject/lightning/issues/5092",
    caught={"short-cycles": "no_growth"},
    process=True,
)
class LeaksChildren(Adapter):
    """It starts a helper process a connection, which never ends."""

    async def after(self, error: Exception) -> None:
        await asyncio.create_subprocess_exec("sleep", "600")
        await super().after(error)
