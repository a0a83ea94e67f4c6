from typing import Any

import pytest

from squall_reference.freshness import Freshness
from squall_reference.sequences import NOTHING, Reading, Sequences

BOOK = "book.BTC-PERPETUAL.100ms"
TRADES = "trades.BTC-PERPETUAL.100ms"


def snapshot(change_id: int) -> dict[str, Any]:
    return {"type": "snapshot", "change_id": change_id, "bids": [], "asks": []}


def change(change_id: int, previous: int) -> dict[str, Any]:
    return {"type": "change", "change_id": change_id, "prev_change_id": previous}


def trade(seq: int, timestamp: int = 0, instrument: str = "BTC-PERPETUAL") -> dict[str, Any]:
    return {"trade_seq": seq, "timestamp": timestamp, "instrument_name": instrument}


@pytest.fixture
def sequences() -> Sequences:
    return Sequences()


def test_changes_that_chain_are_delivered(sequences: Sequences) -> None:
    assert sequences.read(BOOK, snapshot(10)) == Reading(snapshot(10), 10)
    assert sequences.read(BOOK, change(15, 10)) == Reading(change(15, 10), 15)
    assert sequences.read(BOOK, change(16, 15)) == Reading(change(16, 15), 16)


def test_a_change_that_does_not_chain_calls_for_a_snapshot(
    sequences: Sequences,
) -> None:
    sequences.read(BOOK, snapshot(10))
    expected = Reading(change(16, 15), 16, gap=True, resynchronise=True)
    assert sequences.read(BOOK, change(16, 15)) == expected
    assert sequences.out_of_sync == {BOOK}


def test_after_a_gap_changes_are_withheld_until_the_snapshot(sequences: Sequences) -> None:
    sequences.read(BOOK, snapshot(10))
    sequences.read(BOOK, change(16, 15))
    assert sequences.read(BOOK, change(17, 16)) == NOTHING
    assert sequences.read(BOOK, snapshot(20)) == Reading(snapshot(20), 20, gap=True)
    assert sequences.read(BOOK, change(21, 20)) == Reading(change(21, 20), 21)
    assert sequences.out_of_sync == set()


def test_a_snapshot_right_after_the_gap_leaves_nothing_out(sequences: Sequences) -> None:
    sequences.read(BOOK, snapshot(10))
    sequences.read(BOOK, change(16, 15))
    assert sequences.read(BOOK, snapshot(16)) == Reading(snapshot(16), 16)


def test_a_book_that_begins_without_a_snapshot_is_a_gap(sequences: Sequences) -> None:
    assert sequences.read(BOOK, change(16, 15)).resynchronise


def test_a_repeated_or_old_change_is_dropped(sequences: Sequences) -> None:
    sequences.read(BOOK, snapshot(10))
    sequences.read(BOOK, change(11, 10))
    assert sequences.read(BOOK, change(11, 10)) == NOTHING
    assert sequences.read(BOOK, change(9, 8)) == NOTHING


def test_swapped_changes_are_one_gap(sequences: Sequences) -> None:
    sequences.read(BOOK, snapshot(10))
    assert sequences.read(BOOK, change(12, 11)).gap
    assert sequences.read(BOOK, change(11, 10)) == NOTHING


def test_a_snapshot_on_a_living_connection_begins_anew(sequences: Sequences) -> None:
    # Bybit's u=1, OKX's sequence reset: https://github.com/ccxt/ccxt/issues/17827
    sequences.read(BOOK, snapshot(10))
    assert sequences.read(BOOK, snapshot(3)) == Reading(snapshot(3), 3, gap=True)
    assert sequences.read(BOOK, change(4, 3)) == Reading(change(4, 3), 4)


def test_the_snapshot_of_a_new_connection_tells_what_was_missed(sequences: Sequences) -> None:
    sequences.read(BOOK, snapshot(10))
    sequences.disconnected()
    assert sequences.read(BOOK, snapshot(12)) == Reading(snapshot(12), 12, gap=True)


def test_a_reconnect_in_which_nothing_happened_is_no_gap(sequences: Sequences) -> None:
    sequences.read(BOOK, snapshot(10))
    sequences.disconnected()
    assert sequences.read(BOOK, snapshot(10)) == Reading(snapshot(10), 10)


def test_a_change_before_the_snapshot_of_a_new_connection_is_a_gap(sequences: Sequences) -> None:
    sequences.read(BOOK, snapshot(10))
    sequences.disconnected()
    assert sequences.read(BOOK, change(11, 10)).resynchronise


def test_grouped_books_are_whole_images_and_have_no_gaps(sequences: Sequences) -> None:
    channel = "book.BTC-PERPETUAL.none.10.100ms"
    for seq in (5, 9, 7):
        assert sequences.read(channel, {"change_id": seq}) == Reading({"change_id": seq}, seq)


def test_trades_that_count_on_are_delivered_with_the_last_number(sequences: Sequences) -> None:
    assert sequences.read(TRADES, [trade(1), trade(2)]).seq == 2
    assert sequences.read(TRADES, [trade(3)]) == Reading([trade(3)], 3)


def test_missing_trades_are_a_gap(sequences: Sequences) -> None:
    sequences.read(TRADES, [trade(1)])
    assert sequences.read(TRADES, [trade(3)]) == Reading([trade(3)], 3, gap=True)


def test_a_gap_inside_one_message_is_a_gap(sequences: Sequences) -> None:
    assert sequences.read(TRADES, [trade(1), trade(3)]).gap


def test_trades_seen_before_are_cut_off(sequences: Sequences) -> None:
    sequences.read(TRADES, [trade(1), trade(2)])
    assert sequences.read(TRADES, [trade(2), trade(3)]) == Reading([trade(3)], 3)
    assert sequences.read(TRADES, [trade(1), trade(2)]) == NOTHING


def test_trades_missed_during_a_reconnect_are_a_gap(sequences: Sequences) -> None:
    sequences.read(TRADES, [trade(1)])
    sequences.disconnected()
    assert sequences.read(TRADES, [trade(9)]).gap


def test_trades_counted_anew_by_the_exchange_are_no_duplicates(sequences: Sequences) -> None:
    sequences.read(TRADES, [trade(1000, timestamp=50)])
    assert sequences.read(TRADES, [trade(1, timestamp=60)]).gap
    assert sequences.read(TRADES, [trade(2, timestamp=70)]) == Reading([trade(2, 70)], 2)


def test_trades_of_several_instruments_are_counted_apart(sequences: Sequences) -> None:
    channel = "trades.future.BTC.100ms"
    sequences.read(channel, [trade(1), trade(7, instrument="BTC-26JUN26")])
    both = [trade(2), trade(8, instrument="BTC-26JUN26")]
    assert sequences.read(channel, both) == Reading(both, 8)


def test_a_channel_given_up_in_between_has_no_gap(sequences: Sequences) -> None:
    sequences.read(TRADES, [trade(1)])
    sequences.read(BOOK, snapshot(1))
    sequences.forget(TRADES)
    sequences.forget(BOOK)
    assert not sequences.read(TRADES, [trade(9)]).gap
    assert not sequences.read(BOOK, snapshot(9)).gap


@pytest.mark.parametrize(
    ("channel", "data"),
    [
        ("ticker.BTC-PERPETUAL.100ms", {"last_price": 1}),
        ("user.trades.any.any.raw", [trade(5)]),
        (BOOK, {"no": "number"}),
        (BOOK, "nonsense"),
        (TRADES, {"nonsense": 1}),
    ],
)
def test_what_has_no_number_passes(sequences: Sequences, channel: str, data: Any) -> None:
    assert sequences.read(channel, data) == Reading(data)


def test_trades_without_a_number_pass(sequences: Sequences) -> None:
    assert sequences.read(TRADES, ["nonsense"]) == Reading(["nonsense"])


def test_a_silent_channel_among_others_becomes_stale_once() -> None:
    freshness = Freshness(10.0)
    freshness.watch([BOOK, TRADES], 0.0)
    for now in range(30):
        freshness.heard(TRADES, float(now))
    assert freshness.look(10.0) == [BOOK]
    assert freshness.look(15.0) == []
    assert freshness.stale == {BOOK}


def test_data_makes_a_channel_fresh_again() -> None:
    freshness = Freshness(10.0)
    freshness.watch([BOOK], 0.0)
    freshness.look(10.0)
    assert freshness.heard(BOOK, 12.0)
    assert not freshness.heard(BOOK, 13.0)
    assert freshness.stale == set()


def test_staleness_is_seen_within_one_and_a_half_times_the_limit() -> None:
    freshness = Freshness(10.0)
    freshness.watch([BOOK], 0.0)
    freshness.heard(BOOK, 4.9)
    found: list[str] = []
    while not found:
        assert freshness.deadline is not None
        now = freshness.deadline
        found = freshness.look(now)
    assert now <= 4.9 + 15.0


def test_an_accounts_own_channels_may_be_silent() -> None:
    freshness = Freshness(10.0)
    freshness.watch(["user.orders.any.any.raw"], 0.0)
    assert freshness.deadline is None


def test_a_channel_no_longer_watched_is_not_stale() -> None:
    freshness = Freshness(10.0)
    freshness.watch([BOOK], 0.0)
    freshness.look(10.0)
    freshness.watch([], 11.0)
    assert (freshness.stale, freshness.deadline) == (set(), None)


def test_without_a_limit_nothing_is_stale() -> None:
    freshness = Freshness(None)
    freshness.watch([BOOK], 0.0)
    assert (freshness.look(1e9), freshness.deadline) == ([], None)
