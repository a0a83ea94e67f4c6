"""virtual_clock.py: waiting costs nothing, sockets are real."""
# ruff: noqa: TID251 -- the wall clock is what is tested here

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from time import time as wall_time
from typing import Any, TypeVar

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from squall.virtual_clock import VirtualClockLoop

T = TypeVar("T")


def virtually(scene: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(scene)


def test_a_day_passes_at_once() -> None:
    async def scene() -> float:
        await asyncio.sleep(86_400)
        return asyncio.get_running_loop().time()

    assert virtually(scene()) == pytest.approx(86_400, abs=1e-3)


def test_timers_fire_in_order_and_never_early() -> None:
    async def scene() -> list[float]:
        loop, fired = asyncio.get_running_loop(), list[float]()
        for delay in (3.0, 0.1, 2.0, 1e-9, 0.1 + 0.2):
            due = loop.time() + delay
            loop.call_at(due, lambda due: fired.append(loop.time() - due), due)
        await asyncio.sleep(4)
        return fired

    late = virtually(scene())
    assert len(late) == 5
    assert all(0 <= seconds < 1e-3 for seconds in late)


def test_time_stands_still_while_sockets_are_busy() -> None:
    async def scene() -> tuple[int, float]:
        async def echo(peer: ServerConnection) -> None:
            async for message in peer:
                await peer.send(message)

        loop = asyncio.get_running_loop()
        async with serve(echo, "127.0.0.1", 0, ping_interval=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", proxy=None, ping_interval=None) as client:
                started = loop.time()
                for number in range(200):
                    await client.send(str(number))
                    assert await client.recv() == str(number)
                return 200, loop.time() - started

    assert virtually(scene()) == (200, 0.0)


def test_a_timeout_wins_over_a_peer_that_stays_silent() -> None:
    async def scene() -> float:
        loop = asyncio.get_running_loop()
        async with serve(lambda peer: peer.wait_closed(), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
                started = loop.time()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.recv(), 3600)
                return loop.time() - started

    assert virtually(scene()) == pytest.approx(3600, abs=1)


EPOCH = 1_767_225_600.0  # 2026-01-01, 00:00 UTC


def test_the_wall_clock_follows_however_it_was_imported() -> None:
    async def scene() -> list[float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        await asyncio.sleep(100)
        with loop.following(EPOCH):
            before = time.monotonic()
            await asyncio.sleep(86_400)
            return [
                time.time() - EPOCH,
                wall_time() - EPOCH,
                time.time_ns() / 1e9 - EPOCH,
                datetime.now(UTC).timestamp() - EPOCH,
                time.monotonic() - before,
                (time.monotonic_ns() / 1e9) - before,
            ]

    assert virtually(scene()) == pytest.approx([86_400] * 6, abs=1e-3)


def test_the_wall_clock_is_given_back_whatever_happens() -> None:
    functions = time.time, time.monotonic, time.monotonic_ns
    real = time.time()

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        with loop.following(EPOCH):
            assert time.time() == EPOCH
            await asyncio.wait_for(asyncio.Event().wait(), 3600)

    with pytest.raises(TimeoutError):
        virtually(scene())
    assert (time.time, time.monotonic, time.monotonic_ns) == functions
    assert time.time() >= real
