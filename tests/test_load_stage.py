"""load/stage.py: the processes of a storm are started, watched and ended, whatever happens."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from load_examples import program, storm
from squall.errors import SquallError
from squall.load.results import Fleet, Result
from squall.load.stage import Part, Setup, Stage
from squall.verdict import Outcome

PATIENCE = 60.0

WHOLE = "write(fleet())"
HALF = "write(fleet(at=5.0, ended=False))"
STAY = "told.wait(60)"


def play(
    folder: Path, body: str, react: Callable[[Stage, Fleet], None] | None = None, **changes: object
) -> Result:
    """Play the small storm with a program in Locust's place."""
    seen: list[int] = []

    async def main() -> Result:
        setup = Setup(
            storm(),
            folder / "out",
            locust=program(folder, body),
            **changes,  # type: ignore[arg-type]
        )
        stage = Stage(setup, lambda fleet: react and react(stage, fleet), lambda text: None)
        try:
            return await asyncio.wait_for(stage.play(), PATIENCE)
        finally:
            seen.extend(pid for part in (*stage.parts, stage.locust) if (pid := part.pid))

    try:
        return asyncio.run(main())
    finally:
        assert not [pid for pid in seen if runs(pid)]


def runs(pid: int) -> bool:
    """Whether this process is still there; one that has ended and waits for its parent is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_storm_is_played_to_its_end(tmp_path: Path) -> None:
    found = play(tmp_path, WHOLE)
    assert (found.outcome, found.exit_code, found.why) == (Outcome.PASS, 0, "")
    out = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"storm.yaml", "fleet.json", "exchange.log", "proxy.log", "locust.err"} <= out


def test_users_are_led_through_the_proxy_and_given_what_they_need(tmp_path: Path) -> None:
    checks = """
import urllib.request, urllib.parse
assert os.environ["SQUALL_API_KEY"] and os.environ["SQUALL_API_SECRET"]
for api in (options.proxy_api, options.exchange_api):
    assert urllib.request.urlopen(api + "/squall/faults", timeout=10).status == 200
exchange = pathlib.Path("exchange.log").read_text()
assert options.host.startswith("ws://127.0.0.1:") and options.host.endswith("/ws/api/v2")
assert options.host not in exchange
"""
    found = play(tmp_path, checks + WHOLE)
    assert found.exit_code == 0, (tmp_path / "out" / "locust.err").read_text()


def test_what_locust_calls_wrong_use_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(SquallError, match="no such setting: first_dealy_max"):
        play(tmp_path, "print('no such setting: first_dealy_max', file=sys.stderr); sys.exit(3)")


def test_a_locust_that_dies_before_the_storm_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SquallError, match="the machine is on fire"):
        play(tmp_path, "raise SystemExit('the machine is on fire')")


def test_a_locust_that_dies_in_mid_storm_leaves_partial_results(tmp_path: Path) -> None:
    found = play(tmp_path, HALF + "\nos.kill(os.getpid(), signal.SIGKILL)")
    assert "Locust ended in mid-storm (killed by signal 9)" in found.why
    assert found.exit_code == 2
    assert found.fleet.tally.users() == 100


@pytest.mark.parametrize("name", ["exchange", "proxy"])
def test_a_part_that_dies_in_mid_storm_ends_it(tmp_path: Path, name: str) -> None:
    def kill(stage: Stage, fleet: Fleet) -> None:
        (part,) = [part for part in stage.parts if part.name == name]
        part.signal(signal.SIGKILL)

    found = play(tmp_path, HALF + "\n" + STAY, kill)
    assert f"the {name} ended in mid-storm (killed by signal 9)" in found.why
    assert found.exit_code == 2
    assert found.fleet.tally.users() == 100


def test_what_the_locust_side_says_of_an_early_end_is_told(tmp_path: Path) -> None:
    found = play(tmp_path, 'write(fleet(at=5.0, why="a worker is gone"))')
    assert found.why == "a worker is gone"
    assert found.exit_code == 2


def test_interrupted_keeps_what_was_measured(tmp_path: Path) -> None:
    told: list[Fleet] = []

    def once(stage: Stage, fleet: Fleet) -> None:
        if not told:
            stage.interrupt()
        told.append(fleet)

    last = 'write(fleet(at=6.0, why="it was stopped before its time"))'
    found = play(tmp_path, f"{HALF}\n{STAY}\n{last}", once)
    assert (found.interrupted, found.exit_code) == (True, 130)
    assert found.fleet.at == 6.0


def test_a_second_interrupt_waits_for_nobody(tmp_path: Path) -> None:
    def twice(stage: Stage, fleet: Fleet) -> None:
        stage.interrupt()
        stage.interrupt()

    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    assert play(tmp_path, f"{deaf}{HALF}\ntold.wait(3600)", twice).exit_code == 130


def test_what_locust_has_started_ends_with_it(tmp_path: Path) -> None:
    body = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("child").write_text(str(child.pid))
"""
    play(tmp_path, body + WHOLE)
    child = int((tmp_path / "out" / "child").read_text())
    deadline = time.monotonic() + PATIENCE
    while runs(child):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_complaints_of_the_exchange_are_remarks(tmp_path: Path) -> None:
    body = """
with open("exchange.err", "a") as file:
    file.write("out of file descriptors\\n")
"""
    found = play(tmp_path, body + WHOLE)
    assert "the exchange said: out of file descriptors" in found.remarks


def test_a_gateway_of_ones_own_gets_the_proxy_and_no_exchange(tmp_path: Path) -> None:
    body = """
assert options.exchange_api is None and options.proxy_api
assert options.host.startswith("ws://127.0.0.1:") and ":9/" not in options.host
assert options.host.endswith("/feed?v=2")
"""
    found = play(tmp_path, body + WHOLE, url="ws://127.0.0.1:9/feed?v=2")
    assert found.exit_code == 0, (tmp_path / "out" / "locust.err").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
def test_where_squall_is_killed_its_parts_end_too(tmp_path: Path) -> None:
    script = f"""
import asyncio, pathlib, sys
from squall.load.stage import Part
async def main():
    part = Part("part", pathlib.Path({str(tmp_path)!r}))
    await part.start([sys.executable, "-c", "import time; time.sleep(600)"], {{}})
    print(part.pid, flush=True)
    await part.wait()
asyncio.run(main())
"""
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + PATIENCE
    while runs(pid):
        assert time.monotonic() < deadline
        os.sched_yield()


def test_a_part_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    asyncio.run(Part("part", tmp_path).stop(1.0))
