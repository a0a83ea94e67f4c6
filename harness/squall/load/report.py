"""report.html: what a storm came to, on one page that needs nothing else.

First whether it was good enough, then the numbers that the owner of a fleet looks for, then how it
went, then how long everything took. All styles are in the page; there is no script and no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from squall.load import fleet_view
from squall.load.fleet_view import figure, said
from squall.load.plots import spread
from squall.load.results import Judged, Result
from squall.load.tally import MEASURES
from squall.load.thresholds import HERD, SPREAD, most_down
from squall.pages.frame import chip, row, table
from squall.pages.markup import NOTHING, Markup, join, tag
from squall.verdict import Outcome

REPORT = "report.html"
LOCUST = "locust.html"


def write(result: Result, folder: Path) -> Path:
    """Write the report; where it is."""
    path = folder / REPORT
    path.write_text(page(result, locust=(folder / LOCUST).exists()), encoding="utf-8")
    return path


def page(result: Result, *, locust: bool = False) -> str:
    """The whole page. `locust` tells whether Locust's own report lies beside it."""
    main = tag(
        "main",
        *_verdict(result),
        _tiles(result),
        *_thresholds(result),
        *_course(result),
        *_durations(result),
        *_particulars(result, locust=locust),
    )
    title = f"{result.storm.name}: {result.outcome}"
    return fleet_view.document(title, main)


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
    return chip(str(outcome).upper(), str(outcome))


def _tiles(result: Result) -> Markup:
    whole = result.fleet.tally.whole(result.window.until)
    numbers = result.numbers()
    notes = {
        "restored": f"{whole:,} of {int(numbers['users'] or 0):,} users",
        "recovery_p50": "half were whole again by then",
        "recovery_p95": "drop to fully restored",
        "recovery_p99": "drop to fully restored",
        "recovery_max": "the last one",
        "peak_dials_per_s": "in any one second",
        "herd_factor": f"1 is an even {SPREAD:g} s, {SPREAD:g} a herd",
        "failures": "adapters that gave up or crashed",
    }
    return fleet_view.tiles(numbers, notes)


def _thresholds(result: Result) -> Iterator[Markup]:
    yield tag("h2", "Thresholds")
    yield table((), [_judged(each) for each in result.judged], "judged stacked")


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
    yield tag("h2", "How it went")
    yield tag(
        "p",
        "The storm's clock shows 0 when the whole fleet was served for the first time. "
        "Bands are faults that lasted, lines are faults that struck at once.",
        class_="quiet",
    )
    yield from fleet_view.course(result.fleet, since, until, end=until)
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


def _durations(result: Result) -> Iterator[Markup]:
    measures = result.fleet.tally.measures
    recovery = measures["recovery"]
    if recovery.count:
        yield figure(
            "Recovery",
            f"{recovery.count:,} times, from the drop to fully restored",
            spread(recovery, "How often a recovery took how long"),
        )
    numbers = result.numbers()
    rows = [
        row(
            join((name, tag("small", f" {_MEANS[name]}"))),
            f"{measures[name].count:,}",
            *(said(f"{name}_{part}", numbers[f"{name}_{part}"]) for part in _PARTS),
        )
        for name in MEASURES
        if measures[name].count
    ]
    if rows:
        yield tag("h2", "How long it took")
        yield table(("", "measured", "p50", "p95", "p99", "longest"), rows, "numbers")


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
_PARTS = ("p50", "p95", "p99", "max")


# -- what was played -----------------------------------------------------------------------------


def _particulars(result: Result, *, locust: bool) -> Iterator[Markup]:
    reasons = result.fleet.tally.reasons.most_common()
    if reasons:
        yield tag("h2", "Failures")
        items = [tag("li", f"{count:,} times: {why}") for why, count in reasons]
        yield tag("ul", *items)
    yield from fleet_view.workers(result.fleet, "users at the end")
    yield tag("h2", "The storm")
    yield tag("pre", _json(result.storm.as_dict()))
    link = tag("a", "Locust's own report", href=LOCUST) if locust else NOTHING
    files = [
        link,
        tag("a", "results.json", href="results.json"),
        tag("a", "storm.yaml", href="storm.yaml"),
    ]
    parts = [part for file in files if file for part in (" · ", file)]
    yield tag("p", *parts[1:], class_="quiet")


def _json(value: dict[str, Any]) -> str:
    """Only what a reader of the report may ask for: the exchange's defaults are many."""
    said = {key: each for key, each in value.items() if key != "exchange"}
    said["exchange"] = {"dialect": value["exchange"]["dialect"]}
    return json.dumps(said, indent=2, ensure_ascii=False)
