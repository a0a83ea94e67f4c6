"""load/results.py and load/report.py: what a storm came to, judged and shown."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from load_examples import fleet, fleet_json, lived, phases, result, storm
from squall.load import report
from squall.load.histogram import Histogram
from squall.load.plots import MOST_POINTS, over_time, spread, thinned
from squall.load.results import Fleet, Judged, Result
from squall.load.tally import Tally
from squall.load.witness import Served
from squall.pages.drawing import round_numbers
from squall.verdict import Outcome


def outcomes(of: Result) -> dict[str, str]:
    return {each.name: str(each.verdict.outcome) for each in of.judged}


# -- verdicts ------------------------------------------------------------------------------------


def test_a_good_fleet_passes() -> None:
    assert set(outcomes(result()).values()) == {"pass"}
    assert result().exit_code == 0


def test_a_fleet_that_does_not_come_back_fails() -> None:
    found = result(lived(missing=3))
    assert outcomes(found)["restored == 100%"] == "fail"
    assert found.exit_code == 1


def test_a_fleet_that_comes_back_at_once_fails() -> None:
    assert outcomes(result(lived(spread=0.5)))["herd_factor < 3"] == "fail"


def test_a_fleet_that_never_was_whole_shows_nothing() -> None:
    found = result(Tally(), began=False, at=0.0, phases=(), why="62 s after the start 3 of 100")
    assert set(outcomes(found).values()) == {"unknown"}
    assert found.exit_code == 2


def test_a_fault_that_nobody_felt_shows_nothing() -> None:
    tally = Tally()
    for _ in range(100):
        tally.began(-1.0)
        tally.restored(-0.9)
    found = result(tally)
    (felt,) = [each for each in found.judged if each.name == "exercised"]
    assert felt.verdict.why == "fin at 2 s was felt by nobody"
    assert outcomes(found)["restored == 100%"] == "unknown"


def test_a_step_that_never_came_shows_nothing() -> None:
    found = result(phases=phases()[:1])
    assert found.judged[0].verdict.outcome is Outcome.UNKNOWN
    assert "refuse at 2 s never came" in found.judged[0].verdict.why


@pytest.mark.parametrize("missing", [0, 9])
def test_a_storm_that_broke_off_is_unknown(missing: int) -> None:
    """Those who were still down might have come back."""
    found = result(lived(missing=missing), why="a worker died", at=9.0)
    assert outcomes(found)["restored == 100%"] == "unknown"
    assert found.exit_code == 2


@pytest.mark.parametrize(
    ("at", "channels", "outcome"),
    [(19.0, 100, "pass"), (19.0, 101, "pass"), (19.0, 99, "fail"), (4.0, 40, "pass")],
)
def test_a_user_is_whole_when_the_exchange_serves_it(
    at: float, channels: int, outcome: str
) -> None:
    found = Result(storm(), fleet(), served=Served(at, channels))
    assert outcomes(found)["witnessed"] == outcome
    assert found.exit_code == (1 if outcome == "fail" else 0)


def test_what_the_exchange_says_of_half_a_storm_is_unknown() -> None:
    """The users of a worker that has died are still counted as whole, for a while."""
    found = Result(storm(), fleet(at=19.5), "a worker died", served=Served(19.0, 50))
    assert outcomes(found)["witnessed"] == "unknown"


def test_interrupted_is_its_own_code() -> None:
    assert Result(storm(), fleet(at=5.0), "it was interrupted", interrupted=True).exit_code == 130


# -- files ---------------------------------------------------------------------------------------


def test_fleet_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text(json.dumps(fleet_json(fleet())))
    read = Fleet.read(tmp_path)
    assert read is not None
    assert (read.at, read.began, read.ended, read.phases) == (20.1, True, True, phases())
    assert read.tally.as_json() == lived().as_json()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', "null"])
def test_what_is_no_fleet_json_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet.json").write_text(text)
    assert Fleet.read(tmp_path) is None


def test_results_json_holds_verdicts_and_numbers(tmp_path: Path) -> None:
    result().write(tmp_path)
    found = json.loads((tmp_path / "results.json").read_text())
    assert (found["outcome"], found["exit_code"], found["complete"]) == ("pass", 0, True)
    assert found["numbers"]["restored"] == 1.0
    assert found["numbers"]["recovery_p99"] < 6
    assert found["numbers"]["lag_p99"] is None
    assert [each["threshold"] for each in found["judged"]] == [
        "exercised",
        "restored == 100%",
        "recovery_p99 < 10s",
        "herd_factor < 3",
    ]
    assert found["judged"][1]["value"] == 1.0


# -- the report ----------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page asks for, and whether its elements are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.addresses += [value or "" for key, value in attrs if key in ("href", "src")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


CASES: dict[str, Any] = {
    "passed": result(),
    "failed": result(lived(missing=3)),
    "never whole": result(Tally(), began=False, at=0.0, phases=(), ended=False, workers={}),
    "broken off": result(why="a worker died", at=5.0),
    "interrupted": Result(storm(), fleet(at=5.0), "it was interrupted", interrupted=True),
}


@pytest.mark.parametrize("name", CASES)
def test_a_report_is_one_well_formed_page_that_needs_nothing_else(name: str) -> None:
    text = report.page(CASES[name], locust=True)
    page = Page(text)
    assert page.open == []
    assert not [each for each in page.addresses if "//" in each]
    assert not re.search(r"url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "locust.html" in page.addresses


def test_a_report_shows_what_the_owner_of_a_fleet_looks_for() -> None:
    text = Page(report.page(result())).text
    for words in ("Restored", "100%", "Recovery, p99", "Peak dials/s", "Herd factor", "20 dials/s"):
        assert words in text
    assert "locust.html" not in report.page(result())


def test_what_an_adapter_says_is_text() -> None:
    tally = lived()
    tally.failed(3.0, "<script>alert(1)</script>")
    text = report.page(result(tally))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_a_plot_keeps_its_peaks_and_its_bands() -> None:
    points = [(number / 10, 900.0 if number == 7_000 else 1.0) for number in range(36_000)]
    thin = thinned(points, lowest=False)
    assert len(thin) <= MOST_POINTS
    assert max(value for _, value in thin) == 900.0
    drawn = over_time(points, 0.0, 3_600.0, phases(), title="Dials")
    assert drawn.count('class="band"') == 0  # a second of an hour is no band
    assert over_time(points[:200], 0.0, 20.0, phases(), title="Dials").count('class="band"') == 1


@pytest.mark.parametrize("values", [[1.0], [0.0], [1e-6, 1e5], [2.0, 2.0], [0.9, 1.1, 40.0]])
def test_every_measurement_is_in_a_bar(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    drawn = spread(histogram, "Recovery")
    assert sum(int(n) for n in re.findall(r": (\d+)</title>", drawn)) == len(values)


@pytest.mark.parametrize(("since", "until"), [(0, 20), (-2.9, 25), (-61, 3600), (0, 0.2)])
def test_an_axis_has_round_moments_within_it(since: float, until: float) -> None:
    found = round_numbers(since, until)
    assert 2 <= len(found) <= 11
    assert since - 1e-9 <= found[0]
    assert found[-1] <= until + 1e-9


def test_a_verdict_says_its_threshold() -> None:
    assert isinstance(result().judged[1], Judged)
    assert result().judged[1].as_json()["threshold"] == "restored == 100%"
