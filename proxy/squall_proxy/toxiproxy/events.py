"""The history of a proxy that serves the API: kept up to a bound, and followed by who wants to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

KEEP = 100_000
"""So many events are kept; the oldest go first."""


def plain(value: object) -> object:
    """A value of an event as JSON has it."""
    return dict(value) if isinstance(value, Mapping) else str(value)


class EventLog:
    """Events of docs/history.md as lines of JSON. `now` gives the time, which starts at 0 here."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._began = now()
        self._lines: deque[tuple[float, str]] = deque(maxlen=KEEP)
        self._count = 0
        self._more = asyncio.Event()
        self.listen: Callable[[str], None] = lambda line: None

    def observe(self, kind: str, connection: int | None = None, /, **detail: Any) -> None:
        """Note what a proxy says."""
        at = round(self._now() - self._began, 6)
        event: dict[str, Any] = {"at": at, "source": "proxy", "kind": kind}
        if connection is not None:
            event["connection"] = connection
        line = json.dumps(event | detail, default=plain)
        self._lines.append((at, line))
        self._count += 1
        self._more.set()
        self.listen(line)

    def since(self, at: float) -> list[str]:
        """The lines of what happened after this time."""
        return [line for when, line in self._lines if when > at]

    async def lines(self, at: float, *, follow: bool) -> AsyncIterator[bytes]:
        """The same as bytes, and with `follow` also what is still to come."""
        told, new = self._count, self.since(at)
        while True:
            if new:
                yield "".join(f"{line}\n" for line in new).encode()
            if not follow:
                return
            while told == self._count:
                self._more.clear()
                await self._more.wait()
            fresh = min(self._count - told, len(self._lines))
            new = [self._lines[i][1] for i in range(len(self._lines) - fresh, len(self._lines))]
            told = self._count
