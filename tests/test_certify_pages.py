"""The pages of a certification report: what they say, and that nobody can make them say more."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certify_examples import (
    NASTY,
    case,
    cell,
    everything_nasty,
    failing,
    judged,
    matrix,
    recovered,
    scenario,
    storm,
)
from squall.certify.badge import badge
from squall.certify.cell_page import Evidence, cell_page
from squall.certify.index_page import index_page
from squall.certify.matrix import Cell, Column, Matrix, predicate, verdict
from squall.certify.site import as_json, write_site
from squall.certify.wire_log import MOST_ROWS, details, wire_log
from squall.history import Event, History
from squall.manifest import KnownFailure
from squall.pages.markup import escape, link, prose, tag
from squall.results import Trouble
from squall.scenario import Covers
from squall.verdict import Outcome

VOID = {"meta", "link", "input", "br", "hr"}


class Page(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, name: str, attribute: str) -> list[str]:
        return [a[attribute] or "" for each, a in self.elements if each == name and attribute in a]


def words(text: str) -> str:
    spaced = re.sub(r"(</?(?:p|t[dhr]|h[1-6]|li|b|summary|section)\b)", r" \1", text)
    return " ".join(Page(spaced).text.split())


# -- escaping ------------------------------------------------------------------------------------


def test_text_is_escaped_and_markup_is_not_escaped_twice() -> None:
    made = tag("p", "a < b & 'c'", tag("b", '"'), class_='x"y', hidden=True, title=None)
    assert made == '<p class="x&quot;y" hidden>a &lt; b &amp; \'c\'<b>"</b></p>'


def test_characters_that_cannot_be_shown_become_visible() -> None:
    assert escape("a\x00b\x1b[31m\tc\n") == "a\\x00b\\x1b[31m\tc\n"


def test_only_an_address_of_the_web_becomes_a_link() -> None:
    assert link("https://example.org/?a=1&b=2", "bug").startswith('<a href="https://example.org/?')
    assert link("javascript:alert(1)", "bug") == "bug"


def test_words_in_backticks_are_code() -> None:
    assert prose("wait `for` a <time>") == "wait <code>for</code> a &lt;time&gt;"
    assert prose("a lone ` stays") == "a lone ` stays"


def nasty_cell() -> Cell:
    events = everything_nasty(recovered())
    evidence = [event for event in events if event.kind in ("state", "sent", "dialled")]
    known = KnownFailure(reason=NASTY, link="javascript:alert(3)")
    run = case(
        Outcome.UNKNOWN,
        why=NASTY,
        about=NASTY,
        name=NASTY,
        judged=(judged("stays_alive", Outcome.UNKNOWN, NASTY, *evidence),),
        times={
            "disturbances": [{"what": NASTY, "at": 1, "detection": 1, "dial": 2, "recovery": 3}]
        },
        last_words=(NASTY,),
        known=known,
        reproduce=NASTY,
    )
    covers = Covers((), (), (f"https://{NASTY}",))
    column = Column("mine", NASTY, NASTY)
    return cell(run, run, column=column, of=scenario(about=NASTY, covers=covers))


@pytest.mark.parametrize("page", ["cell", "index"])
def test_nothing_that_an_adapter_says_becomes_part_of_a_page(page: str) -> None:
    nasty = nasty_cell()
    evidence = Evidence(
        History(events=everything_nasty(recovered())), [NASTY], {"history.jsonl.gz": NASTY}
    )
    text = cell_page(nasty, evidence) if page == "cell" else index_page(matrix(nasty))
    found = Page(text)
    scripts = [attributes for name, attributes in found.elements if name == "script"]
    assert [each["src"] for each in scripts] == [("../../" * (page == "cell")) + "report.js"]
    for name, attributes in found.elements:
        assert name not in ("img", "iframe", "object", "style", "base")
        assert not any(key.startswith("on") for key in attributes), (name, attributes)
        assert not (attributes.get("href") or "").lower().startswith("javascript")
    assert "<script>alert(1)</script>" in found.text
    assert "\x1b" not in text
    assert "\x00" not in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = (
    "channel",
    "seq",
    "gap",
    "state",
    "reason",
    "commands",
    "version",
    "ok",
    "error",
    "message",
)


@settings(deadline=None, max_examples=60)
@given(
    said=st.lists(
        st.tuples(
            st.sampled_from(("ready", "message", "state", "reply", "log")),
            st.dictionaries(st.sampled_from(FIELDS), JSON),
        ),
        max_size=8,
    )
)
def test_whatever_an_adapter_says_there_is_a_page(said: list[tuple[str, dict[str, Any]]]) -> None:
    events = [Event(3.0, "adapter", kind, None, detail) for kind, detail in said]
    history = History(events=sorted([*recovered(), *events], key=lambda event: event.at))
    text = cell_page(cell(), Evidence(history))
    drawing = re.search("<svg.*</svg>", text, re.S)
    assert drawing is not None
    ElementTree.fromstring(drawing[0])


def test_badge_and_index_json_survive_markup_too() -> None:
    found = matrix(nasty_cell())
    ElementTree.fromstring(badge(list(found.cells.values())))
    assert json.loads(json.dumps(as_json(found)))["adapters"]["mine"]["name"] == NASTY


# -- the first page ------------------------------------------------------------------------------


def columns(*names: str) -> list[Column]:
    return [Column(name, name) for name in names]


MINE, YOURS = columns("mine", "yours")
ANNOUNCED = failing("no_storm", known=KnownFailure(reason="so"))


def test_the_verdict_comes_before_the_numbers() -> None:
    good, bad = columns("good", "bad")
    both = matrix(cell(column=good), cell(failing("no_storm"), column=bad))
    text = words(index_page(both))
    assert text.index("1 of 2 adapters passes every scenario.") < text.index("profile default")
    assert "bad fails 1 of 1 scenario storm 1" in text


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([cell()], "mine passes the one scenario."),
        ([cell(failing("no_storm"))], "mine fails 1 of 1 scenario."),
        ([cell(case(Outcome.UNKNOWN))], "mine leaves 1 of 1 scenario in doubt."),
        ([cell(case(Outcome.UNKNOWN, trouble=Trouble.SETUP))], "mine could not be run."),
        (
            [cell(), cell(case(Outcome.UNSUPPORTED), of=scenario("orders"))],
            "mine passes the one scenario.",
        ),
        (
            [
                cell(failing("no_storm")),
                cell(case(Outcome.UNKNOWN), of=scenario("half-open")),
                cell(of=scenario("herd")),
            ],
            "mine fails 1 of 3 scenarios and leaves 1 in doubt.",
        ),
        (
            [cell(), cell(failing("no_storm", known=KnownFailure(reason="so")), of=scenario("a"))],
            "mine passes 1 of 2 scenarios and fails the rest as announced.",
        ),
        (
            [cell(column=each) for each in columns("a", "b")],
            "Both adapters pass every scenario that they support.",
        ),
        (
            [cell(column=each) for each in columns("a", "b", "c")],
            "All 3 adapters pass every scenario that they support.",
        ),
        (
            [cell(column=MINE), cell(ANNOUNCED, column=YOURS)],
            "Both adapters pass every scenario that they support, or fail as announced.",
        ),
        (
            [cell(ANNOUNCED, column=MINE), cell(failing("no_storm"), column=YOURS)],
            "1 of 2 adapters passes every scenario, or fails as announced.",
        ),
    ],
)
def test_the_first_sentence(cells: list[Cell], said: str) -> None:
    assert verdict(matrix(*cells)) == said


def test_an_interrupted_report_says_so_first_and_marks_what_is_missing() -> None:
    found = matrix(cell(), scenarios=[scenario("half-open")], interrupted=True)
    assert verdict(found) == "Interrupted: 1 of 2 cells are done."
    assert "not run" in words(index_page(found))
    assert found.exit_code == 130


def test_the_rows_are_grouped_as_the_catalogue_is() -> None:
    rows = [
        scenario("refused", covers=Covers(("C-01",))),
        scenario("mine"),
        scenario("own", covers=Covers()),
        scenario("half-open", covers=Covers(("B-01",))),
    ]
    found = matrix(*(cell(case(scenario=each.name), of=each) for each in rows))
    text = words(index_page(found))
    titles = [
        "A Transport drops",
        "B Half-open, blackhole, stall",
        "C Outage and refusal",
        "Your own scenarios",
    ]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)


def test_of_repeated_runs_the_worst_is_shown_with_how_many_came_to_it() -> None:
    runs = [case(seed=0), failing("no_storm", seed=1), case(seed=2), failing("no_storm", seed=3)]
    shown = cell(*runs)
    assert shown.flaky
    assert "storm 2/4" in words(index_page(matrix(shown)))
    text = words(cell_page(shown, Evidence()))
    assert "2 of 4 runs came to this; it does not always do the same." in text
    assert "All runs" in text


def test_known_failures_and_unexpected_passes_are_shown_as_such() -> None:
    known = KnownFailure(reason="no jitter yet", link="https://example.org/7")
    failed = cell(failing("spread", known=known))
    passed = cell(case(known=known), of=scenario("half-open"))
    found = matrix(failed, passed)
    assert found.exit_code == 0
    text = words(index_page(found))
    assert "known failure" in text
    assert "pass unexpected" in text
    assert "no jitter yet" in words(cell_page(failed, Evidence()))
    assert "announces a failure here, but it passed" in words(cell_page(passed, Evidence()))


def index_entry(shown: Cell) -> Any:
    """What index.json says of the cell."""
    return as_json(matrix(shown))["adapters"][shown.column.key]["cells"][shown.scenario.name]


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL])
def test_what_the_manifest_leaves_to_chance_is_marked_random_and_no_surprise(
    outcome: Outcome,
) -> None:
    known = KnownFailure(reason="the pause is 0 to 2 s", sometimes=True)
    shown = cell(failing("spread", known=known) if outcome is Outcome.FAIL else case(known=known))
    text = words(index_page(matrix(shown)))
    assert " random" in text
    assert "unexpected" not in text
    assert index_entry(shown)["random"] is True
    assert index_entry(cell())["random"] is False
    assert "sometimes fail. the pause is" in words(cell_page(shown, Evidence()))


def test_tables_are_tables_and_colour_is_never_alone() -> None:
    text = index_page(matrix(cell(), cell(failing("no_storm"), of=scenario("herd"))))
    page = Page(text)
    assert {"col", "row", "rowgroup"} == set(page.all("th", "scope"))
    cells = re.findall(r'<td class="(pass|fail)"><a [^>]*>([\w-]+)', text)
    assert cells == [("pass", "pass"), ("fail", "storm")]


def test_with_few_adapters_there_is_room_for_what_goes_wrong() -> None:
    few = matrix(*(cell(column=each) for each in columns("a", "b")))
    many = matrix(*(cell(column=each) for each in columns("a", "b", "c", "d")))
    assert "The line is cut; the adapter dials again." in words(index_page(few))
    assert "The line is cut; the adapter dials again." not in words(index_page(many))


# -- the page of a cell --------------------------------------------------------------------------


def test_a_page_tells_the_whole_story() -> None:
    history = recovered()
    dial = history.of("dialled")[1]
    run = failing("no_storm", judged=(judged("no_storm", Outcome.FAIL, "dialled twice", dial),))
    text = cell_page(
        cell(run), Evidence(history, ["a line", "of its log"], {"history.jsonl.gz": ""})
    )
    said = words(text)
    for part in (
        "It dialled too often, too soon, or all at once.",
        "Covers A-02 (Transport drops), issue 1 of the guide, drop_connection of the guide.",
        "The connection is reset",
        "Seen: dialled twice",
        "Asked: The adapter does not dial again and again.",
        "of its log",
        "squall run reset --seed 0",
    ):
        assert part in said
    assert "https://example.org/bugs/1" in Page(text).all("a", "href")
    place = list(history).index(dial)
    assert f"#e{place}" in Page(text).all("a", "href")
    assert f"e{place}" in Page(text).all("tr", "id")


def test_checks_that_say_the_same_say_it_together() -> None:
    why = "never steady: trades is not served"
    names = ("data_resumes", "no_duplicates")
    run = case(Outcome.UNKNOWN, judged=tuple(judged(n, Outcome.UNKNOWN, why) for n in names))
    assert cell_page(cell(run), Evidence()).count(f"</b>{why}") == 1


def test_a_page_of_nothing_says_why() -> None:
    run = case(Outcome.UNSUPPORTED, judged=(), why="this scenario needs the real clock")
    text = words(cell_page(cell(run), Evidence()))
    assert "this scenario needs the real clock" in text
    assert "Nothing was run, so nothing was seen." in text


# -- the log -------------------------------------------------------------------------------------


def test_data_are_counted_and_not_listed() -> None:
    table, _ = wire_log(list(recovered()), ())
    assert "2 messages sent on 2 channels" in words(table)
    assert "exchange" in words(table)


def test_a_long_log_keeps_both_ends_and_what_a_check_calls_upon() -> None:
    events = list(storm(400))
    called = {len(events) // 2}
    table, shown = wire_log(events, called)
    assert table.count("<tr") - 1 <= MOST_ROWS + 3
    assert called <= shown
    assert {0, len(events) - 1} <= shown
    assert "rows left out; the history has them all" in words(table)


def test_a_detail_that_is_too_long_is_cut_off() -> None:
    event = Event(1.0, "adapter", "log", None, {"message": "x" * 5000, "empty": None})
    assert len(details(event)) < 200
    assert details(event).endswith("…")


# -- the folder ----------------------------------------------------------------------------------


def test_every_file_of_the_report_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    found: Matrix = matrix(cell(), cell(failing("no_storm"), of=scenario("herd")))
    write_site(found, tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {
        *("index.html", "index.json", "junit.xml", "badge.svg", "report.css", "report.js", "mine")
    }
    said = json.loads((tmp_path / "index.json").read_text())
    assert said["exit_code"] == 1
    assert said["adapters"]["mine"]["cells"]["herd"]["class"] == "storm"
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [suite.get("failures") for suite in suites] == ["1"]
    assert "1 of 2 pass" in (tmp_path / "mine" / "badge.svg").read_text()


def test_a_badge_of_nothing_boasts_of_nothing() -> None:
    assert "nothing judged" in badge([cell(case(Outcome.UNSUPPORTED))])


def test_an_adapter_that_supports_nothing_is_not_praised() -> None:
    assert predicate([cell(case(Outcome.UNSUPPORTED))]).startswith("passes nothing")


def test_a_report_of_six_hundred_cells_stays_small(tmp_path: Path) -> None:
    """50 scenarios by 12 adapters below 20 MB: what a cell weighs, beside its packed history."""
    evidence = Evidence(storm(120), ["a line of the log"] * 400, {"history.jsonl.gz": ""})
    heavy = len(cell_page(cell(replace(failing("no_storm"))), evidence))
    light = len(cell_page(cell(), Evidence(recovered())))
    assert heavy < 70_000
    assert light < 20_000
