"""Upgrades that are tampered with, and what is agreed on compression."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from frames_witness import built, parsed
from proxy_witness import SWITCH, UPGRADE, World, now, on
from squall_proxy import (
    Compression,
    DropMessage,
    EditMessage,
    Proxy,
    SlowUpgrade,
    TamperUpgrade,
)
from squall_proxy.deflate import Agreement, agreed, answered, inflated, offered
from websockets_witness import dial, run

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
BOTH = b"permessage-deflate; client_max_window_bits; server_no_context_takeover; "


def with_line(head: bytes, line: bytes) -> bytes:
    return head[:-2] + line


@pytest.mark.parametrize(
    ("offer", "independent", "off"),
    [
        ("", "", ""),
        ("x-other", "x-other", "x-other"),
        (
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "",
        ),
        (
            "Permessage-Deflate;server_no_context_takeover , x-other; a=b",
            "Permessage-Deflate;server_no_context_takeover; client_no_context_takeover, "
            "x-other; a=b",
            "x-other; a=b",
        ),
    ],
)
def test_offers_are_rewritten(offer: str, independent: str, off: str) -> None:
    assert offered(offer, "independent") == independent
    assert offered(offer, "off") == off
    assert offered(offer, "as_offered") == offer


def test_answers_bind_the_client_but_not_the_server() -> None:
    assert answered("permessage-deflate", "independent") == (
        "permessage-deflate; client_no_context_takeover"
    )
    assert answered("permessage-deflate", "as_offered") == "permessage-deflate"
    assert agreed("permessage-deflate; client_no_context_takeover") == Agreement(True, False)
    assert agreed("permessage-deflate; server_no_context_takeover=") == Agreement(False, True)
    assert agreed("x-other") == agreed("") == Agreement(True, True)


def test_what_does_not_inflate_is_not_read() -> None:
    assert inflated(b"\xff\xff\xff", 100) is None


@on()
async def test_the_offer_that_the_server_gets_asks_for_independent_messages(w: World) -> None:
    client, server = await w.connect()
    await client.send(with_line(UPGRADE, OFFER))
    expected = with_line(
        UPGRADE, b"Sec-WebSocket-Extensions: " + BOTH + b"client_no_context_takeover\r\n\r\n"
    )
    assert await server.read(len(expected)) == expected
    await server.send(
        with_line(SWITCH, b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n") + built(b"x")
    )
    told = with_line(
        SWITCH,
        b"Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n",
    )
    assert await client.read(len(told) + 3) == told + built(b"x")


@on()
async def test_a_head_in_many_pieces_is_rewritten_too(w: World) -> None:
    client, server = await w.connect()
    w.proxy.inject(TamperUpgrade("wrong_subprotocol"))
    head = with_line(UPGRADE, OFFER)
    for start in range(0, len(head), 20):
        await client.send(head[start : start + 20])
        await asyncio.sleep(0)
    seen = b""
    while not seen.endswith(b"\r\n\r\n"):
        seen += await server.read(1)
    assert b"client_no_context_takeover" in seen


TAMPERED: list[tuple[Any, bytes]] = [
    (
        "wrong_accept",
        SWITCH.replace(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"ICX+Yqv66kxgM0FcWaLWlFLwTAI="),
    ),
    ("no_accept", SWITCH.replace(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", b"")),
    ("no_upgrade", SWITCH.replace(b"Upgrade: websocket\r\n", b"", 1)),
    ("wrong_subprotocol", with_line(SWITCH, b"Sec-WebSocket-Protocol: unasked\r\n\r\n")),
    ("wrong_extension", with_line(SWITCH, b"Sec-WebSocket-Extensions: x-unasked\r\n\r\n")),
]


@pytest.mark.parametrize(("kind", "expected"), TAMPERED)
@on()
async def test_the_answer_is_passed_on_with_something_wrong(
    w: World, kind: Any, expected: bytes
) -> None:
    old_client, old_server = await w.upgrade()
    injection = w.proxy.inject(TamperUpgrade(kind))
    client, server = await w.requested()
    await server.send(SWITCH + built(b"x"))
    assert await client.read(len(expected) + 3) == expected + built(b"x")
    assert [each["connection"] for each in w.events.of("fault_fired")] == [2]
    injection.heal()
    await w.upgrade()
    await old_server.send(built(b"x"))
    assert await old_client.read(3) == built(b"x")


@on()
async def test_half_a_head_comes_and_then_the_end(w: World) -> None:
    w.proxy.inject(TamperUpgrade("truncated"))
    client, server = await w.requested()
    await server.send(SWITCH)
    assert await client.rest() == (SWITCH[: len(SWITCH) // 2], "fin")
    assert await server.rest() == (b"", "fin")
    assert "upgraded" not in w.events.kinds()


@on("virtual")
async def test_the_head_comes_byte_for_byte_and_the_frames_behind_it(w: World) -> None:
    w.proxy.inject(SlowUpgrade(interval=1.0))
    client, server = await w.requested()
    began = now()
    await server.send(SWITCH + built(b"x"))
    assert await client.read(10) == SWITCH[:10]
    assert 8.9 <= now() - began <= 10.1
    assert await client.read(len(SWITCH) - 10) == SWITCH[10:]
    assert await client.read(3) == built(b"x")
    assert len(SWITCH) - 1 <= now() - began <= len(SWITCH) + 1
    await server.send(built(b"y"))
    assert await client.read(3) == built(b"y")
    assert now() - began <= len(SWITCH) + 1.5


@on()
async def test_half_a_head_is_passed_on_with_the_end_behind_it(w: World) -> None:
    client, server = await w.connect()
    await client.send(UPGRADE[:40])
    client.finish()
    assert await server.rest() == (UPGRADE[:40], "fin")


# Real peers ---------------------------------------------------------------------------------


async def feed(connection: ServerConnection) -> None:
    """Messages that compress well with one another, then what the client sent."""
    for n in range(20):
        await connection.send(json.dumps({"n": n, "price": n * 1.5, "channel": "book.BTC"}))
    async for message in connection:
        await connection.send(message)


def parameters(client: ClientConnection) -> str:
    assert client.response is not None
    return client.response.headers.get("Sec-WebSocket-Extensions", "")


@pytest.mark.parametrize("compression", ["independent", "off"])
def test_500_streams_stay_intact_though_compressed_messages_are_lost(
    compression: Compression,
) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        for stream in range(500):
            lost = random.Random(stream).sample(range(20), 3)
            injection = proxy.inject(DropMessage(where={"n": {"one_of": lost}}))
            async with dial(url) as client:
                deflated = "permessage-deflate" in parameters(client)
                assert deflated == (compression == "independent")
                expected = [n for n in range(20) if n not in lost]
                for n in expected:
                    assert json.loads(await client.recv()) == {
                        "n": n,
                        "price": n * 1.5,
                        "channel": "book.BTC",
                    }
                up = proxy.inject(DropMessage(direction="client_to_server", every=2))
                for text in ("one " * 50, "two " * 50, "one " * 50):
                    await client.send(text)
                assert await client.recv() == "one " * 50
                assert await client.recv() == "one " * 50
                up.heal()
            injection.heal()

    run(scenario, feed, compression=compression)


def test_compressed_messages_are_edited_for_real_peers() -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        proxy.inject(EditMessage({"price": -1}, where={"n": 7}))
        async with dial(url) as client:
            prices = [json.loads(await client.recv())["price"] for _ in range(20)]
        assert prices == [n * 1.5 if n != 7 else -1 for n in range(20)]

    run(scenario, feed)


def test_as_offered_nothing_is_rewritten_and_compressed_messages_are_left_alone() -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        proxy.inject(DropMessage(direction="both"))
        async with dial(url) as client:
            assert "context_takeover" not in parameters(client)
            assert [json.loads(await client.recv())["n"] for _ in range(20)] == list(range(20))
            await client.send("x" * 200)
            assert await client.recv() == "x" * 200

    assert "fault_fired" not in run(scenario, feed, compression="as_offered").kinds()


def test_a_client_that_insists_on_its_window_is_understood() -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        factory = ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)
        proxy.inject(DropMessage(where={"n": 3}))
        async with dial(url, extensions=[factory]) as client:
            assert [json.loads(await client.recv())["n"] for _ in range(4)] == [0, 1, 2, 4]

    run(scenario, feed)


def test_an_upgrade_without_extensions_is_a_fault_of_its_own() -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        proxy.inject(TamperUpgrade("no_extensions"))
        async with dial(url) as client:
            assert parameters(client) == ""

    assert run(scenario, feed, compression="as_offered").kinds().count("fault_fired") == 1


@pytest.mark.parametrize(
    "kind", ["wrong_accept", "no_accept", "no_upgrade", "wrong_subprotocol", "wrong_extension"]
)
def test_a_client_refuses_what_is_wrong_with_the_answer(kind: Any) -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        injection = proxy.inject(TamperUpgrade(kind))
        with pytest.raises(websockets.InvalidHandshake):
            await dial(url)
        injection.heal()
        async with dial(url) as client:
            assert json.loads(await client.recv())["n"] == 0

    run(scenario, feed)


def test_a_client_refuses_half_an_answer() -> None:
    async def scenario(proxy: Proxy, url: str) -> None:
        proxy.inject(TamperUpgrade("truncated"))
        with pytest.raises((websockets.InvalidHandshake, EOFError)):
            await dial(url)

    run(scenario, feed)


def test_parsed_frames_are_what_was_built() -> None:
    (seen,), rest = parsed(built(b"x", key=b"abcd") + b"\x81")
    assert (seen.payload, seen.masked, rest) == (b"x", True, b"\x81")
