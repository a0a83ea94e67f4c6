"""The proxy between a real client and a real server, `websockets` on both sides."""

from __future__ import annotations

import asyncio
import random

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

from squall_proxy import Blackhole, Close, Fault, Fin, Flap, Http, Latency, Proxy, Rst, Truncate
from websockets_witness import dial, run


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def say(client: ClientConnection, text: str) -> None:
    await client.send(text)
    assert await client.recv() == text


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_big_and_compressed_messages_pass(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            for size in (1, 125, 126, 70_000, 900_000):
                await say(client, random.Random(size).randbytes(size // 2 + 1).hex())
            injection = proxy.inject(Latency(0.01))
            await say(client, "late")
            injection.heal()

    closed = run(scenario, echo, loop=loop).of("closed")[0]
    # The client said Close, but it is the server that ends TCP (RFC 6455 §7.1.1).
    assert (closed["by"], closed["how"]) == ("server", "fin")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Close(1012, "restart"), 1012),
        (Close(4001), 4001),
        (Fin(), 1006),
        (Rst(), 1006),
        (Truncate(), 1006),
    ],
)
def test_a_cut_arrives_as_the_code_that_it_stands_for(loop: str, fault: Fault, code: int) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            await say(client, "up")
            proxy.inject(fault)
            with pytest.raises(websockets.ConnectionClosed):
                await say(client, "down")
            assert client.close_code == code

    run(scenario, echo, loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_new_connections_meet_is_what_a_client_reports(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        injection = proxy.inject(Http(503, {"Retry-After": "3"}, "maintenance"))
        with pytest.raises(websockets.InvalidStatus) as refused:
            await dial(url)
        assert refused.value.response.status_code == 503
        assert refused.value.response.body == b"maintenance"
        injection.heal()
        injection = proxy.inject(Flap(code=1008))
        async with dial(url) as client:
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert client.close_code == 1008
        injection.heal()
        async with dial(url) as client:
            await say(client, "back")

    run(scenario, echo, loop=loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_blackholed_connection_goes_on_as_if_nothing_had_been(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            injection = proxy.inject(Blackhole())
            await client.send("held")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.1)
            injection.heal()
            assert await client.recv() == "held"

    run(scenario, echo, loop=loop)
