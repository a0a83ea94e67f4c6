"""Each fault of the exchange: what it does, whom it bites, and that healing puts things right."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any, get_type_hints

import pytest

from squall.exchange import EXCHANGE_FAULTS, ExchangeFault, dialect
from test_exchange import BOOK, ORDERS, PATH, TICKER, TRADES, Client, Failed, World, buy, trader


def change_ids(client: Client) -> list[int]:
    return [data["change_id"] for data in client.data(BOOK)]


def subscribed(world: World, *channels: str) -> Client:
    client = world.connect()
    client.ask("public/subscribe", channels=list(channels))
    return client


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXCHANGE_FAULTS)
def test_every_fault_is_a_frozen_value_with_help_and_readable_fields(name: str) -> None:
    fault = EXCHANGE_FAULTS[name]
    assert fault.name == name
    assert fault() == fault()
    assert (fault.__doc__ or "").splitlines()[0].endswith(".")
    hints = get_type_hints(fault, include_extras=True)
    assert all(field.name in hints for field in dataclasses.fields(fault))
    with pytest.raises(dataclasses.FrozenInstanceError):
        fault().anything = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", EXCHANGE_FAULTS)
def test_every_fault_begins_ends_and_leaves_a_venue_that_works(name: str) -> None:
    world = World()
    client = trader(world)
    client.ask("private/subscribe", channels=[BOOK, TRADES, ORDERS, "platform_state"])
    client.ask("public/set_heartbeat", interval=10)
    injection = world.inject(name)
    started = world.of("fault_started")
    assert [(each["fault"], each["id"]) for each in started] == [(name, injection.id)]
    assert started[0]["settings"] == dataclasses.asdict(injection.fault)
    world.advance(5)
    world.heal()
    assert world.kinds().count("fault_ended") == 1
    assert world.refusal() is None
    fresh = trader(world)
    assert fresh.ask("private/subscribe", channels=[BOOK, ORDERS]) == [BOOK, ORDERS]
    world.advance(1)
    assert fresh.data(BOOK)
    assert fresh.data(ORDERS)


def test_healing_twice_ends_once() -> None:
    world = World()
    injection = world.inject("ban")
    injection.heal()
    injection.heal()
    world.heal()
    assert world.kinds().count("fault_ended") == 1


def test_healing_one_fault_leaves_the_others() -> None:
    world = World()
    first, second = world.inject("ban"), world.inject("no_ping")
    world.exchange.heal(first, world.now)
    assert not first.in_force
    assert second.in_force


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("revoke", {"code": 1006}, "fin"),
        ("maintenance", {"code": 1005}, "1005"),
        ("limit", {"code": 2999}, "2999"),
        ("limit", {"per": 0.0}, "per"),
        ("limit", {"count": 0}, "count"),
        ("gap", {"count": 0}, "count"),
        ("dup", {"count": 0}, "count"),
        ("stall_channel", {"count": 0}, "count"),
        ("test_burst", {"count": 0}, "count"),
        ("partial_ack", {"missing": 0}, "missing"),
        ("reject_auth", {"times": 0}, "times"),
        ("drop_ack", {"method": "subscirbe"}, "subscirbe"),
        ("error_ack", {"times": -1}, "times"),
        ("delay_ack", {"delay": 0.0}, "delay"),
    ],
)
def test_senseless_settings_are_refused(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EXCHANGE_FAULTS[name](**settings)


# --- tokens and credentials ----------------------------------------------------------------------


def test_expire_token_ends_every_token_now() -> None:
    world = World()
    client, bystander = trader(world), world.connect()
    injection = world.inject("expire_token")
    assert injection.fired
    assert not injection.in_force
    assert client.ask("private/get_open_orders") == Failed(13009)
    assert world.of("error")[-1]["injected"] is True
    assert ("token_expired", client.number) in [(k, n) for k, n, _ in world.events]
    assert ("fault_fired", bystander.number) not in [(k, n) for k, n, _ in world.events]
    client.login()
    assert client.ask("private/get_open_orders") == []


def test_after_expire_token_the_refresh_token_is_good() -> None:
    world = World()
    client = world.connect()
    refresh = client.login()["refresh_token"]
    world.inject("expire_token")
    assert "access_token" in client.ask(
        "public/auth", grant_type="refresh_token", refresh_token=refresh
    )
    assert client.ask("private/get_open_orders") == []


def test_expire_token_without_a_token_never_fires() -> None:
    world = World()
    world.connect()
    assert not world.inject("expire_token").fired


def test_revoke_closes_sessions_and_refuses_every_login() -> None:
    world = World()
    client, public = trader(world), world.connect()
    world.inject("revoke")
    assert client.closed_with == 1008
    assert public.closed_with is None
    assert public.login() == Failed(13004)
    assert world.of("auth_failed") == [{"code": 13004, "injected": True}]
    world.heal()
    assert "access_token" in public.login()


def test_revoke_reaches_a_login_that_is_under_way() -> None:
    world = World(ack_latency=1)
    client = world.connect()
    id = client.send(
        "public/auth",
        grant_type="client_credentials",
        client_id=world.key,
        client_secret=world.secret,
    )
    world.inject("revoke")
    world.advance(1)
    assert client.reply(id) == Failed(13004)
    assert world.of("error")[-1]["injected"] is True


def test_revoke_ends_tokens_of_session_scope_too() -> None:
    world = World()
    access = trader(world).login("session:x")["access_token"]
    world.inject("revoke")
    other = world.connect()
    assert other.ask("private/get_open_orders", access_token=access) == Failed(13009)


def test_reject_auth_lasts_until_healed() -> None:
    world = World()
    world.inject("reject_auth")
    client = world.connect()
    assert [client.login() for _ in range(3)] == [Failed(13004)] * 3
    world.heal()
    assert "access_token" in client.login()


def test_reject_auth_can_be_bounded_and_take_another_code() -> None:
    world = World()
    world.inject("reject_auth", code=12998, times=2)
    client = world.connect()
    assert [client.login(), client.login()] == [Failed(12998)] * 2
    assert "access_token" in client.login()
    assert world.kinds().count("fault_ended") == 1
    assert world.of("error")[0]["message"] == "security_key_authorization_over_limit"


# --- replies -------------------------------------------------------------------------------------


def test_delay_ack_delays_the_effect_too() -> None:
    world = World()
    world.inject("delay_ack", method="auth", delay=2.0)
    client = world.connect()
    id = client.send(
        "public/auth",
        grant_type="client_credentials",
        client_id=world.key,
        client_secret=world.secret,
    )
    world.advance(1.9)
    assert client.ask("private/subscribe", channels=[ORDERS]) == Failed(13009)
    world.advance(0.2)
    assert "access_token" in client.reply(id)
    assert client.ask("private/subscribe", channels=[ORDERS]) == [ORDERS]


def test_delay_ack_does_not_hold_up_other_replies() -> None:
    world = World()
    world.inject("delay_ack", method="subscribe", delay=30.0)
    client = world.connect()
    client.send("public/subscribe", channels=[BOOK])
    assert client.ask("public/test") == {"version": "1.2.26"}
    assert client.data(BOOK) == []
    world.advance(30)
    assert client.data(BOOK)


def test_drop_ack_swallows_one_request_and_no_more() -> None:
    world = World()
    injection = world.inject("drop_ack", method="subscribe")
    client = world.connect()
    client.send("public/subscribe", channels=[BOOK])
    world.advance(5)
    assert client.inbox == []
    assert "subscribed" not in world.kinds()
    assert not injection.in_force
    assert client.ask("public/subscribe", channels=[BOOK]) == [BOOK]


def test_drop_ack_can_leave_an_order_placed_without_a_word() -> None:
    world = World(order_updates=False)
    client = trader(world)
    world.inject("drop_ack", method="private/buy", carried_out=True)
    client.send("private/buy", instrument_name="BTC-PERPETUAL", amount=10, price=5, label="lost")
    world.advance(1)
    assert len(client.inbox) == 1
    assert world.of("order_placed")[0]["label"] == "lost"
    assert len(client.ask("private/get_open_orders")) == 1


def test_error_ack_fails_with_the_code_that_was_asked_for() -> None:
    world = World()
    world.inject("error_ack", method="subscribe", code=10040, message="later")
    client = world.connect()
    assert client.ask("public/subscribe", channels=[BOOK]) == Failed(10040)
    assert world.of("error")[0] | {"id": None} == {
        "code": 10040,
        "message": "later",
        "method": "public/subscribe",
        "id": None,
        "injected": True,
    }
    assert client.ask("public/subscribe", channels=[BOOK]) == [BOOK]


def test_error_ack_of_any_request_is_the_internal_error_of_the_venue() -> None:
    world = World()
    world.inject("error_ack", times=None)
    client = world.connect()
    assert client.ask("public/test") == client.ask("public/get_time") == Failed(11094)


def test_partial_ack_leaves_out_the_last_channels_and_does_not_serve_them() -> None:
    world = World()
    world.inject("partial_ack", missing=2)
    client = world.connect()
    assert client.ask("public/subscribe", channels=[BOOK, TRADES, TICKER]) == [BOOK]
    assert world.of("subscribed")[0]["refused"] == [TRADES, TICKER]
    world.advance(5)
    assert client.data(TRADES) == client.data(TICKER) == []
    assert client.ask("public/subscribe", channels=[TRADES, TICKER]) == [TRADES, TICKER]


def test_partial_ack_may_leave_out_everything() -> None:
    world = World()
    world.inject("partial_ack", missing=9)
    assert world.connect().ask("public/subscribe", channels=[BOOK]) == []


# --- data ----------------------------------------------------------------------------------------


def test_stall_channel_silences_one_channel_and_no_other() -> None:
    world = World()
    client = subscribed(world, BOOK, TRADES)
    world.advance(2)
    injection = world.inject("stall_channel")
    before = len(client.data(BOOK)), len(client.data(TRADES))
    world.advance(10)
    assert len(client.data(BOOK)) == before[0]
    assert len(client.data(TRADES)) >= before[1] + 19
    assert injection.fired


def test_a_stalled_channel_goes_on_without_a_gap() -> None:
    world = World()
    client = subscribed(world, BOOK)
    world.inject("stall_channel")
    world.advance(10)
    world.heal()
    world.advance(2)
    ids = change_ids(client)
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) > 2


def test_a_channel_subscribed_during_its_stall_gets_its_snapshot_afterwards() -> None:
    world = World()
    world.inject("stall_channel", channel=BOOK)
    client = subscribed(world, BOOK)
    world.advance(5)
    assert client.data(BOOK) == []
    world.heal()
    world.advance(2)
    first, second, *_ = client.data(BOOK)
    assert first["type"] == "snapshot"
    assert second["prev_change_id"] == first["change_id"]


def test_stall_channel_takes_as_many_channels_as_it_is_told() -> None:
    world = World()
    client = subscribed(world, TICKER, BOOK, TRADES)
    world.inject("stall_channel", count=2)
    world.advance(5)
    assert client.data(TICKER) == []
    assert len(client.data(BOOK)) == 1
    assert len(client.data(TRADES)) >= 9


def test_gap_breaks_the_chain_of_a_book_once() -> None:
    world = World()
    client = subscribed(world, TRADES, BOOK)
    injection = world.inject("gap", count=3)
    world.advance(10)
    chain = [
        (before["change_id"], after["prev_change_id"])
        for before, after in pairwise(client.data(BOOK))
    ]
    broken = [after - before for before, after in chain if before != after]
    assert broken == [3]
    assert injection.fired
    assert not injection.in_force


def test_gap_can_be_in_trades() -> None:
    world = World()
    client = subscribed(world, TRADES, BOOK)
    world.inject("gap", channel=TRADES, count=2)
    world.advance(5)
    seqs = [data[-1]["trade_seq"] for data in client.data(TRADES)]
    steps = [after - before for before, after in pairwise(seqs)]
    assert sorted(steps) == [1] * (len(steps) - 1) + [3]


def test_a_gap_waits_for_a_channel_to_break() -> None:
    world = World()
    injection = world.inject("gap")
    world.advance(5)
    assert not injection.fired
    subscribed(world, BOOK)
    world.advance(2)
    assert injection.fired


def test_dup_sends_messages_twice() -> None:
    world = World()
    client = subscribed(world, BOOK)
    world.inject("dup", count=2)
    world.advance(3)
    ids = change_ids(client)
    assert len(ids) - len(set(ids)) == 2
    assert ids == sorted(ids)


def test_reorder_swaps_two() -> None:
    world = World()
    client = subscribed(world, BOOK)
    world.inject("reorder")
    world.advance(5)
    ids = change_ids(client)
    assert ids != sorted(ids)
    assert sorted(ids) == list(range(ids[0], ids[0] + len(ids)))
    assert sum(a > b for a, b in pairwise(ids)) == 1


def test_a_gap_shows_in_the_history_as_it_does_on_the_wire() -> None:
    world = World()
    client = subscribed(world, BOOK)
    world.inject("gap")
    world.advance(5)
    assert [each["seq"] for each in world.of("sent")] == change_ids(client)


# --- liveness ------------------------------------------------------------------------------------


def test_no_ping_stops_heartbeats_and_data_goes_on() -> None:
    world = World()
    client = subscribed(world, BOOK)
    client.ask("public/set_heartbeat", interval=10)
    injection = world.inject("no_ping")
    world.advance(60)
    assert client.beats("heartbeat") == client.beats("test_request") == 0
    assert len(client.data(BOOK)) > 100
    assert injection.fired
    world.heal()
    world.advance(10)
    assert client.beats("test_request") == 1


def test_test_burst_asks_everybody_with_a_heartbeat_and_one_answer_is_enough() -> None:
    world = World()
    client, other = world.connect(), world.connect()
    client.ask("public/set_heartbeat", interval=10)
    world.inject("test_burst", count=5)
    assert client.beats("test_request") == 5
    assert other.inbox == []
    client.ask("public/test")
    world.advance(9)
    assert len(world.of("test_answered")) == 5
    assert not client.aborted


def test_a_test_burst_that_is_not_answered_ends_the_connection() -> None:
    world = World()
    client = world.connect()
    client.ask("public/set_heartbeat", interval=30)
    world.inject("test_burst")
    world.advance(30)
    assert client.aborted
    assert len(world.of("heartbeat_missed")) == 1


def test_ignore_close_leaves_goodbyes_unanswered_until_healed() -> None:
    world = World()
    client = subscribed(world, BOOK)
    world.inject("ignore_close")
    assert not world.exchange.answers_close(client.number, world.now)
    before = len(client.data(BOOK))
    world.advance(5)
    assert len(client.data(BOOK)) > before
    assert client.closed_with is None
    world.heal()
    assert client.closed_with == 1000


# --- the venue as a whole ------------------------------------------------------------------------


def test_notice_tells_those_who_asked_to_be_told() -> None:
    world = World()
    client, other = subscribed(world, "platform_state"), world.connect()
    world.inject("notice")
    assert [data["locked"] for data in client.data("platform_state")] == [True]
    assert other.ask("public/status")["locked"] == "true"
    world.heal()
    assert [data["locked"] for data in client.data("platform_state")] == [True, False]
    assert other.ask("public/status")["locked"] == "false"


def test_maintenance_fails_requests_then_closes_then_refuses() -> None:
    world = World()
    client = world.connect()
    world.inject("maintenance", grace=2.0, retry_after=30.0)
    assert client.ask("public/test") == Failed(11051)
    assert client.closed_with is None
    world.advance(2)
    assert client.closed_with == 1001
    refusal = world.refusal()
    assert (refusal.status, refusal.retry_after) == (503, 30.0)
    world.heal()
    assert world.refusal() is None


def test_maintenance_healed_within_its_grace_closes_nobody() -> None:
    world = World()
    client = world.connect()
    world.inject("maintenance", grace=2.0)
    world.heal()
    world.advance(5)
    assert client.closed_with is None


def test_limit_counts_a_rolling_window() -> None:
    world = World()
    world.inject("limit", count=5, per=1.0)
    client = world.connect()
    for _ in range(20):
        client.send("public/test")
        world.advance(0.2)
    assert client.closed_with is None
    client.send("public/test")
    client.send("public/test")
    assert client.closed_with == 1008
    assert world.of("limit_exceeded") == [{"rule": "messages", "count": 6}]


def test_limit_counts_pings_and_pongs() -> None:
    """https://github.com/nautechsystems/nautilus_trader/issues/5012"""
    world = World()
    world.inject("limit", count=5, per=1.0)
    client = world.connect()
    for _ in range(6):
        world.exchange.heard(client.number, world.now)
    assert client.closed_with == 1008


def test_limit_counts_each_connection_by_itself() -> None:
    world = World()
    world.inject("limit", count=1, per=1.0)
    for client in (world.connect(), world.connect()):
        client.send("public/test")
        assert client.closed_with is None


def test_ban_refuses_newcomers_and_leaves_live_sessions_alone() -> None:
    world = World()
    client = world.connect()
    injection = world.inject("ban", status=418, retry_after=120.0)
    refusal = world.refusal()
    assert (refusal.status, refusal.retry_after) == (418, 120.0)
    assert injection.fired
    assert client.ask("public/test") == {"version": "1.2.26"}
    assert world.of("rest") == [{"method": "GET", "path": PATH, "status": 418}]


# --- who is told ---------------------------------------------------------------------------------


def test_a_fault_fires_once_a_connection() -> None:
    world = World()
    injection = world.inject("error_ack", times=None)
    first, second = world.connect(), world.connect()
    for client in (first, second, first, second):
        client.ask("public/test")
    fired = [(number, detail) for kind, number, detail in world.events if kind == "fault_fired"]
    assert fired == [
        (1, {"fault": "error_ack", "id": injection.id}),
        (2, {"fault": "error_ack", "id": injection.id}),
    ]


def test_an_observer_can_inject_a_fault_for_the_very_request_it_is_told_of() -> None:
    world = World()
    client = world.connect()
    observe = world.exchange.observe

    def strike(kind: str, connection: int | None = None, /, **detail: Any) -> None:
        observe(kind, connection, **detail)
        if kind == "subscribe_requested":
            world.inject("drop_ack", method="subscribe")

    world.exchange.observe = strike
    client.send("public/subscribe", channels=[BOOK])
    world.advance(1)
    assert client.inbox == []


def test_an_observer_can_close_the_session_it_is_told_of() -> None:
    world = World()
    client = trader(world)
    observe = world.exchange.observe

    def strike(kind: str, connection: int | None = None, /, **detail: Any) -> None:
        observe(kind, connection, **detail)
        if kind == "request":
            world.inject("revoke")

    world.exchange.observe = strike
    client.send("public/test")
    world.advance(1)
    assert client.closed_with == 1008
    assert len(client.inbox) == 1


def test_two_faults_can_be_in_force_together() -> None:
    world = World()
    world.inject("delay_ack", delay=5.0)
    world.inject("error_ack", code=10040)
    client = world.connect()
    id = client.send("public/test")
    world.advance(4)
    assert client.inbox == []
    world.advance(2)
    assert client.reply(id) == Failed(10040)


def test_orders_are_still_taken_while_a_channel_is_stalled() -> None:
    world = World()
    client = trader(world)
    world.inject("stall_channel", channel=ORDERS)
    assert "order" in buy(client)


def test_the_table_holds_subclasses_only() -> None:
    assert all(issubclass(fault, ExchangeFault) for fault in EXCHANGE_FAULTS.values())
    assert dialect("deribit").kind(BOOK) == "book"
