from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import jsonschema
import pytest

from squall import __version__
from squall.catalogue import shipped
from squall.cli import main
from squall.errors import NetworkError, ScenarioError
from squall.exchange import Settings
from squall.results_schema import RESULTS_SCHEMA
from squall.serve import address, fault, from_words
from squall_proxy import Latency

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 60.0
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        str(ROOT / folder) for folder in ("harness", "proxy", "reference_adapter")
    ),
}

RESET = """
name: mine
about: The line is cut.
channels: {trades: 1}
steps: [{do: rst}]
expect: {reconnects: {}}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def squall(*words: str) -> int:
    """The exit code of a command line, also where argparse ends the process."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


# -- the words themselves ------------------------------------------------------------------------


def test_squall_alone_prints_help_and_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert squall() == 3
    out = capsys.readouterr().out
    assert "exit codes:" in out
    assert "validate" in out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert squall("--version") == 0
    assert capsys.readouterr().out == f"squall {__version__}\n"


@pytest.mark.parametrize(
    "command", ["run", "check", "list", "show", "validate", "schema", "exchange", "proxy"]
)
def test_every_command_helps_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert squall(command, "--help") == 0
    assert f"examples:\n  squall {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["rnu"],
        ["run", "--jobs", "0"],
        ["run", "--jobs", "many"],
        ["run", "--clock", "wall"],
        ["run", "--nonsense"],
        ["run", "reset", "--profil", "strict"],
        ["list", "--", "python"],
        ["exchange", "--port", "99999"],
        ["proxy", "--listen", "127.0.0.1:0"],
        ["schema", "nothing"],
        ["check"],
    ],
)
def test_wrong_arguments_exit_with_3_and_never_with_2_which_means_unknown(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert squall(*words) == 3
    assert "Traceback" not in capsys.readouterr().err


# -- run -----------------------------------------------------------------------------------------


def test_a_run_passes_reports_and_leaves_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert squall("run", "reset", "--clock", "virtual") == 0
    out = capsys.readouterr().out
    assert "1 passed, 0 failed, 0 unknown, 0 unsupported" in out
    latest = tmp_path / "squall-runs" / "latest"
    assert f"report: squall-runs/{latest.resolve().name}" in out
    results = json.loads((latest / "results.json").read_text())
    jsonschema.validate(results, RESULTS_SCHEMA)
    assert {"A-02", "guide-1", "drop_connection"} <= set(results["scenarios"][0]["covers"])
    assert (latest / results["scenarios"][0]["history"]).exists()
    assert (latest / "reset" / "adapter.log").exists()
    assert (latest / "junit.xml").exists()


def test_two_runs_in_one_second_do_not_share_a_folder(tmp_path: Path) -> None:
    for _ in range(2):
        assert squall("run", "stop-when-steady", "--clock", "virtual", "-q") == 0
    runs = [path for path in (tmp_path / "squall-runs").iterdir() if not path.is_symlink()]
    assert len(runs) == 2


def test_a_virtual_run_with_the_same_seed_is_the_same_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        words = ["run", "reset", "--clock", "virtual", "--seed", "3", "--out", name]
        assert squall(*words) == 0
    first, second = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("a", "b")
    )
    assert first["scenarios"][0]["times"] == second["scenarios"][0]["times"]


def test_an_unknown_scenario_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert squall("run", "half-opne", "rest") == 3
    err = capsys.readouterr().err
    assert "no scenario is called 'half-opne'. Did you mean 'half-open'?" in err
    assert "'rest'. Did you mean 'reset'?" in err


def test_every_wrong_file_is_reported_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text(RESET)
    Path("one.yaml").write_text(RESET.replace("rst", "rts").replace("mine", "one"))
    Path("two.yaml").write_text("")
    assert squall("run", "one.yaml", "two.yaml", "three.yaml", "mine.yaml") == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "one.yaml:5:14: unknown fault 'rts'" in err
    assert "two.yaml:1:1: is empty" in err
    assert "three.yaml: there is no such file" in err
    assert not (tmp_path / "squall-runs").exists()


def test_an_adapter_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert squall("run", "reset", "--adapter", "a.yaml", "--", "python", "a.py") == 3
    assert "name the adapter once" in capsys.readouterr().err


def test_an_adapter_that_cannot_be_started_is_wrong_use_and_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["run", "reset", "stop-when-steady", "--out", "out", "--", "./no-such-adapter"]
    assert squall(*words) == 3
    out = capsys.readouterr().out
    assert "COULD NOT BE RUN\n\nreset, stop-when-steady\n  the adapter cannot be started" in out
    assert "0 passed, 0 failed, 2 unknown" in out
    results = json.loads(Path("out/results.json").read_text())
    assert results["scenarios"][0]["error"].startswith("the adapter cannot be started")


def test_an_adapter_that_prints_no_events_is_told_where_logs_belong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.yaml").write_text(RESET)
    Path("chatty.yaml").write_text(
        f"name: chatty\ncommand: [{sys.executable}, -c, \"print('hello')\"]\n"
    )
    assert squall("run", "mine.yaml", "--adapter", "chatty.yaml", "--quiet") == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "the adapter printed 'hello' on standard output, which is no event." in said
    assert "Was it meant for standard error?" in said


def test_an_adapter_that_does_nothing_is_not_passed() -> None:
    Path("idle.py").write_text(
        "async def adapter(env, emit, commands):\n    await commands.get()\n"
    )
    Path("idle.yaml").write_text("name: idle\nobject: idle:adapter\n")
    assert squall("run", "reset", "--clock", "virtual", "--adapter", "idle.yaml") == 2


def test_what_to_run_is_chosen_by_what_it_covers(capsys: pytest.CaptureFixture[str]) -> None:
    assert squall("list", "--covers", "J-*", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found
    assert all(any(tag.startswith("J-") for tag in each["covers"]) for each in found)
    assert squall("run", "--covers", "Z-99") == 3


# -- check ---------------------------------------------------------------------------------------


def test_check_says_the_same_of_a_run_as_the_run_did(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text(RESET.replace("rst", "wait, for: 1s"))
    assert squall("run", "mine.yaml", "reset", "--clock", "virtual", "--out", "out") == 2
    ran = capsys.readouterr().out
    for word in ("out", "out/mine", "out/mine/history.jsonl"):
        assert squall("check", word) == 2
        judged = capsys.readouterr().out
        part = ran.split("UNKNOWN\n")[1].split("\n\n  again:")[0]
        assert part in judged


def test_check_needs_a_history(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert squall("check", "empty") == 3
    assert "there is no history.jsonl in this folder" in capsys.readouterr().err
    assert squall("check", "nowhere") == 3


# -- list, show, validate, schema ----------------------------------------------------------------


def test_list_names_all_that_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert squall("list", "--json") == 0
    names = [each["name"] for each in json.loads(capsys.readouterr().out)]
    assert all(any(name.startswith(stem) for name in names) for stem in shipped())
    assert squall("list") == 0
    out = capsys.readouterr().out
    assert [name for name in names if name not in out] == []


def test_a_variant_can_be_named_and_so_can_all_of_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert squall("list", "clean-close", "--json") == 0
    every = [each["name"] for each in json.loads(capsys.readouterr().out)]
    assert "clean-close-1000" in every
    assert squall("list", "clean-close-1000", "--json") == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["clean-close-1000"]


def test_show_tells_what_is_judged_with_which_thresholds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert squall("show", "half-open") == 0
    out = capsys.readouterr().out
    assert "do: blackhole" in out
    assert "detects_silence (A3): within=60.0" in out
    assert "stays_alive (A17)" in out


def test_validate_tells_scenarios_from_manifests_and_finds_every_mistake(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("mine.yaml").write_text(RESET)
    Path("adapter.yaml").write_text("name: mine\ncommand: [python, a.py]\n")
    assert squall("validate", "mine.yaml", "adapter.yaml") == 0
    assert capsys.readouterr().out == (
        "mine.yaml: 1 scenario, in order\nadapter.yaml: a manifest, in order\n"
    )
    Path("adapter.yaml").write_text("name: mine\ncommand: [python, a.py]\ngrcae: 5s\n")
    assert squall("validate", "adapter.yaml", "mine.yaml", "gone.yaml") == 3
    out, err = capsys.readouterr()
    assert "Did you mean 'grace'?" in err
    assert "gone.yaml" in err
    assert out.startswith("mine.yaml:")


@pytest.mark.parametrize("name", ["scenario", "manifest", "results"])
def test_schemas_are_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert squall("schema", name) == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


# -- exchange and proxy --------------------------------------------------------------------------


def test_words_are_read_as_a_scenario_file_is() -> None:
    assert fault("latency delay=200ms jitter=50ms") == Latency(delay=0.2, jitter=0.05)
    assert from_words(Settings, ["ack_latency=50ms"], "--set", "it").ack_latency == 0.05
    assert from_words(Settings, [], "--set", "it") == Settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latnecy delay=1s", "unknown fault 'latnecy'. Did you mean 'latency'?"),
        ("latency delay=200", "delay"),
        ("latency dealy=1s", "--fault: latency has no 'dealy'. Did you mean 'delay'?"),
        ("latency 5s", "'5s' is not written key=value"),
        ("latency", "delay"),
        ("", "name a fault"),
        ("http 'status", "name a fault"),
    ],
)
def test_a_wrong_fault_is_explained(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        fault(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["9000", "host:", "host:port", "127.0.0.1:70000", ":9000"])
def test_an_address_is_host_and_port(text: str) -> None:
    with pytest.raises(NetworkError, match="HOST:PORT"):
        address(text)


def test_addresses() -> None:
    assert address("127.0.0.1:9000") == ("127.0.0.1", 9000)
    assert address("[::1]:9000") == ("::1", 9000)


@contextmanager
def serving(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "squall", *words],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_exchange_and_the_proxy_serve_until_ctrl_c() -> None:
    with serving("exchange", "--events") as exchange:
        assert exchange.stdout is not None
        said = [exchange.stdout.readline().split() for _ in range(4)]
        assert [line[0] for line in said] == ["url", "rest", "key", "secret"]
        port = said[1][1].rpartition(":")[2]
        with serving(
            "proxy", "--upstream", f"127.0.0.1:{port}", "--fault", "latency delay=10ms"
        ) as proxy:
            assert proxy.stdout is not None
            listening = json.loads(proxy.stdout.readline())
            assert json.loads(proxy.stdout.readline())["kind"] == "fault_started"
            with closing(
                socket.create_connection(("127.0.0.1", listening["port"]), TIMEOUT)
            ) as client:
                client.sendall(b"GET /api/v2/public/test HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(64).startswith(b"HTTP/1.1 200")
            assert json.loads(exchange.stdout.readline())["kind"] == "rest"
            proxy.send_signal(signal.SIGINT)
            _, err = proxy.communicate(timeout=TIMEOUT)
            assert (proxy.returncode, err) == (0, "")
        exchange.send_signal(signal.SIGTERM)
        _, err = exchange.communicate(timeout=TIMEOUT)
        assert (exchange.returncode, err) == (0, "")


@pytest.mark.parametrize(
    "words", [["exchange", "--port"], ["proxy", "--upstream", "127.0.0.1:1", "--listen"]]
)
def test_a_port_in_use_is_one_clear_message(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        words[-1:] = [words[-1], f"127.0.0.1:{port}" if words[0] == "proxy" else port]
        assert squall(*words) == 3
    err = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1:{port}" in err
    assert "Traceback" not in err


def test_a_reader_that_leaves_is_no_error() -> None:
    shell = f"{sys.executable} -m squall list | head -n 1"
    done = subprocess.run(
        shell, shell=True, env=ENVIRONMENT, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1
