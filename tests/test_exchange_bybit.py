"""Bybit v5: endpoints, logins, all-or-nothing subscriptions, books, pings, limits, REST."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from squall.exchange.bybit.methods import OPERATIONS, signature
from venue_adapters import fetch
from venue_fuzz import any_story_ends_well, scalars, texts, values
from venue_world import Client, Json, Stage, World, play

LINEAR = "/v5/public/linear"
SPOT = "/v5/public/spot"
OPTION = "/v5/public/option"
PRIVATE = "/v5/private"
TRADE = "/v5/trade"
TRADES = "publicTrade.BTCUSDT"
BOOK = "orderbook.50.BTCUSDT"


def world(**settings: Any) -> World:
    return World("bybit", **{"order_updates": False} | settings)


def call(client: Client, op: str, *args: Any, id: str = "t1") -> Json:
    found = client.ask({"req_id": id, "op": op, "args": list(args)})
    replies: list[Json] = [m for m in found if m.get("req_id") == id]
    assert len(replies) == 1
    return replies[0]


def log_in(client: Client, ahead: float = 1.0, op: str = "auth") -> Json:
    here = client.world
    expires = int(here.wall_ms + ahead * 1000)
    return call(client, op, here.key, expires, signature(here.secret, expires))


def data(client: Client, topic: str) -> list[Json]:
    return [m for m in client.inbox if m.get("topic") == topic]


# --- subscriptions and data ----------------------------------------------------------------------


def test_topics_are_confirmed_together_and_flow() -> None:
    here = world()
    client = here.connect(LINEAR)
    reply = call(client, "subscribe", TRADES, BOOK, "tickers.BTCUSDT")
    assert {k: reply[k] for k in ("success", "ret_msg", "op", "req_id")} == {
        "success": True,
        "ret_msg": "subscribe",
        "op": "subscribe",
        "req_id": "t1",
    }
    here.advance(2)
    assert {m["topic"] for m in client.inbox if "topic" in m} == {TRADES, BOOK, "tickers.BTCUSDT"}


@pytest.mark.parametrize("bad", ["orderbook.500.BTCUSDT", "publicTrade.NOSUCH", "x", "order"])
def test_one_bad_topic_fails_the_whole_request(bad: str) -> None:
    here = world()
    client = here.connect(LINEAR)
    reply = call(client, "subscribe", TRADES, bad)
    assert reply["success"] is False
    if bad != "order":
        assert reply["ret_msg"] == f"error:handler not found,topic:{bad}"
    here.advance(5)
    assert data(client, TRADES) == []
    assert here.of("subscribed") == []


def test_a_fault_makes_a_topic_bad() -> None:
    here = world()
    here.inject("partial_ack")
    client = here.connect(LINEAR)
    assert call(client, "subscribe", TRADES, BOOK)["success"] is False
    assert here.of("error")[0]["injected"]
    assert call(client, "subscribe", TRADES, BOOK)["success"] is True


def test_unsubscribed_topics_stop() -> None:
    here = world()
    client = here.connect(LINEAR)
    call(client, "subscribe", TRADES, BOOK)
    assert call(client, "unsubscribe", TRADES)["success"] is True
    client.inbox.clear()
    here.advance(2)
    assert data(client, TRADES) == []
    assert data(client, BOOK)


def applied(book: Json, message: Json) -> None:
    content = message["data"]
    if message["type"] == "snapshot":
        book.clear()
        book.update({"b": {}, "a": {}})
    for side in ("b", "a"):
        for price, size in content[side]:
            book[side].pop(price, None)
            if size != "0":
                book[side][price] = size


def test_a_book_is_a_snapshot_and_deltas_that_chain() -> None:
    here = world(tick=0.1)
    client = here.connect(LINEAR)
    call(client, "subscribe", BOOK)
    here.advance(6)
    first, *deltas = data(client, BOOK)
    assert first["type"] == "snapshot"
    assert len(deltas) > 40
    assert all(
        b["data"]["u"] == a["data"]["u"] + 1 for a, b in itertools.pairwise([first, *deltas])
    )
    book: Json = {}
    for message in (first, *deltas):
        applied(book, message)
    _, found = here.http("GET", "/v5/market/orderbook?category=linear&symbol=BTCUSDT")
    assert book == {side: dict(found["result"][side]) for side in ("b", "a")}


def test_a_restarted_book_begins_anew_with_a_snapshot_of_u_1() -> None:
    here = world(tick=0.1)
    client = here.connect(LINEAR)
    call(client, "subscribe", BOOK)
    here.advance(1)
    client.inbox.clear()
    here.inject("restart_book", channel=BOOK)
    here.advance(1)
    messages = data(client, BOOK)
    assert [m["data"]["u"] for m in messages] == list(range(1, len(messages) + 1))
    assert [m["type"] for m in messages[:2]] == ["snapshot", "delta"]
    assert len(here.of("fault_fired")) == 1
    seqs = [e["seq"] for e in here.of("sent")]
    assert seqs == sorted(set(seqs))


def test_trades_bear_their_numbers() -> None:
    here = world(trades_per_message=3)
    client = here.connect(LINEAR)
    call(client, "subscribe", TRADES)
    here.advance(2)
    seqs = [trade["seq"] for message in data(client, TRADES) for trade in message["data"]]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert here.of("sent")[-1]["seq"] == seqs[-1]


def test_spot_takes_ten_topics_at_once() -> None:
    here = world()
    topics = here.exchange.dialect.channels("trades", 11)
    assert call(here.connect(SPOT), "subscribe", *topics)["success"] is False
    assert call(here.connect(SPOT), "subscribe", *topics[:10])["success"] is True
    assert call(here.connect(LINEAR), "subscribe", *topics)["success"] is True


# --- logins and orders ---------------------------------------------------------------------------


def test_private_topics_need_a_login_on_the_private_endpoint() -> None:
    here = world()
    client = here.connect(PRIVATE)
    reply = call(client, "subscribe", "order")
    assert (reply["success"], reply["ret_msg"]) == (False, "Request not authorized")
    assert log_in(client)["success"] is True
    assert call(client, "subscribe", "order")["success"] is True
    assert here.of("auth_requested")[0]["material"]
    assert here.of("subscribed")[0]["channels"] == ["order"]
    assert call(client, "subscribe", TRADES)["success"] is False


def test_a_subscribe_may_follow_the_login_at_once_unless_the_settings_say_otherwise() -> None:
    for in_order in (True, False):
        here = world(login_in_order=in_order)
        client = here.connect(PRIVATE)
        expires = here.wall_ms + 1000
        args = [here.key, expires, signature(here.secret, expires)]
        client.say({"op": "auth", "args": args})
        assert call(client, "subscribe", "order")["success"] is in_order
        assert here.of("subscribe_requested")[0]["authenticated"] is False


def test_a_login_expires_and_cannot_be_replayed() -> None:
    here = world()
    expires = here.wall_ms + 1000
    args = (here.key, expires, signature(here.secret, expires))
    assert call(here.connect(PRIVATE), "auth", *args)["success"] is True
    here.advance(1)
    reply = call(here.connect(PRIVATE), "auth", *args)
    assert reply["success"] is False
    assert here.of("auth_failed")[0]["code"] == 10002
    one, other = here.of("auth_requested")
    assert one["material"] == other["material"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("x", None, None), 10003),
        ((None, None, "x"), 10004),
        ((None, True, None), 10001),
        ((None, {}, None), 10001),
    ],
)
def test_bad_logins_are_told_apart(change: tuple[Any, Any, Any], code: int) -> None:
    here = world()
    expires = here.wall_ms + 1000
    right = (here.key, expires, signature(here.secret, expires))
    args = [b if a is None else a for a, b in zip(change, right, strict=True)]
    assert call(here.connect(PRIVATE), "auth", *args)["success"] is False
    assert here.of("auth_failed")[0]["code"] == code


def test_a_second_login_on_one_connection_is_an_error() -> None:
    client = world().connect(PRIVATE)
    log_in(client)
    assert log_in(client)["ret_msg"] == "Repeat auth"


def test_logins_are_no_business_of_public_endpoints() -> None:
    assert log_in(world().connect(LINEAR))["success"] is False


def trade_call(client: Client, op: str, id: str, **params: Any) -> Json:
    found = client.ask({"reqId": id, "header": {}, "op": op, "args": [params]})
    replies: list[Json] = [m for m in found if m.get("reqId") == id]
    assert len(replies) == 1
    return replies[0]


BUY = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": "100"}


def trader(here: World) -> Client:
    client = here.connect(TRADE)
    here_expires = here.wall_ms + 1000
    args = [here.key, here_expires, signature(here.secret, here_expires)]
    (reply,) = client.ask({"op": "auth", "args": args})
    assert reply["retCode"] == 0
    return client


def test_orders_are_placed_cancelled_and_told_of() -> None:
    here = world()
    watcher = here.connect(PRIVATE)
    log_in(watcher)
    call(watcher, "subscribe", "order")
    client = trader(here)
    placed = trade_call(client, "order.create", "1", **BUY, orderLinkId="mine")
    assert (placed["retCode"], placed["data"]["orderLinkId"]) == (0, "mine")
    assert trade_call(client, "order.cancel", "2", orderLinkId="mine")["retCode"] == 0
    states = [m["data"][0]["orderStatus"] for m in data(watcher, "order")]
    assert states == ["New", "Cancelled"]
    assert trade_call(client, "order.cancel", "3", orderLinkId="mine")["retCode"] == 110001


def test_a_request_id_serves_once_and_mistakes_have_codes() -> None:
    here = world()
    assert trade_call(here.connect(TRADE), "order.create", "1", **BUY)["retCode"] == 10005
    client = trader(here)
    assert trade_call(client, "order.create", "1", **BUY)["retCode"] == 0
    assert trade_call(client, "order.create", "1", **BUY)["retCode"] == 20006
    assert trade_call(client, "order.create", "2", **BUY | {"qty": "x"})["retCode"] == 10001
    assert trade_call(client, "order.create", "3", **BUY | {"symbol": []})["retCode"] == 10001
    assert trade_call(client, "order.frobnicate", "4")["retCode"] == 10404
    here.inject("maintenance")
    assert trade_call(client, "order.create", "5", **BUY)["retCode"] == 10019


# --- pings, limits, notices ----------------------------------------------------------------------


def test_pongs_have_three_forms_and_a_fourth_for_orders() -> None:
    here = world()
    ping = {"req_id": "p", "op": "ping"}
    (linear,) = here.connect(LINEAR).ask(ping)
    assert (linear["op"], linear["ret_msg"], linear["success"]) == ("ping", "pong", True)
    (option,) = here.connect(OPTION).ask(ping)
    assert (option["op"], set(option)) == ("pong", {"op", "args", "req_id"})
    (private,) = here.connect(PRIVATE).ask(ping)
    assert (private["op"], set(private)) == ("pong", {"op", "args", "req_id", "conn_id"})
    (trade,) = here.connect(TRADE).ask({"op": "ping"})
    assert (trade["op"], trade["retCode"]) == ("pong", 0)


def test_a_silent_connection_is_cut_after_ten_minutes() -> None:
    here = world()
    client = here.connect(PRIVATE)
    here.advance(300)
    call(client, "ping")
    here.advance(599)
    assert client.open
    here.advance(2)
    assert not client.open
    (missed,) = here.of("heartbeat_missed")
    assert missed["how"] == "idle"


def test_a_client_may_ask_for_a_shorter_life() -> None:
    here = world()
    client = here.connect(PRIVATE + "?max_active_time=30s")
    public = here.connect(LINEAR + "?max_active_time=30s")
    here.advance(31)
    assert not client.open
    assert public.open


def test_a_connection_with_data_needs_no_pings() -> None:
    here = world(tick=60)
    client = here.connect(LINEAR)
    call(client, "subscribe", TRADES)
    here.advance(3600)
    assert client.open


def test_too_many_attempts_ban_the_address_for_ten_minutes() -> None:
    here = world()
    for _ in range(500):
        here.connect(LINEAR).leave()
    for wait in (0, 300, 299):
        here.advance(wait)
        refusal = here.admit(LINEAR)
        assert refusal is not None
        assert refusal.status == 403
    here.advance(2)
    here.connect(LINEAR)
    assert here.of("limit_exceeded") == [{"rule": "connection attempts", "count": 501}]


def test_maintenance_is_announced_on_its_own_endpoint() -> None:
    here = world()
    client = here.connect("/v5/public/misc/status")
    assert call(client, "subscribe", "system.status")["success"] is True
    assert call(here.connect(LINEAR), "subscribe", "system.status")["success"] is False
    here.inject("notice")
    assert data(client, "system.status")[-1]["data"][0]["state"] == "ongoing"
    here.heal()
    assert data(client, "system.status")[-1]["data"][0]["state"] == "completed"


# --- REST ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/v5/market/time",
        "/v5/market/instruments-info?category=linear",
        "/v5/market/instruments-info?category=spot&symbol=BTCUSDT",
        "/v5/market/tickers?category=linear&symbol=BTCUSDT",
        "/v5/market/orderbook?category=linear&symbol=BTCUSDT",
    ],
)
def test_what_clients_ask_on_start_is_answered(target: str) -> None:
    status, found = world().http("GET", target)
    assert (status, found["retCode"]) == (200, 0)


@pytest.mark.parametrize(
    "target",
    [
        "/v5/market/instruments-info",
        "/v5/market/tickers?category=linear&symbol=NOSUCH",
        "/v5/market/orderbook?category=linear",
        "/v5/account/wallet-balance",
    ],
)
def test_mistakes_come_with_status_200_and_a_code(target: str) -> None:
    status, found = world().http("GET", target)
    assert status == 200
    assert found["retCode"] != 0


def test_private_paths_take_a_signature() -> None:
    here = world()
    said = {"x_bapi_timestamp": str(here.wall_ms), "x_bapi_recv_window": "5000"}
    text = f"{here.wall_ms}{here.key}5000a=b".encode()
    good = hmac.new(here.secret.encode(), text, hashlib.sha256).hexdigest()
    for signed, code in ((good, 0), ("x", 10004)):
        _, found = here.http(
            "GET", "/v5/user/query-api?a=b", **said, x_bapi_api_key=here.key, x_bapi_sign=signed
        )
        assert found["retCode"] == code


def test_faults_reach_http_requests_by_their_name() -> None:
    here = world()
    here.inject("error_ack", method="GET /v5/market/time", code=500)
    number = here.ask_http("GET", "/v5/market/time")
    assert here.answers[number].status == 500
    assert here.http("GET", "/v5/market/time")[0] == 200


# --- any text ------------------------------------------------------------------------------------

scalar = scalars(TRADES, BOOK, "order", "Buy", "Limit", "BTCUSDT")
value = values(scalar)
fields = st.sampled_from(["symbol", "side", "orderType", "qty", "price", "orderLinkId", "orderId"])
requests = st.fixed_dictionaries(
    {"op": st.sampled_from(sorted(OPERATIONS)) | st.text(max_size=9)},
    optional={
        "args": st.lists(value | st.dictionaries(fields, value), max_size=4) | value,
        "req_id": scalar,
        "reqId": scalar,
    },
)


def answers(client: Client, text: str) -> None:
    before = len(client.inbox)
    client.say(text)
    client.world.advance(0.02)
    assert len([m for m in client.inbox[before:] if "topic" not in m]) == 1


paths = st.sampled_from([LINEAR, SPOT, OPTION, PRIVATE, TRADE])


@given(texts, paths)
@settings(derandomize=True, deadline=None)
def test_any_text_is_answered(text: str, path: str) -> None:
    answers(World("bybit", tick=1000).connect(path), text)


@given(st.lists(requests, max_size=5), paths)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_request_is_answered(asked: list[Json], path: str) -> None:
    here = World("bybit", tick=1000)
    client = trader(here) if path == TRADE else here.connect(path)
    if path == PRIVATE:
        log_in(client)
    for request in asked:
        answers(client, json.dumps(request))
    assert json.dumps(here.events, default=str)


def test_any_story_of_faults_and_clients_ends_well() -> None:
    any_story_ends_well(
        "bybit",
        {
            LINEAR: [
                {"op": "subscribe", "args": [BOOK, TRADES]},
                {"op": "unsubscribe", "args": [TRADES]},
                {"op": "ping"},
            ],
            PRIVATE: [{"op": "subscribe", "args": ["order"]}, {"op": "ping"}],
            TRADE: [{"op": "order.create", "args": [BUY]}],
        },
        [("GET", "/v5/market/time")],
    )


# --- on a socket ---------------------------------------------------------------------------------


def test_a_real_client_asks_for_the_time_logs_in_and_subscribes() -> None:
    async def test(stage: Stage) -> None:
        key, secret = stage.server.credentials
        _, found = await fetch(stage.url(scheme="http"), "GET", "/v5/market/time")
        expires = found["time"] + 5000
        async with connect(stage.url(PRIVATE), proxy=None, ping_interval=None) as client:
            args = [key, expires, signature(secret, expires)]
            await client.send(json.dumps({"op": "auth", "args": args}))
            assert json.loads(await client.recv())["success"] is True
            await client.send(json.dumps({"op": "subscribe", "args": ["order"]}))
            assert json.loads(await client.recv())["success"] is True
            assert json.loads(await client.recv())["topic"] == "order"

    play("bybit", test)
