"""The adapter protocol: in the harness's process, and over standard input and output."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import squall_reference
from squall.virtual_clock import VirtualClockLoop
from squall_reference import ConfigurationError, Credentials, Settings
from squall_reference.protocol import COMMANDS, Commands, Configuration
from test_reference_venue import Venue, run, stir, until

ROOT = Path(__file__).parent.parent / "reference_adapter"
TICKER, ORDERS = "ticker.BTC-PERPETUAL.100ms", "user.orders.any.any.raw"
QUICK = {"first_delay_max": 0.02, "backoff_base": 0.02, "backoff_max": 0.1, "auth_retry": 0.02}
READY = {"event": "ready", "commands": COMMANDS, "version": squall_reference.__version__}


def environment(url: str, **settings: object) -> dict[str, str]:
    return {
        "SQUALL_URL": url,
        "SQUALL_DIALECT": "deribit",
        "SQUALL_CHANNELS": json.dumps([TICKER, ORDERS]),
        "SQUALL_API_KEY": "key-1",
        "SQUALL_API_SECRET": "secret-1",
        "SQUALL_SEED": "1",
        "SQUALL_SETTINGS": json.dumps({**QUICK, **settings}),
    }


# The environment.


def test_the_environment_becomes_a_configuration() -> None:
    env = environment("wss://127.0.0.1:1/ws", connect_timeout=3, keepAlive=180)
    found = Configuration.of({**env, "SQUALL_CA_FILE": "/ca.pem", "SQUALL_HTTP_PROXY": "http://p"})
    assert found.endpoint == squall_reference.Endpoint(
        "wss://127.0.0.1:1/ws", "/ca.pem", "http://p"
    )
    assert found.channels == (TICKER, ORDERS)
    assert found.credentials == Credentials("key-1", "secret-1")
    assert found.settings.connect_timeout == 3
    assert found.unknown == ("keepAlive",)


def test_most_of_it_may_be_absent() -> None:
    found = Configuration.of({"SQUALL_URL": "ws://127.0.0.1:1"})
    assert (found.channels, found.credentials, found.settings) == ((), None, Settings())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"SQUALL_URL": ""}, "SQUALL_URL must be a ws:// or wss:// URL, not ''"),
        ({"SQUALL_URL": "http://x"}, "SQUALL_URL must be a ws:// or wss:// URL, not 'http://x'"),
        ({"SQUALL_DIALECT": "okx"}, "SQUALL_DIALECT is 'okx'; this adapter speaks deribit"),
        ({"SQUALL_CHANNELS": "a,b"}, "SQUALL_CHANNELS is not JSON: Expecting value"),
        ({"SQUALL_CHANNELS": "{}"}, "SQUALL_CHANNELS must be a JSON array of channel names"),
        ({"SQUALL_SETTINGS": "[]"}, "SQUALL_SETTINGS must be a JSON object"),
        (
            {"SQUALL_SETTINGS": '{"backoff_max": "30s"}'},
            "SQUALL_SETTINGS: backoff_max must be a number, not '30s'",
        ),
        ({"SQUALL_API_SECRET": ""}, "SQUALL_API_KEY and SQUALL_API_SECRET come together"),
    ],
)
def test_a_wrong_variable_is_named(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Configuration.of({**environment("ws://127.0.0.1:1"), **wrong})
    assert str(raised.value).startswith(message)


# In the harness's process.


class Rig:
    """The adapter as a harness runs it in its own process."""

    def __init__(self, env: dict[str, str]) -> None:
        self.commands: Commands = asyncio.Queue()
        self.events: list[dict[str, Any]] = []
        self.running = asyncio.create_task(squall_reference.adapter(env, self.hear, self.commands))

    def hear(self, event: dict[str, Any]) -> None:
        json.dumps(event)
        self.events.append(event)
        stir()

    async def event(self, **wanted: Any) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if wanted.items() <= event.items()]

        await until(found)
        return found()[0]

    async def ask(self, **command: Any) -> dict[str, Any]:
        self.commands.put_nowait(command)
        return await self.event(event="reply", id=command["id"])


@asynccontextmanager
async def harness(env: dict[str, str]) -> AsyncIterator[Rig]:
    rig = Rig(env)
    try:
        yield rig
        rig.commands.put_nowait(None)
        await rig.running
        assert rig.events[-1] == {"event": "state", "state": "stopped"}
    finally:
        rig.running.cancel()
        await asyncio.wait([rig.running])


def test_ready_comes_first_and_states_follow() -> None:
    async def scene() -> None:
        async with Venue() as venue, harness(environment(venue.url)) as rig:
            await rig.event(state="live")
            states = [event.get("state") for event in rig.events if event["event"] == "state"]
            assert rig.events[0] == READY
            assert states == ["connecting", "connected", "authenticated", "live"]

    run(scene())


def test_each_message_is_told_with_number_and_gap() -> None:
    async def scene() -> None:
        channel = "trades.BTC-PERPETUAL.100ms"
        env = {**environment(""), "SQUALL_CHANNELS": json.dumps([channel])}
        async with Venue() as venue, harness({**env, "SQUALL_URL": venue.url}) as rig:
            await rig.event(state="live")
            for seq in (1, 2, 5):
                await venue.push(channel, [{"trade_seq": seq}])
            message = {"event": "message", "channel": channel}
            assert await rig.event(seq=5) == {**message, "seq": 5, "gap": True}
            assert await rig.event(seq=2) == {**message, "seq": 2, "gap": False}

    run(scene())


def test_commands_are_obeyed_and_answered() -> None:
    async def scene() -> None:
        async with Venue() as venue, harness(environment(venue.url)) as rig:
            await rig.event(state="live")
            added = ["book.BTC-PERPETUAL.100ms"]
            assert (await rig.ask(id=1, do="subscribe", channels=added))["ok"]
            assert (await rig.ask(id=2, do="unsubscribe", channels=added))["ok"]
            assert (await rig.ask(id=3, do="request", method="private/buy", params={}))["ok"]
            await until(lambda: not rig.running.done() and venue.open)
            health = await rig.ask(id=4, do="health")
            assert health["state"] == "live"
            assert (await rig.ask(id=5, do="disconnect"))["ok"]
            await until(lambda: not venue.open)

    run(scene())


def test_health_is_truthful_during_an_outage() -> None:
    async def scene() -> None:
        async with Venue() as venue, harness(environment(venue.url)) as rig:
            await rig.event(state="live")
            assert (await rig.ask(id=1, do="health"))["ok"]
            venue.refusal = 503, {}
            venue.drop()
            await rig.event(state="disconnected")
            health = await rig.ask(id=2, do="health")
            assert not health["ok"]
            assert health["missing"] == [TICKER, ORDERS]
            venue.refusal = None
            await until(lambda: venue.opened == 2)

    run(scene())


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ({"do": "dance"}, "unknown command 'dance'; known are subscribe, "),
        ({}, "unknown command None"),
        ({"do": "subscribe"}, "`channels` must be an array of names"),
        ({"do": "unsubscribe", "channels": [1]}, "`channels` must be an array of names"),
        ({"do": "request"}, "`method` must be a name, `params` an object"),
        ({"do": "request", "method": "a", "params": []}, "`method` must be a name"),
    ],
)
def test_a_wrong_command_is_answered_with_what_is_wrong(
    command: dict[str, Any], error: str
) -> None:
    async def scene() -> None:
        async with Venue() as venue, harness(environment(venue.url)) as rig:
            reply = await rig.ask(id=9, **command)
            assert not reply["ok"]
            assert reply["error"].startswith(error)

    run(scene())


def test_a_private_channel_needs_credentials() -> None:
    async def scene() -> None:
        env = {"SQUALL_URL": "", "SQUALL_CHANNELS": json.dumps([TICKER])}
        async with Venue() as venue, harness({**env, "SQUALL_URL": venue.url}) as rig:
            reply = await rig.ask(id=1, do="subscribe", channels=[ORDERS])
            assert reply["error"] == f"{ORDERS}: needs credentials, and there are none"
        with pytest.raises(ConfigurationError, match="needs credentials"):
            await Rig({"SQUALL_URL": "ws://x", "SQUALL_CHANNELS": f'["{ORDERS}"]'}).running

    run(scene())


def test_settings_of_other_adapters_are_told_once() -> None:
    async def scene() -> None:
        async with Venue() as venue, harness(environment(venue.url, keepAlive=1)) as rig:
            await rig.event(message="settings unknown to this adapter: keepAlive")

    run(scene())


def test_it_stops_on_command_too() -> None:
    async def scene() -> None:
        async with Venue() as venue:
            rig = Rig(environment(venue.url))
            await rig.event(state="live")
            assert (await rig.ask(id=1, do="stop"))["ok"]
            await rig.running
            assert rig.events[-1]["state"] == "stopped"

    run(scene())


def test_the_same_seed_gives_the_same_run() -> None:
    def times() -> list[float]:
        found: list[float] = []

        async def scene() -> None:
            loop = asyncio.get_running_loop()
            async with Venue() as venue:
                venue.refusal = 503, {}
                async with harness(environment(venue.url, backoff_max=30)) as rig:
                    for _ in range(8):
                        await until(lambda: len(rig.events) > len(found) * 2 + 2)
                        found.append(round(loop.time(), 2))
                        await asyncio.sleep(30)

        run(scene(), VirtualClockLoop, within=1000)
        return found

    assert times() == times()


# As a program.


class Program:
    """`python -m squall_reference`, its lines and its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []

    async def event(self, **wanted: Any) -> dict[str, Any]:
        assert self.process.stdout is not None
        while True:
            line = await self.process.stdout.readline()
            assert line, f"no {wanted} in {self.events}"
            self.events.append(json.loads(line))
            if wanted.items() <= self.events[-1].items():
                return self.events[-1]

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def end(self) -> tuple[int, str]:
        """Exit status and standard error."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        lines = (await self.process.stdout.read()).splitlines()
        self.events += [json.loads(line) for line in lines]
        complaints = (await self.process.stderr.read()).decode()
        return await self.process.wait(), complaints


@asynccontextmanager
async def program(env: dict[str, str], **streams: Any) -> AsyncIterator[Program]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "squall_reference"),
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "error", **env},
        **{"stdin": pipe, "stdout": pipe, "stderr": pipe, **streams},
    )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def test_the_program_speaks_the_protocol_and_stops_when_its_input_ends() -> None:
    async def scene() -> None:
        async with Venue() as venue, program(environment(venue.url)) as found:
            assert await found.event(event="ready") == READY
            await found.event(state="live")
            found.say('{"id": 1, "do": "health"}')
            assert (await found.event(event="reply"))["ok"]
            assert found.process.stdin is not None
            found.process.stdin.close()
            assert await found.end() == (0, "")
            assert found.events[-1] == {"event": "state", "state": "stopped"}
            await until(lambda: not venue.open)

    run(scene())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_stops_at_a_signal(number: signal.Signals) -> None:
    async def scene() -> None:
        async with Venue() as venue, program(environment(venue.url)) as found:
            await found.event(state="live")
            found.process.send_signal(number)
            assert await found.end() == (0, "")

    run(scene())


def test_the_program_stops_in_the_middle_of_an_outage() -> None:
    async def scene() -> None:
        async with Venue() as venue:
            venue.refusal = 503, {"Retry-After": "3600"}
            async with program(environment(venue.url)) as found:
                await found.event(state="disconnected")
                found.process.terminate()
                assert await found.end() == (0, "")

    run(scene())


def test_wrong_credentials_end_the_program_with_a_terminal_state_and_status_one() -> None:
    async def scene() -> None:
        async with Venue() as venue:
            env = {**environment(venue.url), "SQUALL_API_KEY": "wrong"}
            async with program(env) as found:
                status, complaints = await found.end()
                assert (status, complaints) == (1, "")
                assert found.events[-1]["state"] == "gave_up"

    run(scene())


def test_a_wrong_configuration_is_one_line_and_status_two() -> None:
    async def scene() -> None:
        env = environment("ws://127.0.0.1:1", backoff_max="soon")
        async with program(env) as found:
            message = (
                "squall_reference: SQUALL_SETTINGS: backoff_max must be a number, not 'soon'\n"
            )
            assert await found.end() == (2, message)

    run(scene())


def test_lines_that_are_no_commands_are_told_and_ignored() -> None:
    async def scene() -> None:
        async with Venue() as venue, program(environment(venue.url)) as found:
            await found.event(state="live")
            for line in ("hello", "[1]", "", "x" * 2_000_000):
                found.say(line)
            await found.event(message="a line on standard input that is no JSON object")
            await found.event(message="a line on standard input that is no JSON object")
            await found.event(message="a command of more than 1048576 bytes")
            found.say('{"id": 1, "do": "stop"}')
            assert await found.end() == (0, "")

    run(scene())


def test_secrets_and_tokens_are_never_printed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Venue() as venue, program(environment(venue.url)) as found:
            await found.event(state="live")
            found.say('{"id": 1, "do": "request", "method": "public/auth", "params": {}}')
            await found.event(event="reply", id=1)
            venue.drop()
            await found.event(state="live")
            found.process.terminate()
            _, complaints = await found.end()
            shown = json.dumps(found.events) + complaints
            assert not [secret for secret in ("secret-1", "A-token", "R-token") if secret in shown]

    run(scene())


def test_a_reader_that_stops_reading_does_not_stop_the_heartbeats() -> None:
    async def scene() -> None:
        async with Venue() as venue, program(environment(venue.url)) as found:
            await found.event(state="live")
            for _ in range(40_000):
                await venue.push(TICKER, {"last_price": 1})
            pong = await next(iter(venue.open)).ping()
            await pong
            assert venue.opened == 1
            found.process.terminate()
            status, complaints = await found.end()
            assert (status, complaints) == (0, "")
            told = [event for event in found.events if event["event"] == "message"]
            assert len(told) < 40_000
            assert found.events[-1]["state"] == "stopped"

    run(scene())


def test_files_serve_as_standard_input_and_output(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Venue() as venue:
            (tmp_path / "in").write_text('{"id": 1, "do": "health"}\n')
            with (tmp_path / "in").open() as given, (tmp_path / "out").open("w") as taken:
                async with program(environment(venue.url), stdin=given, stdout=taken) as found:
                    assert await found.process.wait() == 0
        events = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
        assert events[0] == READY
        assert events[-1] == {"event": "state", "state": "stopped"}

    run(scene())
