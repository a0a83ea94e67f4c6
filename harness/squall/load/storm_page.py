"""What the page `/storm` of Locust's web UI shows: how a storm stands, as HTML.

All is drawn here, as report.html is; the page's script only puts what is new in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from squall.load import fleet_view
from squall.load.fleet_view import TITLES
from squall.load.results import Fleet
from squall.load.storm import Storm
from squall.load.thresholds import metric_named
from squall.pages.frame import asset, row, table
from squall.pages.markup import NOTHING, Markup, join, tag

LEAST_SHOWN = 10.0
"""Seconds that the plots show at least."""

NOTES: Mapping[str, str] = {
    "restored": "of the users are connected and served",
    "recovery_p50": "drop to fully restored",
    "recovery_p99": "drop to fully restored",
    "recovery_max": "drop to fully restored",
    "peak_dials_per_s": "in any one second",
    "herd_factor": "1 is an even spread",
    "failures": "adapters that gave up or crashed",
    "messages_per_s": "since the storm began",
}


def view(storm: Storm, fleet: Fleet) -> Markup:
    """A storm and its fleet as HTML."""
    return join(
        (
            tag("h1", storm.name, " ", tag("small", f"{fleet.users:,} users")),
            tag("p", said(storm, fleet), class_="verdict"),
            tag("p", fleet.why, class_="notice") if fleet.why else NOTHING,
            fleet_view.tiles(_measured(fleet), NOTES),
            *_plots(fleet),
            *_phases(fleet),
            *fleet_view.workers(fleet, "users"),
        )
    )


def numbers(storm: Storm, fleet: Fleet) -> Iterator[tuple[str, str]]:
    """The same in a few lines of text."""
    yield "The storm", said(storm, fleet)
    for name, value in _measured(fleet).items():
        yield TITLES[name], fleet_view.said(name, value)


def said(storm: Storm, fleet: Fleet) -> str:
    """What is going on, in a sentence."""
    whole = f"{fleet.tally.whole():,} of {fleet.users:,} users are whole"
    if fleet.ended:
        return f"Over after {max(0.0, fleet.at):.0f} s: {whole}."
    if not fleet.began:
        return f"The fleet gathers: {whole}." if fleet.tally.users() else "Nobody is there yet."
    doing = [phase.label for phase in fleet.phases if phase.at <= fleet.at < phase.until]
    clock = f"{max(0.0, fleet.at):.0f} s of {storm.duration:g} s"
    return f"{clock}: {', '.join(doing) or 'nothing in force'}; {whole}."


def _measured(fleet: Fleet) -> dict[str, float | None]:
    until = max(0.0, fleet.at)
    return {name: metric_named(name).of(fleet.tally, until) for name in NOTES}


def _plots(fleet: Fleet) -> Iterator[Markup]:
    first = fleet.tally.first()
    if first is not None:
        end = max(fleet.at, first + LEAST_SHOWN)
        yield from fleet_view.course(fleet, first, fleet.at, end=end)


def _phases(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.phases:
        return
    rows = [
        row(
            phase.label,
            phase.where,
            f"{phase.at:g} s",
            f"{phase.until:g} s" if phase.until > phase.at else "at once",
        )
        for phase in fleet.phases
    ]
    yield tag("h2", "Phases")
    yield table(("", "where", "from", "until"), rows, "numbers")


def document(storm: Storm, body: Markup) -> str:
    """The whole page."""
    away = "Locust does not answer; this is the last it said."
    return fleet_view.document(
        storm.name,
        tag("nav", tag("a", "Locust", href="./")),
        tag("div", tag("p", away, class_="notice", id="away", hidden=True)),
        tag("main", body),
        tag("script", Markup(asset("squall.load", "storm.js"))),
    )
