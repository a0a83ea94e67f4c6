from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]

# The installed package brings the plugin in by its entry point; a bare checkout does not.
INSTALLED = bool(entry_points(group="pytest11", name="squall"))
PLUGIN = [] if INSTALLED else ["-p", "squall.pytest_plugin"]

RESET = """
name: reset
about: The line is cut.
channels: {trades: 1}
steps: [{do: rst}]
expect: {reconnects: {}}
"""
NOTHING = RESET.replace("do: rst", "do: wait, for: 1s").replace("reset", "nothing")
PRIVATE = """
name: private
about: The line is cut, and orders are to be heard of again.
channels: {orders: 1}
adapter: {needs: [private]}
steps: [{do: rst}]
expect: {reconnects: {}}
"""

# Connects, subscribes, and is content with that for ever.
ONCE = """
import asyncio, json
from websockets.asyncio.client import connect

async def adapter(environment, emit, commands):
    channels = json.loads(environment["SQUALL_CHANNELS"])
    ask = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe"}
    async with connect(environment["SQUALL_URL"], proxy=None, close_timeout=1) as line:
        await line.send(json.dumps({**ask, "params": {"channels": channels}}))
        reading = asyncio.create_task(drain(line))
        await commands.get()
        reading.cancel()

async def drain(line):
    async for message in line:
        pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makefile(".yaml", reset=RESET, nothing=NOTHING, private=PRIVATE)
    pytester.makepyfile(once=ONCE)
    pytester.makefile(
        ".yaml",
        once="name: once\nobject: once:adapter\nsupports: [public]\n",
        known="name: known\nobject: once:adapter\n"
        "expect: {reset: {outcome: fail, reason: it dials only once}}\n",
    )
    return pytester


def result(run: pytest.Pytester, *words: str) -> pytest.RunResult:
    clock = [] if "real" in str(words) else ["--squall-clock=virtual"]
    return run.runpytest_inprocess(*PLUGIN, "-W", "error", *clock, *words)


# -- files ---------------------------------------------------------------------------------------


def test_a_scenario_file_is_a_test(run: pytest.Pytester) -> None:
    found = result(run, "-v", "--squall-adapter=reference", "reset.yaml")
    found.assert_outcomes(passed=1)
    found.stdout.fnmatch_lines(["*reset.yaml::reset PASSED*"])


def test_a_folder_is_collected_only_where_an_adapter_is_named(run: pytest.Pytester) -> None:
    result(run, ".").assert_outcomes()
    result(run, ".", "--squall-adapter=reference").assert_outcomes(passed=2, failed=1)


def test_a_file_that_is_named_needs_no_adapter(run: pytest.Pytester) -> None:
    result(run, "reset.yaml").assert_outcomes(passed=1)


def test_other_yaml_files_are_left_alone(run: pytest.Pytester) -> None:
    run.makefile(".yaml", compose="services: {}\nsteps: none\n")
    found = result(run, "--collect-only", "-q", ".", "--squall-adapter=reference")
    found.stdout.no_fnmatch_line("*compose*")
    found.stdout.no_fnmatch_line("*once.yaml*")


def test_a_failure_shows_the_text_report(run: pytest.Pytester) -> None:
    found = result(run, "--squall-adapter=once.yaml", "reset.yaml")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(
        [
            "FAIL",
            "*The line is cut.",
            "*reconnects (A2): *",
            "*again: *squall check *",
            "*reproduce: squall run *reset.yaml --seed 0 --adapter once.yaml --clock virtual",
        ]
    )
    found.stdout.no_fnmatch_line("*Traceback*")


def test_an_unknown_fails_in_its_own_words(run: pytest.Pytester) -> None:
    found = result(run, "nothing.yaml")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["UNKNOWN", "*cannot be told: nothing was done to the adapter*"])


def test_what_the_adapter_does_not_support_is_skipped(run: pytest.Pytester) -> None:
    found = result(run, "-rs", "--squall-adapter=once.yaml", "private.yaml")
    found.assert_outcomes(skipped=1)
    found.stdout.fnmatch_lines(["*does not offer private*"])


def test_a_known_failure_is_expected(run: pytest.Pytester) -> None:
    found = result(run, "-rx", "--squall-adapter=known.yaml", "reset.yaml")
    found.assert_outcomes(xfailed=1)
    found.stdout.fnmatch_lines(["*it dials only once*"])


def test_a_mistake_in_a_file_is_an_error_with_its_place(run: pytest.Pytester) -> None:
    run.makefile(".yaml", broken=RESET.replace("rst", "rts").replace("reset", "broken"))
    found = result(run, "broken.yaml")
    found.assert_outcomes(errors=1)
    found.stdout.fnmatch_lines(["*broken.yaml:*unknown fault 'rts'. Did you mean 'rst'?"])


def test_a_manifest_that_is_not_there_is_a_message_and_no_traceback(run: pytest.Pytester) -> None:
    found = result(run, "--squall-adapter=gone.yaml", "reset.yaml")
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*gone.yaml: there is no such file"])
    found.stdout.no_fnmatch_line("*Traceback*")


def test_histories_are_kept(run: pytest.Pytester) -> None:
    result(run, "--squall-out=kept", "reset.yaml").assert_outcomes(passed=1)
    assert Path(run.path, "kept", "reset.yaml-reset", "reset", "history.jsonl").exists()


def test_the_real_clock_junit_and_xdist(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xdist")
    paths = [str(ROOT / folder) for folder in ("harness", "proxy", "reference_adapter")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    words = ["-n2", "--junitxml=junit.xml", "--squall-adapter=reference", "--squall-clock=real"]
    found = run.runpytest_subprocess(*PLUGIN, *words, "reset.yaml", "nothing.yaml")
    found.assert_outcomes(passed=1, failed=1)
    assert "nothing was done to the adapter" in Path(run.path, "junit.xml").read_text()


# -- python --------------------------------------------------------------------------------------


def test_tests_run_scenarios_by_name_file_and_value(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        from pathlib import Path
        import pytest
        from squall.scenario import Scenario

        @pytest.mark.parametrize("scenario", [
            "stop-when-steady", "reset.yaml", Path("reset.yaml"), Scenario.load("reset.yaml"),
        ])
        def test_it(squall_run, scenario):
            assert squall_run(scenario).outcome == "pass"

        @pytest.mark.squall("reset", seed=7)
        def test_marked(squall_run):
            result = squall_run()
            assert result.seed == 7
            assert len(result.history.of("dialled")) == 2

        @pytest.mark.squall("nothing.yaml")
        def test_twice(squall_run):
            first = squall_run(check=False)
            second = squall_run("reset.yaml", seed=3)
            assert first.folder != second.folder
            assert (first.outcome, second.outcome) == ("unknown", "pass")
        """
    )
    result(run, "--strict-markers").assert_outcomes(passed=6)


def test_a_scenario_that_does_not_pass_ends_the_test(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import pytest

        def test_fails(squall_run):
            squall_run("reset.yaml", adapter="once.yaml")

        def test_skips(squall_run):
            squall_run("private.yaml", adapter="once.yaml")

        def test_needs_a_name(squall_run):
            squall_run()

        def test_means_several(squall_run):
            squall_run("clean-close")
        """
    )
    found = result(run)
    found.assert_outcomes(failed=3, skipped=1)
    found.stdout.fnmatch_lines(
        ["*reconnects (A2): *", "*name a scenario*", "*name one of them: clean-close-1000,*"]
    )


def test_the_mark_is_known(run: pytest.Pytester) -> None:
    result(run, "--markers").stdout.fnmatch_lines(["@pytest.mark.squall(scenario, *"])


def test_the_plugin_costs_nothing_where_it_is_not_used() -> None:
    code = (
        "import sys, squall.pytest_plugin as plugin\n"
        "print(sorted(n for n in sys.modules if n.startswith(('squall', 'websockets', 'yaml'))))"
    )
    paths = os.pathsep.join([str(ROOT / "harness"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "['squall', 'squall.pytest_plugin']"
