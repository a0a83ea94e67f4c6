"""The history of a run: an append-only list of events and the one clock.

Everything is judged from it, live or later from disk, so it must hold all that a check needs.
`docs/history.md` lists the kinds of events and their details.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from squall.errors import HistoryError

Clock = Callable[[], float]
Listener = Callable[["Event"], None]

SOURCES = ("scenario", "proxy", "exchange", "adapter", "system")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `at` is in seconds since the run started."""

    at: float
    source: str
    kind: str
    connection: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.detail[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A detail, or `default` where the event has none of that name."""
        return self.detail.get(name, default)

    def as_json(self) -> dict[str, Any]:
        """The event as it stands on disk: details beside the four fixed keys."""
        fixed: dict[str, Any] = {"at": round(self.at, 6), "source": self.source, "kind": self.kind}
        if self.connection is not None:
            fixed["connection"] = self.connection
        return fixed | dict(self.detail)

    def __str__(self) -> str:
        where = f" #{self.connection}" if self.connection is not None else ""
        said = " ".join(f"{name}={value}" for name, value in self.detail.items())
        return f"{self.at:9.3f}  {self.source:<8}  {self.kind}{where}  {said}".rstrip()


class History:
    """Events in the order in which they were seen.

    `clock` gives the loop's time in seconds; the history's own time starts at 0 when it is made.
    Listeners are called at once, inside `add`: a scenario step that waits for an event can act
    before the answer to it is sent.
    """

    def __init__(self, clock: Clock | None = None, events: Iterable[Event] = ()) -> None:
        self._clock = clock or (lambda: 0.0)
        self._origin = self._clock()
        self._events = list(events)
        self._listeners: list[Listener] = []

    @property
    def now(self) -> float:
        """Seconds since the run started."""
        return self._clock() - self._origin

    def add(self, source: str, kind: str, connection: int | None = None, /, **detail: Any) -> Event:
        """Append an event, stamped with the present time, and tell the listeners."""
        event = Event(self.now, source, kind, connection, detail)
        self._events.append(event)
        for listener in tuple(self._listeners):
            listener(event)
        return event

    def observer(self, source: str) -> Callable[..., None]:
        """`observe(kind, connection, **detail)` for a part that need not know of histories."""

        def observe(kind: str, connection: int | None = None, /, **detail: Any) -> None:
            self.add(source, kind, connection, **detail)

        return observe

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every further event; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def wait_for(self, wanted: Callable[[Event], bool], timeout: float) -> Event | None:
        """The next event for which `wanted` holds, or None after `timeout` seconds."""
        found: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

        def look(event: Event) -> None:
            if not found.done() and wanted(event):
                found.set_result(event)

        end = self.listen(look)
        try:
            return await asyncio.wait_for(found, timeout)
        except TimeoutError:
            return None
        finally:
            end()

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def of(self, *kinds: str, source: str | None = None, since: float = 0.0) -> list[Event]:
        """Events of these kinds, in order, from `since` on; of one source where it is given."""
        return [
            event
            for event in self._events
            if event.kind in kinds and event.at >= since and source in (None, event.source)
        ]

    def since_index(self, index: int) -> list[Event]:
        """All events from the `index`-th on; `len(history)` taken earlier marks a moment."""
        return self._events[index:]

    def first(self, *kinds: str, source: str | None = None, since: float = 0.0) -> Event | None:
        """The first of `of(...)`, or None."""
        return next(iter(self.of(*kinds, source=source, since=since)), None)

    def last(self, *kinds: str, source: str | None = None) -> Event | None:
        """The last of `of(...)`, or None."""
        found = self.of(*kinds, source=source)
        return found[-1] if found else None

    def write(self, file: IO[str]) -> None:
        """Write one JSON object a line."""
        for event in self._events:
            file.write(json.dumps(event.as_json(), separators=(",", ":"), default=str) + "\n")

    def save(self, path: Path) -> None:
        """Write the history to `path`, making its folder where needed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            self.write(file)

    @classmethod
    def load(cls, path: Path) -> History:
        """Read a saved history, also a gzipped one. Raises `HistoryError` with path and line."""
        try:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
            lines = text.splitlines()
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise HistoryError(f"{path}: is no complete gzip file") from error
        except OSError as error:
            raise HistoryError(f"{path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise HistoryError(f"{path}: is not a text file, so it is no saved history") from error
        events = [_parse(line, f"{path}:{n}") for n, line in enumerate(lines, 1) if line.strip()]
        if not events:
            raise HistoryError(f"{path}: is empty; a history holds at least its first event")
        return cls(events=events)


def _parse(line: str, where: str) -> Event:
    try:
        found = json.loads(line)
        at = float(found.pop("at"))
        source, kind = str(found.pop("source")), str(found.pop("kind"))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise HistoryError(
            f"{where}: is no event. A line is a JSON object with `at`, `source` and `kind`."
        ) from error
    if source not in SOURCES:
        raise HistoryError(f"{where}: unknown source {source!r}; sources are {', '.join(SOURCES)}")
    connection = found.pop("connection", None)
    return Event(at, source, kind, connection, found)
