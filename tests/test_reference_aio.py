"""The asyncio shell, against a venue on a real port."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from squall.virtual_clock import VirtualClockLoop
from squall_reference import (
    Action,
    Adapter,
    Client,
    Credentials,
    Deliver,
    Down,
    Endpoint,
    Finished,
    Log,
    Received,
    Reply,
    Settings,
    Shell,
    StateChanged,
    Up,
)
from test_reference_venue import LOOPS, Venue, run, silent_port, stir, until

TICKER, ORDERS = "ticker.BTC-PERPETUAL.100ms", "user.orders.any.any.raw"
KEYS = Credentials("key-1", "secret-1")
QUICK = {
    "first_delay_max": 0.02,
    "backoff_base": 0.02,
    "backoff_max": 0.05,
    "breaker_failures": None,
}

Loop = Callable[[], asyncio.AbstractEventLoop]
each_loop = pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())


class Rig:
    """An adapter that is running, and what it has told."""

    def __init__(self, url: str, **settings: object) -> None:
        made, _ = Settings.from_mapping({**QUICK, **settings})
        self.told: list[Action] = []
        self.adapter = Adapter(
            Endpoint(url),
            [TICKER, ORDERS],
            self.hear,
            credentials=KEYS,
            settings=made,
            rng=Random(1),
        )
        self.running = asyncio.create_task(self.adapter.run())
        self.running.add_done_callback(stir)

    def hear(self, action: Action) -> None:
        self.told.append(action)
        stir()

    def states(self) -> list[str]:
        return [action.state for action in self.told if isinstance(action, StateChanged)]

    def of(self, kind: type) -> list[Any]:
        return [action for action in self.told if isinstance(action, kind)]

    async def state(self, state: str, times: int = 1) -> None:
        await until(lambda: self.running.done() or self.states().count(state) >= times)
        assert not self.running.done() or state in self.states(), await self.running


@asynccontextmanager
async def adapter(url: str, **settings: object) -> AsyncIterator[Rig]:
    rig = Rig(url, **settings)
    try:
        yield rig
        rig.adapter.stop()
        assert await rig.running == 0
        assert rig.states()[-1] == "stopped"
    finally:
        rig.running.cancel()
        await asyncio.wait([rig.running])


@each_loop
def test_it_becomes_live_and_delivers_data(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            await venue.push(TICKER, {"last_price": 1})
            await until(lambda: rig.of(Deliver))
            assert rig.of(Deliver) == [Deliver(TICKER, {"last_price": 1}, None, gap=False)]
            assert rig.adapter.health().ok
        assert venue.opened == 1

    run(scene(), loop)


class Overdue:
    """A core that has something to do since long ago."""

    deadline: float | None = 0.0

    def start(self, now: float) -> list[Action]:
        return []

    def tick(self, now: float) -> list[Action]:
        self.deadline = None
        return [Finished(0)]


@each_loop
def test_a_deadline_that_has_passed_can_be_told_twice(loop: Loop) -> None:
    # What uvloop's call_at returns for it is no TimerHandle.
    async def scene() -> int:
        core: Any = Overdue()
        shell = Shell(core, Endpoint("ws://127.0.0.1:1/"), Settings(), lambda action: None)
        shell.act([])
        shell.act([])
        return await shell.run()

    assert run(scene(), loop) == 0


class Listener:
    """Who hears of the line, in the same list as of the adapter."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def hear(self, action: Action) -> None:
        self.told.append(action)
        stir()

    def opened(self) -> None:
        self.told.append("opened")

    def received(self, size: int) -> None:
        self.told.append(size)


@each_loop
def test_an_observer_hears_of_tcp_before_the_upgrade_and_of_each_message(loop: Loop) -> None:
    async def scene() -> None:
        listener = Listener()
        made, _ = Settings.from_mapping(QUICK)
        async with Venue() as venue:
            adapter = Adapter(
                Endpoint(venue.url), [TICKER], listener.hear, settings=made, observer=listener
            )
            running = asyncio.create_task(adapter.run())
            await until(lambda: StateChanged("live") in listener.told)
            adapter.stop()
            assert await running == 0
        told = listener.told
        states = [told.index(StateChanged(state)) for state in ("connecting", "connected")]
        assert states[0] < told.index("opened") < states[1]
        # The answers to set_heartbeat and subscribe.
        assert len([each for each in told if isinstance(each, int)]) == 2

    run(scene(), loop)


@each_loop
def test_every_way_to_lose_a_connection_is_followed_by_a_full_restore(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            for cycle, code in enumerate([1000, 1001, 1008, 1011, 1012, 1013, 4000, 0, 0], 1):
                await rig.state("live", cycle)
                await (venue.close(code) if code else asyncio.to_thread(lambda: None))
                venue.drop()
            await rig.state("live", 10)
            subscribes = [m for m in venue.methods() if m.endswith("/subscribe")]
            assert subscribes == ["public/subscribe", "private/subscribe"] * 10
            assert len(venue.open) == 1

    run(scene(), loop)


@each_loop
def test_a_venue_that_goes_silent_is_left_without_a_farewell(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url, ping_interval=0.1, pong_timeout=0.2) as rig:
            await rig.state("live")
            venue.freeze()
            await rig.state("live", 2)
            reasons = [a.reason for a in rig.of(StateChanged) if a.state == "disconnected"]
            assert reasons == ["no pong within 0.2 s"]

    run(scene(), loop)


@each_loop
def test_a_dial_that_is_never_answered_ends_and_is_made_again(loop: Loop) -> None:
    async def scene() -> None:
        async with silent_port() as (url, accepted):
            async with adapter(url, connect_timeout=0.1) as rig:
                await rig.state("disconnected", 3)
                await until(lambda: sum(w.is_closing() for w in accepted) >= 3)
            await until(lambda: all(writer.is_closing() for writer in accepted))

    run(scene(), loop)


@each_loop
def test_nothing_listens_and_then_something_does(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue:
            url = venue.url
        async with adapter(url) as rig:
            await rig.state("disconnected", 3)

    run(scene(), loop)


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 429, 502, 503])
def test_an_upgrade_that_is_refused_is_tried_again(status: int) -> None:
    async def scene() -> None:
        async with Venue() as venue:
            venue.refusal = status, {"Location": "/elsewhere"}
            async with adapter(venue.url, ban_wait=0.05) as rig:
                await rig.state("disconnected", 2)
                venue.refusal = None
                await rig.state("live")
            told = [a.reason for a in rig.of(StateChanged) if a.state == "disconnected"]
            assert told[0] == f"the upgrade was refused with HTTP {status}"

    run(scene())


def test_a_redirect_is_not_followed() -> None:
    async def scene() -> None:
        async with Venue() as other, Venue() as venue:
            venue.refusal = 302, {"Location": other.url}
            async with adapter(venue.url) as rig:
                await rig.state("disconnected", 3)
            assert other.opened == 0

    run(scene())


@pytest.mark.parametrize("status", [429, 418, 503, 403])
def test_retry_after_is_never_undercut(status: int) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with Venue() as venue:
            venue.refusal = status, {"Retry-After": "120"}
            async with adapter(venue.url) as rig:
                await rig.state("disconnected")
                refused, venue.refusal = loop.time(), None
                await rig.state("live")
                assert 120 <= loop.time() - refused <= 121

    run(scene(), VirtualClockLoop, within=100_000)


@each_loop
def test_stop_ends_it_while_the_venue_is_frozen(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url, close_timeout=0.2) as rig:
            await rig.state("live")
            venue.freeze()

    run(scene(), loop)


@each_loop
def test_stop_ends_it_during_a_dial(loop: Loop) -> None:
    async def scene() -> None:
        async with silent_port() as (url, accepted), adapter(url, connect_timeout=60):
            await until(lambda: accepted)

    run(scene(), loop)


@each_loop
def test_stop_ends_it_between_two_dials(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue:
            venue.refusal = 503, {"Retry-After": "3600"}
            async with adapter(venue.url) as rig:
                await rig.state("disconnected")
            assert venue.refused == 1

    run(scene(), loop)


@each_loop
def test_a_cancelled_run_leaves_no_connection(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue:
            rig = Rig(venue.url)
            await rig.state("live")
            rig.running.cancel()
            await asyncio.wait([rig.running])
            assert rig.running.cancelled()
            await until(lambda: not venue.open)

    run(scene(), loop)


def test_an_error_in_the_report_surfaces_and_leaves_no_connection() -> None:
    async def scene() -> None:
        def fail(action: Action) -> None:
            if action == StateChanged("live"):
                raise RuntimeError("the user's own")

        async with Venue() as venue:
            broken = Adapter(Endpoint(venue.url), [TICKER], fail)
            with pytest.raises(RuntimeError, match="the user's own"):
                await broken.run()
            await until(lambda: not venue.open)

    run(scene())


def test_a_report_may_call_the_adapter() -> None:
    async def scene() -> None:
        replies: list[Reply] = []

        def report(action: Action) -> None:
            if action == StateChanged("live"):
                found.request("mine", "public/get_time", {})
            if isinstance(action, Reply):
                replies.append(action)
                found.stop()

        async with Venue() as venue:
            found = Adapter(Endpoint(venue.url), [TICKER], report)
            assert await found.run() == 0
        assert replies == [Reply("mine", ok=True, result="ok")]

    run(scene())


def test_requests_in_flight_fail_when_the_line_is_cut() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            venue.mute = {"private/buy"}
            for tag in range(20):
                rig.adapter.request(tag, "private/buy", {"amount": 10})
            await until(lambda: venue.methods().count("private/buy") == 20)
            venue.drop()
            await rig.state("live", 2)
            assert [reply.tag for reply in rig.of(Reply)] == list(range(20))
            assert all(reply.indefinite for reply in rig.of(Reply))
            assert venue.methods().count("private/buy") == 20

    run(scene())


def test_a_request_after_the_end_is_still_answered() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
        rig.adapter.request("late", "private/buy", {})
        assert rig.of(Reply) == [Reply("late", ok=False, error="not sent: the adapter is stopped")]

    run(scene())


def test_channels_are_changed_on_the_living_connection() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            rig.adapter.subscribe(["book.BTC-PERPETUAL.100ms"])
            rig.adapter.unsubscribe([TICKER])
            await until(lambda: "public/unsubscribe" in venue.methods())
            await until(lambda: venue.methods().count("public/subscribe") == 2)
            assert venue.opened == 1

    run(scene())


def test_to_disconnect_closes_the_connection_and_opens_no_other() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            rig.adapter.disconnect()
            await until(lambda: not venue.open)
            await asyncio.sleep(3600)
            assert venue.opened == 1

    run(scene(), VirtualClockLoop, within=10_000)


def test_accept_then_close_does_not_become_a_storm() -> None:
    # ccxt opened 11 239 connections in 12 s, because the upgrade reset its backoff.
    async def scene() -> None:
        async with Venue() as venue:
            venue.close_at_once = 1000
            defaults = {"backoff_base": 1, "backoff_max": 30, "breaker_failures": 5}
            async with adapter(venue.url, **defaults):
                await asyncio.sleep(600)
            assert 24 <= venue.opened <= 40

    run(scene(), VirtualClockLoop, within=100_000)


def test_a_day_without_trouble_needs_one_connection_and_its_tokens() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url, heartbeat_interval=None) as rig:
            await asyncio.sleep(86_400)
            assert rig.states() == ["connecting", "connected", "authenticated", "live"]
            assert venue.methods().count("public/auth") == 86_400 // 720

    run(scene(), VirtualClockLoop, within=100_000)


def test_wrong_credentials_end_it_with_status_one() -> None:
    async def scene() -> None:
        told: list[Action] = []
        async with Venue() as venue:
            found = Adapter(
                Endpoint(venue.url),
                [ORDERS],
                told.append,
                credentials=Credentials("wrong", "secret-1"),
                settings=Settings(auth_retry=0.01),
            )
            assert await found.run() == 1
            assert venue.methods().count("public/auth") == 3
            await until(lambda: not venue.open)
        reason = "credentials rejected 3 times in a row: 13004 invalid_credentials"
        assert told[-1] == StateChanged("gave_up", reason)

    run(scene())


@each_loop
def test_messages_too_long_binary_or_no_json_do_no_harm(loop: Loop) -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url, max_message_bytes=2_000_000) as rig:
            await rig.state("live")
            connection = next(iter(venue.open))
            await connection.send(b"\xff" * 1000)
            await connection.send("x" * 1_000_000)
            await venue.push(TICKER, {"last_price": 1})
            await until(lambda: rig.of(Deliver))
            assert len(rig.of(Log)) == 2
            await connection.send("x" * 2_000_001)
            await rig.state("live", 2)

    run(scene(), loop)


def test_text_that_is_no_utf8_ends_the_connection_and_not_the_adapter() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            await next(iter(venue.open)).send(b"\xff\xfe", text=True)
            await rig.state("live", 2)

    run(scene())


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    tls = Endpoint("wss://127.0.0.1:1/").tls()
    assert tls is not None
    assert tls.verify_mode == ssl.CERT_REQUIRED
    assert tls.check_hostname
    assert Endpoint("ws://127.0.0.1:1/").tls() is None


def test_a_missing_ca_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Endpoint("wss://127.0.0.1:1/", str(tmp_path / "ca.pem")).tls()


def test_a_client_alone_reconnects_and_restores_nothing() -> None:
    # The guide's stand-alone pattern: fit for reading what needs no subscription.
    async def scene() -> None:
        told: list[Action] = []

        def hear(action: Action) -> None:
            told.append(action)
            stir()

        settings = Settings.from_mapping(QUICK)[0]
        client = Client(settings, Random(1))
        async with Venue() as venue:
            shell = Shell(client, Endpoint(venue.url), settings, hear)
            running = asyncio.create_task(shell.run())
            await until(lambda: Up() in told)
            shell.act(client.send(json.dumps({"id": 1, "method": "public/test", "params": {}})))
            await until(lambda: any(isinstance(action, Received) for action in told))
            venue.drop()
            await until(lambda: told.count(Up()) == 2)
            assert venue.methods() == ["public/test"]
            shell.act(client.stop(shell.now))
            assert await running == 0
        assert [type(a) for a in told if not isinstance(a, Received)] == [Up, Down, Up, Down]
        assert not any(isinstance(action, Finished) for action in told)

    run(scene())


def test_a_client_with_reconnect_off_stops_at_the_first_loss() -> None:
    async def scene() -> None:
        told: list[Action] = []

        def hear(action: Action) -> None:
            told.append(action)
            stir()

        settings = Settings(reconnect_on_error=False)
        async with Venue() as venue:
            client = Client(settings, Random(1))
            shell = Shell(client, Endpoint(venue.url), settings, hear)
            running = asyncio.create_task(shell.run())
            await until(lambda: Up() in told)
            venue.drop()
            assert await running == 1
            assert venue.opened == 1

    run(scene())
