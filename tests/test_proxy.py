"""Without a fault the proxy is not there: bytes, half-closes and resets pass as they are."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket

import pytest

from frames_witness import built, masked
from proxy_witness import SWITCH, UPGRADE, Events, Peer, World, on
from squall_proxy import Blackhole, Close, Fin, Http, Proxy, Rst, Target, Truncate, conversation


@on("asyncio", "uvloop")
async def test_bytes_pass_unchanged_in_both_directions(w: World) -> None:
    client, server = await w.upgrade()
    rng = random.Random(1)
    for sender, receiver in ((client, server), (server, client)):
        sent = [rng.randbytes(rng.choice((1, 7, 200, 70_000))) for _ in range(60)]
        whole = b"".join(sent)
        reading = asyncio.ensure_future(receiver.read(len(whole)))
        for piece in sent:
            await sender.send(piece)
        assert await reading == whole


@on(websocket=False)
async def test_a_plain_listener_passes_anything(w: World) -> None:
    client, server = await w.requested()
    await server.send(b"\x00\xff")
    assert await client.read(2) == b"\x00\xff"
    assert "upgrade_requested" not in w.events.kinds()


@on()
async def test_what_may_become_a_request_is_not_held_for_ever(w: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversation, "HEAD_PATIENCE", 0.2)
        client, server = await w.connect()
        await client.send(b"E")
        assert await server.read(1) == b"E"
    await server.send(b"E")
    assert await client.read(1) == b"E"
    await client.send(UPGRADE)
    assert await server.read(len(UPGRADE)) == UPGRADE
    assert not w.events.of("upgrade_requested")


@on()
async def test_a_request_in_two_pieces_is_a_request(w: World) -> None:
    client, server = await w.connect()
    await client.send(UPGRADE[:30])
    assert await server.hears_nothing(0.05)
    await client.send(UPGRADE[30:])
    assert await server.read(len(UPGRADE)) == UPGRADE
    assert w.events.of("upgrade_requested")


@on()
async def test_what_is_no_http_passes_a_websocket_listener_too(w: World) -> None:
    client, server = await w.connect()
    for data in (b"\x16\x03\x01", b"rest of a TLS hello"):
        await client.send(data)
        assert await server.read(len(data)) == data
    await server.send(b"220 ready\r\n\r\n")
    assert await client.read(13) == b"220 ready\r\n\r\n"


@on()
async def test_half_a_close_is_carried_through(w: World) -> None:
    client, server = await w.connect()
    await client.send(b"question")
    client.finish()
    assert await server.rest() == (b"question", "fin")
    assert (await w.events.wait("client_closed"))["how"] == "fin"
    await server.send(b"answer")
    server.finish()
    assert await client.rest() == (b"answer", "fin")
    closed = await w.events.wait("closed")
    assert (closed["by"], closed["how"]) == ("client", "fin")


@on()
async def test_a_reset_by_the_client_resets_the_server(w: World) -> None:
    client, server = await w.upgrade()
    client.reset()
    assert await server.rest() == (b"", "rst")
    assert (await w.events.wait("client_closed"))["how"] == "rst"
    closed = await w.events.wait("closed")
    assert (closed["by"], closed["how"]) == ("client", "rst")


@on()
async def test_a_reset_by_the_server_resets_the_client(w: World) -> None:
    client, server = await w.upgrade()
    server.reset()
    assert await client.rest() == (b"", "rst")
    assert (await w.events.wait("server_closed"))["how"] == "rst"


@on()
async def test_a_reset_after_half_a_close_is_still_a_reset(w: World) -> None:
    client, server = await w.connect()
    client.close()  # both halves at once: what the server still sends is answered by a RST
    assert await server.rest() == (b"", "fin")
    await server.send_until_refused()
    assert w.events.kinds(1).count("client_closed") == 1


@on()
async def test_the_life_of_a_connection_is_told_in_order(w: World) -> None:
    client, server = await w.upgrade()
    await server.send(built(b"tick"))
    await client.read(6)
    client.finish()
    await server.rest()
    server.finish()
    await client.rest()
    closed = await w.events.wait("closed")
    assert w.events.kinds() == [
        "listening",
        "dialled",
        "upgrade_requested",
        "upgraded",
        "client_closed",
        "server_closed",
        "closed",
    ]
    assert closed["to_server_bytes"] == len(UPGRADE)
    assert closed["to_client_bytes"] == len(SWITCH) + 6
    dialled, requested = w.events.of("dialled")[0], w.events.of("upgrade_requested")[0]
    assert dialled["peer"].startswith("127.0.0.1:")
    assert requested["path"] == "/ws/api/v2"
    assert requested["upgrade"] is True


@on()
async def test_heads_may_arrive_byte_by_byte(w: World) -> None:
    client, server = await w.connect()
    for byte in UPGRADE:
        await client.send(bytes((byte,)))
    assert await server.read(len(UPGRADE)) == UPGRADE
    for byte in SWITCH + built(b"x"):
        await server.send(bytes((byte,)))
    assert await client.read(len(SWITCH) + 3) == SWITCH + built(b"x")
    assert w.events.kinds(1)[1:] == ["upgrade_requested", "upgraded"]


@on()
async def test_a_refused_upgrade_is_told_with_its_retry_after(w: World) -> None:
    _, server = await w.requested()
    await server.send(b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno")
    refused = await w.events.wait("upgrade_refused")
    assert (refused["status"], refused["retry_after"], refused["by"]) == (429, 7.0, "exchange")


@on()
async def test_requests_on_a_kept_connection_are_told_one_by_one(w: World) -> None:
    client, server = await w.connect()
    post = b"POST /api HTTP/1.1\r\nContent-Length: 4\r\n\r\nGET "
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    for request, reply in (
        (post, chunked),
        (b"GET /time HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (UPGRADE, b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
        (UPGRADE, SWITCH),
    ):
        await client.send(request)
        assert await server.read(len(request)) == request
        await server.send(reply)
        assert await client.read(len(reply)) == reply
    assert [request["path"] for request in w.events.of("upgrade_requested")] == [
        "/api",
        "/time",
        "/ws/api/v2",
        "/ws/api/v2",
    ]
    assert w.events.kinds(1)[-4:] == [
        "upgrade_requested",
        "upgrade_refused",
        "upgrade_requested",
        "upgraded",
    ]


@on()
async def test_where_the_upstream_refuses_the_client_gets_a_fin_and_no_more(w: World) -> None:
    w.upstream.close()
    for nth in range(1, 31):
        client = await w.dial()
        assert await client.rest() == (b"", "fin")
        client.finish()
        closed = await w.events.wait("closed", nth)
        assert (closed["by"], closed["how"]) == ("server", "fin")


@on()
async def test_clients_that_reset_at_once_leave_nothing_behind(w: World) -> None:
    for _ in range(50):
        client = await w.dial()
        client.reset()
    await w.events.wait("closed", 50)
    assert w.events.kinds().count("dialled") == 50
    assert not w.proxy._connections
    assert not w.proxy._dialled_from


@on()
async def test_a_storm_leaves_nothing_behind(w: World) -> None:
    rng = random.Random(3)

    # A task that waits for an accept loses what it has accepted when it is cancelled just then.
    def serve() -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                server = w.keep(w.upstream.accept()[0])
                rng.choice((server.reset, server.finish, lambda: None))()

    async def come_and_go() -> None:
        client = await w.dial()
        await client.send(UPGRADE[: rng.choice((1, 50, len(UPGRADE)))])
        await asyncio.sleep(rng.choice((0, 0.001, 0.02)))
        rng.choice((client.reset, client.close, lambda: None))()

    asyncio.get_running_loop().add_reader(w.upstream, serve)
    for _ in range(5):
        coming = [asyncio.ensure_future(come_and_go()) for _ in range(40)]
        await asyncio.sleep(rng.choice((0, 0.001)))
        w.proxy.inject(rng.choice((Rst(), Fin(), Close(), Truncate("client_to_server"))))
        await asyncio.gather(*coming, return_exceptions=True)
    await w.events.wait("dialled", 200)
    await w.proxy.stop()
    asyncio.get_running_loop().remove_reader(w.upstream)
    assert sorted(e["connection"] for e in w.events.of("closed")) == list(range(1, 201))
    assert not w.proxy._dialled_from


@on("asyncio", "uvloop")
async def test_a_client_that_does_not_read_stops_the_server(w: World) -> None:
    client, server = await w.upgrade()
    sent = await server.send_until_stuck()
    await asyncio.wait_for(client.read(sent), 10)


@on()
async def test_the_exchange_can_ask_who_dials_as_soon_as_it_accepts(w: World) -> None:
    for number in (1, 2, 3):
        await w.dial()
        sock, address = await asyncio.get_running_loop().sock_accept(w.upstream)
        w.keep(sock)
        assert w.proxy.connection_from(address) == number
    assert w.proxy.connection_from(("127.0.0.1", 1)) is None


@on("asyncio", "uvloop")
async def test_small_messages_are_not_delayed_by_nagle(w: World) -> None:
    await w.upgrade()
    (connection,) = w.proxy._connections.values()
    for side in (connection.client, connection.server):
        assert side.transport is not None
        sock = side.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@on()
async def test_two_proxies_share_their_numbers(w: World) -> None:
    events, numbers, ids = Events(), itertools.count(1), itertools.count(1)
    address = w.upstream.getsockname()
    proxies = [
        Proxy(
            address,
            observe=events.observe,
            rng=random.Random(1),
            listener=name,
            numbers=numbers,
            ids=ids,
        )
        for name in ("ws", "rest")
    ]
    for proxy in (*proxies, *proxies):
        if "listening" not in events.kinds() or len(events.of("listening")) < 2:
            await proxy.start()
    for nth, proxy in enumerate((*proxies, *proxies), 1):
        sock = socket.socket()
        w.keep(sock)
        await asyncio.get_running_loop().sock_connect(sock, proxy.address)
        await events.wait("dialled", nth)
        proxy.inject(Fin())
    assert [(e["connection"], e["listener"]) for e in events.of("dialled")] == [
        (1, "ws"),
        (2, "rest"),
        (3, "ws"),
        (4, "rest"),
    ]
    assert [e["id"] for e in events.of("fault_started")] == [1, 2, 3, 4]
    for proxy in proxies:
        await proxy.stop()


@on("asyncio", "uvloop")
async def test_a_taken_port_is_an_error(w: World) -> None:
    second = Proxy(("127.0.0.1", 1), observe=Events().observe, rng=random.Random(1))
    with pytest.raises(OSError, match="in use"):
        await second.start(port=w.proxy.address[1])


@on()
async def test_stop_ends_a_hundred_connections_and_the_port(w: World) -> None:
    peers = [await w.upgrade() for _ in range(100)]
    flooding = [asyncio.ensure_future(server.send(bytes(20_000_000))) for _, server in peers[:3]]
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(w.proxy.stop(), w.proxy.stop())
    await w.proxy.stop()
    assert loop.time() - began < 10  # 2 s, on a machine that does nothing else
    assert w.events.kinds().count("closed") == 100
    for flood in flooding:
        flood.cancel()
    await asyncio.gather(*flooding, return_exceptions=True)
    client = Peer(socket.socket())
    with pytest.raises(ConnectionRefusedError):
        await loop.sock_connect(client.sock, ("127.0.0.1", w.events.of("listening")[0]["port"]))
    client.close()


@on()
async def test_stop_does_not_wait_for_a_heal(w: World) -> None:
    client, _ = await w.upgrade()
    await w.upgrade()
    w.proxy.inject(Blackhole())
    client.finish()
    await w.events.wait("client_closed")
    await w.dial()
    await w.events.wait("dialled", 3)
    await w.proxy.stop()
    assert w.events.kinds().count("closed") == 3
    assert w.events.kinds()[-1] == "fault_ended"


@on()
async def test_closed_comes_once_a_connection(w: World) -> None:
    for fault in (Rst(), Fin()):
        client, server = await w.upgrade()
        w.proxy.inject(fault)
        await client.rest()
        client.close()
        server.close()
    client, server = await w.upgrade()
    client.reset()
    server.close()
    await w.events.wait("closed", 3)
    assert sorted(e["connection"] for e in w.events.of("closed")) == [1, 2, 3]


@pytest.mark.parametrize("event", ["dialled", "upgrade_requested", "upgraded"])
def test_a_cut_may_be_made_from_within_an_event(event: str) -> None:
    @on()
    async def scenario(w: World) -> None:
        def react(kind: str, connection: int | None) -> None:
            if kind == event and connection == 1:
                w.proxy.inject(Rst(), Target("newest"))

        w.events.react = react
        client = await w.dial()
        if event != "dialled":
            server = await w.accept()
            await client.send(UPGRADE)
            if event == "upgraded":
                await server.send(SWITCH)
        assert (await client.rest())[1] == "rst"
        assert (await w.events.wait("closed"))["by"] == "proxy"
        await w.upgrade()

    for loop in ("asyncio", "uvloop", "virtual"):
        scenario(loop)


@on()
async def test_a_cut_may_come_before_the_server_was_even_dialled(w: World) -> None:
    def react(kind: str, connection: int | None) -> None:
        if kind == "dialled":
            asyncio.get_running_loop().call_soon(w.proxy.inject, Rst())

    w.events.react = react
    client = await w.dial()
    assert await client.rest() == (b"", "rst")
    await w.events.wait("closed")


def test_a_fault_needs_a_started_proxy() -> None:
    proxy = Proxy(("127.0.0.1", 1), observe=Events().observe, rng=random.Random(1))
    with pytest.raises(RuntimeError, match="started"):
        proxy.inject(Rst())


@on("asyncio", websocket=False)
async def test_a_websocket_fault_needs_a_websocket_listener(w: World) -> None:
    with pytest.raises(ValueError, match="plain TCP"):
        w.proxy.inject(Http(503))


@on("asyncio")
async def test_masked_frames_pass_untouched(w: World) -> None:
    client, server = await w.upgrade()
    data = masked(b"a") + masked(b"") + masked(b"b" * 100)
    await client.send(data)
    assert await server.read(len(data)) == data
