"""The exchange on real sockets: asyncio, uvloop, and a loop of virtual time."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from squall.errors import NetworkError
from squall.exchange import EXCHANGE_FAULTS, ExchangeServer, Settings, dialect
from squall.virtual_clock import VirtualClockLoop
from squall_proxy.frames import frame_size
from test_exchange import BOOK, PATH, TRADES

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PATIENCE = 20.0

Test = Callable[["Stage"], Coroutine[Any, Any, None]]


class Stage:
    """A server, what it observed, and clients of it."""

    def __init__(self, server: ExchangeServer, events: list[tuple[str, int | None, Any]]) -> None:
        self.server = server
        self.events = events
        self.changed = asyncio.Event()

    @property
    def url(self) -> str:
        host, port = self.server.address
        return f"ws://{host}:{port}{PATH}"

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[ClientConnection]:
        async with connect(self.url, proxy=None, ping_interval=None, **options) as client:
            yield client

    async def seen(self, kind: str, count: int = 1) -> list[Any]:
        """Wait until the exchange has observed this so many times."""
        async with asyncio.timeout(PATIENCE):
            while len(found := self.of(kind)) < count:
                self.changed.clear()
                await self.changed.wait()
        return found

    def of(self, kind: str) -> list[Any]:
        return [detail for each, _, detail in self.events if each == kind]


async def play(test: Test, *, thin: bool = False, **options: Any) -> None:
    settings = Settings(**{"tick": 0.02} | options.pop("settings", {}))
    events: list[tuple[str, int | None, Any]] = []
    stage: Stage

    def observe(kind: str, connection: int | None = None, /, **detail: Any) -> None:
        events.append((kind, connection, detail))
        stage.changed.set()

    server = ExchangeServer(
        dialect("deribit"), settings, observe=observe, rng=random.Random(3), thin=thin, **options
    )
    stage = Stage(server, events)
    await server.start()
    try:
        await test(stage)
    finally:
        await server.stop()


@pytest.fixture(params=["asyncio", "uvloop", "thin"])
def run(request: pytest.FixtureRequest) -> Callable[..., None]:
    thin = request.param == "thin"
    loop = LOOPS["uvloop" if thin else request.param]

    def run(test: Test, **options: Any) -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(asyncio.wait_for(play(test, thin=thin, **options), 60))

    return run


Run = Callable[..., None]


async def ask(client: ClientConnection, method: str, **params: Any) -> Any:
    await client.send(json.dumps({"id": 1, "method": method, "params": params}))
    while "id" not in (message := await hear(client)):
        pass
    return message.get("result", message.get("error"))


async def hear(client: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(client.recv(), PATIENCE))


async def raw(stage: Stage, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*stage.server.address)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    await writer.wait_closed()
    return answer


# --- a session -----------------------------------------------------------------------------------


def test_a_client_logs_in_subscribes_and_gets_data(run: Run) -> None:
    async def test(stage: Stage) -> None:
        key, secret = stage.server.credentials
        async with stage.client() as client:
            granted = await ask(
                client,
                "public/auth",
                grant_type="client_credentials",
                client_id=key,
                client_secret=secret,
            )
            assert granted["token_type"] == "bearer"
            assert await ask(client, "private/subscribe", channels=[BOOK]) == [BOOK]
            assert (await hear(client))["params"]["data"]["type"] == "snapshot"
            for _ in range(5):
                assert (await hear(client))["params"]["data"]["type"] == "change"
        assert (await stage.seen("closed"))[0] == {"code": 1000, "reason": "", "by": "client"}

    run(test)


def test_a_message_in_fragments_is_one_message(run: Run) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client() as client:
            await client.send(['{"id": 5, "met', 'hod": "public', '/test"}'])
            assert (await hear(client))["id"] == 5

    run(test)


def test_a_ping_gets_its_own_payload_back(run: Run) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client() as client:
            for payload in (b"", b"x" * 125):
                await asyncio.wait_for(await client.ping(payload), PATIENCE)

    run(test)


def test_connections_get_the_numbers_that_the_proxy_gave_them(run: Run) -> None:
    known: dict[int, int] = {}

    async def test(stage: Stage) -> None:
        async with stage.client() as client:
            port = client.local_address[1]
            assert [number for kind, number, _ in stage.events if kind == "opened"] == [41 + port]

    run(test, identify=lambda address: known.get(address[1], 41 + address[1]))


def test_without_a_proxy_connections_are_numbered_from_one(run: Run) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client(), stage.client():
            assert [number for kind, number, _ in stage.events if kind == "opened"] == [1, 2]

    run(test, identify=lambda address: None)


# --- how connections end -------------------------------------------------------------------------


def test_a_connection_cut_without_a_close_frame_is_1006_by_the_network(run: Run) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client() as client:
            client.transport.abort()
            assert await stage.seen("closed") == [{"code": 1006, "reason": "", "by": "network"}]

    run(test)


@pytest.mark.parametrize("message", [b"\xff\xfe", b"\x00" * 3_000_000])
def test_what_breaks_the_protocol_is_closed_by_the_exchange(run: Run, message: bytes) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client() as client:
            await client.send(message, text=True)
            with pytest.raises(ConnectionClosed):
                await client.recv()
            found = (await stage.seen("closed"))[0]
            assert found["by"] == "exchange"
            assert found["code"] == (1007 if len(message) < 10 else 1009)

    run(test)


def test_after_a_close_frame_nothing_is_sent(run: Run) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        channels = dialect("deribit").channels("ticker", 20)
        asked = {"id": 1, "method": "public/subscribe", "params": {"channels": channels}}
        writer.write(upgrade() + text(asked))
        await stage.seen("sent")
        writer.write(b"\x81\x81\0\0\0\0\xff")
        received = await asyncio.wait_for(reader.read(), PATIENCE)
        assert received.endswith(b"\x88\x0b\x03\xefnot UTF-8")
        writer.close()
        await stage.seen("closed")

    run(test, settings={"tick": 0.005})


def test_a_missed_heartbeat_ends_the_connection_without_a_close_frame(run: Run) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client() as client:
            assert await ask(client, "public/set_heartbeat", interval=0.05) == "ok"
            await asyncio.wait_for(client.wait_closed(), PATIENCE)
            assert client.close_code == 1006
            assert await stage.seen("closed") == [{"code": 1006, "reason": "", "by": "exchange"}]
            assert "heartbeat_missed" in [kind for kind, _, _ in stage.events]

    run(test, settings={"heartbeat_minimum": 0})


def test_a_revoked_client_gets_a_close_frame(run: Run) -> None:
    async def test(stage: Stage) -> None:
        key, secret = stage.server.credentials
        async with stage.client() as client:
            login = {"client_id": key, "client_secret": secret}
            await ask(client, "public/auth", grant_type="client_credentials", **login)
            stage.server.inject(EXCHANGE_FAULTS["revoke"](code=4007))  # type: ignore[call-arg]
            with pytest.raises(ConnectionClosed):
                await hear(client)
            assert client.close_code == 4007
            assert (await stage.seen("closed"))[0]["by"] == "exchange"

    run(test)


def test_a_client_that_never_answers_a_close_frame_is_dropped(run: Run) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        writer.write(upgrade())
        await reader.readuntil(b"\r\n\r\n")
        stage.server.inject(EXCHANGE_FAULTS["maintenance"](grace=0.0))  # type: ignore[call-arg]
        found = (await stage.seen("closed"))[0]
        assert (found["code"], found["by"]) == (1001, "exchange")
        writer.close()

    run(test, settings={"close_timeout": 0.05})


def test_an_ignored_goodbye_is_answered_when_the_fault_is_healed(run: Run) -> None:
    async def test(stage: Stage) -> None:
        injection = stage.server.inject(EXCHANGE_FAULTS["ignore_close"]())
        async with stage.client(close_timeout=PATIENCE) as client:
            await ask(client, "public/subscribe", channels=[BOOK])
            closing = asyncio.create_task(client.close(4001, "bye"))
            await stage.seen("fault_fired")
            sent = len(stage.of("sent"))
            await stage.seen("sent", sent + 5)
            assert not closing.done()
            assert stage.of("closed") == []
            injection.heal()
            await asyncio.wait_for(closing, PATIENCE)
        assert await stage.seen("closed") == [{"code": 4001, "reason": "bye", "by": "client"}]

    run(test)


def test_an_ignored_goodbye_ends_when_the_client_hangs_up(run: Run) -> None:
    async def test(stage: Stage) -> None:
        stage.server.inject(EXCHANGE_FAULTS["ignore_close"]())
        async with stage.client(close_timeout=0.05):
            pass
        assert (await stage.seen("closed"))[0]["by"] == "client"

    run(test)


def test_a_client_that_does_not_read_is_cut_off(run: Run) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address, limit=1024)
        writer.write(upgrade())
        await reader.readuntil(b"\r\n\r\n")
        channels = dialect("deribit").channels("ticker", 20)
        writer.write(
            text({"id": 1, "method": "public/subscribe", "params": {"channels": channels}})
        )
        await stage.seen("closed")
        assert stage.of("limit_exceeded")[0]["rule"] == "unsent bytes"
        writer.close()

    run(test, settings={"tick": 0.005, "max_unsent_bytes": 100_000})


# --- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        ({"do": "ban"}, 429, None),
        ({"do": "ban", "status": 418, "retry_after": 120.0}, 418, "120"),
        ({"do": "ban", "status": 403, "retry_after": 0.2}, 403, "1"),
        ({"do": "maintenance", "retry_after": 10.0}, 503, "10"),
    ],
)
def test_a_refused_upgrade_is_an_http_answer(
    run: Run, fault: dict[str, Any], status: int, retry_after: str | None
) -> None:
    async def test(stage: Stage) -> None:
        settings = {key: value for key, value in fault.items() if key != "do"}
        injection = stage.server.inject(EXCHANGE_FAULTS[fault["do"]](**settings))
        with pytest.raises(InvalidStatus) as refused:
            async with stage.client():
                pass
        assert refused.value.response.status_code == status
        assert refused.value.response.headers.get("Retry-After") == retry_after
        injection.heal()
        async with stage.client() as client:
            assert await ask(client, "public/test")

    run(test)


def test_http_and_websocket_share_a_port(run: Run) -> None:
    async def test(stage: Stage) -> None:
        answer = await raw(stage, b"GET /api/v2/public/test HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: application/json" in head
        assert json.loads(body)["result"] == {"version": "1.2.26"}
        assert stage.of("rest") == [{"method": "GET", "path": "/api/v2/public/test", "status": 200}]

    run(test)


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"GET /ws/api/v2 HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"400"),
        (b"GET /ws/api/v2 HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", b"426"),
        (b"GET /elsewhere HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", b"404"),
    ],
)
def test_a_strange_request_is_refused_politely(
    run: Run, request_head: bytes, status: bytes
) -> None:
    async def test(stage: Stage) -> None:
        assert (await raw(stage, request_head)).split()[1] == status
        assert stage.of("opened") == []

    run(test)


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00\x01\x00", b"\r\n\r\n", b"x" * 100_000])
def test_noise_on_the_port_harms_nobody(run: Run, noise: bytes) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        writer.write(noise)
        writer.write_eof()
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        async with stage.client() as client:
            assert await ask(client, "public/test")

    run(test)


@pytest.mark.parametrize("head", ["/nowhere", "/api/v2/public/test"])
@pytest.mark.parametrize(
    "more", [b"GET / HTTP/1.1\r\n\r\n", b"\x81\x82\0\0\0\0{}", b"\x88\x80\0\0\0\0"]
)
def test_what_follows_an_http_request_is_not_taken_for_frames(
    run: Run, head: str, more: bytes
) -> None:
    async def test(stage: Stage) -> None:
        for upgrade in ("", "Upgrade: websocket\r\nConnection: Upgrade\r\n"):
            first = f"GET {head} HTTP/1.1\r\n{upgrade}\r\n".encode()
            await raw(stage, first + more)
        assert stage.of("opened") == []

    run(test)


def test_a_message_sent_together_with_the_upgrade_is_answered(run: Run) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        padding = "x" * 200
        asked = {"id": 1, "method": "public/test", "params": {"padding": padding}}
        writer.write(upgrade() + text(asked))
        await asyncio.wait_for(reader.readuntil(b"1.2.26"), PATIENCE)
        writer.close()
        await writer.wait_closed()

    run(test)


# --- starting and stopping -----------------------------------------------------------------------


def test_a_port_in_use_is_an_error_that_says_so(run: Run) -> None:
    async def test(stage: Stage) -> None:
        host, port = stage.server.address
        second = ExchangeServer(
            dialect("deribit"), Settings(), observe=lambda *_, **__: None, rng=random.Random(1)
        )
        with pytest.raises(NetworkError, match=str(port)):
            await second.start(host, port)
        await second.stop()

    run(test)


def test_stop_closes_every_connection_and_may_be_called_twice(run: Run) -> None:
    async def test(stage: Stage) -> None:
        clients = [await connect(stage.url, proxy=None) for _ in range(100)]
        await asyncio.wait_for(stage.server.stop(), 10)
        await asyncio.wait_for(stage.server.stop(), 10)
        assert len(stage.of("closed")) == 100
        for client in clients:
            await asyncio.wait_for(client.wait_closed(), PATIENCE)

    run(test, settings={"connections_per_address": 200})


def test_a_fault_can_be_in_force_before_the_exchange_opens() -> None:
    async def main() -> None:
        server = ExchangeServer(
            dialect("deribit"), Settings(), observe=lambda *_, **__: None, rng=random.Random(1)
        )
        server.inject(EXCHANGE_FAULTS["maintenance"]())
        await server.start()
        host, port = server.address
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{host}:{port}{PATH}", proxy=None)
        await server.stop()

    asyncio.run(main())


def test_a_bug_of_the_exchange_is_raised_by_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: reported.append(what))

        async def test(stage: Stage) -> None:
            monkeypatch.setattr(stage.server.exchange.dialect, "parse", lambda _: 1 / 0)
            async with stage.client() as client:
                with pytest.raises(ConnectionClosed):
                    await ask(client, "public/test")

        with pytest.raises(ZeroDivisionError):
            await play(test)
        assert isinstance(reported[0]["exception"], ZeroDivisionError)

    asyncio.run(main())


# --- virtual time --------------------------------------------------------------------------------


def in_virtual_time(test: Test, **options: Any) -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(play(test, **options))


def test_an_hour_of_heartbeats_and_data_in_virtual_time() -> None:
    async def test(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        async with stage.client() as client:
            await ask(client, "public/subscribe", channels=[TRADES])
            await ask(client, "public/set_heartbeat", interval=30)
            answered = 0
            last: int | None = None
            while loop.time() < 3600:
                message = json.loads(await client.recv())
                params = message.get("params", {})
                if params.get("type") == "test_request":
                    await client.send('{"id": 3, "method": "public/test", "params": {}}')
                    answered += 1
                elif params.get("channel") == TRADES:
                    seq = params["data"][-1]["trade_seq"]
                    assert last in (None, seq - 1)
                    last = seq
        assert answered >= 119
        assert stage.of("heartbeat_missed") == []

    in_virtual_time(test, settings={"tick": 10.0})


def test_a_token_expires_in_virtual_time() -> None:
    async def test(stage: Stage) -> None:
        key, secret = stage.server.credentials
        async with stage.client() as client:
            login = {"client_id": key, "client_secret": secret}
            await ask(client, "public/auth", grant_type="client_credentials", **login)
            await asyncio.sleep(899)
            assert await ask(client, "private/get_open_orders") == []
            await asyncio.sleep(1)
            assert (await ask(client, "private/get_open_orders"))["code"] == 13009

    in_virtual_time(test)


# --- compression ---------------------------------------------------------------------------------

DEFLATE = {"permessage_deflate": True}
OFFER = "permessage-deflate; server_no_context_takeover"
TAIL = b"\0\0\xff\xff"  # which the sender leaves off (RFC 7692, section 7.2.1)


@pytest.mark.parametrize("batch", [0.0, 0.02])
def test_a_client_that_offers_compression_gets_it(run: Run, batch: float) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client() as client, stage.client(compression=None) as plain:
            for each in (client, plain):
                assert await ask(each, "public/subscribe", channels=[BOOK]) == [BOOK]
            # Sent at the same moments, one compressed and the other not: they say the same.
            packed, unpacked = [], []
            for _ in range(20):
                packed.append((await hear(client))["params"]["data"])
                unpacked.append((await hear(plain))["params"]["data"])
            changes = {each["change_id"]: each for each in packed[1:]}
            both = [each for each in unpacked[1:] if each["change_id"] in changes]
            assert len(both) > 10
            assert all(each == changes[each["change_id"]] for each in both)
            assert [each.name for each in client.protocol.extensions] == ["permessage-deflate"]
            assert plain.protocol.extensions == []
        assert stage.of("opened") == [
            {"path": PATH, "extensions": "permessage-deflate"},
            {"path": PATH},
        ]

    run(test, settings={**DEFLATE, "batch_interval": batch})


def test_an_offer_is_declined_unless_the_settings_say_otherwise(run: Run) -> None:
    async def test(stage: Stage) -> None:
        async with stage.client() as client:
            assert client.protocol.extensions == []
            assert await ask(client, "public/test")
        assert stage.of("opened") == [{"path": PATH}]

    run(test)


def test_aiohttp_reads_what_is_compressed_and_is_read(run: Run) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="it is no dependency of Squall's")

    async def test(stage: Stage) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(stage.url, compress=15) as client,
        ):
            params = {"channels": [BOOK, TRADES]}
            await client.send_json({"id": 1, "method": "public/subscribe", "params": params})
            answer = await client.receive_json(timeout=PATIENCE)
            assert sorted(answer["result"]) == sorted([BOOK, TRADES])
            for _ in range(20):
                heard = await client.receive_json(timeout=PATIENCE)
                assert heard["params"]["channel"] in (BOOK, TRADES)
            assert client.compress == 15
        assert stage.of("opened")[0]["extensions"].startswith("permessage-deflate")

    run(test, settings=DEFLATE)


def test_data_leave_compressed_and_are_counted_as_they_leave(run: Run) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        writer.write(upgrade(OFFER))
        head = await reader.readuntil(b"\r\n\r\n")
        assert f"Sec-WebSocket-Extensions: {OFFER}\r\n".encode() in head
        channels = dialect("deribit").channels("trades", 9)
        params = {"channels": channels, "pad": "x" * 100}
        writer.write(text({"id": 1, "method": "public/subscribe", "params": params}))
        heard = len(head)
        for _ in range(20):
            whole = await next_frame(reader)
            heard += len(whole)
            assert whole[0] == 0xC1, "a whole text, compressed"
            inflated = zlib.decompressobj(-15).decompress(payload(whole) + TAIL)
            assert len(inflated) > len(whole)
            assert json.loads(inflated)["jsonrpc"] == "2.0"
        writer.write(text({"id": 2, "method": "public/unsubscribe_all", "params": params}))
        answered = False
        while not answered:
            whole = await next_frame(reader)
            heard += len(whole)
            inflated = zlib.decompressobj(-15).decompress(payload(whole) + TAIL)
            answered = json.loads(inflated).get("id") == 2
        assert stage.server.exchange.counts.bytes_out == heard
        writer.close()

    run(test, settings=DEFLATE)


@pytest.mark.parametrize(
    ("offer", "packed", "code"),
    [
        (OFFER, b" " * 50_000_000, 1009),
        ("", b"nobody agreed on that", 1002),
        ("permessage-deflate; novelty", b"nobody agreed on that", 1002),
    ],
    ids=["a bomb", "no offer", "an offer that was declined"],
)
def test_who_compresses_what_it_must_not_is_closed(
    run: Run, offer: str, packed: bytes, code: int
) -> None:
    packer = zlib.compressobj(wbits=-15)
    data = packer.compress(packed) + packer.flush(zlib.Z_SYNC_FLUSH)
    size = len(data).to_bytes(8, "big")

    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        writer.write(upgrade(offer))
        head = await reader.readuntil(b"\r\n\r\n")
        assert (b"Extensions" in head) is (offer == OFFER)
        writer.write(b"\xc1\xff" + size + bytes(4) + data)
        whole = await next_frame(reader)
        assert whole[0] == 0x88
        assert payload(whole)[:2] == code.to_bytes(2, "big")
        writer.close()
        assert (await stage.seen("closed"))[0]["code"] == code
        assert stage.of("request") == []

    run(test, settings=DEFLATE)


async def next_frame(reader: asyncio.StreamReader) -> bytes:
    found = b""
    async with asyncio.timeout(PATIENCE):
        while not (size := frame_size(found)):
            found += await reader.readexactly(1)
        return found + await reader.readexactly(size - len(found))


def payload(whole: bytes) -> bytes:
    """What a server's frame holds, which is never masked."""
    return whole[{126: 4, 127: 10}.get(whole[1], 2) :]


def upgrade(extensions: str = "") -> bytes:
    offer = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offer}"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def text(message: dict[str, Any]) -> bytes:
    """A masked text frame (RFC 6455, section 5.2), made without the library under test."""
    data = json.dumps(message).encode()
    assert 126 <= len(data) < 65_536
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + b"\0\0\0\0" + data
