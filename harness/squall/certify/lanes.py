"""A history as lanes on one axis of time: what was done, and what everybody was doing meanwhile.

The faults are bands behind all lanes, so one sees what fell into them. Everything here is values
and times; `svg` draws them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from squall.checks.connection import Connection
from squall.checks.disturbance import Disturbance
from squall.checks.timeline import Timeline
from squall.history import Event, History
from squall.service import Service

MOST_ROWS = 10
"""Rows of one lane: more connections share rows, more channels become one row that counts them."""

FEWEST_BARS, MOST_BARS = 12, 120
BAR_SECONDS = 0.5
"""Messages are counted in parts of so many seconds, as far as there is room for that."""


@dataclass(frozen=True)
class Span:
    """From `begin` to `end` something was so: `kind` is its colour, `label` the word on it."""

    begin: float
    end: float
    kind: str
    label: str = ""
    title: str = ""


@dataclass(frozen=True)
class Mark:
    """At one moment something happened."""

    at: float
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a lane."""

    label: str
    spans: tuple[Span, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Lane:
    """What one party did: its rows, and what had to be left out."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Rates:
    """Messages a second in equal parts of the time: what was sent, what the consumer got."""

    sent: tuple[float, ...]
    delivered: tuple[float, ...]

    @property
    def highest(self) -> float:
        """The top of the scale."""
        return max((*self.sent, *self.delivered), default=0.0)


@dataclass(frozen=True)
class Picture:
    """All of it: `seconds` is the length of the axis."""

    seconds: float
    bands: tuple[Span, ...]
    moments: tuple[Mark, ...]
    lanes: tuple[Lane, ...]
    rates: Rates


def picture(history: History) -> Picture:
    """The picture of a run."""
    timeline = Timeline(history)
    end = max((event.at for event in timeline.events), default=0.0) or 1.0
    lanes = [
        _adapter(timeline, end),
        _connections(timeline, end),
        _subscriptions(timeline, end),
        _authentication(timeline, end),
    ]
    return Picture(
        seconds=end,
        bands=tuple(_band(known, end) for known in timeline.disturbances),
        moments=tuple(_moments(timeline)),
        lanes=tuple(lane for lane in lanes if lane is not None),
        rates=_rates(timeline, end),
    )


# -- what the harness did --------------------------------------------------------------------


def _band(known: Disturbance, end: float) -> Span:
    settings = said(known.settings)
    until = min(known.until, end)
    lasted = f", for {until - known.at:.3f} s" if until > known.at else ""
    struck = "" if known.fired else "; it never took effect"
    title = f"{known.what} at {known.at:.3f} s{lasted}{settings and f' ({settings})'}{struck}"
    return Span(known.at, until, "fault", known.what, title)


def _moments(timeline: Timeline) -> Iterator[Mark]:
    names = {
        "steady": "steady",
        "healed": "healed",
        "settled": "settled",
        "not_settled": "not settled",
        "stopping": "stop",
        "aborted": "aborted",
        "interrupted": "interrupted",
    }
    for event in timeline.of("scenario", *names):
        yield Mark(event.at, names[event.kind], f"{names[event.kind]} at {event.at:.3f} s")


# -- the adapter -----------------------------------------------------------------------------


def _adapter(timeline: Timeline, end: float) -> Lane | None:
    started = timeline.of("adapter", "started")
    exits = timeline.of("adapter", "exited")
    if not started:
        return None
    if timeline.adapters > 1:
        note = f"what {timeline.adapters} adapters say of themselves is not drawn"
        alive = Row("", (Span(started[0].at, _last(exits, end), "running", "running"),))
        return Lane("Adapters", (alive,), note)
    over = _last(exits, end)
    changes = timeline.of("adapter", "state")
    spans = [Span(started[0].at, changes[0].at if changes else over, "running", "running")]
    for event, until in zip(changes, _ends([e.at for e in changes], over), strict=True):
        state, reason = str(event.get("state")), event.get("reason")
        title = f"{state} from {event.at:.3f} s to {until:.3f} s" + (f": {reason}" * bool(reason))
        spans.append(Span(event.at, max(event.at, until), _state(state), state, title))
    marks = [
        Mark(event.at, "crash", f"unhandled error at {event.at:.3f} s: {event.get('line')}")
        for event in timeline.of("adapter", "crash_reported")
    ]
    marks += [
        Mark(
            event.at,
            "exit" if event.get("expected") else "crash",
            f"exited with status {event.get('status')} at {event.at:.3f} s",
        )
        for event in exits
    ]
    return Lane("Adapter", (Row("", tuple(spans), tuple(marks)),))


def _last(exits: Sequence[Event], end: float) -> float:
    return exits[-1].at if exits else end


_STATES = frozenset(
    {"connecting", "connected", "authenticated", "live", "disconnected", "stopped"}
    | {"circuit_open", "gave_up"}
)


def _state(state: str) -> str:
    """A kind that the drawing knows, whatever the adapter said."""
    return state.replace("_", "-") if state in _STATES else "other"


# -- connections -----------------------------------------------------------------------------


def _connections(timeline: Timeline, end: float) -> Lane | None:
    pairs = [(connection, _life(connection, end)) for connection in timeline.dials]
    if not pairs:
        return None
    if len(pairs) <= MOST_ROWS:
        rows = [Row(f"#{c.number}", tuple(spans), tuple(_marks(c))) for c, spans in pairs]
        return Lane("Connections", tuple(rows))
    rows = _packed(pairs)
    hidden = len(rows) - MOST_ROWS
    note = f"as many as {len(rows)} at once; {hidden} rows are not drawn" if hidden > 0 else ""
    return Lane("Connections", tuple(rows[:MOST_ROWS]), note)


def _life(connection: Connection, end: float) -> list[Span]:
    assert connection.dialled is not None
    begin = connection.dialled.at
    over = connection.closed or connection.client_closed or connection.ended
    until = over.at if over is not None else end
    up = connection.upgraded.at if connection.upgraded else None
    kind, how = _ending(connection, over)
    about = f"connection {connection.number}: dialled at {begin:.3f} s"
    about += f", up at {up:.3f} s" if up is not None else ", never up"
    about += f", {how}" + (f" at {until:.3f} s" if over else "")
    if up is None:
        refused = connection.refused
        label = str(refused.get("status")) if refused else ""
        return [Span(begin, until, f"dialling {kind}", label, about)]
    dialling = [Span(begin, up, "dialling", "", about)] if up > begin else []
    return [*dialling, Span(up, until, kind, "", about)]


def _ending(connection: Connection, over: Event | None) -> tuple[str, str]:
    """How it ended: the kind of its colour, and in words."""
    if over is None:
        return "open", "still open at the end"
    cut = connection.cut
    whom = {"client": "by the adapter", "server": "by the exchange", "proxy": "by a fault"}
    by = f"by the fault {cut['fault']}" if cut else whom.get(str(over.get("by")), "")
    if over.kind == "client_closed":
        by = "by the adapter"
    how = "rst" if over.get("how") == "rst" or (cut and cut["fault"] == "rst") else "fin"
    return how, f"ended {by} with {how.upper()}".replace("  ", " ")


def _marks(connection: Connection) -> Iterator[Mark]:
    for event in connection.struck:
        yield Mark(event.at, "struck", f"{event['fault']} took effect at {event.at:.3f} s")


def _packed(pairs: Iterable[tuple[Connection, list[Span]]]) -> list[Row]:
    """Connections that do not overlap share a row; a row for each that was held besides."""
    rows: list[list[Span]] = []
    for _, spans in pairs:
        free = next((row for row in rows if row[-1].end <= spans[0].begin), None)
        if free is None:
            rows.append(free := [])
        free += spans
    return [Row("", tuple(row)) for row in rows]


# -- subscriptions ---------------------------------------------------------------------------


def _subscriptions(timeline: Timeline, end: float) -> Lane | None:
    courses = _courses(timeline)
    if not courses:
        return None
    if len(courses) <= MOST_ROWS:
        rows = [
            Row(channel, tuple(_served(course, timeline.adapters, end)))
            for channel, course in courses.items()
        ]
        return Lane("Served", tuple(rows))
    return Lane("Served", (Row(f"{len(courses)} channels", tuple(_together(timeline, end))),))


Course = list[tuple[float, int]]


def _courses(timeline: Timeline) -> dict[str, Course]:
    """For each channel, how many times it is served from when on."""
    courses: dict[str, Course] = {
        channel: [] for event in timeline.of("scenario", "wanted") for channel in event["channels"]
    }
    for at, counts in _counts(timeline):
        for channel in counts.keys() - courses.keys():
            courses[channel] = []
        for channel, course in courses.items():
            if counts[channel] != (course[-1][1] if course else 0):
                course.append((at, counts[channel]))
    return courses


def _counts(timeline: Timeline) -> Iterator[tuple[float, Counter[str]]]:
    """How often each channel is served, after each event that can change it."""
    service = Service()
    for event in timeline.events:
        if event.kind in ("sent", "message"):
            continue
        before = (frozenset(service.open), event.kind)
        service.apply(event)
        if frozenset(service.open) != before[0] or event.kind in ("subscribed", "unsubscribed"):
            yield event.at, service.counts()


def _served(course: Course, adapters: int, end: float) -> Iterator[Span]:
    for (at, count), until in zip(course, _ends([at for at, _ in course], end), strict=True):
        if count:
            often = count > adapters
            about = f"served {count} times" if count > 1 else "served"
            title = f"{about} from {at:.3f} s to {until:.3f} s"
            label = f"{count}×" if often else ""  # noqa: RUF001
            yield Span(at, until, "too-often" if often else "served", label, title)


def _together(timeline: Timeline, end: float) -> Iterator[Span]:
    """Many channels in one row: all served, some of them, or some too often."""
    changes: list[tuple[float, str, str]] = []
    wanted = iter([*timeline.of("scenario", "wanted")])
    upcoming, present = next(wanted, None), frozenset[str]()
    for at, counts in _counts(timeline):
        while upcoming is not None and upcoming.at <= at:
            present, upcoming = frozenset(upcoming["channels"]), next(wanted, None)
        changes.append((at, *_state_of(counts, present, timeline.adapters)))
    ends = _ends([at for at, _, _ in changes], end)
    for (at, kind, about), until in zip(changes, ends, strict=True):
        if kind and until > at:
            title = f"{about} served from {at:.3f} s to {until:.3f} s"
            yield Span(at, until, kind, about, title)


def _state_of(counts: Counter[str], wanted: frozenset[str], adapters: int) -> tuple[str, str]:
    served = sum(1 for channel in wanted if counts[channel])
    if any(count > adapters for count in counts.values()):
        return "too-often", f"{served} of {len(wanted)}, some too often"
    if not served:
        return "", ""
    return ("served" if served == len(wanted) else "partly"), f"{served} of {len(wanted)}"


# -- authentication --------------------------------------------------------------------------


def _authentication(timeline: Timeline, end: float) -> Lane | None:
    kinds = ("auth_requested", "auth_succeeded", "auth_failed", "token_expired")
    events = timeline.of("exchange", *kinds)
    if not events:
        return None
    asked: dict[int | None, Event] = {}
    spans: list[Span] = []
    marks: list[Mark] = []
    for event in events:
        on = f"on connection {event.connection}"
        match event.kind:
            case "auth_requested":
                asked[event.connection] = event
                marks.append(Mark(event.at, "asked", f"asked at {event.at:.3f} s {on}"))
            case "auth_succeeded":
                over = _end_of_login(event, timeline, end)
                title = f"authenticated at {event.at:.3f} s {on}, until {over:.3f} s"
                spans.append(Span(event.at, over, "authenticated", "", title))
            case "auth_failed":
                title = f"refused with {event.get('code')} at {event.at:.3f} s {on}"
                marks.append(Mark(event.at, "refused", title))
            case _:
                marks.append(Mark(event.at, "expired", f"token expired at {event.at:.3f} s {on}"))
    return Lane("Auth", (Row("", tuple(spans), tuple(marks)),))


def _end_of_login(event: Event, timeline: Timeline, end: float) -> float:
    """A login lasts as long as its connection, or until its token has expired."""
    connection = timeline.connections.get(event.connection or 0)
    ends = [end]
    if connection is not None and connection.ended is not None:
        ends.append(connection.ended.at)
    ends += [
        expired.at
        for expired in timeline.after(event, "exchange", "token_expired", "auth_succeeded")
        if expired.connection == event.connection
    ][:1]
    return max(event.at, min(ends))


# -- data ------------------------------------------------------------------------------------


def _rates(timeline: Timeline, end: float) -> Rates:
    sent = (event for event in timeline.of("exchange", "sent") if timeline.alive(event))
    return Rates(
        _binned((event.at for event in sent), end),
        _binned((event.at for event in timeline.of("adapter", "message")), end),
    )


def _binned(times: Iterable[float], end: float) -> tuple[float, ...]:
    bars = max(FEWEST_BARS, min(MOST_BARS, round(end / BAR_SECONDS)))
    counts = Counter(min(bars - 1, int(at / end * bars)) for at in times)
    return tuple(counts[bar] * bars / end for bar in range(bars)) if counts else ()


def _ends(begins: Sequence[float], end: float) -> list[float]:
    """When each of several states was over: when the next one began, the last at the end."""
    return [*begins[1:], end][: len(begins)]


def said(settings: Mapping[str, Any]) -> str:
    """Settings in a line: `delay 0.2, jitter 0.05`; what is not set is left out."""
    return ", ".join(part for name, value in settings.items() if (part := _setting(name, value)))


def _setting(name: str, value: Any) -> str:
    if value is True:
        return name
    if value is None or value is False or value in ("", [], {}):
        return ""
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
