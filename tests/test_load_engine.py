"""Both engines, with adapters made for the test and with the reference adapter."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

pytest.importorskip("gevent", reason="the extra [load] is not installed")

import gevent

from squall.load.adapters import Failed, Reference, timestamp
from squall.load.engine import AsyncioEngine, Engine, GreenletEngine
from squall.load.life import Life, Sample
from squall.load.tally import Tally
from squall_reference import Credentials, Endpoint, Settings
from test_reference_venue import Venue

TICKER, ORDERS = "ticker.BTC-PERPETUAL.100ms", "user.orders.any.any.raw"
QUICK = Settings(first_delay_max=0.02, backoff_base=0.02, backoff_max=0.05, breaker_failures=None)

each_engine = pytest.mark.parametrize("kind", [AsyncioEngine, GreenletEngine])


class Rig:
    """An engine, and what has come out of it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tally = Tally()
        self.samples: list[Sample] = []

    def drain(self) -> None:
        for tally, samples in self.engine.drain():
            self.tally.merge(tally)
            self.samples += samples

    def until(self, condition: Callable[[], object]) -> None:
        with gevent.Timeout(20.0):
            while not condition():
                gevent.sleep(0.01)
                self.drain()

    def names(self) -> set[str]:
        return {name for name, _, why in self.samples if why is None}


@contextmanager
def running(kind: type[Engine]) -> Iterator[Rig]:
    rig = Rig(kind())
    rig.engine.start()
    try:
        yield rig
    finally:
        rig.engine.end()


class Scripted:
    """An adapter for either engine, which does what `script` says and then waits for its end."""

    def __init__(self, script: Callable[[Life], None]) -> None:
        self.script = script
        self.over = threading.Event()

    def run(self, life: Life) -> Any:
        self.script(life)
        return self

    def stop(self) -> None:
        self.over.set()


class OnLoop(Scripted):
    async def run(self, life: Life) -> None:
        self.script(life)
        await asyncio.Event().wait()


class InGreenlet(Scripted):
    def run(self, life: Life) -> None:
        self.script(life)
        while not self.over.is_set():
            gevent.sleep(0.01)


def scripted(kind: type[Engine], script: Callable[[Life], None]) -> Any:
    return OnLoop(script) if kind is AsyncioEngine else InGreenlet(script)


def lives(life: Life) -> None:
    life.dialled()
    life.upgraded()
    life.restored()


def crashes(life: Life) -> None:
    lives(life)
    raise RuntimeError("no such key")


def gives_up(life: Life) -> None:
    life.dialled()
    raise Failed("the adapter gave up")


@each_engine
def test_users_enter_live_and_leave(kind: type[Engine]) -> None:
    with running(kind) as rig:
        users = [rig.engine.enter(scripted(kind, lives)) for _ in range(3)]
        rig.until(lambda: rig.tally.whole() == 3)
        rig.engine.leave(users[0])
        rig.until(lambda: rig.tally.users() == 2)
        assert rig.tally.whole() == 2
        assert rig.engine.live == 2
        for user in users:
            rig.engine.leave(user)
        rig.engine.stop()
        assert rig.engine.live == 0
        rig.until(lambda: rig.tally.users() == 0)
        assert not rig.tally.reasons


@each_engine
@pytest.mark.parametrize(
    ("script", "why"),
    [
        (crashes, "the adapter crashed: RuntimeError: no such key"),
        (gives_up, "the adapter gave up"),
    ],
)
def test_an_adapter_that_ends_by_itself_has_failed_and_is_down(
    kind: type[Engine], script: Callable[[Life], None], why: str
) -> None:
    with running(kind) as rig:
        user = rig.engine.enter(scripted(kind, script))
        rig.until(lambda: rig.tally.reasons)
        assert rig.tally.reasons == {why: 1}
        assert (rig.tally.users(), rig.tally.whole()) == (1, 0)
        rig.engine.leave(user)
        rig.until(lambda: rig.tally.users() == 0)


@each_engine
def test_users_that_are_taken_down_after_the_end_have_lost_nothing(kind: type[Engine]) -> None:
    with running(kind) as rig:
        user = rig.engine.enter(scripted(kind, lives))
        rig.until(lambda: rig.tally.whole() == 1)
        rig.engine.close()
        rig.engine.leave(user)
        rig.engine.stop()
        gevent.sleep(0.3)
        rig.drain()
        assert (rig.tally.users(), rig.tally.whole()) == (1, 1)
        rig.engine.reopen()
        rig.engine.enter(scripted(kind, lives))
        rig.until(lambda: rig.tally.users() == 2)


def test_a_reference_adapter_is_measured_and_its_losses_are_no_failures() -> None:
    # The blocking one needs Locust's patches: test_load_locust.py runs it.
    with venue() as (there, call), running(AsyncioEngine) as rig:
        wanted = Reference(
            Endpoint(there.url), (TICKER, ORDERS), Credentials("key", "secret"), QUICK, lag=True
        )
        user = rig.engine.enter(wanted.on_asyncio(Random(1)))
        rig.until(lambda: rig.tally.whole() == 1)
        call(there.push(TICKER, {"timestamp": 1, "last_price": 2}))
        rig.until(lambda: "lag" in rig.names())
        call(dropped(there))
        rig.until(lambda: rig.tally.total("restored") == 2)
        assert rig.names() == {
            "connect",
            "upgrade",
            "authenticate",
            "subscribe",
            "first_message",
            "lag",
            "outage",
            "recovery",
        }
        assert rig.tally.total("lost") == 1
        assert not rig.tally.reasons
        assert sum(rig.tally.messages.values()) > 0
        rig.engine.leave(user)
        rig.engine.stop()
        assert rig.engine.live == 0


@contextmanager
def venue() -> Iterator[tuple[Venue, Callable[..., Any]]]:
    """The venue on a loop of its own, in a thread, and how to have it do something."""
    ready, over = threading.Event(), asyncio.Event()
    found: list[tuple[Venue, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with Venue() as there:
            found.append((there, asyncio.get_running_loop()))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20.0)
    there, loop = found[0]
    try:
        yield there, lambda deed: asyncio.run_coroutine_threadsafe(deed, loop).result(20.0)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


async def dropped(there: Venue) -> None:
    there.drop()


@pytest.mark.parametrize(
    ("data", "stamped"),
    [
        ([{"timestamp": 1000}, {"timestamp": 2500}], 2.5),
        ({"timestamp": 1500}, 1.5),
        ({"price": 1}, None),
        ([], None),
        ("words", None),
    ],
)
def test_deribits_data_bear_the_time_in_milliseconds(data: Any, stamped: float | None) -> None:
    assert timestamp(data) == stamped
