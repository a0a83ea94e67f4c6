"""The exchange's core in virtual time, without a socket: requests, tokens, data, heartbeats."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import venue_world
from squall.errors import ScenarioError
from squall.exchange import Membership, Settings, dialect
from squall.exchange.actions import Send
from squall.exchange.deribit.access import signature

BOOK = "book.BTC-PERPETUAL.100ms"
TRADES = "trades.BTC-PERPETUAL.100ms"
TICKER = "ticker.BTC-PERPETUAL.100ms"
ORDERS = "user.orders.any.any.raw"
PATH = "/ws/api/v2"


class World(venue_world.World):
    """An exchange that speaks Deribit, its clock and its clients."""

    def __init__(
        self, membership: Membership | None = None, *, observed: bool = True, **settings: Any
    ) -> None:
        super().__init__("deribit", membership, observed=observed, **settings)

    def refusal(self, path: str = PATH) -> Any:
        return self.admit(path)

    def connect(self, path: str = PATH) -> Client:
        assert self.refusal(path) is None
        return self.join(path)

    def join(self, path: str = PATH) -> Client:
        return self.seat(Client(self, self._numbers, path))

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.events]


class Client(venue_world.Client):
    """One connection. `ask` waits for the reply in virtual time."""

    def __init__(self, world: World, number: int, path: str) -> None:
        super().__init__(world, number, path)
        self._ids = iter(range(1, 100_000))

    def send(self, method: str, **params: Any) -> int:
        id = next(self._ids)
        self.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
        return id

    def ask(self, method: str, **params: Any) -> Any:
        """The result, or the error code as a negative-free `Failed`."""
        id = self.send(method, **params)
        self.world.advance(self.world.exchange.settings.ack_latency)
        return self.reply(id)

    def reply(self, id: int) -> Any:
        found = [message for message in self.inbox if message.get("id") == id]
        assert len(found) == 1, f"one reply to {id}, not {found}"
        if "error" in found[0]:
            return Failed(found[0]["error"]["code"])
        return found[0]["result"]

    def login(self, scope: str = "") -> Any:
        return self.ask(
            "public/auth",
            grant_type="client_credentials",
            client_id=self.world.key,
            client_secret=self.world.secret,
            scope=scope,
        )

    def data(self, channel: str) -> list[Any]:
        return list(self._data(channel))

    def _data(self, channel: str) -> Iterator[Any]:
        for message in self.inbox:
            if message.get("method") == "subscription" and message["params"]["channel"] == channel:
                yield message["params"]["data"]

    def beats(self, type: str) -> int:
        return sum(message.get("params", {}).get("type") == type for message in self.inbox)


class Failed:
    """An error reply, compared by its code."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failed) and other.code == self.code

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Failed({self.code})"


# --- replies -------------------------------------------------------------------------------------


def test_a_reply_carries_the_times_of_the_venue() -> None:
    client = World(ack_latency=0.02).connect()
    client.ask("public/test")
    reply = client.inbox[0]
    assert reply["jsonrpc"] == "2.0"
    assert reply["usDiff"] == reply["usOut"] - reply["usIn"] == pytest.approx(20_000, abs=2)
    assert reply["testnet"] is True


def test_a_reply_comes_after_the_ack_latency_and_not_before() -> None:
    world = World(ack_latency=0.5)
    client = world.connect()
    client.send("public/test")
    world.advance(0.49)
    assert client.inbox == []
    world.advance(0.01)
    assert len(client.inbox) == 1


def test_replies_keep_the_order_of_the_requests() -> None:
    world = World()
    client = world.connect()
    ids = [client.send("public/get_time") for _ in range(20)]
    world.advance(1)
    assert [message["id"] for message in client.inbox] == ids


def test_zero_latency_answers_at_the_next_tick() -> None:
    world = World(ack_latency=0)
    client = world.connect()
    client.send("public/test")
    assert world.exchange.deadline == world.now


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -32700),
        ("", -32700),
        ("[" * 100_000, -32700),
        ('{"id": NaN}', -32700),
        ("[]", -32600),
        ("null", -32600),
        ('{"id": 1}', -32600),
        ('{"id": [1], "method": "public/test"}', -32600),
        ('{"id": 1e999, "method": "public/test"}', -32600),
        ('{"id": 1, "method": 5}', -32600),
        ('{"id": 1, "method": "public/test", "params": []}', 11050),
        ('{"id": 1, "method": "public/nonsense"}', -32601),
        ('{"id": 1, "method": "public/set_heartbeat", "params": {"interval": "x"}}', -32602),
        ('{"id": 1, "method": "public/set_heartbeat", "params": {"interval": 9}}', -32602),
        ('{"id": 1, "method": "public/subscribe", "params": {"channels": "x"}}', -32602),
        ('{"id": 1, "method": "public/subscribe", "params": {"channels": [1]}}', -32602),
        ('{"id": 1, "method": "public/auth", "params": {"grant_type": "password"}}', -32602),
        ('{"id": 1, "method": "public/get_order_book", "params": {}}', -32602),
    ],
)
def test_what_cannot_be_understood_is_answered_with_its_code(text: str, code: int) -> None:
    world = World()
    client = world.connect()
    client.say(text)
    world.advance(1)
    assert client.inbox[0]["error"]["code"] == code
    assert world.of("error")[0]["code"] == code
    assert world.of("error")[0]["injected"] is False


def test_an_unknown_dialect_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ScenarioError, match="Did you mean 'deribit'"):
        dialect("deribt")


# --- logging in ----------------------------------------------------------------------------------


def test_client_credentials_log_in() -> None:
    world = World(token_lifetime=60)
    granted = world.connect().login()
    assert granted["expires_in"] == 60
    assert granted["token_type"] == "bearer"
    assert granted["scope"].startswith("connection ")
    assert world.of("auth_succeeded")[0]["grant_type"] == "client_credentials"


def test_neither_secrets_nor_tokens_reach_the_history() -> None:
    world = World()
    granted = world.connect().login()
    told = json.dumps(world.events)
    assert granted["access_token"] not in told
    assert granted["refresh_token"] not in told
    assert world.secret not in told


def test_tokens_count_as_secrets_even_after_their_connection() -> None:
    world = World()
    client = world.connect()
    granted = client.login()
    client.leave()
    secrets = [secret for _, secret in world.exchange.account.tokens.secrets()]
    assert secrets == [granted["access_token"], granted["refresh_token"]]


def test_a_signature_logs_in_and_a_wrong_one_does_not() -> None:
    world = World()
    client = world.connect()
    signed = {
        "grant_type": "client_signature",
        "client_id": world.key,
        "timestamp": 1_700_000_000_000,
        "nonce": "n1",
        "data": "",
        "signature": signature(world.secret, 1_700_000_000_000, "n1", ""),
    }
    assert "access_token" in client.ask("public/auth", **signed)
    assert client.ask("public/auth", **signed | {"nonce": "n2"}) == Failed(13004)


def test_material_tells_a_replayed_login_from_a_fresh_one() -> None:
    world = World()
    client = world.connect()
    for nonce in ("a", "a", "b"):
        client.ask(
            "public/auth",
            grant_type="client_signature",
            client_id=world.key,
            timestamp=5,
            nonce=nonce,
            signature=signature(world.secret, 5, nonce, ""),
        )
    first, second, third = (each["material"] for each in world.of("auth_requested"))
    assert first == second != third


def test_wrong_credentials_are_13004() -> None:
    world = World()
    client = world.connect()
    wrong = client.ask(
        "public/auth", grant_type="client_credentials", client_id=world.key, client_secret="x"
    )
    assert wrong == Failed(13004)
    assert world.of("auth_failed") == [{"code": 13004, "injected": False}]


def test_a_refresh_token_works_once() -> None:
    world = World()
    client = world.connect()
    refresh = client.login()["refresh_token"]
    again = client.ask("public/auth", grant_type="refresh_token", refresh_token=refresh)
    assert again["refresh_token"] != refresh
    twice = client.ask("public/auth", grant_type="refresh_token", refresh_token=refresh)
    assert twice == Failed(-32602)


def test_a_token_of_connection_scope_is_13009_elsewhere() -> None:
    world = World()
    first, second = world.connect(), world.connect()
    granted = first.login()
    access, refresh = granted["access_token"], granted["refresh_token"]
    assert second.ask("private/get_open_orders", access_token=access) == Failed(13009)
    redeemed = second.ask("public/auth", grant_type="refresh_token", refresh_token=refresh)
    assert redeemed == Failed(13009)


def test_a_token_of_connection_scope_dies_with_its_connection() -> None:
    world = World()
    first = world.connect()
    access = first.login()["access_token"]
    first.leave()
    second = world.connect()
    assert second.ask("private/get_open_orders", access_token=access) == Failed(13009)
    assert second.ask("private/get_open_orders") == Failed(13009)


def test_a_token_of_session_scope_outlives_its_connection() -> None:
    world = World()
    first = world.connect()
    access = first.login("session:mm1")["access_token"]
    first.leave()
    second = world.connect()
    assert second.ask("private/get_open_orders", access_token=access) == []


def test_two_logins_under_one_session_name_invalidate_the_first_refresh_token() -> None:
    """https://github.com/nautechsystems/nautilus_trader/pull/3402"""
    world = World()
    first, second = world.connect(), world.connect()
    refresh = first.login("session:mm1")["refresh_token"]
    second.login("session:mm1")
    redeemed = first.ask("public/auth", grant_type="refresh_token", refresh_token=refresh)
    assert redeemed == Failed(-32602)


def test_the_scope_can_ask_for_a_shorter_life() -> None:
    assert World().connect().login("expires:30")["expires_in"] == 30


def test_an_expired_token_is_13009_until_the_next_login() -> None:
    world = World(token_lifetime=60)
    client = world.connect()
    client.login()
    world.advance(59)
    assert client.ask("private/get_open_orders") == []
    world.advance(1)
    assert world.kinds().count("token_expired") == 1
    assert client.ask("private/get_open_orders") == Failed(13009)
    client.login()
    assert client.ask("private/get_open_orders") == []


def test_a_token_that_was_refreshed_in_time_never_expires() -> None:
    world = World(token_lifetime=60)
    client = world.connect()
    refresh = client.login()["refresh_token"]
    world.advance(48)
    client.ask("public/auth", grant_type="refresh_token", refresh_token=refresh)
    world.advance(30)
    assert "token_expired" not in world.kinds()
    assert client.ask("private/get_open_orders") == []


@pytest.mark.parametrize("ends", [False, True])
def test_expiry_ends_private_subscriptions_only_where_it_is_set(ends: bool) -> None:
    world = World(token_lifetime=60, expiry_ends_subscriptions=ends)
    client = world.connect()
    client.login()
    client.ask("private/subscribe", channels=[ORDERS, BOOK])
    world.advance(60)
    before = len(client.data(ORDERS)), len(client.data(BOOK))
    world.advance(5)
    assert (len(client.data(ORDERS)) == before[0]) is ends
    assert len(client.data(BOOK)) > before[1]
    assert world.of("unsubscribed") == ([{"channels": [ORDERS]}] if ends else [])


def test_a_private_request_sent_before_the_login_is_acked_fails() -> None:
    """https://github.com/nautechsystems/nautilus_trader/pull/2097"""
    world = World()
    client = world.connect()
    client.send(
        "public/auth",
        grant_type="client_credentials",
        client_id=world.key,
        client_secret=world.secret,
    )
    early = client.send("private/subscribe", channels=[ORDERS])
    world.advance(1)
    assert client.reply(early) == Failed(13009)
    assert world.of("subscribe_requested")[0]["authenticated"] is False


# --- subscriptions -------------------------------------------------------------------------------


def test_the_ack_lists_what_is_served_and_leaves_out_the_rest() -> None:
    world = World()
    client = world.connect()
    assert client.ask("public/subscribe", channels=[BOOK, "book.NOPE.100ms", TRADES]) == [
        BOOK,
        TRADES,
    ]
    assert world.of("subscribed") == [
        {"channels": [BOOK, TRADES], "refused": ["book.NOPE.100ms"], "repeated": []}
    ]


def test_a_private_channel_is_missing_from_a_public_subscribe() -> None:
    client = World().connect()
    client.login()
    assert client.ask("public/subscribe", channels=[ORDERS, BOOK]) == [BOOK]


def test_private_subscribe_without_login_is_13009() -> None:
    assert World().connect().ask("private/subscribe", channels=[BOOK]) == Failed(13009)


def test_raw_feeds_need_a_login() -> None:
    client = World().connect()
    raw = "book.BTC-PERPETUAL.raw"
    assert client.ask("public/subscribe", channels=[raw]) == Failed(13778)
    client.login()
    assert client.ask("public/subscribe", channels=[raw]) == [raw]


def test_a_repeated_subscribe_is_accepted_recorded_and_served_once() -> None:
    world = World(repeat_sends_snapshot=False)
    client = world.connect()
    client.ask("public/subscribe", channels=[BOOK])
    assert client.ask("public/subscribe", channels=[BOOK]) == [BOOK]
    assert world.of("subscribed")[1] == {"channels": [], "refused": [], "repeated": [BOOK]}
    world.advance(5)
    numbers = [data["change_id"] for data in client.data(BOOK)]
    assert len(numbers) == len(set(numbers))


def test_data_comes_only_after_the_ack() -> None:
    world = World(ack_latency=3)
    client = world.connect()
    client.send("public/subscribe", channels=[BOOK, TRADES])
    world.advance(2.99)
    assert client.inbox == []
    world.advance(2)
    assert "result" in client.inbox[0]
    assert client.data(BOOK)
    assert client.data(TRADES)


def test_unsubscribing_ends_the_data() -> None:
    world = World()
    client = world.connect()
    client.ask("public/subscribe", channels=[BOOK, TRADES])
    assert client.ask("public/unsubscribe", channels=[BOOK, TICKER]) == [BOOK]
    before = len(client.data(BOOK))
    world.advance(5)
    assert len(client.data(BOOK)) == before
    assert len(client.data(TRADES)) >= 9


def test_unsubscribe_all_leaves_private_channels_to_the_private_method() -> None:
    world = World()
    client = world.connect()
    client.login()
    client.ask("private/subscribe", channels=[BOOK, ORDERS])
    assert client.ask("public/unsubscribe_all") == "ok"
    assert client.ask("private/unsubscribe_all") == "ok"
    assert world.of("unsubscribed") == [{"channels": [BOOK]}, {"channels": [ORDERS]}]


def test_every_subscribed_channel_sends_each_tick() -> None:
    world = World(tick=0.5)
    client = world.connect()
    client.login()
    channels = [BOOK, TRADES, TICKER, ORDERS]
    client.ask("private/subscribe", channels=channels)
    world.advance(10)
    for channel in channels:
        assert 20 <= len(client.data(channel)) <= 21


def test_channels_do_not_all_send_in_one_instant() -> None:
    world = World()
    client = world.connect()
    client.ask("public/subscribe", channels=dialect("deribit").channels("book", 50))
    instants = set()
    for _ in range(50):
        deadline = world.exchange.deadline
        assert deadline is not None
        instants.add(deadline)
        world.advance(deadline - world.now)
    assert len(instants) > 40


def test_a_book_begins_with_a_snapshot_and_chains() -> None:
    world = World()
    client = world.connect()
    client.ask("public/subscribe", channels=[BOOK])
    world.advance(10)
    first, *rest = client.data(BOOK)
    assert first["type"] == "snapshot"
    assert "prev_change_id" not in first
    last = first["change_id"]
    for change in rest:
        assert change["type"] == "change"
        assert change["prev_change_id"] == last
        last = change["change_id"]
    assert [each["seq"] for each in world.of("sent")][-1] == last
    assert [each["snapshot"] for each in world.of("sent")] == [True] + [False] * len(rest)


def test_numbers_go_on_while_nobody_listens() -> None:
    world = World(tick=0.5)
    first = world.connect()
    first.ask("public/subscribe", channels=[TRADES])
    world.advance(5)
    first.leave()
    last = first.data(TRADES)[-1][-1]["trade_seq"]
    world.advance(60)
    second = world.connect()
    second.ask("public/subscribe", channels=[TRADES])
    world.advance(0.5)
    assert second.data(TRADES)[0][0]["trade_seq"] - last == pytest.approx(121, abs=1)


def test_two_subscribers_get_the_same_message_and_one_encoding() -> None:
    world = World()
    first, second = world.connect(), world.connect()
    for client in (first, second):
        client.ask("public/subscribe", channels=[TRADES])
    world.advance(5)
    assert first.data(TRADES)[-1] == second.data(TRADES)[-1]
    assert Send((1, 2), json.dumps(first.inbox[-1])) in world.actions


def test_a_trades_message_may_hold_several_and_is_numbered_by_its_last() -> None:
    world = World(trades_per_message=3)
    client = world.connect()
    client.ask("public/subscribe", channels=[TRADES])
    world.advance(2)
    seqs = [trade["trade_seq"] for message in client.data(TRADES) for trade in message]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert len(client.data(TRADES)[0]) == 3
    assert world.of("sent")[0]["seq"] == seqs[2]


def test_an_exchange_that_was_held_up_sends_no_burst_and_leaves_no_gap() -> None:
    world = World(tick=0.5)
    client = world.connect()
    client.ask("public/subscribe", channels=[BOOK])
    world.now += 5
    world.exchange.tick(world.now)
    assert len(client.data(BOOK)) == 2
    world.advance(5)
    numbers = [data["change_id"] for data in client.data(BOOK)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= 11


# --- heartbeats ----------------------------------------------------------------------------------


def test_a_client_that_answers_tests_lives_on() -> None:
    world = World()
    client = world.connect()
    assert client.ask("public/set_heartbeat", interval=10) == "ok"
    for _ in range(10):
        world.advance(10)
        client.send("public/test")
    assert not client.aborted
    assert client.beats("heartbeat") == client.beats("test_request") == 10
    assert len(world.of("test_answered")) == 10


def test_a_client_that_answers_no_test_is_dropped_after_the_interval() -> None:
    world = World()
    client = world.connect()
    client.ask("public/set_heartbeat", interval=10)
    world.advance(19)
    assert not client.aborted
    world.advance(1)
    assert client.aborted
    assert world.of("heartbeat_missed") == [{"after": 10.0}]


def test_an_answer_without_id_counts_and_is_answered_without_one() -> None:
    world = World()
    client = world.connect()
    client.ask("public/set_heartbeat", interval=10)
    world.advance(10)
    client.say('{"jsonrpc": "2.0", "method": "public/test"}')
    world.advance(10)
    assert not client.aborted
    assert world.of("request")[-1]["id"] is None
    assert [m for m in client.inbox if "result" in m and "id" not in m]


def test_heartbeats_can_be_ended_and_begun_anew() -> None:
    world = World()
    client = world.connect()
    client.ask("public/set_heartbeat", interval=10)
    world.advance(10)
    assert client.ask("public/disable_heartbeat") == "ok"
    world.advance(100)
    assert not client.aborted
    assert client.beats("heartbeat") == 1
    client.ask("public/set_heartbeat", interval=20)
    world.advance(20)
    assert client.beats("heartbeat") == 2
    assert [each["interval"] for each in world.of("heartbeat_set")] == [10, None, 20]


def test_setting_the_heartbeat_twice_does_not_double_it() -> None:
    world = World()
    client = world.connect()
    client.ask("public/set_heartbeat", interval=10)
    client.ask("public/set_heartbeat", interval=10)
    world.advance(10)
    assert client.beats("heartbeat") == 1


# --- orders --------------------------------------------------------------------------------------


def trader(world: World) -> Client:
    client = world.connect()
    client.login()
    return client


def buy(client: Client, **details: Any) -> Any:
    asked = {"instrument_name": "BTC-PERPETUAL", "amount": 10, "price": 5.0} | details
    return client.ask("private/buy", **asked)


def test_an_order_is_placed_found_and_cancelled() -> None:
    world = World(order_updates=False)
    client = trader(world)
    client.ask("private/subscribe", channels=[ORDERS, "user.orders.ETH-PERPETUAL.raw"])
    id = buy(client, label="mine")["order"]["order_id"]
    assert [o["order_id"] for o in client.ask("private/get_open_orders")] == [id]
    assert client.ask("private/cancel", order_id=id)["order_state"] == "cancelled"
    assert client.ask("private/cancel", order_id=id) == Failed(11044)
    assert client.ask("private/get_order_state", order_id=id)["order_state"] == "cancelled"
    assert [data["order_state"] for data in client.data(ORDERS)] == ["open", "cancelled"]
    assert client.data("user.orders.ETH-PERPETUAL.raw") == []  # another instrument
    assert world.of("order_placed") == [{"order": id, "label": "mine"}]
    assert world.of("order_cancelled")[0]["reason"] == "user_request"


def test_a_market_order_fills_at_once() -> None:
    client = trader(World())
    order = buy(client, type="market")["order"]
    assert order["order_state"] == "filled"
    assert order["filled_amount"] == 10
    assert client.ask("private/get_open_orders") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"instrument_name": "NOPE"},
        {"amount": -1},
        {"amount": True},
        {"price": None},
        {"type": "wish"},
        {"label": 5},
        {"amount": 10**400},
    ],
)
def test_a_wrong_order_is_minus_32602(wrong: dict[str, Any]) -> None:
    assert buy(trader(World()), **wrong) == Failed(-32602)


def test_an_unknown_order_is_13020() -> None:
    assert trader(World()).ask("private/get_order_state", order_id="x") == Failed(13020)


def test_cancel_all_counts_what_it_cancelled() -> None:
    client = trader(World())
    buy(client)
    buy(client)
    assert client.ask("private/cancel_all") == 2
    assert client.ask("private/get_open_orders") == []


def test_cancel_on_disconnect_takes_the_orders_of_its_connection_alone() -> None:
    world = World()
    first, second = trader(world), trader(world)
    mine, other = buy(first)["order"]["order_id"], buy(second)["order"]["order_id"]
    first.ask("private/enable_cancel_on_disconnect")
    assert first.ask("private/get_cancel_on_disconnect")["enabled"] is True
    first.leave()
    assert [o["order_id"] for o in second.ask("private/get_open_orders")] == [other]
    assert world.of("order_cancelled") == [
        {"order": mine, "label": "", "reason": "cancel_on_disconnect"}
    ]


def test_without_cancel_on_disconnect_orders_survive() -> None:
    world = World()
    first = trader(world)
    buy(first)
    first.ask("private/enable_cancel_on_disconnect")
    first.ask("private/disable_cancel_on_disconnect")
    first.leave()
    assert len(trader(world).ask("private/get_open_orders")) == 1


def test_cancel_on_disconnect_of_the_account_holds_for_later_connections() -> None:
    world = World()
    trader(world).ask("private/enable_cancel_on_disconnect", scope="account")
    later = trader(world)
    buy(later)
    later.leave()
    assert len(world.of("order_cancelled")) == 1


def test_a_missed_heartbeat_cancels_orders() -> None:
    world = World()
    client = trader(world)
    client.ask("private/enable_cancel_on_disconnect")
    buy(client)
    client.ask("public/set_heartbeat", interval=10)
    world.advance(20)
    assert client.aborted
    client.leave()
    assert len(world.of("order_cancelled")) == 1


def test_ten_minutes_of_silence_cancel_orders_on_an_open_connection() -> None:
    world = World()
    client = trader(world)
    client.ask("private/enable_cancel_on_disconnect")
    buy(client)
    world.advance(599)
    client.send("public/test")
    world.advance(599)
    assert world.of("order_cancelled") == []
    world.advance(1)
    assert world.of("order_cancelled")[0]["reason"] == "inactivity"


def test_logout_closes_without_cancelling() -> None:
    world = World()
    client = trader(world)
    client.ask("private/enable_cancel_on_disconnect")
    buy(client)
    client.ask("private/logout")
    assert client.closed_with == 1000
    client.leave()
    assert world.of("order_cancelled") == []


# --- limits --------------------------------------------------------------------------------------


def test_a_hundred_requests_at_once_are_fine_and_one_more_ends_the_session() -> None:
    world = World()
    client = world.connect()
    ids = [client.send("public/test") for _ in range(150)]
    world.advance(1)
    assert client.reply(ids[99]) == {"version": "1.2.26"}
    assert client.reply(ids[100]) == Failed(10028)
    assert client.closed_with == 1008
    assert [each["rule"] for each in world.of("limit_exceeded")] == ["credits"]
    assert len(client.inbox) == 101


def test_twenty_requests_a_second_can_go_on_for_ever() -> None:
    world = World()
    client = world.connect()
    for _ in range(1000):
        client.send("public/test")
        world.advance(0.05)
    assert client.closed_with is None


def test_orders_have_a_limit_of_their_own() -> None:
    world = World(matching_burst=3, matching_rate=1)
    client = trader(world)
    for _ in range(3):
        assert "order" in buy(client)
    assert buy(client) == Failed(10028)
    assert client.closed_with == 1008
    assert [each["rule"] for each in world.of("limit_exceeded")] == ["matching engine"]


def test_the_connection_after_the_last_allowed_one_is_refused_with_429() -> None:
    world = World(connections_per_address=2)
    world.connect()
    second = world.connect()
    assert world.refusal().status == 429
    assert world.of("limit_exceeded") == [{"rule": "connections per address", "count": 3}]
    second.leave()
    assert world.refusal() is None


def test_another_path_is_404() -> None:
    world = World()
    assert world.refusal("/nowhere").status == 404
    assert world.refusal(PATH + "?x=1") is None


# --- the end -------------------------------------------------------------------------------------


def test_a_connection_that_is_gone_is_sent_nothing_more() -> None:
    world = World()
    client = world.connect()
    client.ask("public/subscribe", channels=[BOOK])
    client.send("public/test")
    client.leave()
    before = len(world.actions)
    world.advance(60)
    assert len(world.actions) == before
    assert world.of("closed") == [{"code": 1006, "reason": "", "by": "network"}]


def test_a_client_that_said_goodbye_is_sent_nothing_more() -> None:
    world = World()
    client = world.connect()
    client.ask("public/subscribe", channels=[BOOK])
    assert world.exchange.answers_close(client.number, world.now)
    world.exchange.closing(client.number, world.now)
    before = len(client.inbox)
    world.advance(5)
    assert len(client.inbox) == before


@pytest.mark.parametrize(
    "wrong", [{"ack_latency": -1}, {"tick": 0}, {"credit_refill": 0}, {"termination_code": 1006}]
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Settings(**wrong)


def test_a_bug_in_the_core_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    client = world.connect()
    monkeypatch.setattr(world.exchange.dialect, "answer", lambda *_: 1 / 0)
    client.send("public/test")
    with pytest.raises(ZeroDivisionError):
        world.advance(1)
