"""report.html: what a storm came to, on one page that needs nothing else.

First whether it was good enough, then the numbers that the owner of a fleet looks for, then how it
went, then how long everything took. All styles are in the page; there is no script and no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from squall import __version__
from squall.certify.markup import NOTHING, Markup, join, tag
from squall.load.plots import over_time, spread
from squall.load.results import Judged, Result
from squall.load.tally import MEASURES
from squall.load.thresholds import HERD, SPREAD, duration, metric_named, most_down
from squall.verdict import Outcome

REPORT = "report.html"
LOCUST = "locust.html"

Number = float | None


def write(result: Result, folder: Path) -> Path:
    """Write the report; where it is."""
    path = folder / REPORT
    path.write_text(page(result, locust=(folder / LOCUST).exists()), encoding="utf-8")
    return path


def page(result: Result, *, locust: bool = False) -> str:
    """The whole page. `locust` tells whether Locust's own report lies beside it."""
    storm = result.storm
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{storm.name}: {result.outcome} · Squall"),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(_style())),
    )
    body = tag(
        "main",
        *_verdict(result),
        _tiles(result),
        _thresholds(result),
        *_course(result),
        *_durations(result),
        *_particulars(result, locust=locust),
    )
    foot = tag("footer", f"Squall {__version__}")
    document = tag("html", head, tag("body", body, foot, class_="storm"), lang="en")
    return join((Markup("<!doctype html>\n"), document, "\n"))


def _style() -> str:
    certify = resources.files("squall.certify") / "assets" / "report.css"
    ours = resources.files("squall.load") / "assets" / "storm.css"
    return certify.read_text(encoding="utf-8") + ours.read_text(encoding="utf-8")


# -- what it came to -----------------------------------------------------------------------------


def _verdict(result: Result) -> Iterator[Markup]:
    storm = result.storm
    yield tag("h1", storm.name, " ", tag("small", f"{storm.users:,} users"))
    yield tag("p", _chip(result.outcome), " ", storm.about, class_="verdict")
    if result.interrupted:
        yield tag("p", "It was interrupted; this is what was measured until then.", class_="notice")
    elif result.why:
        yield tag("p", f"It ended early: {result.why}", class_="notice")
    for remark in result.remarks:
        yield tag("p", remark, class_="notice")


def _chip(outcome: Outcome) -> Markup:
    return tag("span", str(outcome).upper(), class_=f"chip {outcome}")


def _tiles(result: Result) -> Markup:
    numbers = result.numbers()
    whole = f"{result.fleet.tally.whole(result.window.until):,} of "
    users = int(numbers["users"] or 0)
    tiles = [
        _tile("restored", numbers["restored"], f"{whole}{users:,} users"),
        _tile("recovery_p50", numbers["recovery_p50"], "half were whole again by then"),
        _tile("recovery_p95", numbers["recovery_p95"], "drop to fully restored"),
        _tile("recovery_p99", numbers["recovery_p99"], "drop to fully restored"),
        _tile("recovery_max", numbers["recovery_max"], "the last one"),
        _tile("peak_dials_per_s", numbers["peak_dials_per_s"], "in any one second"),
        _tile(
            "herd_factor", numbers["herd_factor"], f"1 is an even {SPREAD:g} s, {SPREAD:g} a herd"
        ),
        _tile("failures", numbers["failures"], "adapters that gave up or crashed"),
    ]
    return tag("dl", *tiles, class_="tiles")


def _tile(metric: str, value: Number, note: str) -> Markup:
    shown = "-" if value is None else metric_named(metric).say(value)
    return tag("div", tag("dt", _TITLES[metric]), tag("dd", shown, tag("small", note)))


_TITLES = {
    "restored": "Restored",
    "recovery_p50": "Recovery, median",
    "recovery_p95": "Recovery, p95",
    "recovery_p99": "Recovery, p99",
    "recovery_max": "Recovery, longest",
    "peak_dials_per_s": "Peak dials/s",
    "herd_factor": "Herd factor",
    "failures": "Failures",
}


def _thresholds(result: Result) -> Markup:
    rows = [_judged(each) for each in result.judged]
    return join(
        (
            tag("h2", "Thresholds"),
            tag("div", tag("table", tag("tbody", *rows), class_="judged"), class_="wide"),
        )
    )


def _judged(judged: Judged) -> Markup:
    return tag(
        "tr",
        tag("td", _chip(judged.verdict.outcome)),
        tag("th", judged.name, scope="row"),
        tag("td", judged.verdict.why),
    )


# -- how it went ---------------------------------------------------------------------------------


def _course(result: Result) -> Iterator[Markup]:
    tally, until = result.fleet.tally, result.window.until
    since = min(0.0, tally.first() or 0.0)
    if until - since < 0.1:
        until = max(until, tally.last() or 0.0)
    if until - since < 0.1:
        return
    phases = [phase for phase in result.fleet.phases if phase.at <= until]
    dials = list(tally.within("dialled", 1.0, since, until))
    whole = [
        (at, whole / users if users > 0 else 0.0) for at, users, whole in tally.levels(since, until)
    ]
    yield tag("h2", "How it went")
    yield tag(
        "p",
        "The storm's clock shows 0 when the whole fleet was served for the first time. "
        "Bands are faults that lasted, lines are faults that struck at once.",
        class_="quiet",
    )
    yield _figure(
        "Dials per second",
        "in the second before; a herd is a spike",
        over_time(dials, since, until, phases, title="Dials per second over time"),
    )
    yield _figure(
        "Restored",
        "the part of the users that were connected and served on every channel",
        over_time(whole, since, until, phases, title="Restored part over time", percent=True),
    )
    yield from _expectation(result)


def _expectation(result: Result) -> Iterator[Markup]:
    """What the peak is to be held against: the same fleet without jitter, and with the RFC's."""
    down = most_down(result.fleet.tally, result.window.until)
    if down < HERD:
        return
    peak = int(result.numbers()["peak_dials_per_s"] or 0)
    yield tag(
        "p",
        f"{down:,} users were down at once. Without any jitter all of them dial within a second: "
        f"{down:,} dials/s. Spread evenly over {SPREAD:g} s (RFC 6455, section 7.2.3) they are "
        f"{down / SPREAD:,.0f} dials/s. Seen were at most {peak:,}.",
    )


def _figure(title: str, note: str, picture: Markup) -> Markup:
    return tag("figure", tag("figcaption", title, " ", tag("small", note)), picture)


def _durations(result: Result) -> Iterator[Markup]:
    measures = result.fleet.tally.measures
    recovery = measures["recovery"]
    if recovery.count:
        yield _figure(
            "Recovery",
            f"{recovery.count:,} times, from the drop to fully restored",
            spread(recovery, "How often a recovery took how long"),
        )
    numbers = result.numbers()
    rows = [
        tag(
            "tr",
            tag("th", name, tag("small", f" {_MEANS[name]}"), scope="row"),
            tag("td", f"{measures[name].count:,}"),
            *(
                tag("td", _seconds(numbers[f"{name}_{statistic}"]))
                for statistic in ("p50", "p95", "p99", "max")
            ),
        )
        for name in MEASURES
        if measures[name].count
    ]
    if rows:
        heads = ("", "measured", "p50", "p95", "p99", "longest")
        head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
        yield tag("h2", "How long it took")
        table = tag("table", head, tag("tbody", *rows), class_="numbers")
        yield tag("div", table, class_="wide")


_MEANS = {
    "connect": "dial to connection",
    "upgrade": "connection to 101",
    "authenticate": "login to its answer",
    "subscribe": "request to every channel confirmed",
    "first_message": "101 to first datum",
    "outage": "drop to the next upgrade",
    "recovery": "drop to fully restored",
    "lag": "exchange's time stamp to arrival",
}


def _seconds(value: Number) -> str:
    return "-" if value is None else duration(value)


# -- what was played -----------------------------------------------------------------------------


def _particulars(result: Result, *, locust: bool) -> Iterator[Markup]:
    reasons = result.fleet.tally.reasons.most_common()
    if reasons:
        yield tag("h2", "Failures")
        items = [tag("li", f"{count:,} times: {why}") for why, count in reasons]
        yield tag("ul", *items)
    if result.fleet.workers:
        yield tag("h2", "Workers")
        yield _workers(result)
    yield tag("h2", "The storm")
    yield tag("pre", _json(result.storm.as_dict()))
    link = tag("a", "Locust's own report", href=LOCUST) if locust else NOTHING
    files = [
        link,
        tag("a", "results.json", href="results.json"),
        tag("a", "storm.yaml", href="storm.yaml"),
    ]
    said = [part for file in files if file for part in (" · ", file)]
    yield tag("p", *said[1:], class_="quiet")


def _workers(result: Result) -> Markup:
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", f"{each.get('users', 0):,}"),
            tag("td", f"{each.get('rss_bytes', 0) / 1e6:,.0f} MB"),
            tag("td", str(each.get("state", ""))),
        )
        for name, each in result.fleet.workers.items()
    ]
    heads = ("worker", "users at the end", "memory", "state")
    head = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in heads)))
    return tag("div", tag("table", head, tag("tbody", *rows), class_="numbers"), class_="wide")


def _json(value: dict[str, Any]) -> str:
    """Only what a reader of the report may ask for: the exchange's defaults are many."""
    said = {key: each for key, each in value.items() if key != "exchange"}
    said["exchange"] = {"dialect": value["exchange"]["dialect"]}
    return json.dumps(said, indent=2, ensure_ascii=False)
