from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from squall import pool, suite
from squall.errors import AdapterError
from squall.history import History
from squall.junit import write_junit
from squall.manifest import KnownFailure, Manifest
from squall.plan import Plan, jobs, reproduce
from squall.profile import load_profile
from squall.results import Case, Summary, Trouble
from squall.run import Result, Setup
from squall.scenario import AdapterNeeds, Scenario
from squall.steps import Step, Wait
from squall.suite import Began, Ended, run_suite
from squall.verdict import Outcome
from squall.virtual_clock import loop_factory
from squall_proxy import FAULTS

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 60.0


def scenario(name: str, **changed: Any) -> Scenario:
    plain = Scenario(
        name=name,
        about="The line is cut.",
        channels={"trades": 1},
        steps=(Step(FAULTS["rst"]()),),
        expect={"reconnects": {}},
    )
    return replace(plain, **changed)


def plan(out: Path, *scenarios: Scenario, **changed: Any) -> Plan:
    plain = Plan(
        scenarios=scenarios,
        manifest=Manifest(name="mine", command=("true",), object="nothing:here"),
        profile=load_profile("default"),
        out=out,
    )
    return replace(plain, **changed)


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Runs that do nothing but what the test puts in here: by scenario, a coroutine function."""
    found: dict[str, Any] = {}

    class ScriptedRun:
        def __init__(self, scenario: Scenario, manifest: Manifest, setup: Setup) -> None:
            self.scenario, self.setup = scenario, setup

        async def execute(self) -> Result:
            outcome = Outcome.PASS
            if act := found.get(self.scenario.name):
                outcome = await act() or outcome
            return Result(
                scenario=self.scenario,
                seed=self.setup.seed,
                outcome=outcome,
                judged=(),
                history=History(),
                seconds=1.0,
                folder=self.setup.folder,
            )

    monkeypatch.setattr(pool, "Run", ScriptedRun)
    return found


def run(what: Plan) -> tuple[list[Any], Any]:
    notices: list[Any] = []
    return notices, run_suite(what, notices.append)


def outcomes(cases: tuple[Case, ...]) -> list[tuple[str, str]]:
    return [(case.name, case.outcome.value) for case in cases]


# -- the plan ------------------------------------------------------------------------------------


def test_each_run_has_a_name_and_a_seed_of_its_own(tmp_path: Path) -> None:
    twins = [scenario("reset", seed=3), scenario("reset-2"), scenario("reset", seed=8)]
    found = jobs(plan(tmp_path, *twins, repeat=2))
    assert len({job.name for job in found}) == 6
    assert [job.seed for job in found] == [3, 4, 0, 1, 8, 9]


def test_the_command_lines_seed_goes_before_the_scenarios_own(tmp_path: Path) -> None:
    (job,) = jobs(plan(tmp_path, scenario("reset", seed=3), seed=9))
    assert job.seed == 9


def test_what_reproduces_a_run_is_quoted_for_the_shell(tmp_path: Path) -> None:
    mine = scenario("reset", path=Path("my scenarios/reset.yaml"))
    what = plan(tmp_path, mine, options=("--profile", "strict", "--", "python", "a b.py"))
    assert reproduce(what, jobs(what)[0]) == (
        "squall run 'my scenarios/reset.yaml' --seed 0 --profile strict -- python 'a b.py'"
    )


def test_the_virtual_clock_is_refused_to_an_adapter_with_only_a_command(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="'object'"):
        plan(tmp_path, manifest=Manifest(name="mine", command=("true",)), clock="virtual")


# -- running -------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_results_are_in_the_order_of_the_plan(
    tmp_path: Path, acts: dict[str, Any], clock: str
) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.2)

    acts["b-slow"] = slow
    notices, summary = run(
        plan(tmp_path, scenario("b-slow"), scenario("a-quick"), clock=clock, jobs=2)
    )
    assert outcomes(summary.cases) == [("b-slow", "pass"), ("a-quick", "pass")]
    began = [notice.name for notice in notices if isinstance(notice, Began)]
    ended = [notice.case.name for notice in notices if isinstance(notice, Ended)]
    assert began == ["b-slow", "a-quick"]
    assert ended == (["a-quick", "b-slow"] if clock == "real" else began)
    assert summary.exit_code == 0


def test_no_more_run_at_once_than_asked_and_fleets_run_alone(
    tmp_path: Path, acts: dict[str, Any]
) -> None:
    running: set[str] = set()
    together: list[frozenset[str]] = []

    def act(name: str) -> Any:
        async def run() -> None:
            running.add(name)
            together.append(frozenset(running))
            await asyncio.sleep(0.05)
            running.discard(name)

        return run

    names = ["one", "two", "three", "four", "herd-one", "herd-two"]
    fleet = AdapterNeeds(count=30)
    scenarios = [
        scenario(name, **({"adapter": fleet} if name.startswith("herd") else {})) for name in names
    ]
    acts |= {name: act(name) for name in names}
    run(plan(tmp_path, *reversed(scenarios), jobs=2))
    assert max(len(some) for some in together) == 2
    assert together[-2:] == [{"herd-two"}, {"herd-one"}]


@pytest.mark.parametrize(
    ("cores", "gigabytes", "room"), [(1, 64, 16), (8, 64, 32), (8, 4, 16), (1, 0, 1)]
)
def test_as_many_run_side_by_side_as_the_machine_has_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: int, room: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    sizes = {"SC_PHYS_PAGES": gigabytes * 2**18, "SC_PAGE_SIZE": 2**12}
    monkeypatch.setattr("os.sysconf", sizes.__getitem__)
    assert plan(tmp_path, scenario("first")).side_by_side == room
    assert plan(tmp_path, scenario("first"), jobs=7).side_by_side == 7


@pytest.mark.parametrize(("jobs", "order"), [(2, ["long", "short"]), (1, ["short", "long"])])
def test_side_by_side_the_longest_begin_first_and_alone_they_keep_their_order(
    tmp_path: Path, acts: dict[str, Any], jobs: int, order: list[str]
) -> None:
    long = scenario("long", steps=(Step(Wait(), until="steady", at_most=60.0),))
    notices, _ = run(plan(tmp_path, scenario("short"), long, jobs=jobs))
    assert [notice.name for notice in notices if isinstance(notice, Began)] == order


def test_fail_fast_begins_nothing_more(tmp_path: Path, acts: dict[str, Any]) -> None:
    async def fail() -> Outcome:
        return Outcome.FAIL

    acts["bad"] = fail
    what = plan(tmp_path, scenario("bad"), scenario("never"), jobs=1, fail_fast=True)
    _, summary = run(what)
    assert outcomes(summary.cases) == [("bad", "fail")]
    assert summary.not_run == 1
    assert summary.exit_code == 1


def test_a_known_failure_fails_nothing(tmp_path: Path, acts: dict[str, Any]) -> None:
    async def fail() -> Outcome:
        return Outcome.FAIL

    acts["bad"] = fail
    known = Manifest(name="mine", command=("true",), expect={"bad": KnownFailure(reason="not yet")})
    _, summary = run(plan(tmp_path, scenario("bad"), manifest=known, fail_fast=True))
    assert summary.cases[0].expected
    assert summary.exit_code == 0


def test_a_clock_or_a_venue_that_does_not_fit_is_unsupported(tmp_path: Path) -> None:
    _, summary = run(plan(tmp_path, scenario("late", clocks=("virtual",))))
    assert outcomes(summary.cases) == [("late", "unsupported")]
    assert summary.cases[0].why == "this scenario needs the virtual clock"


def test_our_own_mistake_is_a_doubt_with_its_traceback_and_the_rest_goes_on(
    tmp_path: Path, acts: dict[str, Any]
) -> None:
    async def crash() -> None:
        raise KeyError("oops")

    acts["broken"] = crash
    _, summary = run(plan(tmp_path, scenario("broken"), scenario("fine")))
    assert outcomes(summary.cases) == [("broken", "unknown"), ("fine", "pass")]
    assert summary.cases[0].why.startswith("squall itself failed: KeyError: 'oops'")
    assert "in crash" in (tmp_path / "broken" / "internal-error.txt").read_text()
    assert summary.exit_code == 2


def test_our_own_mistake_in_the_background_is_no_pass(tmp_path: Path, acts: dict[str, Any]) -> None:
    async def blunder() -> None:
        asyncio.get_running_loop().call_soon(lambda: [][0])
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    acts["fine"] = blunder
    _, summary = run(plan(tmp_path, scenario("fine")))
    assert outcomes(summary.cases) == [("fine", "pass")]
    assert summary.exit_code == 2
    assert "IndexError" in (tmp_path / "internal-error.txt").read_text()


@pytest.mark.parametrize("clock", ["real", "virtual"])
def test_an_interrupted_suite_reports_what_has_ended(
    tmp_path: Path, acts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    suites: list[Any] = []

    class Known(suite._Suite):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            suites.append(self)

    monkeypatch.setattr(suite, "_Suite", Known)

    async def interrupt() -> None:
        suites[0].interrupt()
        await asyncio.Event().wait()

    acts["second"] = interrupt
    _, summary = run(
        plan(tmp_path, *map(scenario, ("first", "second", "third")), clock=clock, jobs=1)
    )
    assert [(case.outcome.value, case.trouble) for case in summary.cases] == [
        ("pass", None),
        ("unknown", Trouble.INTERRUPTED),
        ("unknown", Trouble.INTERRUPTED),
    ]
    assert summary.exit_code == 130
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["interrupted"] is True
    assert [each["outcome"] for each in saved["scenarios"]] == ["pass", "unknown", "unknown"]


def test_the_files_are_true_while_the_suite_goes_on(
    tmp_path: Path, acts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    written = threading.Event()

    def write(summary: Summary, folder: Path) -> None:
        write_junit(summary, folder)
        written.set()

    async def look() -> None:
        assert await asyncio.to_thread(written.wait, TIMEOUT)
        seen.append(json.loads((tmp_path / "results.json").read_text()))

    monkeypatch.setattr("squall.suite.write_junit", write)
    acts["second"] = look
    run(plan(tmp_path, scenario("first"), scenario("second"), jobs=1))
    assert seen[0]["interrupted"] is True
    assert [each["name"] for each in seen[0]["scenarios"]] == ["first"]
    assert json.loads((tmp_path / "results.json").read_text())["interrupted"] is False
    assert "<testsuite " in (tmp_path / "junit.xml").read_text()


def test_who_writes_results_holds_up_no_run(
    tmp_path: Path, acts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    went_on = threading.Event()

    def write(summary: Summary, folder: Path) -> None:
        assert went_on.wait(TIMEOUT), "the other run was held up"

    async def go_on() -> None:
        await asyncio.sleep(0.2)
        went_on.set()

    monkeypatch.setattr("squall.suite.write_results", write)
    acts["second"] = go_on
    _, summary = run(plan(tmp_path, scenario("first"), scenario("second"), jobs=2))
    assert outcomes(summary.cases) == [("first", "pass"), ("second", "pass")]


def test_what_goes_wrong_in_writing_is_not_lost(
    tmp_path: Path, acts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(summary: Summary, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("squall.suite.write_results", write)
    with pytest.raises(OSError, match="No space left"):
        run(plan(tmp_path, scenario("first"), scenario("second"), jobs=2))


def test_the_real_clock_is_the_machines_and_the_virtual_one_jumps() -> None:
    async def nap() -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - before

    with asyncio.Runner(loop_factory=loop_factory("virtual")) as runner:
        assert runner.run(nap()) == pytest.approx(3600)
    with asyncio.Runner(loop_factory=loop_factory("real")) as runner:
        assert runner.get_loop().time() > 0


# -- Ctrl-C, for real ----------------------------------------------------------------------------

# The child holds the socket too: the test sees its end only when both are dead.
ADAPTER = """
import signal, socket, subprocess, sys
told = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
told.set_inheritable(True)
rude = sys.argv[2] == "rude"
if rude:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(
    [sys.executable, "-c", "import signal; signal.pause()"], close_fds=False
)
told.sendall(b"up\\n")
sys.stdin.read()
told.sendall(b"asked\\n")
if rude:
    signal.pause()
"""


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        server.settimeout(TIMEOUT)
        yield server


def start_squall(tmp_path: Path, port: int, manners: str) -> subprocess.Popen[str]:
    (tmp_path / "adapter.py").write_text(ADAPTER)
    (tmp_path / "adapter.yaml").write_text(
        f"name: {manners}\ncommand: [{sys.executable}, adapter.py, '{port}', {manners}]\n"
        f"grace: 1h\n"
    )
    paths = [str(ROOT / folder) for folder in ("harness", "proxy", "reference_adapter")]
    words = "run reset half-open --jobs 1 --adapter adapter.yaml --out out"
    return subprocess.Popen(
        [sys.executable, "-m", "squall", *words.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("manners", "signals"),
    [("polite", [signal.SIGINT]), ("polite", [signal.SIGTERM]), ("rude", [signal.SIGINT] * 2)],
)
def test_ctrl_c_ends_in_good_order_and_twice_kills_all_that_was_started(
    tmp_path: Path, door: socket.socket, manners: str, signals: list[signal.Signals]
) -> None:
    squall = start_squall(tmp_path, door.getsockname()[1], manners)
    try:
        told, _ = door.accept()
        with closing(told), told.makefile() as lines:
            told.settimeout(TIMEOUT)
            assert lines.readline() == "up\n"
            squall.send_signal(signals[0])
            assert lines.readline() == "asked\n"
            for number in signals[1:]:
                squall.send_signal(number)
            said, _ = squall.communicate(timeout=TIMEOUT)
            assert lines.readline() == ""
    finally:
        squall.kill()
        squall.wait()
    assert squall.returncode == 130, said
    assert "0 passed, 0 failed, 2 unknown, 0 unsupported" in said
    assert "; interrupted" in said
    assert "Traceback" not in said
    assert manners == "rude" or (tmp_path / "out" / "reset" / "history.jsonl").exists()
    assert json.loads((tmp_path / "out" / "results.json").read_text())["interrupted"] is True
