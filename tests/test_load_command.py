"""load/command.py and load/preflight.py: the words of `squall load`, and what is refused early."""

from __future__ import annotations

import importlib.util
import io
import re
import resource
from pathlib import Path

import pytest

from load_examples import fleet, lived, result, storm
from squall import catalogue
from squall.cli import main
from squall.errors import NetworkError, SquallError
from squall.load import preflight, stage
from squall.load.command import Progress, standing
from squall.load.results import Result
from squall.load.storm_file import find
from squall.report import Terminal


@pytest.fixture(autouse=True)
def _no_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: object) -> Result:
        raise AssertionError("nothing should have been started")

    monkeypatch.setattr(stage.Stage, "play", never)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["load", *words]) == 3
    return capsys.readouterr().err


def test_without_a_name_all_storms_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in catalogue.storms())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["thundering-hrd"], "Did you mean 'thundering-herd'"),
        (["steady", "--url", "ws://example.com/ws"], "--permit example.com"),
        (["steady", "--url", "http://127.0.0.1:9"], "no WebSocket's address"),
        (["steady", "--url", "ws://127.0.0.1:bad"], "no WebSocket's address"),
        (["outage", "--url", "wss://localhost:9"], "--proxy-api"),
        (["token-expiry", "--url", "ws://localhost:9"], "sets token_lifetime of the mock exchange"),
        (["steady", "--permit", "example.com"], "--permit goes with --url"),
        (["steady", "--proxy-api", "http://127.0.0.1:1"], "--proxy-api goes with --url"),
        (["steady", "--duration", "20"], "durations carry a unit: 20s"),
        (["thundering-herd", "--duration", "1s"], "fin is to begin at 2 s"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(words, capsys)


def test_a_fault_of_the_mock_exchange_needs_the_mock_exchange(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "storm: mine\nabout: a\nduration: 9s\nthresholds: [users > 0]\n"
        "steps: [{at: 1s, do: expire_token}]\n"
    )
    said = refused([str(path), "--url", "ws://localhost:9"], capsys)
    assert "expire_token is a fault of the mock exchange" in said


def test_without_locust_the_command_that_installs_it_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'squall[load]'" in refused(["steady"], capsys)


# -- open files ----------------------------------------------------------------------------------


def test_a_hard_limit_that_is_too_low_is_told_with_the_command_that_helps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, 1024))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    said = refused(["steady", "--users", "5000"], capsys)
    assert "this storm needs 10,256 open files" in said
    assert "10256" in said


def test_a_soft_limit_is_raised_where_the_hard_one_is_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: raised.append(limits))
    preflight.allow_open_files(200)
    preflight.allow_open_files(1000)
    assert raised == [(1000, 4096)]
    with pytest.raises(SquallError):
        preflight.allow_open_files(5000)


def test_the_proxy_has_two_files_a_user_and_a_worker_one() -> None:
    found = find("steady").scaled(1000)
    assert preflight.open_files(found, 2, proxy=True) == 2000 + preflight.SPARE
    assert preflight.open_files(found, 2, proxy=False) == 1000 + preflight.SPARE


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:9/ws", "ws://localhost", "wss://[::1]:9/", "ws://127.5.5.5:1"]
)
def test_this_machine_may_be_stormed(url: str) -> None:
    preflight.check_url(url, None)


def test_another_machine_only_with_its_name_said_twice() -> None:
    preflight.check_url("wss://gw.example.com/ws", "gw.example.com")
    with pytest.raises(NetworkError, match="is not this machine"):
        preflight.check_url("wss://gw.example.com/ws", "other.example.com")


def test_an_address_leads_through_the_proxy_with_its_path() -> None:
    assert preflight.upstream("ws://localhost/a?b=c") == "localhost:80"
    assert preflight.upstream("ws://[::1]:9/") == "[::1]:9"
    through = preflight.through("ws://localhost/a?b=c", "127.0.0.1", 5)
    assert through == "ws://127.0.0.1:5/a?b=c"


# -- what is shown -------------------------------------------------------------------------------


def test_a_line_says_how_the_fleet_stands() -> None:
    assert re.fullmatch(
        r" +2\.5 of 20 s  fin, refuse  users 100  whole \d+  dials/s \d+",
        standing(fleet(at=2.5, ended=False), storm()),
    )
    assert "building up" in standing(fleet(at=0.0, began=False, ended=False), storm())
    assert "calm" in standing(fleet(at=9.0, ended=False), storm())


@pytest.mark.parametrize(
    ("found", "closing"),
    [
        (result(), "small passed"),
        (result(lived(missing=1)), "small failed"),
        (result(why="a worker died"), "ended early: a worker died"),
        (Result(storm(), fleet(at=3.0), "it was interrupted", interrupted=True), "interrupted"),
    ],
)
def test_the_end_says_what_it_came_to_and_where_the_report_is(found: Result, closing: str) -> None:
    out = io.StringIO()
    Progress(Terminal(out), storm(), quiet=False).end(found, Path("out/report.html"))
    assert closing in out.getvalue()
    assert "restored == 100%" in out.getvalue()
    assert out.getvalue().endswith("report: out/report.html\n")


def test_quiet_shows_what_did_not_pass() -> None:
    out = io.StringIO()
    quiet = Progress(Terminal(out), storm(), quiet=True)
    quiet.header(1, None)
    quiet.end(result(lived(missing=1)), Path("report.html"))
    assert "FAIL" in out.getvalue()
    assert "PASS" not in out.getvalue()
