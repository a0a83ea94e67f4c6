"""The blocking shell, on threads and under gevent, against a venue on a real port."""

import asyncio
import importlib.util
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from squall_reference import (
    Action,
    Credentials,
    Deliver,
    Endpoint,
    Reply,
    Settings,
    StateChanged,
    SyncAdapter,
)
from test_reference_venue import Venue, run, silent_port, stir, until

TICKER, ORDERS = "ticker.BTC-PERPETUAL.100ms", "user.orders.any.any.raw"
QUICK = {
    "first_delay_max": 0.02,
    "backoff_base": 0.02,
    "backoff_max": 0.05,
    "breaker_failures": None,
}


class Rig:
    """An adapter that runs in a thread, and what it has told."""

    def __init__(self, url: str, key: str, **settings: object) -> None:
        made, _ = Settings.from_mapping({**QUICK, **settings})
        self.told: list[Action] = []
        self.adapter = SyncAdapter(
            Endpoint(url),
            [TICKER, ORDERS],
            self.hear,
            credentials=Credentials(key, "secret-1"),
            settings=made,
            rng=Random(1),
        )
        self.loop = asyncio.get_running_loop()
        self.running = asyncio.create_task(asyncio.to_thread(self.adapter.run))
        self.running.add_done_callback(stir)

    def hear(self, action: Action) -> None:
        self.told.append(action)
        self.loop.call_soon_threadsafe(stir)

    def states(self) -> list[str]:
        return [action.state for action in self.told if isinstance(action, StateChanged)]

    def of(self, kind: type) -> list[Any]:
        return [action for action in self.told if isinstance(action, kind)]

    async def state(self, state: str, times: int = 1) -> None:
        await until(lambda: self.running.done() or self.states().count(state) >= times)


@asynccontextmanager
async def adapter(url: str, **settings: object) -> AsyncIterator[Rig]:
    rig = Rig(url, "key-1", **settings)
    try:
        yield rig
    finally:
        rig.adapter.stop()
        assert await rig.running == 0
    assert rig.states()[-1] == "stopped"
    assert not [t for t in threading.enumerate() if "SyncAdapter" in t.name]


def test_it_becomes_live_and_delivers_data() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            await venue.push(TICKER, {"last_price": 1})
            await until(lambda: rig.of(Deliver))
            assert rig.of(Deliver) == [Deliver(TICKER, {"last_price": 1}, None, gap=False)]

    run(scene())


def test_after_each_loss_everything_is_restored_once() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            for cycle in range(1, 6):
                await rig.state("live", cycle)
                if cycle % 2:
                    venue.drop()
                else:
                    await venue.close(1000)
            await rig.state("live", 6)
            subscribes = [m for m in venue.methods() if m.endswith("/subscribe")]
            assert subscribes == ["public/subscribe", "private/subscribe"] * 6
            assert len(venue.open) == 1

    run(scene())


def test_a_venue_that_goes_silent_is_left() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url, ping_interval=0.1, pong_timeout=0.2) as rig:
            await rig.state("live")
            venue.freeze()
            await rig.state("live", 2)
            reasons = [a.reason for a in rig.of(StateChanged) if a.state == "disconnected"]
            assert reasons == ["no pong within 0.2 s"]

    run(scene())


def test_pongs_keep_it_on_its_connection() -> None:
    async def scene() -> None:
        async with Venue() as venue:
            quick = {"ping_interval": 0.02, "pong_timeout": 5, "silence_timeout": 0.5}
            async with adapter(venue.url, stable_after=0.01, **quick) as rig:
                await rig.state("live")
                await until(lambda: all(line.pings >= 40 for line in venue.open))
            assert venue.opened == 1

    run(scene())


def test_a_dial_that_is_never_answered_ends_and_is_made_again() -> None:
    async def scene() -> None:
        async with silent_port() as (url, accepted), adapter(url, connect_timeout=0.1) as rig:
            await rig.state("disconnected", 3)
            await until(lambda: sum(w.is_closing() for w in accepted) >= 3)

    run(scene())


@pytest.mark.parametrize("status", [302, 403, 503])
def test_an_upgrade_that_is_refused_is_tried_again(status: int) -> None:
    async def scene() -> None:
        async with Venue() as elsewhere, Venue() as venue:
            venue.refusal = status, {"Location": elsewhere.url}
            async with adapter(venue.url, ban_wait=0.05) as rig:
                await rig.state("disconnected", 2)
                venue.refusal = None
                await rig.state("live")
            told = [a.reason for a in rig.of(StateChanged) if a.state == "disconnected"]
            assert told[0] == f"the upgrade was refused with HTTP {status}"
            assert elsewhere.opened == 0

    run(scene())


def test_stop_ends_it_while_the_venue_is_frozen() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url, close_timeout=0.2) as rig:
            await rig.state("live")
            venue.freeze()

    run(scene())


def test_stop_ends_it_during_a_dial() -> None:
    async def scene() -> None:
        async with silent_port() as (url, accepted), adapter(url, connect_timeout=15):
            await until(lambda: accepted)

    run(scene())


def test_requests_are_answered_and_fail_when_the_line_is_cut() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            rig.adapter.request("first", "public/get_time", {})
            await until(lambda: rig.of(Reply))
            venue.mute = {"private/buy"}
            rig.adapter.request("second", "private/buy", {})
            await until(lambda: "private/buy" in venue.methods())
            venue.drop()
            await until(lambda: len(rig.of(Reply)) == 2)
            first, second = rig.of(Reply)
            assert first == Reply("first", ok=True, result="ok")
            assert (second.tag, second.ok, second.indefinite) == ("second", False, True)

    run(scene())


def test_channels_are_changed_from_another_thread() -> None:
    async def scene() -> None:
        async with Venue() as venue, adapter(venue.url) as rig:
            await rig.state("live")
            rig.adapter.subscribe(["book.BTC-PERPETUAL.100ms"])
            rig.adapter.unsubscribe([TICKER])
            await until(lambda: "public/unsubscribe" in venue.methods())
            await until(lambda: venue.methods().count("public/subscribe") == 2)
            rig.adapter.disconnect()
            await until(lambda: not venue.open)

    run(scene())


def test_wrong_credentials_end_it_with_status_one() -> None:
    async def scene() -> None:
        async with Venue() as venue:
            rig = Rig(venue.url, "wrong", auth_retry=0.01)
            assert await rig.running == 1
            assert venue.methods().count("public/auth") == 3
            assert rig.states()[-1] == "gave_up"

    run(scene())


def test_an_error_in_the_report_surfaces() -> None:
    async def scene() -> None:
        def fail(action: Action) -> None:
            if action == StateChanged("live"):
                raise RuntimeError("the user's own")

        async with Venue() as venue:
            broken = SyncAdapter(Endpoint(venue.url), [TICKER], fail)
            with pytest.raises(RuntimeError, match="the user's own"):
                await asyncio.to_thread(broken.run)
            await until(lambda: not venue.open)

    run(scene())


UNDER_GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from random import Random
from squall_reference import Endpoint, Settings, StateChanged, SyncAdapter

settings = Settings(first_delay_max=0.02, backoff_base=0.02, ping_interval=0.1)
lost = set()

def start(number):
    def report(action):
        if isinstance(action, StateChanged) and action.state == "disconnected":
            lost.add(number)
        if action == StateChanged("live") and number in lost:
            adapter.stop()
    adapter = SyncAdapter(Endpoint(sys.argv[1]), ["ticker.BTC-PERPETUAL.100ms"], report,
                          settings=settings, rng=Random(number))
    return gevent.spawn(adapter.run)

jobs = [start(number) for number in range(20)]
gevent.joinall(jobs, timeout=15, raise_error=True)
print(len(lost), {job.value for job in jobs})
"""


@pytest.mark.skipif(not importlib.util.find_spec("gevent"), reason="gevent is not installed")
def test_twenty_adapters_run_as_greenlets() -> None:
    root = Path(__file__).parent.parent / "reference_adapter"

    def locust(url: str) -> str:
        command = [sys.executable, "-c", UNDER_GEVENT, url]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=root, timeout=18, check=False
        )
        return done.stdout + done.stderr

    async def scene() -> None:
        async with Venue() as venue:
            running = asyncio.create_task(asyncio.to_thread(locust, venue.url))
            await until(lambda: venue.methods().count("public/subscribe") == 20)
            venue.drop()
            told = await running
            assert told == "20 {0}\n"
            assert venue.opened == 40

    run(scene())
