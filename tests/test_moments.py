"""moments.py: waiting for things to happen in a history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from squall.history import History
from squall.moments import Moments
from squall.virtual_clock import VirtualClockLoop

Scene = Callable[[History, Moments], Awaitable[None]]


def play(scene: Scene) -> None:
    async def main() -> None:
        history = History(asyncio.get_running_loop().time)
        await scene(history, Moments(history))

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())


def later(history: History, at: float, kind: str) -> None:
    asyncio.get_running_loop().call_later(at, history.add, "proxy", kind, 1)


def step(history: History) -> None:
    history.add("scenario", "step")


def test_a_condition_that_holds_already_is_not_waited_for() -> None:
    async def scene(history: History, moments: Moments) -> None:
        assert await moments.until(lambda: True, at_most=10)
        assert history.now == 0

    play(scene)


def test_a_condition_is_asked_again_after_each_event() -> None:
    async def scene(history: History, moments: Moments) -> None:
        later(history, 1, "dialled")
        later(history, 2, "closed")
        assert await moments.until(lambda: len(history.of("closed")) == 1, at_most=10)
        assert round(history.now, 3) == 2

    play(scene)


def test_a_condition_that_never_holds_is_given_up() -> None:
    async def scene(history: History, moments: Moments) -> None:
        later(history, 1, "dialled")
        assert not await moments.until(lambda: False, at_most=3)
        assert round(history.now, 3) == 3

    play(scene)


def test_the_deed_is_done_inside_the_report_of_the_nth_event() -> None:
    async def scene(history: History, moments: Moments) -> None:
        for at in (1, 2, 3):
            later(history, at, "dialled")
        came = await moments.at_event(
            lambda event: event.kind == "dialled",
            nth=2,
            at_most=10,
            act=partial(step, history),
        )
        assert came
        assert [event.kind for event in history] == ["dialled", "dialled", "step"]
        await asyncio.sleep(5)
        assert len(history.of("step")) == 1

    play(scene)


def test_an_event_that_does_not_come_leaves_the_deed_undone() -> None:
    async def scene(history: History, moments: Moments) -> None:
        later(history, 9, "dialled")
        assert not await moments.at_event(
            lambda event: event.kind == "dialled",
            nth=1,
            at_most=3,
            act=partial(step, history),
        )
        await asyncio.sleep(10)
        assert not history.of("step")

    play(scene)
