"""What the page `/storm` of Locust's web UI shows: how a storm stands, as HTML.

All is drawn here, as report.html is; the page's script only puts what is new in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources

from squall import __version__
from squall.certify.markup import NOTHING, Markup, join, tag
from squall.load.plots import over_time
from squall.load.results import Fleet
from squall.load.storm import Storm
from squall.load.tally import Tally
from squall.load.thresholds import metric_named

LEAST_SHOWN = 10.0
"""Seconds that the plots show at least."""

TILES: Mapping[str, tuple[str, str]] = {
    "restored": ("Restored", "of the users are connected and served"),
    "recovery_p50": ("Recovery, median", "drop to fully restored"),
    "recovery_p99": ("Recovery, p99", "drop to fully restored"),
    "recovery_max": ("Recovery, longest", "drop to fully restored"),
    "peak_dials_per_s": ("Peak dials/s", "in any one second"),
    "herd_factor": ("Herd factor", "1 is an even spread"),
    "failures": ("Failures", "adapters that gave up or crashed"),
    "messages_per_s": ("Messages/s", "since the storm began"),
}


def view(storm: Storm, fleet: Fleet) -> Markup:
    """A storm and its fleet as HTML."""
    return join(
        (
            tag("h1", storm.name, " ", tag("small", f"{fleet.users:,} users")),
            tag("p", said(storm, fleet), class_="verdict"),
            tag("p", fleet.why, class_="notice") if fleet.why else NOTHING,
            tag("dl", *(_tile(name, fleet) for name in TILES), class_="tiles"),
            *_plots(fleet),
            *_phases(fleet),
            *_workers(fleet),
        )
    )


def numbers(storm: Storm, fleet: Fleet) -> Iterator[tuple[str, str]]:
    """The same in a few lines of text."""
    yield "The storm", said(storm, fleet)
    for name, (title, _) in TILES.items():
        yield title, _number(name, fleet)


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


def _tile(name: str, fleet: Fleet) -> Markup:
    title, note = TILES[name]
    return tag("div", tag("dt", title), tag("dd", _number(name, fleet), tag("small", note)))


def _number(name: str, fleet: Fleet) -> str:
    metric = metric_named(name)
    value = metric.of(fleet.tally, max(0.0, fleet.at))
    return "-" if value is None else metric.say(value)


def _plots(fleet: Fleet) -> Iterator[Markup]:
    tally = fleet.tally
    first = tally.first()
    if first is None:
        return
    until = max(fleet.at, first + LEAST_SHOWN)
    phases = [phase for phase in fleet.phases if phase.at <= fleet.at]
    dials = list(tally.within("dialled", 1.0, first, fleet.at))
    yield _figure(
        "Dials per second",
        "in the second before; a herd is a spike",
        over_time(dials, first, until, phases, title="Dials per second over time"),
    )
    yield _figure(
        "Restored",
        "the part of the users that are connected and served on every channel",
        over_time(
            _restored(tally, first, fleet.at),
            first,
            until,
            phases,
            title="Restored part over time",
            percent=True,
        ),
    )


def _restored(tally: Tally, since: float, until: float) -> list[tuple[float, float]]:
    levels = tally.levels(since, until)
    return [(at, whole / users if users > 0 else 0.0) for at, users, whole in levels]


def _figure(title: str, note: str, picture: Markup) -> Markup:
    return tag("figure", tag("figcaption", title, " ", tag("small", note)), picture)


def _phases(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.phases:
        return
    rows = [
        tag(
            "tr",
            tag("th", phase.label, scope="row"),
            tag("td", phase.where),
            tag("td", f"{phase.at:g} s"),
            tag("td", f"{phase.until:g} s" if phase.until > phase.at else "at once"),
        )
        for phase in fleet.phases
    ]
    yield tag("h2", "Phases")
    yield _table(("", "where", "from", "until"), rows)


def _workers(fleet: Fleet) -> Iterator[Markup]:
    if not fleet.workers:
        return
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", f"{each.get('users', 0):,}"),
            tag("td", f"{each.get('rss_bytes', 0) / 1e6:,.0f} MB"),
            tag("td", str(each.get("state", ""))),
        )
        for name, each in fleet.workers.items()
    ]
    yield tag("h2", "Workers")
    yield _table(("worker", "users", "memory", "state"), rows)


def _table(heads: tuple[str, ...], rows: list[Markup]) -> Markup:
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    return tag("div", tag("table", head, tag("tbody", *rows), class_="numbers"), class_="wide")


def document(storm: Storm, body: Markup) -> str:
    """The whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{storm.name} · Squall"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(_asset("squall.certify", "report.css"))),
        tag("style", Markup(_asset("squall.load", "storm.css"))),
    )
    away = tag("p", "Locust does not answer; this is the last it said.", class_="notice", id="away")
    page = tag(
        "body",
        tag("nav", tag("a", "Locust", href="./")),
        tag("div", Markup(away.replace("<p ", "<p hidden ", 1))),
        tag("main", body),
        tag("footer", f"Squall {__version__}"),
        tag("script", Markup(_asset("squall.load", "storm.js"))),
        class_="storm",
    )
    return join((Markup("<!doctype html>\n"), tag("html", head, page, lang="en"), "\n"))


def _asset(package: str, name: str) -> str:
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")
