"""Deribit's spelling: channel names, market data, instruments, questions over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squall.exchange import dialect
from squall.exchange.deribit import market
from squall.exchange.deribit.channels import channel
from test_exchange import BOOK, TRADES, World

DERIBIT = dialect("deribit")


@pytest.mark.parametrize("kind", ["trades", "book", "ticker", "orders"])
def test_there_are_two_hundred_valid_channels_of_each_kind(kind: str) -> None:
    names = DERIBIT.channels(kind, 200)
    assert len(set(names)) == 200
    assert {DERIBIT.kind(name) for name in names} == {kind}
    assert {DERIBIT.is_private(name) for name in names} == {kind == "orders"}


def test_the_first_channels_are_those_that_everybody_knows() -> None:
    assert DERIBIT.channels("book", 1) == [BOOK]
    assert DERIBIT.channels("orders", 1) == ["user.orders.any.any.raw"]
    assert DERIBIT.channels("book", 0) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("book.ETH-PERPETUAL.raw", "book"),
        ("book.ETH-PERPETUAL.none.20.100ms", "book"),
        ("quote.BTC-PERPETUAL", "ticker"),
        ("trades.future.BTC.100ms", "trades"),
        ("user.orders.future.any.100ms", "orders"),
        ("user.portfolio.btc", "other"),
        ("user.trades.any.any.raw", "other"),
        ("deribit_price_index.btc_usd", "other"),
        ("platform_state", "other"),
        ("book.ETH-PERPETUAL.1s", None),
        ("book.ETH-PERPETUAL.none.7.100ms", None),
        ("book.NOPE.100ms", None),
        ("user.orders.NOPE.raw", None),
        ("trades.future.DOGE.100ms", None),
        ("user", None),
        ("", None),
        ("....", None),
    ],
)
def test_channel_names_are_those_of_the_documentation(name: str, kind: str | None) -> None:
    assert DERIBIT.kind(name) == kind


@given(st.text() | st.from_regex(r"(user\.)?(book|trades|orders)(\.[A-Z0-9a-z_-]{0,6}){0,6}"))
@settings(derandomize=True)
def test_any_text_is_a_channel_or_not_without_a_crash(name: str) -> None:
    found = channel(name)
    assert found is None or found.name == name


def sides(book: Mapping[str, list[tuple[float, float]]]) -> dict[str, dict[float, float]]:
    return {side: dict(levels) for side, levels in book.items()}


@given(st.integers(0, 500), st.integers(0, 200))
@settings(derandomize=True)
def test_a_snapshot_and_the_changes_after_it_give_the_later_snapshot(n: int, count: int) -> None:
    book = sides(market.book("BTC-PERPETUAL", n))
    for number in range(n + 1, n + count + 1):
        for side, changes in market.book_change("BTC-PERPETUAL", number).items():
            for action, price, amount in changes:
                assert (price in book[side]) == (action != "new")
                assert (action == "delete") == (amount == 0)
                if action == "delete":
                    del book[side][price]
                else:
                    book[side][price] = amount
    assert book == sides(market.book("BTC-PERPETUAL", n + count))


@pytest.mark.parametrize("instrument", ["BTC-PERPETUAL", "XRP_USDC-PERPETUAL"])
def test_a_book_is_never_crossed(instrument: str) -> None:
    for number in range(100):
        book = market.book(instrument, number)
        bids, asks = ([price for price, _ in book[side]] for side in ("bids", "asks"))
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < market.price(instrument, number) < asks[0]


def test_a_whole_image_book_has_nothing_to_chain() -> None:
    world = World()
    client = world.connect()
    name = "book.BTC-PERPETUAL.none.1.100ms"
    client.ask("public/subscribe", channels=[name])
    world.advance(2)
    for data in client.data(name):
        assert "prev_change_id" not in data
        assert len(data["bids"]) == len(data["asks"]) == 1


def get(world: World, target: str, method: str = "GET") -> tuple[int, Any]:
    answer = world.exchange.rest(1, method, target, world.now)
    return answer.status, json.loads(answer.body)


def test_http_answers_what_needs_no_connection() -> None:
    world = World()
    world.advance(60)
    status, body = get(world, "/api/v2/public/get_time")
    assert status == 200
    assert body["result"] == int((world.exchange.settings.epoch + 60) * 1000)
    assert get(world, "/api/v2/public/test")[1]["result"] == {"version": "1.2.26"}
    assert get(world, "/api/v2/public/status")[1]["result"]["locked"] == "false"
    ticker = get(world, "/api/v2/public/ticker?instrument_name=BTC-PERPETUAL")[1]["result"]
    assert ticker["instrument_name"] == "BTC-PERPETUAL"
    assert world.of("rest")[0] == {
        "method": "GET",
        "path": "/api/v2/public/get_time",
        "status": 200,
    }


def test_http_lists_instruments_by_currency_and_kind() -> None:
    query = "?currency=BTC&kind=future"
    listed = get(World(), "/api/v2/public/get_instruments" + query)[1]["result"]
    assert {each["settlement_currency"] for each in listed} == {"BTC"}
    assert {each["kind"] for each in listed} == {"future"}
    assert "BTC-PERPETUAL" in {each["instrument_name"] for each in listed}


def test_the_book_over_http_is_the_book_of_the_channel() -> None:
    world = World()
    client = world.connect()
    client.ask("public/subscribe", channels=[BOOK])
    world.advance(7)
    book = get(world, "/api/v2/public/get_order_book?instrument_name=BTC-PERPETUAL")[1]["result"]
    assert book["change_id"] == client.data(BOOK)[-1]["change_id"]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("/api/v2/private/buy", 404),
        ("/api/v2/public/auth", 404),
        ("/api/v2/public/get_order_book?instrument_name=NOPE", 400),
        ("/api/v2/public/get_instruments?kind=nope", 400),
    ],
)
def test_http_errors_are_json(target: str, status: int) -> None:
    found, body = get(World(), target)
    assert found == status
    assert "error" in body


def test_questions_are_answered_over_the_websocket_too() -> None:
    client = World().connect()
    assert client.ask("public/get_instruments", currency="any")
    assert client.ask("public/ticker", instrument_name="BTC-PERPETUAL")["state"] == "open"
    assert client.ask("public/hello", client_name="x", client_version="1") == {"version": "1.2.26"}


def test_trades_of_one_channel_follow_each_other() -> None:
    world = World()
    client = world.connect()
    client.ask("public/subscribe", channels=[TRADES])
    world.advance(20)
    seqs = [trade["trade_seq"] for data in client.data(TRADES) for trade in data]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
