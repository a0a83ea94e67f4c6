"""Waiting for things to happen in a history: for a condition to hold, for the nth event.

Nothing is polled. A question is asked again after each event, and a trigger acts inside the very
call that reports its event: that is how a cut can come before the exchange has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from squall.history import Event, History

Holds = Callable[[], bool]


class Moments:
    """Waits upon one history, for as long as it listens."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._waiters: list[tuple[Holds, asyncio.Future[None]]] = []
        self.stop_listening = history.listen(self._note)

    def _note(self, event: Event) -> None:
        for holds, future in tuple(self._waiters):
            if not future.done() and holds():
                future.set_result(None)

    async def until(self, holds: Holds, at_most: float) -> bool:
        """Wait until `holds()`; False where it still does not after `at_most` seconds."""
        if holds():
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (holds, future)
        self._waiters.append(waiter)
        try:
            await asyncio.wait([future], timeout=at_most)
            return future.done() or holds()
        finally:
            future.cancel()
            self._waiters.remove(waiter)

    async def at_event(
        self, matches: Callable[[Event], bool], nth: int, at_most: float, act: Callable[[], None]
    ) -> bool:
        """Call `act` inside the report of the `nth` event that matches; False if none came."""
        left = nth
        came = False

        def look(event: Event) -> None:
            nonlocal left, came
            if came or not matches(event):
                return
            left -= 1
            if left == 0:
                came = True
                act()

        stop = self._history.listen(look)
        try:
            return await self.until(lambda: came, at_most)
        finally:
            stop()
