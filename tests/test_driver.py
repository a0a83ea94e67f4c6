"""driver.py: adapters as real processes and as tasks, also those that misbehave."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from squall.driver import (
    Commands,
    Ear,
    InProcessAdapter,
    InProcessDriver,
    SubprocessDriver,
    load_object,
)
from squall.errors import AdapterError
from squall.history import History


class Stage:
    """A driver on a stage of its own: a history, and the adapter's log in memory."""

    def __init__(self) -> None:
        self.history = History(asyncio.get_running_loop().time)
        self.log = io.BytesIO()
        self.observe = self.history.observer("adapter")
        self.ear = Ear(self.observe, lambda: [("api secret", "s3cr3t-value")], self.log)

    def process(self, code: str, grace: float = 5.0) -> SubprocessDriver:
        command = [sys.executable, "-c", code]
        return SubprocessDriver(command, None, self.ear, self.observe, grace)

    def task(self, adapter: InProcessAdapter) -> InProcessDriver:
        return InProcessDriver(adapter, "test:adapter", self.ear, self.observe, grace=0.2)

    async def sees(self, kind: str, within: float = 20.0) -> None:
        if not self.history.of(kind):
            assert await self.history.wait_for(lambda event: event.kind == kind, within), kind

    def kinds(self) -> list[str]:
        return [event.kind for event in self.history]


def on_stage(scene: Callable[[Stage], Awaitable[None]]) -> None:
    async def play() -> None:
        await scene(Stage())

    asyncio.run(play())


POLITE = """
import json, sys
print(json.dumps({"event": "ready", "commands": ["health"]}), flush=True)
for line in sys.stdin:
    print(json.dumps({"event": "reply", "id": json.loads(line)["id"], "ok": True}), flush=True)
"""


def test_events_come_in_commands_go_out_and_the_end_of_stdin_ends_it() -> None:
    async def scene(stage: Stage) -> None:
        driver = stage.process(POLITE)
        await driver.start(os.environ)
        await stage.sees("ready")
        driver.send({"id": 7, "do": "health"})
        await stage.sees("reply")
        await driver.stop()
        assert stage.kinds()[:4] == ["started", "ready", "command", "reply"]
        exited = stage.history.of("exited")[0]
        assert (exited["status"], exited["expected"]) == (0, True)
        assert [e["how"] for e in stage.history.of("stop_requested")] == ["stdin"]

    on_stage(scene)


def test_an_adapter_that_ignores_stdin_and_sigterm_is_killed_with_its_children() -> None:
    async def scene(stage: Stage) -> None:
        driver = stage.process(
            "import signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            'print(\'{"event": "log", "message": %d}\' % child.pid, flush=True)\n'
            "time.sleep(600)\n",
            grace=0.3,
        )
        await driver.start(os.environ)
        await stage.sees("log")
        await driver.stop()
        asked = [event["how"] for event in stage.history.of("stop_requested")]
        assert asked == ["stdin", "sigterm", "sigkill"]
        assert stage.history.of("exited")[0]["status"] == -9
        child = stage.history.of("log")[0]["message"]
        for _ in range(200):  # init reaps it when it gets round to it
            if _is_gone(child):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the adapter's child is still running")

    on_stage(scene)


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_garbage_is_reported_once_and_kept_in_the_log() -> None:
    async def scene(stage: Stage) -> None:
        driver = stage.process(
            "import sys; print('hello'); print('[1]'); sys.stdout.buffer.write(b'\\xff\\x00\\n')"
        )
        await driver.start(os.environ)
        await stage.sees("exited")
        assert [event["line"] for event in stage.history.of("garbage")] == ["hello"]
        assert b"hello" in stage.log.getvalue()
        assert b"[1]" in stage.log.getvalue()
        await driver.stop()

    on_stage(scene)


def test_a_line_longer_than_any_buffer_does_not_stop_the_reading() -> None:
    async def scene(stage: Stage) -> None:
        driver = stage.process(
            'import sys; print(\'x\' * 3_000_000); print(\'{"event": "log", "message": 1}\')'
        )
        await driver.start(os.environ)
        await stage.sees("log")
        await stage.sees("exited")
        await driver.stop()

    on_stage(scene)


def test_an_adapter_that_dies_at_once_leaves_its_status_and_last_words() -> None:
    async def scene(stage: Stage) -> None:
        driver = stage.process("import sys; sys.exit('no such exchange')")
        await driver.start(os.environ)
        await stage.sees("exited")
        exited = stage.history.of("exited")[0]
        assert (exited["status"], exited["expected"]) == (1, False)
        assert "no such exchange" in driver.last_words()
        await driver.stop()
        assert not stage.history.of("stop_requested")

    on_stage(scene)


def test_a_program_that_is_not_there_is_one_clear_error() -> None:
    async def scene(stage: Stage) -> None:
        driver = SubprocessDriver(["no-such-program"], None, stage.ear, stage.observe)
        with pytest.raises(AdapterError, match="no-such-program: No such file or directory"):
            await driver.start(os.environ)
        await driver.stop()

    on_stage(scene)


def test_crash_words_and_secrets_are_noted_whatever_the_stream() -> None:
    async def scene(stage: Stage) -> None:
        driver = stage.process(
            "import sys\n"
            "print('Task exception was never retrieved', file=sys.stderr)\n"
            "print('key=s3cr3t-value', file=sys.stderr)\n"
            "print('again s3cr3t-value', file=sys.stderr)\n"
        )
        await driver.start(os.environ)
        await stage.sees("exited")
        assert len(stage.history.of("crash_reported")) == 1
        assert [e["what"] for e in stage.history.of("secret_printed")] == ["api secret"]
        await driver.stop()

    on_stage(scene)


async def _echo(
    env: Mapping[str, str], emit: Callable[[dict[str, Any]], None], commands: Commands
) -> None:
    emit({"event": "ready", "commands": ["health"]})
    while (command := await commands.get()) is not None:
        emit({"event": "reply", "id": command["id"], "ok": env["YES"] == "1"})


def test_an_in_process_adapter_speaks_the_same_protocol() -> None:
    async def scene(stage: Stage) -> None:
        driver = stage.task(_echo)
        await driver.start({"YES": "1"})
        driver.send({"id": 1, "do": "health"})
        await stage.sees("reply")
        await driver.stop()
        assert stage.kinds() == ["started", "command", "ready", "reply", "stop_requested", "exited"]
        assert stage.history.of("exited")[0]["status"] == 0

    on_stage(scene)


def test_an_in_process_adapter_that_does_not_stop_is_cancelled() -> None:
    async def stubborn(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
        await asyncio.Event().wait()

    async def scene(stage: Stage) -> None:
        driver = stage.task(stubborn)
        await driver.start({})
        await driver.stop()
        assert [e["how"] for e in stage.history.of("stop_requested")] == ["stdin", "sigkill"]

    on_stage(scene)


def test_an_in_process_adapter_that_raises_has_crashed() -> None:
    async def clumsy(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
        raise KeyError("BTC")

    async def scene(stage: Stage) -> None:
        driver = stage.task(clumsy)
        await driver.start({})
        await stage.sees("exited")
        assert "KeyError" in stage.history.of("crash_reported")[0]["line"]
        assert stage.history.of("exited")[0]["status"] == 1

    on_stage(scene)


def test_an_in_process_adapter_that_exits_has_a_status_and_has_not_crashed() -> None:
    async def gives_up(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
        raise SystemExit(3)

    async def scene(stage: Stage) -> None:
        driver = stage.task(gives_up)
        await driver.start({})
        await stage.sees("exited")
        assert stage.history.of("exited")[0]["status"] == 3
        assert not stage.history.of("crash_reported")

    on_stage(scene)


def test_a_secret_in_an_event_of_an_in_process_adapter_is_noted() -> None:
    async def talks(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
        emit({"event": "log", "message": "logged in with s3cr3t-value"})

    async def scene(stage: Stage) -> None:
        driver = stage.task(talks)
        await driver.start({})
        await stage.sees("exited")
        assert [e["stream"] for e in stage.history.of("secret_printed")] == ["events"]

    on_stage(scene)


@pytest.mark.parametrize(
    ("reference", "complaint"),
    [
        ("nothing", "not of the form"),
        ("no_such_module_of_ours:run", "cannot be imported"),
        ("squall.driver:load_objct", "Did you mean 'load_object'"),
    ],
)
def test_a_wrong_object_reference_is_one_clear_error(reference: str, complaint: str) -> None:
    with pytest.raises(AdapterError, match=complaint):
        load_object(reference, None)
