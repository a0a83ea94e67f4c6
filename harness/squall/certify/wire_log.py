"""The events of a run as a table that one can read: data are counted, the rest is shown.

A storm has thousands of events and a page has room for some hundred: the first and the last ones
are shown, and wherever they are, those that a check calls upon.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from squall.history import Event
from squall.pages.frame import table
from squall.pages.markup import Markup, escape
from squall.report import counted

MOST_ROWS = 200
LAST_ROWS = 60
MOST_LETTERS = 180

# The rest of the page says this better.
_TOLD = {"run_started": ("scenario", "adapter", "expect")}

_DATA = {"sent": "sent", "message": "delivered"}


@dataclass(frozen=True)
class Entry:
    """An event with its place in the history, or several data events between two others."""

    place: int
    event: Event
    counts: Counter[tuple[str, str]] | None = None


def wire_log(events: Sequence[Event], evidence: Collection[int]) -> tuple[Markup, frozenset[int]]:
    """The table, and the places of the events that have a row in it."""
    entries = list(_entries(events))
    shown = _shown(entries, evidence)
    rows: list[Markup] = []
    left_out = 0
    for number, entry in enumerate(entries):
        if number in shown:
            rows += _gap(left_out)
            rows.append(_row(entry, entry.place in evidence))
            left_out = 0
        else:
            left_out += 1
    rows += _gap(left_out)
    places = frozenset(entries[number].place for number in shown if entries[number].counts is None)
    return table(("s", "who", "what", "#", ""), rows, "log"), places


def place_of(wanted: Event, events: Sequence[Event]) -> int | None:
    """Where the same event is in a history that was read from disk."""
    seen = _identity(wanted)
    same = (place for place, event in enumerate(events) if event.kind == wanted.kind)
    return next((place for place in same if _identity(events[place]) == seen), None)


def details(event: Event) -> str:
    """`how=fin seconds=4.007`, cut off where it is too long to read."""
    told = _TOLD.get(event.kind, ())
    said = " ".join(
        f"{name}={_plain(value)}"
        for name, value in event.detail.items()
        if value not in ("", None, [], {}) and name not in told
    )
    return said if len(said) <= MOST_LETTERS else said[: MOST_LETTERS - 1] + "…"


def _entries(events: Sequence[Event]) -> Iterator[Entry]:
    counts: Counter[tuple[str, str]] = Counter()
    first: tuple[int, Event] | None = None
    for place, event in enumerate(events):
        if event.kind in _DATA:
            first = first or (place, event)
            counts[(_DATA[event.kind], str(event.get("channel")))] += 1
            continue
        if first is not None:
            yield Entry(*first, counts)
            first, counts = None, Counter()
        yield Entry(place, event)
    if first is not None:
        yield Entry(*first, counts)


def _shown(entries: Sequence[Entry], evidence: Collection[int]) -> set[int]:
    if len(entries) <= MOST_ROWS:
        return set(range(len(entries)))
    called = [number for number, entry in enumerate(entries) if entry.place in evidence]
    last = range(len(entries) - LAST_ROWS, len(entries))
    shown = {*called[: MOST_ROWS - LAST_ROWS], *last}
    for number in range(len(entries)):
        if len(shown) >= MOST_ROWS:
            break
        shown.add(number)
    return shown


def _row(entry: Entry, called: bool) -> Markup:
    """A row in terse HTML, which needs no end tags here: most of a page is such rows."""
    event = entry.event
    at = f"{event.at:.3f}"
    if entry.counts is not None:
        return Markup(f'<tr class="data"><td>{at}<td colspan="4">{escape(_tally(entry.counts))}')
    number = "" if event.connection is None else str(event.connection)
    cells = (at, event.source, event.kind, number, details(event))
    anchor = f' id="e{entry.place}" class="called"' if called else ""
    return Markup(f"<tr{anchor}>" + "".join(f"<td>{escape(cell)}" for cell in cells))


def _tally(counts: Counter[tuple[str, str]]) -> str:
    parts = []
    for what in _DATA.values():
        found = {channel: count for (word, channel), count in counts.items() if word == what}
        if found:
            total = counted(sum(found.values()), "message")
            parts.append(f"{total} {what} on {counted(len(found), 'channel')}")
    return ", ".join(parts)


def _gap(left_out: int) -> list[Markup]:
    if not left_out:
        return []
    said = f"… {counted(left_out, 'row')} left out; the history has them all"
    return [Markup(f'<tr class="gap"><td colspan="5">{escape(said)}')]


def _plain(value: Any) -> str:
    match value:
        case str():
            return value
        case float():
            return f"{value:.6g}"
        case list() | tuple():
            return ",".join(map(_plain, value))
        case dict():
            return ",".join(f"{name}:{_plain(each)}" for name, each in value.items())
        case _:
            return json.dumps(value, default=str)


def _identity(event: Event) -> str:
    return json.dumps(event.as_json(), sort_keys=True, default=str)
