"""Kraken v2: status, acks a symbol, checksums, heartbeats, tokens over HTTP, limits, REST."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from squall.exchange.kraken.book import checksum
from squall.exchange.kraken.methods import METHODS
from squall.exchange.kraken.users import TOKEN_PATH, signature
from venue_adapters import fetch, update_fits
from venue_fuzz import any_story_ends_well, scalars, texts, values
from venue_world import Client, Json, Stage, World, play

# The worked example of docs.kraken.com, guides, "Book checksum (v2)".
ASKS = [
    ("45285.2", "0.00100000"),
    ("45286.4", "1.54571953"),
    ("45286.6", "1.54571109"),
    ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"),
    ("45291.8", "1.54553491"),
    ("45294.7", "0.04454749"),
    ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"),
    ("45299.5", "0.18772827"),
]
BIDS = [
    ("45283.5", "0.10000000"),
    ("45283.4", "1.54582015"),
    ("45282.1", "0.10000000"),
    ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"),
    ("45279.0", "0.07990000"),
    ("45277.6", "0.03310103"),
    ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"),
    ("45276.6", "0.15445238"),
]


def world(**settings: Any) -> World:
    return World("kraken", **{"order_updates": False} | settings)


def arrive(here: World) -> Client:
    client = here.connect("/v2")
    client.inbox.clear()
    return client


def call(client: Client, method: str, **params: Any) -> list[Json]:
    found = client.ask({"method": method, "params": params, "req_id": 7})
    return [message for message in found if message.get("req_id") == 7]


def subscribe(client: Client, channel: str, *symbols: str, **more: Any) -> list[Json]:
    if symbols:
        more["symbol"] = list(symbols)
    return call(client, "subscribe", channel=channel, **more)


def data(client: Client, channel: str) -> list[Json]:
    return [m for m in client.inbox if m.get("channel") == channel]


nonces = itertools.count(1)


def signed(here: World, **change: Any) -> tuple[int, Any]:
    nonce = str(change.get("nonce", next(nonces)))
    body = f"nonce={nonce}"
    sign = signature(here.secret, TOKEN_PATH, nonce, body)
    headers = {"api_key": here.key, "api_sign": sign} | change.get("headers", {})
    return here.http("POST", TOKEN_PATH, body, **headers)


def token(here: World) -> str:
    return str(signed(here)[1]["result"]["token"])


# --- connections and subscriptions ---------------------------------------------------------------


def test_a_connection_begins_with_the_status() -> None:
    here = world()
    (status,) = here.connect("/v2").inbox
    assert status["channel"] == "status"
    assert status["data"][0]["system"] == "online"
    assert status["data"][0]["api_version"] == "v2"


def test_each_symbol_is_confirmed_for_itself() -> None:
    here = world()
    client = arrive(here)
    acks = subscribe(client, "book", "BTC/USD", "ETH/USD", depth=25)
    assert [ack["result"]["symbol"] for ack in acks] == ["BTC/USD", "ETH/USD"]
    assert all(ack["success"] and ack["result"]["depth"] == 25 for ack in acks)
    assert acks[0]["time_in"] < acks[0]["time_out"]
    assert acks[0]["time_in"].endswith("Z")
    assert here.of("subscribed")[0]["channels"] == ["book:BTC/USD", "book:ETH/USD"]


def test_an_unknown_symbol_fails_alone() -> None:
    here = world()
    client = arrive(here)
    good, bad = subscribe(client, "trade", "BTC/USD", "XXX/USD")
    assert good["success"] is True
    assert (bad["success"], bad["symbol"]) == (False, "XXX/USD")
    assert bad["error"] == "Currency pair not supported XXX/USD"
    assert here.of("subscribed")[0]["refused"] == ["trade:XXX/USD"]
    assert here.of("error")[0]["injected"] is False


def test_a_fault_makes_one_symbol_fail() -> None:
    here = world()
    here.inject("partial_ack")
    good, bad = subscribe(arrive(here), "trade", "BTC/USD", "ETH/USD")
    assert (good["success"], bad["success"], bad["symbol"]) == (True, False, "ETH/USD")
    assert here.of("error")[0]["injected"] is True


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"channel": "nowhere", "symbol": ["BTC/USD"]}, "Channel not supported"),
        ({"symbol": ["BTC/USD"]}, "Channel not supported"),
        ({"channel": []}, "Channel not supported"),
        ({"channel": "book"}, "EGeneral:Invalid arguments"),
        ({"channel": "book", "symbol": "BTC/USD"}, "EGeneral:Invalid arguments"),
        ({"channel": "book", "symbol": ["BTC/USD"], "depth": 7}, "EGeneral:Invalid arguments"),
    ],
)
def test_mistakes_are_told_in_words(params: Json, error: str) -> None:
    (reply,) = call(arrive(world()), "subscribe", **params)
    assert (reply["success"], reply["error"]) == (False, error)


def test_unsubscribed_symbols_stop() -> None:
    here = world()
    client = arrive(here)
    subscribe(client, "trade", "BTC/USD", "ETH/USD")
    (ack,) = call(client, "unsubscribe", channel="trade", symbol=["BTC/USD"])
    assert ack["success"] is True
    client.inbox.clear()
    here.advance(2)
    assert {m["data"][0]["symbol"] for m in data(client, "trade")} == {"ETH/USD"}


def test_trades_and_tickers_flow() -> None:
    here = world(trades_per_message=2)
    client = arrive(here)
    subscribe(client, "trade", "BTC/USD")
    subscribe(client, "ticker", "BTC/USD")
    here.advance(3)
    ids = [trade["trade_id"] for message in data(client, "trade") for trade in message["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 4
    assert [m["type"] for m in data(client, "ticker")][:2] == ["snapshot", "update"]


# --- books ---------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_documentation() -> None:
    assert checksum(ASKS, BIDS) == 3310070434
    assert checksum([*ASKS, ("99999.9", "1.0")], [*BIDS, ("1.0", "1.0")]) == 3310070434


def follow(book: Json, text: str) -> bool:
    """Apply a message; whether its checksum fits what the book then is."""
    message = json.loads(text, parse_float=str)
    if message["type"] == "snapshot":
        book.update({"bids": {}, "asks": {}})
    return update_fits(book, message["data"][0])


@pytest.mark.parametrize("symbol", ["BTC/USD", "DOGE/EUR", "HBAR/USDT"])
def test_updates_applied_to_the_snapshot_fit_their_checksums(symbol: str) -> None:
    dialect, exchange = world().exchange.dialect, world().exchange
    channel = f"book:{symbol}"
    book: Json = {}
    snapshot = dialect.snapshot(exchange, channel, 5)
    assert snapshot is not None
    assert follow(book, snapshot.text)
    for number in range(6, 80):
        assert follow(book, dialect.data(exchange, channel, number).text)


@pytest.mark.parametrize("lost", range(6, 30))
def test_a_lost_update_shows_in_the_next_checksum(lost: int) -> None:
    dialect, exchange = world().exchange.dialect, world().exchange
    book: Json = {}
    snapshot = dialect.snapshot(exchange, "book:BTC/USD", lost - 1)
    assert snapshot is not None
    follow(book, snapshot.text)
    assert not follow(book, dialect.data(exchange, "book:BTC/USD", lost + 1).text)


def test_a_bad_checksum_comes_once() -> None:
    here = world()
    client = arrive(here)
    subscribe(client, "book", "BTC/USD")
    here.advance(1)
    here.inject("bad_checksum", channel="book:BTC/USD")
    client.inbox.clear()
    here.advance(2)
    assert len(here.of("fault_fired")) == 1
    told = [m["data"][0]["checksum"] for m in data(client, "book")]
    number = here.exchange.broadcast.number("book:BTC/USD")
    right = [
        json.loads(here.exchange.dialect.data(here.exchange, "book:BTC/USD", n).text)["data"][0][
            "checksum"
        ]
        for n in range(number - len(told) + 1, number + 1)
    ]
    assert [a ^ b for a, b in zip(told, right, strict=True)] == [1] + [0] * (len(told) - 1)


# --- liveness and limits -------------------------------------------------------------------------


def test_heartbeats_come_each_second_in_which_there_is_nothing_else() -> None:
    here = world(tick=5)
    client = arrive(here)
    here.advance(5)
    assert data(client, "heartbeat") == []
    subscribe(client, "trade", "BTC/USD")
    here.advance(30)
    assert 20 <= len(data(client, "heartbeat")) <= 30


def test_where_data_flow_there_are_no_heartbeats() -> None:
    here = world(tick=0.5)
    client = arrive(here)
    subscribe(client, "trade", "BTC/USD")
    here.advance(30)
    assert data(client, "heartbeat") == []


def test_no_ping_silences_heartbeats() -> None:
    here = world(tick=20)
    here.inject("no_ping")
    client = arrive(here)
    subscribe(client, "trade", "BTC/USD")
    here.advance(30)
    assert data(client, "heartbeat") == []


def test_pings_are_answered() -> None:
    here = world()
    (pong,) = arrive(here).ask({"method": "ping", "req_id": 101})
    assert (pong["method"], pong["req_id"]) == ("pong", 101)
    assert "success" not in pong


def test_a_connection_without_a_subscription_is_closed_after_a_minute() -> None:
    here = world()
    client, other = arrive(here), arrive(here)
    subscribe(other, "trade", "BTC/USD")
    here.advance(59)
    assert client.open
    here.advance(2)
    assert not client.open
    assert other.open


def test_too_many_attempts_ban_the_address_for_ten_minutes() -> None:
    here = world()
    for _ in range(150):
        here.connect("/v2").leave()
    assert here.admit("/v2") is not None
    here.advance(599)
    assert here.admit("/v2") is not None
    here.advance(2)
    assert here.admit("/v2") is None


def test_maintenance_is_told_to_all_and_so_is_its_end() -> None:
    here = world()
    client = arrive(here)
    here.inject("notice")
    assert data(client, "status")[-1]["data"][0]["system"] == "maintenance"
    assert here.connect("/v2").inbox[0]["data"][0]["system"] == "maintenance"
    here.heal()
    assert data(client, "status")[-1]["data"][0]["system"] == "online"


# --- tokens and orders ---------------------------------------------------------------------------


def test_a_token_opens_the_private_channels() -> None:
    here = world()
    client = arrive(here)
    (ack,) = subscribe(client, "executions", token=token(here))
    assert ack["success"] is True
    (asked,) = here.of("subscribe_requested")
    assert asked["authenticated"] is True
    assert asked["private"] == ["executions"]
    assert here.of("auth_succeeded")[0]["expires_in"] == 900


@pytest.mark.parametrize("params", [{}, {"token": "x"}, {"token": 5}])
def test_without_a_good_token_there_is_no_session(params: Json) -> None:
    here = world()
    (reply,) = subscribe(arrive(here), "executions", **params)
    assert reply["error"] == "ESession:Invalid session"
    assert here.of("subscribe_requested")[0]["authenticated"] is False


def test_a_token_serves_for_fifteen_minutes_unless_it_is_used() -> None:
    here = world(tick=60)
    used, unused = token(here), token(here)
    client = arrive(here)
    subscribe(client, "executions", token=used)
    here.advance(901)
    assert subscribe(arrive(here), "executions", token=unused)[0]["success"] is False
    assert subscribe(arrive(here), "executions", token=used)[0]["success"] is True
    client.leave()
    assert subscribe(arrive(here), "executions", token=used)[0]["success"] is True


def test_a_token_that_is_not_used_any_more_is_not_good_any_more() -> None:
    here = world(tick=60)
    used = token(here)
    client = arrive(here)
    subscribe(client, "executions", token=used)
    here.advance(901)
    client.leave()
    assert subscribe(arrive(here), "executions", token=used)[0]["success"] is False


def test_unsubscribing_lets_the_token_go() -> None:
    here = world()
    used = token(here)
    client = arrive(here)
    subscribe(client, "executions", token=used)
    here.advance(901)
    assert call(client, "cancel_all", token=used)[0]["success"] is True
    call(client, "unsubscribe", channel="executions", token=used)
    assert call(client, "cancel_all", token=used)[0]["success"] is False


def test_a_fault_ends_tokens_even_in_use() -> None:
    here = world()
    used = token(here)
    client = arrive(here)
    subscribe(client, "executions", token=used)
    here.inject("expire_token")
    assert subscribe(arrive(here), "executions", token=used)[0]["success"] is False
    assert here.of("token_expired")


@pytest.mark.parametrize(
    ("headers", "error"),
    [({"api_key": "x"}, "EAPI:Invalid key"), ({"api_sign": "x"}, "EAPI:Invalid signature")],
)
def test_requests_for_tokens_are_signed(headers: Json, error: str) -> None:
    here = world()
    assert signed(here, headers=headers) == (200, {"error": [error]})
    assert here.of("auth_failed")


def test_a_nonce_serves_once() -> None:
    here = world()
    assert signed(here, nonce=5)[1]["error"] == []
    assert signed(here, nonce=5)[1]["error"] == ["EAPI:Invalid nonce"]
    assert signed(here, nonce="six")[1]["error"] == ["EAPI:Invalid nonce"]
    one, other, _ = here.of("auth_requested")
    assert one["material"] == other["material"]


def test_faults_of_logins_hold_for_tokens() -> None:
    here = world()
    fault = here.inject("reject_auth")
    assert signed(here)[1]["error"] == ["EAPI:Invalid key"]
    here.exchange.heal(fault, here.now)
    here.inject("error_ack", method="auth", code=500)
    number = here.ask_http("POST", TOKEN_PATH, "nonce=1")
    assert here.answers[number].status == 500
    here.inject("delay_ack", method="auth", delay=2.0)
    number = here.ask_http("POST", TOKEN_PATH, "nonce=1")
    here.advance(1.9)
    assert number not in here.answers
    here.advance(0.2)
    assert number in here.answers


def test_orders_are_placed_cancelled_and_told_of() -> None:
    here = world()
    key = token(here)
    client = arrive(here)
    subscribe(client, "executions", token=key)
    order = {"symbol": "BTC/USD", "side": "buy", "order_type": "limit", "order_qty": 0.1}
    (placed,) = call(client, "add_order", **order, limit_price=100.5, cl_ord_id="mine", token=key)
    assert placed["result"]["cl_ord_id"] == "mine"
    ids = ["mine", "other"]
    done, unknown = call(client, "cancel_order", cl_ord_id=ids, token=key)
    assert (done["success"], unknown["error"]) == (True, "EOrder:Unknown order")
    messages = data(client, "executions")
    assert [m["sequence"] for m in messages] == [1, 2, 3]
    assert [m["data"][0]["order_status"] for m in messages[1:]] == ["new", "canceled"]
    assert messages[0]["type"] == "snapshot"
    assert call(client, "add_order", **order, token=key)[0]["success"] is False
    assert call(client, "add_order", **order, limit_price=1.0)[0]["success"] is False
    assert call(client, "cancel_all", token=key)[0]["result"] == {"count": 0}


# --- REST ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/0/public/Time",
        "/0/public/SystemStatus",
        "/0/public/Assets",
        "/0/public/AssetPairs",
        "/0/public/AssetPairs?pair=BTCUSD,ETH/USD",
        "/0/public/Depth?pair=BTCUSD",
    ],
)
def test_what_clients_ask_on_start_is_answered(target: str) -> None:
    status, found = world().http("GET", target)
    assert (status, found["error"]) == (200, [])
    assert found["result"]


@pytest.mark.parametrize(
    ("method", "target", "error"),
    [
        ("GET", "/0/public/Nowhere", "EGeneral:Unknown method"),
        ("PUT", "/0/public/Time", "EGeneral:Unknown method"),
        ("GET", "/0/public/Depth", "EGeneral:Invalid arguments"),
        ("GET", "/0/public/Depth?pair=NOSUCH", "EQuery:Unknown asset pair"),
        ("POST", "/0/private/Balance", "EAPI:Invalid key"),
    ],
)
def test_mistakes_come_with_status_200_and_words(method: str, target: str, error: str) -> None:
    assert world().http(method, target) == (200, {"error": [error]})


# --- any text ------------------------------------------------------------------------------------

scalar = scalars("book", "trade", "executions", "BTC/USD", "limit", "buy")
value = values(scalar)
fields = st.sampled_from(
    ["channel", "symbol", "depth", "order_type", "side", "order_qty", "cl_ord_id", "order_id"]
)
requests = st.fixed_dictionaries(
    {"method": st.sampled_from(sorted(METHODS)) | st.text(max_size=9)},
    optional={"params": st.dictionaries(fields, value) | value, "req_id": scalar},
)


def answers(client: Client, text: str) -> None:
    before = len(client.inbox)
    client.say(text)
    client.world.advance(0.02)
    assert [m for m in client.inbox[before:] if "channel" not in m]


@given(texts)
@settings(derandomize=True, deadline=None)
def test_any_text_is_answered(text: str) -> None:
    answers(World("kraken", tick=1000).connect("/v2"), text)


@given(st.lists(requests, max_size=5))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_request_is_answered(asked: list[Json]) -> None:
    here = World("kraken", tick=1000)
    key = token(here)
    client = arrive(here)
    for request in asked:
        if isinstance(request.get("params"), dict):
            request["params"]["token"] = key
        answers(client, json.dumps(request))
    assert json.dumps(here.events, default=str)


@given(st.binary(max_size=60))
@settings(derandomize=True, deadline=None)
def test_any_body_is_answered(body: bytes) -> None:
    here = World("kraken")
    here.ask_http("POST", TOKEN_PATH, body.decode("latin-1"), api_key=here.key, api_sign="x")
    assert len(here.answers) == 1


def test_any_story_of_faults_and_clients_ends_well() -> None:
    book = {"channel": "book", "symbol": ["BTC/USD"]}
    says = [
        {"method": "subscribe", "params": book},
        {"method": "unsubscribe", "params": book},
        {"method": "subscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD", "X"]}},
        {"method": "ping"},
    ]
    asks = [("POST", TOKEN_PATH), ("GET", "/0/public/Time")]
    any_story_ends_well("kraken", {"/v2": says}, asks)


# --- on a socket ---------------------------------------------------------------------------------


def test_a_real_client_fetches_a_token_and_follows_its_orders() -> None:
    async def test(stage: Stage) -> None:
        key, secret = stage.server.credentials
        body = "nonce=1"
        headers = {"API-Key": key, "API-Sign": signature(secret, TOKEN_PATH, "1", body)}
        _, found = await fetch(stage.url(scheme="http"), "POST", TOKEN_PATH, headers, body)
        params = {"channel": "executions", "token": found["result"]["token"]}
        async with connect(stage.url("/v2"), proxy=None, ping_interval=None) as client:
            assert json.loads(await client.recv())["channel"] == "status"
            await client.send(json.dumps({"method": "subscribe", "params": params}))
            assert json.loads(await client.recv())["success"] is True
            assert json.loads(await client.recv())["type"] == "snapshot"
            async with asyncio.timeout(10):
                assert json.loads(await client.recv())["sequence"] == 2

    play("kraken", test)
