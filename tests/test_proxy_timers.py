"""Timers are never early, keep their order, and cost one file for each loop."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from proxy_witness import LOOPS
from squall_proxy.timers import Timers


def run(loop: str, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(scenario(), 30))


def fail() -> None:
    raise ZeroDivisionError


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


every_loop = pytest.mark.parametrize("loop", tuple(LOOPS))


@every_loop
def test_no_timer_is_early_and_they_fire_in_order(loop: str) -> None:
    async def scenario() -> None:
        timers, rng = Timers.of(asyncio.get_running_loop()), random.Random(1)
        done, fired = asyncio.Event(), []
        begun = timers.now()

        def fire(when: float) -> None:
            fired.append((when, timers.now()))
            if len(fired) == 300:
                done.set()

        for _ in range(300):
            when = begun + rng.uniform(0, 0.3)
            timers.at(when, lambda when=when: fire(when))  # type: ignore[misc]
        await done.wait()
        assert all(late >= when for when, late in fired)
        assert [when for when, _ in fired] == sorted(when for when, _ in fired)
        timers.release()

    run(loop, scenario)


@every_loop
def test_a_timer_can_be_cancelled_and_set_from_within_another(loop: str) -> None:
    async def scenario() -> None:
        timers, seen, done = Timers.of(asyncio.get_running_loop()), [], asyncio.Event()
        never = timers.after(0.02, lambda: seen.append("never"))

        def first() -> None:
            seen.append("first")
            never.cancel()
            never.cancel()
            timers.after(0, lambda: seen.append("second"))
            timers.after(0.03, done.set)

        timers.after(0.01, first)
        await done.wait()
        assert seen == ["first", "second"]
        assert never.over
        timers.release()

    run(loop, scenario)


@every_loop
def test_a_failing_callback_is_reported_and_stops_nobody(loop: str) -> None:
    async def scenario() -> None:
        running, errors, done = asyncio.get_running_loop(), [], asyncio.Event()
        running.set_exception_handler(lambda _, context: errors.append(context["exception"]))
        timers = Timers.of(running)
        timers.after(0.01, fail)
        timers.after(0.01, done.set)
        await done.wait()
        assert isinstance(errors[0], ZeroDivisionError)
        timers.release()

    run(loop, scenario)


def test_a_virtual_clock_does_not_jump_to_a_timer_that_was_cancelled() -> None:
    async def scenario() -> None:
        timers = Timers.of(asyncio.get_running_loop())
        timers.after(3600, lambda: None).cancel()
        timers.after(1, lambda: None)
        await asyncio.sleep(5)
        assert timers.now() < 6
        timers.release()

    run("virtual", scenario)


def test_cancelled_timers_do_not_pile_up() -> None:
    async def scenario() -> None:
        timers = Timers.of(asyncio.get_running_loop())
        kept = timers.after(60, lambda: None)
        for _ in range(10_000):
            timers.after(50, lambda: None).cancel()
        assert len(timers._heap) < 1000
        assert not kept.over
        timers.release()

    run("asyncio", scenario)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_all_users_of_a_loop_share_one_file_and_the_last_one_closes_it(loop: str) -> None:
    async def scenario() -> None:
        before = open_files()
        users = [Timers.of(asyncio.get_running_loop()) for _ in range(10)]
        assert all(user is users[0] for user in users)
        assert open_files() == before + 1
        for user in users:
            user.release()
        assert open_files() == before
        users[0].after(1, lambda: None)  # in vain, but harmless

    run(loop, scenario)
