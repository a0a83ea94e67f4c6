"""Rules on messages before a real client and a real server, `websockets` on both sides."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

from squall_proxy import (
    CorruptMessage,
    CutMessage,
    DelayMessage,
    DropMessage,
    DuplicateMessage,
    EditMessage,
    FragmentMessage,
    HangingClose,
    HoldMessage,
    InjectMessage,
    MalformMessage,
    MessageFault,
    Pattern,
    Proxy,
    ReorderMessage,
    ReplaceMessage,
    TruncateMessage,
)
from websockets_witness import dial, run

pytestmark = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


async def venue(connection: ServerConnection) -> None:
    """Answers each request, and then sends three ticks."""
    async for message in connection:
        request = json.loads(message)
        await connection.send(json.dumps({"id": request["id"], "result": "ok"}))
        for n in (1, 2, 3):
            await connection.send(json.dumps({"method": "tick", "n": n}))


async def hear(client: ClientConnection, count: int) -> list[Any]:
    heard = [json.loads(await client.recv()) for _ in range(count)]
    return [each.get("n", each.get("id")) for each in heard]


TICK_2 = {"n": 2}


@pytest.mark.parametrize(
    ("fault", "heard"),
    [
        (DropMessage(where=TICK_2), [7, 1, 3]),
        (DropMessage(nth=1), [1, 2, 3]),
        (DropMessage(every=2), [7, 2]),
        (DelayMessage(0.05, where=TICK_2), [7, 1, 3, 2]),
        (DuplicateMessage(where=TICK_2), [7, 1, 2, 2, 3]),
        (ReorderMessage(where=TICK_2), [7, 1, 3, 2]),
        (FragmentMessage(3), [7, 1, 2, 3]),
        (EditMessage({"n": 9}, where=TICK_2), [7, 1, 9, 3]),
        (ReplaceMessage({"n": "new"}, where=TICK_2), [7, 1, "new", 3]),
        (InjectMessage({"n": "new"}, place="before", where=TICK_2), [7, 1, "new", 2, 3]),
        (
            DropMessage(
                since=Pattern(direction="client_to_server"), same="id", where={"id": {"above": 0}}
            ),
            [1, 2, 3],
        ),
        (
            InjectMessage(
                {"id": 7, "n": "busy"}, direction="client_to_server", place="instead", reply=True
            ),
            ["busy"],
        ),
    ],
    ids=lambda each: str(each.settings()) if isinstance(each, MessageFault) else None,
)
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_client_hears_what_the_rule_leaves(
    loop: str, compression: str | None, fault: MessageFault, heard: list[Any]
) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url, compression=compression) as client:
            proxy.inject(fault)
            await client.send(json.dumps({"id": 7, "method": "subscribe", "padding": "x" * 200}))
            assert await hear(client, len(heard)) == heard
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.02)

    run(scenario, venue, loop=loop)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (MalformMessage("invalid_utf8"), 1007),
        (MalformMessage("wrong_mask"), 1002),
        (MalformMessage("wrong_rsv"), 1002),
        (MalformMessage("wrong_opcode"), 1002),
        (MalformMessage("unfinished"), 1002),
        (MalformMessage("oversize", size=2_000_000), 1009),
    ],
)
@pytest.mark.parametrize("direction", ["server_to_client", "client_to_server"])
def test_a_peer_answers_a_malformed_message_with_the_code_for_it(
    loop: str, direction: Any, fault: MalformMessage, code: int
) -> None:
    closed: asyncio.Queue[int | None] = asyncio.Queue()

    async def both(connection: ServerConnection) -> None:
        try:
            await venue(connection)
        except websockets.ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            closed.put_nowait(connection.close_code)

    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            contains = "tick" if direction == "server_to_client" else None
            proxy.inject(dataclasses.replace(fault, direction=direction, contains=contains))
            with pytest.raises(websockets.ConnectionClosed):  # noqa: PT012
                while True:
                    for _ in range(2):
                        await client.send(json.dumps({"id": 7}))
                    await asyncio.wait_for(client.recv(), 5)
            assert code in (client.close_code, await asyncio.wait_for(closed.get(), 5))

    run(scenario, both, loop=loop)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 3000, 4999])
def test_a_forged_close_frame_is_what_the_client_sees(loop: str, code: int) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            proxy.inject(InjectMessage(frame="close", code=code, reason="forged"))
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (code, "forged")

    run(scenario, venue, loop=loop)


@pytest.mark.parametrize("code", [1005, 1006, 1015, 999, 1016, 0])
def test_an_illegal_close_code_is_a_protocol_error(loop: str, code: int) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            proxy.inject(InjectMessage(frame="close", code=code))
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert client.close_code == 1006
            sent = client.protocol.close_exc.sent
            assert sent is not None
            assert sent.code == 1002

    run(scenario, venue, loop=loop)


@pytest.mark.parametrize("place", ["before", "within"])
@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_connection_that_ends_at_a_message_ends_abnormally(
    loop: str, place: Any, how: Any
) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            proxy.inject(CutMessage(place, how, where=TICK_2))
            await client.send(json.dumps({"id": 7}))
            with pytest.raises(websockets.ConnectionClosed):
                await hear(client, 9)
            assert client.close_code == 1006

    run(scenario, venue, loop=loop)


@pytest.mark.parametrize("leaves", ["text", "frame", "json"])
def test_damaged_messages_reach_the_client(loop: str, leaves: Any) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            proxy.inject(CorruptMessage(leaves, where=TICK_2))
            await client.send(json.dumps({"id": 7}))
            assert await hear(client, 2) == [7, 1]
            raw = await client.recv(decode=False)
            assert raw != json.dumps({"method": "tick", "n": 2}).encode()
            if leaves == "json":
                assert json.loads(raw)["n"] in range(1, 10)
            elif leaves == "text":
                with pytest.raises(ValueError, match=r"."):
                    json.loads(raw)
            assert await hear(client, 1) == [3]

    run(scenario, venue, loop=loop)


def test_a_truncated_message_is_no_json(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            proxy.inject(TruncateMessage(where=TICK_2))
            await client.send(json.dumps({"id": 7}))
            assert await hear(client, 2) == [7, 1]
            assert await client.recv() == json.dumps({"method": "tick", "n": 2})[:13]

    run(scenario, venue, loop=loop)


def test_a_client_without_pongs_gives_up(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url, ping_interval=0.05, ping_timeout=0.2) as client:
            proxy.inject(HoldMessage(opcode="pong"))
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            sent = client.protocol.close_exc.sent
            assert sent is not None
            assert sent.code == 1011

    run(scenario, venue, loop=loop)


def test_a_server_without_pongs_gives_up(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            proxy.inject(DropMessage(opcode="pong", direction="client_to_server"))
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
            assert client.close_code == 1011

    run(scenario, venue, loop=loop, ping_interval=0.05, ping_timeout=0.2)


def test_a_client_whose_close_is_never_answered_leaves_by_itself(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        client = await dial(url)
        proxy.inject(
            HangingClose(None, place="instead", opcode="close", direction="client_to_server")
        )
        await client.close()
        assert client.close_code == 1006

    assert run(scenario, venue, loop=loop).of("closed")[0]["by"] == "client"


def test_a_client_has_to_end_a_connection_that_hangs_after_the_close_frame(loop: str) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        async with dial(url) as client:
            proxy.inject(HangingClose(1012, "restart"))
            # The client has answered, and waits for the server's FIN (RFC 6455 §7.1.1).
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.3)
            await client.close()
            assert client.close_code == 1012

    assert run(scenario, venue, loop=loop).of("closed")[0]["by"] == "client"
