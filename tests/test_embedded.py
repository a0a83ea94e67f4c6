"""embedded.py: what a scenario says of its line is what the line does."""

from __future__ import annotations

import asyncio
import socket
from random import Random
from typing import get_args

import pytest

from proxy_witness import Peer
from squall.backend import Line
from squall.embedded import Embedded
from squall.errors import ScenarioError
from squall.scenario_file import parse
from squall_proxy import Compression

SCENARIO = """
name: mine
about: Messages are compressed as they are.
compression: {compression}
channels: {{trades: 1}}
steps: [{{do: rst}}]
expect: {{reconnects: {{}}}}
"""
OFFER = (
    b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


async def passed_on(compression: Compression) -> bytes:
    """The head of an upgrade as it reaches the exchange."""
    line = Embedded(Line(lambda *_, **__: None, Random(1), compression=compression))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        await line.start(server.getsockname())
        try:
            with socket.create_connection(("127.0.0.1", min(line.ports))) as client:
                await Peer(client).send(OFFER)
                accepted, _ = await asyncio.get_running_loop().sock_accept(server)
                with accepted:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += await Peer(accepted).read(1)
                    return head
        finally:
            await line.stop()


@pytest.mark.parametrize("compression", get_args(Compression))
def test_a_scenario_says_what_becomes_of_an_offer_to_compress(compression: Compression) -> None:
    (scenario,) = parse(SCENARIO.format(compression=compression), "mine")
    head = asyncio.run(asyncio.wait_for(passed_on(scenario.compression), 30))
    assert (head == OFFER) is (compression == "as_offered")
    assert (b"no_context_takeover" in head) is (compression == "independent")
    assert (b"permessage-deflate" in head) is (compression != "off")


def test_another_word_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(ScenarioError, match=r"mine:4:14: .*independent"):
        parse(SCENARIO.format(compression="none"), "mine")
