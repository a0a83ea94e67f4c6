"""Binance spot: streams by URL and by request, pings, limits, user data, REST."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from squall.exchange.actions import Close
from squall.exchange.binance.methods import API_METHODS, STREAM_METHODS
from squall.exchange.binance.users import payload, signature
from venue_adapters import fetch
from venue_fuzz import any_story_ends_well, scalars, texts, values
from venue_world import Client, Json, Stage, World, play

TRADES = "btcusdt@trade"
DEPTH = "btcusdt@depth@100ms"
API = "/ws-api/v3"


def world(**settings: Any) -> World:
    return World("binance", **{"order_updates": False} | settings)


def subscribe(client: Client, *streams: str, id: Any = 1) -> Any:
    found = client.ask({"method": "SUBSCRIBE", "params": list(streams), "id": id})
    replies = [message for message in found if "id" in message]
    assert len(replies) == 1
    return replies[0]


def signed(world: World, **params: Any) -> Json:
    full = {"apiKey": world.key, "timestamp": world.wall_ms, **params}
    return {**full, "signature": signature(world.secret, payload(full))}


def call(client: Client, method: str, id: Any = 1, **params: Any) -> Json:
    found = client.ask({"id": id, "method": method, "params": params})
    replies: list[Json] = [message for message in found if "status" in message]
    assert len(replies) == 1
    return replies[0]


def events(client: Client, type: str) -> list[Json]:
    return [m for m in client.inbox if isinstance(m, dict) and m.get("e") == type]


# --- streams -------------------------------------------------------------------------------------


def test_streams_of_the_url_are_served_without_a_request_and_without_a_reply() -> None:
    here = world()
    client = here.connect(f"/ws/{TRADES}/{DEPTH}")
    assert here.of("subscribe_requested")[0]["channels"] == [TRADES, DEPTH]
    here.advance(2)
    assert here.of("subscribed")[0]["channels"] == [TRADES, DEPTH]
    assert {message["e"] for message in client.inbox} == {"trade", "depthUpdate"}


def test_a_combined_stream_names_the_stream_of_each_message() -> None:
    here = world()
    client = here.connect(f"/stream?streams={TRADES}/{DEPTH}")
    here.advance(2)
    assert {message["stream"] for message in client.inbox} == {TRADES, DEPTH}
    assert all(set(message) == {"stream", "data"} for message in client.inbox)


def test_combined_can_be_asked_for_and_switched() -> None:
    here = world()
    client = here.connect(f"/ws/{TRADES}")
    get = {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}
    assert {"result": False, "id": 2} in client.ask(get)
    switch = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}
    assert {"result": None, "id": 5} in client.ask(switch)
    client.inbox.clear()
    here.advance(1)
    assert all(message["stream"] == TRADES for message in client.inbox)
    assert client.inbox


def test_trades_count_up_and_depth_messages_chain() -> None:
    here = world(tick=0.1)
    client = here.connect(f"/ws/{TRADES}/{DEPTH}")
    here.advance(5)
    trades = [trade["t"] for trade in events(client, "trade")]
    assert len(trades) > 40
    assert trades == list(range(trades[0], trades[0] + len(trades)))
    depth = events(client, "depthUpdate")
    assert all(b["U"] == a["u"] + 1 for a, b in itertools.pairwise(depth))
    seqs = [e["seq"] for e in here.of("sent") if e["channel"] == DEPTH]
    assert seqs == [message["u"] for message in depth]


def applied(book: Json, message: Json) -> None:
    for side, levels in (("bids", message["b"]), ("asks", message["a"])):
        for price, amount in levels:
            book[side].pop(price, None)
            if float(amount):
                book[side][price] = amount


def fetched(here: World) -> Json:
    _, found = here.http("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000")
    sides = {side: dict(found[side]) for side in ("bids", "asks")}
    return {"lastUpdateId": found["lastUpdateId"], **sides}


def test_a_snapshot_followed_by_the_diffs_is_a_later_snapshot() -> None:
    here = world(tick=0.1)
    client = here.connect(f"/ws/{DEPTH}")
    here.advance(1)
    book = fetched(here)
    client.inbox.clear()
    for _ in range(60):
        here.advance(0.1)
        for message in client.inbox:
            assert message["U"] == book["lastUpdateId"] + 1
            applied(book, message)
            book["lastUpdateId"] = message["u"]
        client.inbox.clear()
        assert book == fetched(here)


def test_a_snapshot_over_http_is_reported_as_one_of_the_channel() -> None:
    here = world()
    here.connect(f"/ws/{DEPTH}")
    here.advance(1)
    book = fetched(here)
    assert here.of("sent")[-1] == {
        "channel": DEPTH,
        "seq": book["lastUpdateId"],
        "snapshot": True,
    }


@pytest.mark.parametrize("id", [1, -5, "a1b2", None, "x" * 36])
def test_replies_bear_the_id_of_their_request(id: Any) -> None:
    here = world()
    assert subscribe(here.connect("/ws"), TRADES, id=id) == {"result": None, "id": id}


@pytest.mark.parametrize("id", [1.5, True, [], {}, 2**63, "x" * 37, "a b"])
def test_other_ids_are_refused(id: Any) -> None:
    assert subscribe(world().connect("/ws"), TRADES, id=id)["code"] == 2


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("{", 3),
        ("[]", 2),
        ('{"id": 1}', 2),
        ('{"method": "SUBSCRIB", "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": [1], "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "id": 1}', 2),
        ('{"method": "GET_PROPERTY", "params": ["colour"], "id": 1}', 0),
        ('{"method": "GET_PROPERTY", "params": [1], "id": 1}', 2),
        ('{"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}', 1),
    ],
)
def test_mistakes_have_the_codes_of_the_documentation(said: str, code: int) -> None:
    (reply,) = world().connect("/ws").ask(said)
    assert reply["code"] == code
    assert reply["msg"]


def test_an_unknown_symbol_is_confirmed_and_never_sent() -> None:
    here = world()
    client = here.connect("/ws")
    assert subscribe(client, "nosuchusdt@trade") == {"result": None, "id": 1}
    here.advance(10)
    assert len(client.inbox) == 1
    assert here.of("subscribed")[0]["refused"] == ["nosuchusdt@trade"]


def test_subscriptions_can_be_listed_and_ended() -> None:
    here = world()
    client = here.connect("/ws")
    subscribe(client, TRADES, DEPTH)
    listing = {"method": "LIST_SUBSCRIPTIONS", "id": 3}
    assert {"result": [TRADES, DEPTH], "id": 3} in client.ask(listing)
    client.ask({"method": "UNSUBSCRIBE", "params": [DEPTH], "id": 312})
    assert here.of("unsubscribed")[0]["channels"] == [DEPTH]
    assert {"result": [TRADES], "id": 3} in client.ask(listing)


def test_a_channel_that_a_fault_leaves_out_is_confirmed_all_the_same() -> None:
    here = world()
    here.inject("partial_ack")
    client = here.connect("/ws")
    assert subscribe(client, TRADES, DEPTH) == {"result": None, "id": 1}
    assert here.of("subscribed")[0]["channels"] == [TRADES]


def test_a_fault_may_keep_the_streams_of_the_url_away() -> None:
    here = world()
    here.inject("error_ack", method="subscribe")
    client = here.connect(f"/ws/{TRADES}")
    here.advance(5)
    assert client.inbox == []
    assert here.of("error")[0]["injected"]


@pytest.mark.parametrize(
    "topic", ["aggTrade", "ticker", "miniTicker", "bookTicker", "kline_1m", "depth", "depth5"]
)
def test_other_streams_flow_too(topic: str) -> None:
    here = world()
    client = here.connect(f"/ws/ethusdt@{topic}")
    here.advance(2)
    assert len(client.inbox) >= 3


# --- pings and limits ----------------------------------------------------------------------------


def test_the_venue_pings_and_a_pong_with_the_payload_answers() -> None:
    here = world()
    client = here.connect(f"/ws/{TRADES}")
    here.advance(20)
    (payload,) = client.pings
    client.pong(payload)
    assert here.of("test_requested") == [{"how": "ping"}]
    assert here.of("test_answered") == [{"after": 0.0, "how": "ping"}]
    here.advance(70)
    assert client.open


def test_the_latest_pong_answers_all_pings_before_it() -> None:
    here = world()
    client = here.connect(f"/ws/{TRADES}")
    here.advance(59)
    assert len(client.pings) == 2
    client.pong(client.pings[-1])
    assert len(here.of("test_answered")) == 2


@pytest.mark.parametrize("payload", [b"", b"something else"])
def test_without_the_right_pong_the_connection_is_dropped_after_a_minute(payload: bytes) -> None:
    here = world()
    client = here.connect(f"/ws/{TRADES}")
    here.advance(20)
    client.pong(payload)
    here.advance(59.9)
    assert client.open
    here.advance(0.2)
    assert client.aborted
    assert here.of("heartbeat_missed") == [{"after": 60.0, "how": "ping"}]


def test_no_ping_silences_the_pings_alone() -> None:
    here = world()
    here.inject("no_ping")
    client = here.connect(f"/ws/{TRADES}")
    here.advance(100)
    assert client.pings == []
    assert client.inbox


def test_five_messages_a_second_are_allowed_and_the_sixth_closes() -> None:
    here = world()
    client = here.connect("/ws")
    for id in range(5):
        client.say({"method": "LIST_SUBSCRIPTIONS", "id": id})
    assert client.open
    here.advance(0.999)
    here.exchange.heard(client.number, here.now)
    assert Close(client.number, 1008, "Too many requests") in here.actions
    assert here.of("limit_exceeded") == [{"rule": "messages", "count": 6}]


def test_the_window_of_the_limit_rolls() -> None:
    here = world()
    client = here.connect("/ws")
    for _ in range(40):
        client.say({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        here.advance(0.2)
    assert client.open


def test_pongs_count_but_not_those_that_a_fault_provoked() -> None:
    here = world()
    client = here.connect(f"/ws/{TRADES}")
    here.inject("test_burst", count=20)
    for sent in client.pings:
        client.pong(sent)
    assert len(here.of("test_answered")) == 20
    assert client.open
    for _ in range(6):
        client.pong(b"unsolicited")
    assert not client.open


def test_the_websocket_api_has_no_such_limit() -> None:
    here = world()
    client = here.connect(API)
    for id in range(20):
        client.say({"method": "ping", "id": id})
    assert client.open


def test_more_streams_than_the_limit_are_refused() -> None:
    here = world(channel_limit=2)
    client = here.connect("/ws")
    assert subscribe(client, TRADES, DEPTH, "ethusdt@trade")["code"] == 2
    assert here.of("limit_exceeded") == [{"rule": "streams", "count": 3}]


def test_the_three_hundred_and_first_attempt_in_five_minutes_is_refused() -> None:
    here = world()
    for _ in range(300):
        here.connect("/ws").leave()
    refusal = here.admit("/ws")
    assert refusal is not None
    assert refusal.status == 429
    here.advance(301)
    here.connect("/ws")


def test_after_a_day_the_connection_ends_and_ten_minutes_before_it_is_said() -> None:
    here = world(tick=3600, ping_interval=100_000)
    client = here.connect(f"/ws/{TRADES}")
    here.advance(86_400 - 601)
    assert events(client, "serverShutdown") == []
    here.advance(2)
    assert len(events(client, "serverShutdown")) == 1
    here.advance(600)
    assert client.closed_with == 1001


def test_the_shutdown_is_announced_in_the_shape_of_each_connection() -> None:
    here = world()
    raw, combined, api = here.connect("/ws"), here.connect("/stream"), here.connect(API)
    here.inject("notice")
    event = {"e": "serverShutdown", "E": here.wall_ms}
    assert raw.inbox == [event]
    assert combined.inbox == [{"stream": "!serverShutdown", "data": event}]
    assert api.inbox == [{"event": event}]
    here.heal()
    assert len(raw.inbox) == 1


# --- user data -----------------------------------------------------------------------------------


def order(**more: Any) -> Json:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "price": "100.0",
        "quantity": "0.1",
        **more,
    }


def test_after_a_logon_user_data_can_be_subscribed_and_orders_placed() -> None:
    here = world()
    client = here.connect(API)
    assert call(client, "session.logon", **signed(here))["result"]["apiKey"] == here.key
    assert call(client, "userDataStream.subscribe")["result"] == {"subscriptionId": 0}
    placed = call(client, "order.place", **order(newClientOrderId="mine"))
    assert placed["status"] == 200
    news = client.inbox[-1]
    assert news["subscriptionId"] == 0
    assert (news["event"]["e"], news["event"]["c"], news["event"]["X"]) == (
        "executionReport",
        "mine",
        "NEW",
    )
    assert call(client, "order.cancel", symbol="BTCUSDT", origClientOrderId="mine")["status"] == 200
    assert client.inbox[-1]["event"]["X"] == "CANCELED"
    assert call(client, "order.cancel", symbol="BTCUSDT", orderId=7)["error"]["code"] == -2011


def test_a_signed_subscription_is_its_own_logon() -> None:
    here = world()
    client = here.connect(API)
    reply = call(client, "userDataStream.subscribe.signature", **signed(here))
    assert reply["result"] == {"subscriptionId": 0}
    (asked,) = here.of("subscribe_requested")
    assert asked["authenticated"]
    assert asked["private"] == ["userData"]
    assert here.of("auth_requested")[0]["material"]
    assert here.of("auth_succeeded")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"timestamp": 1}, -1021),
        ({"timestamp": None}, -1102),
        ({"apiKey": "x"}, -2015),
        ({"signature": "x"}, -1022),
    ],
)
def test_bad_signatures_are_told_apart(change: Json, code: int) -> None:
    here = world()
    client = here.connect(API)
    for method in ("session.logon", "userDataStream.subscribe.signature"):
        assert call(client, method, **{**signed(here), **change})["error"]["code"] == code
    assert here.of("auth_succeeded") == []


def test_a_signature_is_stale_after_five_seconds() -> None:
    here = world()
    client = here.connect(API)
    params = signed(here)
    here.advance(5.1)
    assert call(client, "session.logon", **params)["error"]["code"] == -1021


def test_without_a_logon_private_requests_fail() -> None:
    here = world()
    client = here.connect(API)
    reply = call(client, "userDataStream.subscribe")
    assert (reply["status"], reply["error"]["code"]) == (401, -1002)
    assert here.of("subscribe_requested")[0]["authenticated"] is False


@pytest.mark.parametrize("code", [429, 418])
def test_limits_of_the_websocket_api_name_the_time_to_come_back(code: int) -> None:
    here = world()
    here.inject("error_ack", code=code)
    client = here.connect(API)
    reply = call(client, "time")
    assert reply["status"] == code
    assert reply["error"]["code"] == -1003
    assert reply["error"]["data"]["retryAfter"] > here.wall_ms


def test_streams_and_api_do_not_speak_each_others_methods() -> None:
    here = world()
    assert call(here.connect(API), "SUBSCRIBE")["error"]["code"] == -1999
    (reply,) = here.connect("/ws").ask({"id": 1, "method": "session.logon", "params": {}})
    assert reply["code"] == 2
    (reply,) = here.connect(API).ask("{")
    assert (reply["status"], reply["error"]["code"]) == (400, -1135)


def listen_key(here: World, method: str = "POST", key: str = "") -> tuple[int, Any]:
    query = f"?listenKey={key}" if key else ""
    return here.http(method, f"/api/v3/userDataStream{query}", x_mbx_apikey=here.key)


def test_a_listen_key_opens_the_user_data_stream() -> None:
    here = world(order_updates=True)
    _, found = listen_key(here)
    client = here.connect(f"/ws/{found['listenKey']}")
    here.advance(1)
    assert here.of("subscribe_requested")[0]["authenticated"]
    assert here.of("subscribed")[0]["channels"] == ["userData"]
    assert events(client, "executionReport")


def test_a_listen_key_dies_after_an_hour_without_a_keepalive() -> None:
    here = world(tick=60, ping_interval=100_000)
    key = listen_key(here)[1]["listenKey"]
    client = here.connect(f"/ws/{key}")
    here.advance(1800)
    assert listen_key(here, "PUT", key) == (200, {})
    here.advance(3599)
    assert events(client, "listenKeyExpired") == []
    here.advance(2)
    (expired,) = events(client, "listenKeyExpired")
    assert expired["listenKey"] == key
    assert here.of("unsubscribed")[0]["channels"] == ["userData"]
    assert client.open
    assert listen_key(here, "PUT", key)[1]["code"] == -1125
    assert listen_key(here)[1]["listenKey"] != key


def test_asking_again_gives_the_same_listen_key_and_closing_ends_it() -> None:
    here = world()
    key = listen_key(here)[1]["listenKey"]
    assert listen_key(here)[1]["listenKey"] == key
    here.connect(f"/ws/{key}")
    here.advance(1)
    assert listen_key(here, "DELETE", key) == (200, {})
    assert here.of("unsubscribed")[0]["channels"] == ["userData"]
    assert here.http("POST", "/api/v3/userDataStream")[1]["code"] == -2015


def test_an_unknown_listen_key_gets_nothing() -> None:
    here = world(order_updates=True)
    client = here.connect("/ws/0123456789012345678901234567890123456789")
    here.advance(10)
    assert client.inbox == []
    assert here.of("error")[0]["code"] == -1125


def test_a_short_name_without_an_at_is_no_listen_key() -> None:
    here = world()
    client = here.connect("/ws/0")
    assert subscribe(client, TRADES) == {"result": None, "id": 1}
    assert here.of("error") == []
    assert here.of("subscribe_requested")[0]["private"] == []


def test_a_token_that_a_fault_ends_ends_the_user_data_stream() -> None:
    here = world()
    client = here.connect(API)
    call(client, "userDataStream.subscribe.signature", **signed(here))
    here.inject("expire_token")
    assert client.inbox[-1]["event"]["e"] == "eventStreamTerminated"
    assert client.inbox[-1]["subscriptionId"] == 0
    assert here.of("unsubscribed")[0]["channels"] == ["userData"]


def test_faults_of_logins_hold_for_signed_subscriptions_and_listen_keys() -> None:
    here = world()
    here.inject("reject_auth")
    client = here.connect(API)
    for method in ("session.logon", "userDataStream.subscribe.signature"):
        assert call(client, method, **signed(here))["error"]["code"] == -2015
    assert listen_key(here)[1]["code"] == -2015
    assert len(here.of("auth_failed")) == 3


# --- REST ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/api/v3/ping",
        "/api/v3/time",
        "/api/v3/exchangeInfo",
        "/api/v3/exchangeInfo?symbol=BTCUSDT",
        "/api/v3/ticker/24hr",
        "/api/v3/ticker/24hr?symbol=BTCUSDT",
        "/fapi/v1/exchangeInfo",
        "/sapi/v1/margin/allPairs",
    ],
)
def test_what_clients_ask_on_start_is_answered(target: str) -> None:
    here = world()
    assert here.http("GET", target)[0] == 200
    assert here.of("rest")[0]["path"] == target.partition("?")[0]


def test_unknown_symbols_and_paths_are_told() -> None:
    here = world()
    assert here.http("GET", "/api/v3/depth?symbol=NOSUCH") == (
        400,
        {"code": -1121, "msg": "Invalid symbol."},
    )
    number = here.ask_http("GET", "/api/v3/nowhere")
    assert here.answers[number].status == 404


def test_private_paths_want_a_signature() -> None:
    here = world()
    query = urlencode({"timestamp": here.wall_ms})
    good = f"/api/v3/account?{query}&signature={signature(here.secret, query)}"
    assert here.http("GET", good, x_mbx_apikey=here.key)[0] == 200
    assert here.http("GET", good, x_mbx_apikey="x")[1]["code"] == -2015
    bad = f"/api/v3/account?{query}&signature=x"
    assert here.http("GET", bad, x_mbx_apikey=here.key)[1]["code"] == -1022


def test_faults_reach_http_requests_by_their_name() -> None:
    here = world()
    method = "GET /api/v3/depth"
    here.inject("error_ack", method=method, code=429)
    number = here.ask_http("GET", "/api/v3/depth?symbol=BTCUSDT")
    assert here.answers[number].status == 429
    assert here.answers[number].retry_after == 120
    here.inject("delay_ack", method=method, delay=3.0)
    number = here.ask_http("GET", "/api/v3/depth?symbol=BTCUSDT")
    here.advance(2.9)
    assert number not in here.answers
    here.advance(0.2)
    assert here.answers[number].status == 200
    here.inject("drop_ack", method="auth")
    number = here.ask_http("POST", "/api/v3/userDataStream", x_mbx_apikey=here.key)
    here.advance(100)
    assert number not in here.answers


# --- any text ------------------------------------------------------------------------------------

scalar = scalars(TRADES, DEPTH, "BTCUSDT", "LIMIT", "BUY", "combined", "!ticker@arr")
value = values(scalar)
fields = st.sampled_from(
    ["symbol", "side", "type", "price", "quantity", "limit", "apiKey", "timestamp", "signature"]
)
methods = st.sampled_from([*STREAM_METHODS, *API_METHODS]) | st.text(max_size=12)
requests = st.fixed_dictionaries(
    {"method": methods},
    optional={"id": scalar, "params": st.dictionaries(fields, value) | value},
)


def answers(client: Client, text: str) -> None:
    before = len(client.inbox)
    client.say(text)
    client.world.advance(0.02)
    replies = [m for m in client.inbox[before:] if "id" in m and "e" not in m]
    assert len(replies) == 1 or not client.open


@given(texts, st.sampled_from([0, 1]))
@settings(derandomize=True, deadline=None)
def test_any_text_is_answered(text: str, api: int) -> None:
    answers(World("binance", tick=1000).connect((API, "/ws")[api]), text)


@given(st.lists(requests, max_size=5), st.sampled_from(["/ws", "/stream", API]))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_request_is_answered(asked: list[Json], path: str) -> None:
    here = World("binance", tick=1000, message_limit=1000)
    client = here.connect(path)
    if path == API:
        call(client, "session.logon", **signed(here))
    for request in asked:
        if client.open:
            answers(client, json.dumps(request))
    assert json.dumps(here.events, default=str)


names = st.text(st.characters(codec="ascii", exclude_characters="/?#"), max_size=30)


@given(st.lists(names | st.sampled_from([TRADES, DEPTH]), max_size=5), st.booleans())
@settings(derandomize=True, deadline=None)
def test_any_url_is_served_in_silence(listed: list[str], combined: bool) -> None:
    here = World("binance")
    path = ("/stream?streams=" if combined else "/ws/") + "/".join(listed)
    client = here.connect(path)
    here.advance(1)
    assert client.open


@given(st.text(st.characters(codec="ascii"), max_size=40), st.binary(max_size=40))
@settings(derandomize=True, deadline=None)
def test_any_query_and_body_is_answered(query: str, body: bytes) -> None:
    here = World("binance")
    for method, path in (("GET", "depth"), ("GET", "account"), ("PUT", "userDataStream")):
        target = f"/api/v3/{path}?{query}"
        here.ask_http(method, target, body.decode("latin-1"), x_mbx_apikey=here.key)
    assert len(here.answers) == 3


def test_any_story_of_faults_and_clients_ends_well() -> None:
    any_story_ends_well(
        "binance",
        {
            f"/ws/{TRADES}": [
                {"method": "SUBSCRIBE", "params": [DEPTH, TRADES], "id": 1},
                {"method": "UNSUBSCRIBE", "params": [TRADES], "id": 2},
            ],
            "/stream": [{"method": "SUBSCRIBE", "params": [DEPTH], "id": 1}],
            API: [{"method": "time", "id": 1}, {"method": "userDataStream.subscribe", "id": 2}],
        },
        [("POST", "/api/v3/userDataStream"), ("GET", "/api/v3/depth?symbol=BTCUSDT")],
    )


# --- on a socket ---------------------------------------------------------------------------------


def test_a_real_client_lives_a_day_on_pings_and_is_then_closed() -> None:
    async def test(stage: Stage) -> None:
        async with connect(stage.url(f"/stream?streams={TRADES}"), proxy=None) as client:
            assert json.loads(await client.recv())["stream"] == TRADES
            async for _ in client:
                pass
            assert client.close_code == 1001
        assert len(stage.of("test_answered")) > 4000
        assert stage.of("heartbeat_missed") == []

    play("binance", test, tick=600.0)


def test_a_real_client_fetches_a_listen_key_and_a_snapshot() -> None:
    async def test(stage: Stage) -> None:
        key, _ = stage.server.credentials
        base = stage.url(scheme="http")
        headers = {"X-MBX-APIKEY": key}
        status, found = await fetch(base, "POST", "/api/v3/userDataStream", headers, "a=b")
        assert status == 200
        async with connect(stage.url(f"/ws/{found['listenKey']}"), proxy=None) as client:
            assert json.loads(await client.recv())["e"] == "executionReport"
        status, found = await fetch(base, "GET", "/api/v3/depth?symbol=BTCUSDT")
        assert found["lastUpdateId"] >= 0

    play("binance", test)


def test_an_answer_that_comes_late_to_nobody_is_no_trouble() -> None:
    async def test(stage: Stage) -> None:
        host, port = stage.server.address
        stage.server.inject(delayed)
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /api/v3/time HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(1)
        writer.close()
        await asyncio.sleep(10)
        assert stage.of("rest")

    from squall.exchange.faults import DelayAck

    delayed = DelayAck(delay=5.0)
    play("binance", test)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /api/v3/userDataStream HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST /api/v3/userDataStream HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST /api/v3/userDataStream HTTP/1.1\r\nContent-Length: 2\r\n\r\nab", b"401"),
    ],
)
def test_bodies_are_read_to_their_end_or_refused(head: bytes, status: bytes) -> None:
    async def test(stage: Stage) -> None:
        reader, writer = await asyncio.open_connection(*stage.server.address)
        for byte in head:
            writer.write(bytes([byte]))
            await writer.drain()
        answer = await reader.read()
        assert answer.split(b" ")[1] == status
        writer.close()

    play("binance", test)
