from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

from squall.checks import CHECKS, Judged
from squall.errors import HistoryError
from squall.history import Event
from squall.junit import junit
from squall.manifest import KnownFailure
from squall.report import Terminal, TextReport, closing, explanation, first_sentence, one_line
from squall.results import Case, Summary, Trouble, decided, exit_code, write_results
from squall.results_schema import RESULTS_SCHEMA
from squall.verdict import Outcome, Verdict, failed, passed, unknown, unsupported

SILENT = Event(3.204, "proxy", "fault_fired", 1, {"fault": "blackhole", "id": 1})
WHY = (
    "the line went silent at 3.204 s and for 60.0 s the adapter neither closed connection 1 nor "
    "dialled again; it must notice within 60 s"
)


def judged(name: str, verdict: Verdict) -> Judged:
    return Judged(CHECKS[name](), verdict)


def case(**changed: Any) -> Case:
    plain = Case(
        name="half-open",
        scenario="half-open",
        outcome=Outcome.PASS,
        why="",
        about="The line goes dead without a FIN or RST; the adapter must notice the silence.",
        covers=("B-01", "guide-2"),
        seconds=64.9,
        seed=7,
    )
    return replace(plain, **changed)


def failure(**changed: Any) -> Case:
    verdicts = (
        judged("stays_alive", passed("it lived")),
        judged("detects_silence", failed(WHY, SILENT)),
        judged("data_resumes", unknown("never healed")),
    )
    outcome, why = decided(verdicts)
    return case(outcome=outcome, why=why, judged=verdicts, **changed)


def summary(*cases: Case, **changed: Any) -> Summary:
    plain = Summary(
        adapter="my-adapter",
        profile="default",
        clock="real",
        seed=None,
        started=datetime(2026, 3, 1, 10, 15, tzinfo=UTC),
        cases=cases,
        seconds=71.23,
    )
    return replace(plain, **changed)


class Screen(io.StringIO):
    """A file that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


KNOWN = KnownFailure(reason="no watchdog yet", link="https://example.org/7")
SETUP = case(outcome=Outcome.UNKNOWN, why="the adapter cannot be started", trouble=Trouble.SETUP)
UNSUPPORTED = case(outcome=Outcome.UNSUPPORTED, why="the adapter does not offer events")


# -- exit codes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cases", "code"),
    [
        ([], 0),
        ([case(), UNSUPPORTED], 0),
        ([case(), failure()], 1),
        ([case(), case(outcome=Outcome.UNKNOWN)], 2),
        ([failure(), case(outcome=Outcome.UNKNOWN)], 1),
        ([failure(), SETUP, case()], 3),
        ([failure(known=KNOWN)], 0),
        ([case(outcome=Outcome.UNKNOWN, known=KNOWN)], 2),
        ([case(outcome=Outcome.UNKNOWN, trouble=Trouble.INTERNAL)], 2),
    ],
)
def test_the_exit_code_speaks_for_the_worst(cases: list[Case], code: int) -> None:
    assert exit_code(cases) == code


def test_an_interrupted_suite_exits_as_the_shell_expects() -> None:
    assert summary(failure(), interrupted=True).exit_code == 130


# -- text ----------------------------------------------------------------------------------------


def test_a_failure_is_told_in_the_checks_own_words() -> None:
    text = "\n".join(explanation(failure()))
    said = " ".join(text.split())
    assert "half-open (B-01, guide-2)" in said
    assert f"detects_silence (A3): {WHY}" in said
    assert "3.204 proxy fault_fired #1 fault=blackhole id=1" in said
    assert "it lived" not in said


def test_a_doubt_beside_a_failure_is_told_too_and_after_it() -> None:
    text = "\n".join(explanation(failure()))
    assert "data_resumes (A1): cannot be told: never healed" in text
    assert text.index("detects_silence") < text.index("data_resumes")


def test_checks_that_say_the_same_say_it_together() -> None:
    verdicts = tuple(judged(name, unknown("never steady")) for name in ("exercised", "no_storm"))
    text = "\n".join(explanation(case(outcome=Outcome.UNKNOWN, judged=verdicts)))
    assert "exercised, no_storm (A8): cannot be told: never steady" in text
    assert text.count("never steady") == 1


def test_a_failure_ends_with_the_commands_that_show_it_again() -> None:
    told = failure(
        history=Path("runs/a b/half-open/history.jsonl"),
        reproduce="squall run half-open --seed 7",
    )
    lines = list(explanation(told))
    assert lines[-2:] == [
        "  again:     squall check 'runs/a b/half-open'",
        "  reproduce: squall run half-open --seed 7",
    ]


def test_an_adapter_that_ended_by_itself_has_the_last_word() -> None:
    text = "\n".join(explanation(failure(last_words=("Traceback", "KeyError: 'result'"))))
    assert "the adapter's last words:\n    Traceback\n    KeyError: 'result'" in text


def test_long_lines_are_wrapped() -> None:
    told = [line for line in explanation(failure()) if "fault_fired" not in line]
    assert max(len(line) for line in told) <= 100


def test_a_number_is_not_parted_from_its_unit() -> None:
    told = case(outcome=Outcome.FAIL, why="x" * 91 + " at 3.5 s", trouble=Trouble.SETUP)
    assert "3.5 s" in "\n".join(explanation(told))


def test_one_line_a_scenario() -> None:
    assert one_line(case(), None)[0].split() == ["pass", "half-open", "64.9", "s"]
    text, _ = one_line(failure(), None)
    assert text.startswith("FAIL ")
    assert text.endswith(WHY)


def test_a_line_fits_its_terminal() -> None:
    text, _ = one_line(failure(), 80)
    assert len(text) == 80
    assert text.endswith("...")


def test_a_known_failure_is_shown_as_known() -> None:
    text, _ = one_line(failure(known=KNOWN), None)
    assert text.startswith("known ")
    assert closing(summary(failure(known=KNOWN))).startswith(
        "0 passed, 0 failed, 0 unknown, 0 unsupported, 1 known in"
    )


def test_a_known_failure_that_is_mended_is_pointed_out() -> None:
    text = report(io.StringIO(), case(known=KNOWN), case(name="reset"))
    assert "BETTER THAN ANNOUNCED\n\nhalf-open\n" in text


def test_the_last_line_counts() -> None:
    told = summary(case(), case(), failure(), UNSUPPORTED)
    assert closing(told) == "2 passed, 1 failed, 0 unknown, 1 unsupported in 71.2 s"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("the line went silent at 3.204 s and stayed so", None),
        ("one thing failed. Another did too.", "one thing failed."),
        ("two\nlines", "two lines"),
        ("", ""),
    ],
)
def test_the_first_sentence(text: str, first: str | None) -> None:
    assert first_sentence(text) == (text if first is None else first)


def report(screen: io.StringIO, *cases: Case, quiet: bool = False, **environment: str) -> str:
    text = TextReport(Terminal(screen, environment), len(cases), quiet=quiet)
    text.header("my-adapter (deribit), 2 runs")
    for each in cases:
        text.began(each.name)
    for each in cases:
        text.ended(each)
    text.end(summary(*cases), Path("runs/1"))
    return screen.getvalue()


def test_a_pipe_gets_plain_lines() -> None:
    text = report(io.StringIO(), case(), failure())
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.startswith("squall 0.")
    assert "\n\nFAILURES\n\nhalf-open  (B-01, guide-2)\n" in text
    assert text.endswith("1 passed, 1 failed, 0 unknown, 0 unsupported in 71.2 s\nreport: runs/1\n")


def test_a_terminal_gets_colour_and_a_status_line_that_is_gone_at_the_end() -> None:
    text = report(Screen(), case(), failure(), TERM="xterm")
    assert "\x1b[31;1mFAIL" in text
    assert "1 of 2 done; running: half-open" in text
    last = text.rsplit("\r\x1b[K", 1)[1]
    assert "running" not in last


def test_no_color_is_obeyed_and_a_dumb_terminal_spared() -> None:
    assert "\x1b[3" not in report(Screen(), failure(), TERM="xterm", NO_COLOR="1")
    assert "\x1b" not in report(Screen(), failure(), TERM="dumb")


def test_quiet_says_only_what_did_not_pass() -> None:
    text = report(io.StringIO(), case(name="reset"), failure(), quiet=True)
    assert "reset" not in text
    assert "FAIL  " in text
    assert report(io.StringIO(), case(), quiet=True).splitlines()[0].startswith("1 passed")


def test_what_an_adapter_says_cannot_steer_the_terminal() -> None:
    evil = case(outcome=Outcome.FAIL, why="it said \x1b[2J\x07 twice")
    text = report(io.StringIO(), evil)
    assert "\x1b" not in text
    assert "\\x1b[2J\\x07 twice" in text


def test_the_same_trouble_is_told_once_for_all() -> None:
    text = report(io.StringIO(), SETUP, replace(SETUP, name="reset"), replace(SETUP, name="herd"))
    told = text.split("COULD NOT BE RUN")[1]
    assert told.count("the adapter cannot be started") == 1
    assert "half-open, reset, herd" in told


def test_a_reader_that_leaves_does_not_end_the_suite() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert report(Gone(), case()) == ""


# -- results.json --------------------------------------------------------------------------------

CASES = [
    case(history=Path("runs/1/half-open/history.jsonl")),
    failure(times={"dials": 2, "disturbances": []}),
    failure(known=KNOWN),
    UNSUPPORTED,
    SETUP,
    case(judged=(judged("no_growth", unsupported("not here")),)),
]


def test_results_are_what_their_schema_says(tmp_path: Path) -> None:
    write_results(summary(*CASES), tmp_path)
    jsonschema.validate(json.loads((tmp_path / "results.json").read_text()), RESULTS_SCHEMA)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(RESULTS_SCHEMA)


def test_results_hold_the_evidence_and_relative_paths() -> None:
    told = failure(history=Path("runs/1/half-open/history.jsonl"))
    found = summary(told).as_json(Path("runs/1"))
    (scenario,) = found["scenarios"]
    assert found["started"] == "2026-03-01T10:15:00.000+00:00"
    assert scenario["history"] == "half-open/history.jsonl"
    assert scenario["outcome"] == "fail"
    assert scenario["checks"][1]["evidence"] == [SILENT.as_json()]
    assert "error" not in scenario


def test_results_leave_nothing_half_written_behind(tmp_path: Path) -> None:
    write_results(summary(), tmp_path)
    write_results(summary(case()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


# -- junit.xml -----------------------------------------------------------------------------------


def suite_of(*cases: Case) -> ElementTree.Element:
    root = ElementTree.fromstring(junit(summary(*cases)))
    found = root.find("testsuite")
    assert found is not None
    return found


def test_junit_counts_failures_doubts_and_skips() -> None:
    found = suite_of(*CASES)
    assert {key: found.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    assert found.find("properties/property[@name='profile']") is not None


def test_junit_keeps_to_the_elements_and_attributes_of_jenkins_schema() -> None:
    allowed = {
        "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        "properties": set(),
        "property": {"name", "value"},
        "testcase": {"name", "classname", "time"},
        "failure": {"type", "message"},
        "error": {"type", "message"},
        "skipped": {"message"},
    }
    for element in suite_of(*CASES).iter():
        assert set(element.keys()) <= allowed[element.tag]


def test_junit_holds_the_text_report_of_a_failure() -> None:
    found = suite_of(failure()).find("testcase/failure")
    assert found is not None
    assert found.get("message") == WHY
    assert found.text is not None
    assert "detects_silence (A3)" in found.text


def test_what_xml_cannot_hold_is_left_out() -> None:
    told = case(outcome=Outcome.FAIL, why="a \x00 and \x1b and \ud800", name="x\x08y")
    text = junit(summary(told))
    assert not re.search("[\x00\x1b\x08\ud800]", text)
    ElementTree.fromstring(text)


# -- from disk -----------------------------------------------------------------------------------


def test_a_history_without_its_first_event_cannot_be_judged(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for line in (
        '{"at": 0, "source": "proxy", "kind": "dialled", "connection": 1}',
        '{"at": 0, "source": "scenario", "kind": "run_started"}',
    ):
        path.write_text(line)
        with pytest.raises(HistoryError, match=r"history.jsonl:1: .*run_started"):
            Case.from_history(path)


def test_the_shortest_history_that_can_be_judged_proves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"at": 0, "source": "scenario", "kind": "run_started", "scenario": {}}')
    assert Case.from_history(path).outcome is Outcome.UNKNOWN


def test_an_interrupted_run_is_no_verdict_on_its_adapter(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(
        '{"at": 0, "source": "scenario", "kind": "run_started", "scenario": {}}\n'
        '{"at": 1, "source": "scenario", "kind": "interrupted"}\n'
    )
    found = Case.from_history(path)
    assert (found.outcome, found.trouble) == (Outcome.UNKNOWN, Trouble.INTERRUPTED)
