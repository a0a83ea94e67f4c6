from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall_reference.settings import Settings
from squall_reference.subscriptions import Ask, Subscriptions, is_private

BOOK, TRADES = "book.BTC-PERPETUAL.100ms", "trades.BTC-PERPETUAL.100ms"
ORDERS = "user.orders.any.any.raw"


def subscriptions(*wanted: str, **settings: object) -> Subscriptions:
    made, _ = Settings.from_mapping({"subscribe_pause": 0, **settings})
    found = Subscriptions(made, Random(1))
    found.want(wanted)
    return found


def restored(*wanted: str, **settings: object) -> Subscriptions:
    found = subscriptions(*wanted, **settings)
    while (ask := found.next(0.0)) is not None:
        found.answered(ask, ask.channels, 0.0)
    assert found.complete
    return found


@pytest.mark.parametrize("channel", [ORDERS, "user.portfolio.btc", "book.BTC-PERPETUAL.raw"])
def test_accounts_and_raw_feeds_are_private(channel: str) -> None:
    assert is_private(channel)


def test_other_feeds_are_public() -> None:
    assert not is_private(BOOK)


def test_each_channel_is_asked_for_once() -> None:
    found = subscriptions(BOOK, TRADES, BOOK)
    ask = found.next(0.0)
    assert ask == Ask("subscribe", False, (BOOK, TRADES))
    assert ask.method == "public/subscribe"


def test_private_channels_go_through_private_subscribe() -> None:
    found = subscriptions(ORDERS)
    ask = found.next(0.0)
    assert ask is not None
    assert ask.method == "private/subscribe"


def test_public_and_private_channels_are_asked_for_apart() -> None:
    found = subscriptions(BOOK, ORDERS, TRADES)
    first = found.next(0.0)
    assert first == Ask("subscribe", False, (BOOK, TRADES))
    found.answered(first, first.channels, 0.0)
    assert found.next(0.0) == Ask("subscribe", True, (ORDERS,))


def test_the_next_request_waits_for_the_answer() -> None:
    found = subscriptions(BOOK, ORDERS)
    found.next(0.0)
    assert found.next(1e9) is None
    assert found.deadline is None


def test_batches_are_bounded_and_paced() -> None:
    found = subscriptions(*(f"ticker.{n}.100ms" for n in range(120)), subscribe_pause=0.1)
    now, sizes = 0.0, []
    while (ask := found.next(now)) is not None:
        sizes.append(len(ask.channels))
        found.answered(ask, ask.channels, now)
        assert found.next(now) is None
        now += 0.1
    assert sizes == [50, 50, 20]
    assert found.complete


def test_a_channel_that_the_answer_leaves_out_is_asked_for_again() -> None:
    # Deribit 11052: the short list was taken for a complete one in the guide's own library.
    found = subscriptions(BOOK, TRADES)
    ask = found.next(0.0)
    assert ask is not None
    assert found.answered(ask, [BOOK], 0.0) == [TRADES]
    assert found.missing == [TRADES]
    assert found.next(0.0) is None
    assert found.deadline is not None
    assert 0.5 <= found.deadline <= 1.0
    assert found.next(found.deadline) == Ask("subscribe", False, (TRADES,))


def test_a_channel_refused_again_and_again_is_asked_for_ever_more_rarely() -> None:
    found, now, waits = subscriptions(BOOK), 0.0, []
    for _ in range(10):
        ask = found.next(now)
        assert ask is not None
        found.answered(ask, [], now)
        assert found.deadline is not None
        waits.append(found.deadline - now)
        now = found.deadline
    assert waits[0] <= 1.0
    assert all(15.0 <= wait <= 30.0 for wait in waits[6:])


def test_a_refused_channel_does_not_hold_up_the_others() -> None:
    found = subscriptions("nonsense", BOOK, subscribe_batch=1)
    ask = found.next(0.0)
    assert ask is not None
    found.answered(ask, [], 0.0)
    assert found.next(0.0) == Ask("subscribe", False, (BOOK,))


def test_a_request_that_failed_is_made_again() -> None:
    found = subscriptions(BOOK)
    ask = found.next(0.0)
    assert ask is not None
    assert found.failed(ask, 5.0) == [BOOK]
    assert found.deadline is not None
    assert found.next(found.deadline) == ask


def test_an_answer_is_not_taken_for_more_than_was_asked() -> None:
    found = subscriptions(BOOK)
    ask = found.next(0.0)
    assert ask is not None
    found.answered(ask, [BOOK, TRADES], 0.0)
    assert found.confirmed == {BOOK}


def test_after_a_loss_everything_wanted_is_asked_for_again() -> None:
    found = restored(BOOK, ORDERS)
    found.disconnected()
    assert found.missing == [BOOK, ORDERS]
    assert found.next(0.0) == Ask("subscribe", False, (BOOK,))


def test_a_loss_during_the_restore_loses_nothing() -> None:
    # The guide's library clears its set before the restore is confirmed.
    found = subscriptions(BOOK, TRADES)
    found.next(0.0)
    found.disconnected()
    assert found.next(0.0) == Ask("subscribe", False, (BOOK, TRADES))


def test_requests_do_not_grow_from_loss_to_loss() -> None:
    # Twice as many each time: https://github.com/askmike/deribit-v2-ws/pull/19
    found = subscriptions(BOOK, TRADES, ORDERS)
    asked = []
    for _ in range(20):
        found.disconnected()
        cycle = []
        while (ask := found.next(0.0)) is not None:
            cycle.append(ask)
            found.answered(ask, ask.channels, 0.0)
        asked.append(cycle)
    assert all(cycle == asked[0] for cycle in asked)


def test_a_change_of_mind_while_down_shows_after_the_reconnect() -> None:
    found = restored(BOOK)
    found.disconnected()
    found.want([TRADES])
    found.unwant([BOOK])
    assert found.next(0.0) == Ask("subscribe", False, (TRADES,))


def test_what_is_no_longer_wanted_is_unsubscribed() -> None:
    found = restored(BOOK, TRADES)
    found.unwant([BOOK])
    ask = found.next(0.0)
    assert ask == Ask("unsubscribe", False, (BOOK,))
    found.answered(ask, [], 0.0)
    assert found.complete
    assert found.next(1e9) is None


def test_a_channel_wanted_again_before_its_unsubscribe_is_answered_is_subscribed() -> None:
    # https://github.com/ccxt/ccxt/issues/27296
    found = restored(BOOK)
    found.unwant([BOOK])
    ask = found.next(0.0)
    found.want([BOOK])
    assert ask is not None
    found.answered(ask, ask.channels, 0.0)
    assert found.next(0.0) == Ask("subscribe", False, (BOOK,))


def test_a_channel_given_up_before_its_subscribe_is_answered_is_unsubscribed() -> None:
    found = subscriptions(BOOK)
    ask = found.next(0.0)
    found.unwant([BOOK])
    assert ask is not None
    found.answered(ask, ask.channels, 0.0)
    assert found.next(0.0) == Ask("unsubscribe", False, (BOOK,))


def test_a_channel_given_up_whose_subscribe_was_never_answered_is_unsubscribed() -> None:
    found = subscriptions(BOOK)
    ask = found.next(0.0)
    found.unwant([BOOK])
    assert ask is not None
    found.failed(ask, 0.0)
    assert found.deadline is not None
    assert found.next(found.deadline) == Ask("unsubscribe", False, (BOOK,))


def test_to_resynchronise_a_channel_leaves_the_others_alone() -> None:
    found = restored(BOOK, TRADES)
    found.resynchronise(BOOK)
    assert not found.complete
    first = found.next(0.0)
    assert first == Ask("unsubscribe", False, (BOOK,))
    found.answered(first, first.channels, 0.0)
    second = found.next(0.0)
    assert second == Ask("subscribe", False, (BOOK,))
    found.answered(second, second.channels, 0.0)
    assert found.complete


def test_a_channel_with_a_gap_before_its_ack_is_subscribed_anew_after_it() -> None:
    found = subscriptions(BOOK)
    ask = found.next(0.0)
    found.resynchronise(BOOK)
    assert ask is not None
    found.answered(ask, ask.channels, 0.0)
    assert found.next(0.0) == Ask("unsubscribe", False, (BOOK,))


def test_a_channel_that_nobody_wants_is_not_resynchronised() -> None:
    found = subscriptions()
    found.resynchronise(BOOK)
    assert found.complete


def test_a_channel_is_unsubscribed_after_an_unanswered_subscribe_was_given_up() -> None:
    # Found by the property below: the exchange had taken it, only its answer was lost.
    found = subscriptions(BOOK)
    ask = found.next(0.0)
    assert ask is not None
    found.failed(ask, 5.0)
    found.unwant([BOOK])
    assert found.next(5.0) == Ask("unsubscribe", False, (BOOK,))


def test_a_channel_whose_unsubscribe_was_never_answered_is_subscribed_when_wanted_again() -> None:
    found = restored(BOOK)
    found.unwant([BOOK])
    ask = found.next(0.0)
    assert ask is not None
    found.failed(ask, 5.0)
    found.want([BOOK])
    assert found.deadline is not None
    assert found.next(found.deadline) == Ask("subscribe", False, (BOOK,))


CHANNELS = [BOOK, TRADES, ORDERS, "ticker.BTC-PERPETUAL.100ms", "user.trades.any.any.raw"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["want", "unwant", "resync", "lost", "answer", "short", "error", "eaten"]),
        st.sampled_from(CHANNELS),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_the_exchange_ends_up_serving_what_is_wanted(
    steps: list[tuple[str, str]],
) -> None:
    found, served, now = subscriptions(*CHANNELS[:3]), set[str](), 0.0
    out: Ask | None = None

    def serve(ask: Ask) -> None:
        for channel in ask.channels:
            (served.add if ask.op == "subscribe" else served.discard)(channel)

    for do, channel in steps:
        now += 1.0
        out = out or found.next(now)
        if do == "want":
            found.want([channel])
        elif do == "unwant":
            found.unwant([channel])
        elif do == "resync":
            found.resynchronise(channel)
        elif do == "lost":
            found.disconnected()
            served.clear()
            out = None
        elif out is not None:
            if do == "answer":
                serve(out)
                found.answered(out, out.channels, now)
            elif do == "short" and out.op == "subscribe":
                serve(Ask("subscribe", out.private, out.channels[1:]))
                found.answered(out, out.channels[1:], now)
            elif do == "eaten":
                serve(out)
                found.failed(out, now)
            else:
                found.failed(out, now)
            out = None
    for _ in range(30):
        now += 60.0
        out = out or found.next(now)
        if out is None:
            break
        serve(out)
        found.answered(out, out.channels, now)
        out = None
    assert found.complete
    assert found.deadline is None
    assert served == set(found.wanted)
