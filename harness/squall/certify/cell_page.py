"""The page of a cell: what was done to the adapter, what it should have done, what was seen.

The verdict comes first, then what went wrong in the words of the checks, then the picture and
everything else that one needs to believe it, and last a command that shows it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from squall.certify.classes import VerdictClass
from squall.certify.lanes import picture, said
from squall.certify.matrix import GROUPS, Cell
from squall.certify.page import document
from squall.certify.svg import draw
from squall.certify.wire_log import details, place_of, wire_log
from squall.checks import Judged
from squall.history import Event, History
from squall.pages.frame import chip, row, table
from squall.pages.markup import Markup, join, link, prose, tag
from squall.scenario import Scenario
from squall.steps import ACTIONS
from squall.verdict import Outcome

MOST_STEPS = 24
MOST_DISTURBANCES = 20
MOST_EVIDENCE, MOST_PROOF = 6, 3
LOG_LINES = 30
SHOWN_FIRST = (Outcome.FAIL, Outcome.UNKNOWN, Outcome.PASS, Outcome.UNSUPPORTED)


@dataclass(frozen=True)
class Evidence:
    """What was kept of a run: its history, its log, and the files that lie beside the page."""

    history: History | None = None
    log: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def cell_page(cell: Cell, evidence: Evidence) -> str:
    """The page as HTML."""
    case, scenario = cell.case, cell.scenario
    events = list(evidence.history) if evidence.history is not None else []
    places = _places(case.judged, events)
    log, shown = wire_log(events, set(places.values()))
    links = {number: place for number, place in places.items() if place in shown}
    body = join(
        (
            _head(cell),
            _section("What goes wrong", *_about(scenario)),
            _section("What was done", _steps(scenario, events)),
            _section("What happened", *_pictures(evidence.history, case.times)),
            _section("What was asked, what was seen", *_checks(case.judged, links)),
            _section("All runs", _runs(cell)) if len(cell.cases) > 1 else None,
            _section("What the adapter printed", _printed(evidence.log)) if evidence.log else None,
            _section("Everything that was seen", log, *_files(evidence)) if events else None,
            _section("Again", *_again(cell)),
        )
    )
    title = f"{scenario.name}, {cell.column.title}: {cell.verdict}"
    return document(title, body, root="../../", kind="cell")


# -- the verdict -----------------------------------------------------------------------------


def _head(cell: Cell) -> Markup:
    back = f"../../index.html#{cell.column.key}--{cell.scenario.name}"
    return tag(
        "header",
        tag("p", tag("a", "← all results", href=back, rel="up", id="up"), class_="up"),
        tag("h1", cell.scenario.name, " ", tag("small", cell.column.title)),
        tag(
            "p",
            tag("strong", cell.verdict, class_=f"chip {css_class(cell.verdict)}"),
            " ",
            cell.verdict.meaning,
            class_="verdict",
        ),
        tag("p", cell.case.why, class_="why") if cell.case.why else None,
        *_remarks(cell),
    )


def _remarks(cell: Cell) -> Iterator[Markup]:
    known = cell.case.known
    if len(cell.cases) > 1:
        flaky = "; it does not always do the same" if cell.flaky else ""
        yield tag("p", f"{cell.agreeing} of {len(cell.cases)} runs came to this{flaky}.")
    if cell.surprising:
        yield tag("p", "The manifest announces a failure here, but it passed.", class_="notice")
    if known is not None:
        reported = link(known.link, "reported") if known.link else None
        often = "sometimes " if known.sometimes else ""
        said_so = f"The manifest announces: {often}{known.outcome}. {known.reason} "
        yield tag("p", said_so, reported, class_="notice")
    if cell.case.last_words:
        words = "\n".join(cell.case.last_words)
        yield tag("p", "Its last words:")
        yield tag("pre", words)


def css_class(verdict: VerdictClass) -> str:
    """The class of the colour: failures share one."""
    if verdict.failed:
        return "fail"
    return {VerdictClass.KNOWN: "known"}.get(verdict, verdict.value)


# -- what was done ---------------------------------------------------------------------------


def _about(scenario: Scenario) -> Iterator[Markup]:
    yield tag("p", scenario.about)
    covers = scenario.covers
    parts = [f"{row} ({GROUPS[row[0]]})" for row in covers.catalogue]
    issues = [str(each) for each in covers.guide if isinstance(each, int)]
    if issues:
        parts.append(f"issue{'s' * (len(issues) > 1)} {' and '.join(issues)} of the guide")
    parts += [f"{each} of the guide" for each in covers.guide if isinstance(each, str)]
    if parts:
        yield tag("p", "Covers ", ", ".join(parts), ".", class_="quiet")
    if covers.bugs:
        items = (tag("li", link(bug)) for bug in covers.bugs)
        yield tag("p", "Real bugs of this kind:", class_="quiet")
        yield tag("ul", *items, class_="bugs")


def _steps(scenario: Scenario, events: Iterable[Event]) -> Markup:
    began = {e["index"]: e.at for e in events if (e.source, e.kind) == ("scenario", "step")}
    rows = []
    for index, step in enumerate(scenario.steps[:MOST_STEPS]):
        at = f"{began[index]:.3f}" if index in began else "-"
        about = (ACTIONS[step.do].__doc__ or "").strip().splitlines()[0]
        what = tag("code", step.do), " ", _conditions(step.as_dict())
        rows.append(tag("tr", tag("td", at), tag("td", *what), tag("td", prose(about))))
    if len(scenario.steps) > MOST_STEPS:
        more = f"and {len(scenario.steps) - MOST_STEPS} more steps"
        rows.append(tag("tr", tag("td"), tag("td", more, colspan="2")))
    return table(("at s", "step", "which means"), rows, "steps")


def _conditions(step: Mapping[str, Any]) -> str:
    timing = {**step.get("timing", {})}
    parts = [said(step.get("settings", {}))]
    if step.get("target", "all") != "all":
        parts.append(f"on {step['target']}")
    for word, form in (("when", "when {}"), ("at", "at {:g} s"), ("after", "after {:g} s")):
        if word in timing:
            parts.append(form.format(_condition(timing[word])))
    if "for" in timing:
        parts.append(f"for {timing['for']:g} s")
    if "until" in timing:
        parts.append(f"until {_condition(timing['until'])}, at most {timing['at_most']:g} s")
    return ", ".join(part for part in parts if part)


def _condition(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    times = f" ({value['nth']})" if value.get("nth", 1) != 1 else ""
    return f"{value['event']}{times}"


# -- what happened ---------------------------------------------------------------------------


def _pictures(history: History | None, times: Mapping[str, Any]) -> Iterator[Markup]:
    if history is None or all(event.source == "scenario" for event in history):
        yield tag("p", "Nothing was run, so nothing was seen.")
        return
    yield tag("figure", tag("div", draw(picture(history)), class_="wide"), _legend())
    disturbances: Sequence[Mapping[str, Any]] = times.get("disturbances") or ()
    if disturbances:
        yield _reactions(disturbances)
    yield tag("p", _numbers(times), class_="quiet")


_LEGEND = (
    ("live", "live"),
    ("connected", "connected"),
    ("connecting", "on its way"),
    ("disconnected", "down"),
    ("fin", "ended by FIN"),
    ("rst", "ended by RST"),
    ("open", "open to the end"),
    ("served", "served"),
    ("too-often", "served too often"),
    ("fault", "a fault in force"),
)


def _legend() -> Markup:
    items = (tag("li", tag("i", class_=f"k {kind}"), text) for kind, text in _LEGEND)
    return tag("figcaption", tag("ul", *items, class_="key"))


def _reactions(disturbances: Sequence[Mapping[str, Any]]) -> Markup:
    words = ("what was done", "at s", "noticed after", "dialled after", "served again after")
    rows = [
        row(
            tag("code", str(each["what"])),
            f"{each['at']:.3f}",
            *(_after(each[key]) for key in ("detection", "dial", "recovery")),
        )
        for each in disturbances[:MOST_DISTURBANCES]
    ]
    if len(disturbances) > MOST_DISTURBANCES:
        more = f"and {len(disturbances) - MOST_DISTURBANCES} more"
        rows.append(tag("tr", tag("td", more, colspan="5")))
    return table(words, rows, "numbers")


def _after(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"


def _numbers(times: Mapping[str, Any]) -> str:
    words = {
        "dials": "dials: {}",
        "dials_per_minute": "dials a minute: {}",
        "mean_reconnect_time": "seconds from a loss to the next upgrade, on average: {}",
        "subscribe_messages_per_reconnect": "subscribe messages a reconnect: {}",
        "missed_messages": "messages missed: {}",
    }
    known = {key: value for key, value in times.items() if value is not None}
    return "; ".join(form.format(_short(known[key])) for key, form in words.items() if key in known)


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


# -- checks ----------------------------------------------------------------------------------


def _places(judged: Iterable[Judged], events: Sequence[Event]) -> dict[int, int]:
    """Where the evidence is in the history: by the identity of the event, its place."""
    found: dict[int, int] = {}
    for each in judged:
        for event in each.verdict.evidence:
            place = place_of(event, events)
            if place is not None:
                found[id(event)] = place
    return found


def _checks(judged: Sequence[Judged], links: Mapping[int, int]) -> Iterator[Markup]:
    """What went wrong is open; what passed is a line that can be opened.

    Checks that say the same for the same reason say it together.
    """
    if not judged:
        yield tag("p", "Nothing was judged.")
    same: dict[tuple[Outcome, str], list[Judged]] = {}
    for each in sorted(judged, key=lambda j: SHOWN_FIRST.index(j.verdict.outcome)):
        same.setdefault((each.verdict.outcome, each.verdict.why), []).append(each)
    for (outcome, why), several in same.items():
        word = chip(outcome.value, outcome.value)
        names = join(part for each in several for part in (" ", tag("code", each.check.name)))
        about = (part for each in several for part in _asked(each))
        grave = outcome in (Outcome.FAIL, Outcome.UNKNOWN)
        most = MOST_EVIDENCE if grave else MOST_PROOF
        shown = _evidence(several[0].verdict.evidence, most, links)
        if grave:
            seen = tag("p", tag("b", "Seen: "), why)
            said_so = (tag("h3", word, names), seen, *about, shown)
            yield tag("section", *said_so, class_=f"check {outcome.value}")
        else:
            summary = tag("summary", word, names, " ", tag("small", why))
            yield tag("details", summary, *about, shown, class_=f"check {outcome.value}")


def _asked(judged: Judged) -> Iterator[Markup]:
    check = judged.check
    rule = " ".join((check.__doc__ or "").split("\n\n")[0].split())
    settings = ", ".join(part for part in (check.id, said(check.as_dict())) if part)
    small = tag("small", f" {settings}") if settings else None
    yield tag("p", tag("b", "Asked: "), prose(rule), small)


def _evidence(events: Sequence[Event], most: int, links: Mapping[int, int]) -> Markup | None:
    if not events:
        return None
    items = []
    for event in events[:most]:
        place = links.get(id(event))
        where = f" #{event.connection}" if event.connection is not None else ""
        at = f"{event.at:.3f} s"
        items.append(
            tag(
                "li",
                tag("a", at, href=f"#e{place}") if place is not None else at,
                f" {event.source} {event.kind}{where} {details(event)}",
            )
        )
    if len(events) > most:
        items.append(tag("li", f"and {len(events) - most} more"))
    return tag("ul", *items, class_="evidence")


# -- the rest --------------------------------------------------------------------------------


def _runs(cell: Cell) -> Markup:
    rows = (
        tag(
            "tr",
            tag("th", str(case.seed), scope="row"),
            tag("td", each, class_=css_class(each)),
            tag("td", f"{case.seconds:.1f}"),
            tag("td", case.why),
        )
        for case, each in zip(cell.cases, cell.classes, strict=True)
    )
    return table(("seed", "class", "seconds", "why"), rows, "runs")


def _printed(log: Sequence[str]) -> Markup:
    return tag("pre", "\n".join(log[-LOG_LINES:]))


def _files(evidence: Evidence) -> Iterator[Markup]:
    if evidence.files:
        items = (
            tag("li", tag("a", name, href=name), f" {about}")
            for name, about in evidence.files.items()
        )
        yield tag("p", "All of it, for other programs:")
        yield tag("ul", *items)


def _again(cell: Cell) -> Iterator[Markup]:
    if cell.case.reproduce:
        yield tag("p", "Reproduce with:")
        yield tag("pre", cell.case.reproduce, class_="copy")
    yield tag(
        "p",
        f"Seed {cell.case.seed}, {cell.case.seconds:.1f} s on the run's own clock.",
        class_="quiet",
    )


def _section(title: str, *children: Markup) -> Markup:
    return tag("section", tag("h2", title), *children)
