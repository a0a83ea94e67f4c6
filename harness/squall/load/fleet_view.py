"""How a fleet stands, as HTML: tiles with its numbers, plots of its course, a table of its workers.

The report has them when all is over, the page of Locust's web UI while it lasts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from squall.load.plots import over_time
from squall.load.results import Fleet
from squall.load.thresholds import metric_named
from squall.pages import frame
from squall.pages.frame import row, table
from squall.pages.markup import Markup, tag

TITLES: Mapping[str, str] = {
    "restored": "Restored",
    "recovery_p50": "Recovery, median",
    "recovery_p95": "Recovery, p95",
    "recovery_p99": "Recovery, p99",
    "recovery_max": "Recovery, longest",
    "peak_dials_per_s": "Peak dials/s",
    "herd_factor": "Herd factor",
    "failures": "Failures",
    "messages_per_s": "Messages/s",
}
"""What a reader calls the metrics."""


def document(title: str, *parts: Markup) -> str:
    """A whole page, which stands alone: its styles are in it."""
    style = tag("style", Markup(frame.stylesheet("squall.load", "storm.css")))
    return frame.document(title, *parts, kind="storm", head=[style])


def said(metric: str, value: float | None) -> str:
    """A number as a reader sees it; a dash where nothing was measured."""
    return "-" if value is None else metric_named(metric).say(value)


def tiles(numbers: Mapping[str, float | None], notes: Mapping[str, str]) -> Markup:
    """A tile for each metric that has a note."""
    tiles = [
        tag(
            "div",
            tag("dt", TITLES[metric]),
            tag("dd", said(metric, numbers[metric]), tag("small", note)),
        )
        for metric, note in notes.items()
    ]
    return tag("dl", *tiles, class_="tiles")


def course(fleet: Fleet, since: float, until: float, *, end: float) -> Iterator[Markup]:
    """Both plots, of what was seen from `since` to `until`, on an axis that goes on to `end`."""
    tally = fleet.tally
    phases = [phase for phase in fleet.phases if phase.at <= until]
    restored = [
        (at, whole / users if users > 0 else 0.0) for at, users, whole in tally.levels(since, until)
    ]
    yield figure(
        "Dials per second",
        "in the second before; a herd is a spike",
        over_time(
            tally.within("dialled", 1.0, since, until),
            since,
            end,
            phases,
            title="Dials per second over time",
        ),
    )
    yield figure(
        "Restored",
        "the part of the users that are connected and served on every channel",
        over_time(restored, since, end, phases, title="Restored part over time", percent=True),
    )


def figure(title: str, note: str, picture: Markup) -> Markup:
    """A plot under its title; it scrolls where the screen is too narrow."""
    caption = tag("figcaption", title, " ", tag("small", note))
    return tag("figure", caption, tag("div", picture, class_="wide"))


def workers(fleet: Fleet, users: str) -> Iterator[Markup]:
    """A row for each worker, where there are any; `users` heads the number of them."""
    if not fleet.workers:
        return
    # In one process with the master there is one that Locust gives no state.
    states = any("state" in each for each in fleet.workers.values())
    rows = [
        row(
            name,
            f"{each.get('users', 0):,}",
            f"{each.get('rss_bytes', 0) / 1e6:,.0f} MB",
            *[str(each.get("state", ""))] * states,
        )
        for name, each in fleet.workers.items()
    ]
    yield tag("h2", "Workers")
    yield table(("worker", users, "memory", *["state"] * states), rows, "numbers")
