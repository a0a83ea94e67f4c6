"""What the exchange serves at the end: all that is wanted, once, and nothing else."""

from squall.checks.subscriptions import (
    NoDuplicates,
    RemovedStayRemoved,
    SubscriptionsRestored,
    grows,
)
from story import BOOK, TRADES, Story, fails, is_unknown, passes, reset_story, steady_story

TICKER = "ticker.BTC-PERPETUAL.100ms"

# -- subscriptions_restored ------------------------------------------------------------------


def test_all_served_once_in_the_calm_passes() -> None:
    assert passes(reset_story().judge(SubscriptionsRestored()))


def test_a_channel_that_is_not_restored_fails_by_name() -> None:
    # bybit-exchange/pybit#13: reconnects, does not resubscribe
    story = reset_story(redial=None)
    story.connect(2.5, 2)
    story.subscribe(2.6, 2, TRADES)
    verdict = story.judge(SubscriptionsRestored())
    assert fails(verdict, f"{BOOK} is not served")
    assert TRADES not in verdict.why


def test_a_channel_nobody_wants_any_more_fails() -> None:
    story = reset_story()
    story.subscribe(3, 2, TICKER)
    assert fails(story.judge(SubscriptionsRestored()), f"{TICKER} is served but no longer wanted")


def test_a_reconnect_in_the_calm_that_nobody_provoked_fails() -> None:
    story = reset_story()
    story.leave(63, 2)
    story.serve(63.5, 3)
    assert fails(story.judge(SubscriptionsRestored()), "in the calm, at 63.000 s")


def test_what_comes_back_late_is_for_another_check_to_judge() -> None:
    story = steady_story()
    story.cut(2, 1)
    story.heal(2)
    story.settle(32, settled=False)
    story.serve(33, 2)
    assert passes(story.judge(SubscriptionsRestored()))


def test_a_run_that_was_broken_off_proves_nothing_about_the_end() -> None:
    assert is_unknown(steady_story().judge(SubscriptionsRestored()), "before the adapter had time")


# -- no_duplicates ---------------------------------------------------------------------------


def cycles(*asked: int, story: Story | None = None) -> Story:
    """Reconnects at which the channels are asked for so many times each."""
    story = story or steady_story()
    for number, repeats in enumerate(asked, 2):
        at = number * 5.0
        story.cut(at, number - 1)
        story.connect(at + 0.1, number)
        for n in range(repeats):
            story.subscribe(at + 0.2 + n / 1000, number, TRADES, BOOK)
        story.send(at + 0.5, number)
    story.settle(len(asked) * 5.0 + 20)
    return story


def test_the_same_at_every_reconnect_passes() -> None:
    assert passes(cycles(1, 1, 1, 1, 1).judge(NoDuplicates()))


def test_a_list_that_doubles_at_each_reconnect_fails() -> None:
    # askmike/deribit-v2-ws#19: 2**n subscriptions after maintenance
    assert fails(cycles(2, 4, 8).judge(NoDuplicates()), "repeated channels grow: 0, 2, 6, 14")


def test_twice_at_every_reconnect_is_noted_but_does_not_grow() -> None:
    # unicorn-binance-websocket-api#287: 3 entries become 5 and stay 5
    assert passes(cycles(2, 2, 2, 2, 2).judge(NoDuplicates()))


def test_a_retry_here_and_there_is_no_growth() -> None:
    assert passes(cycles(1, 1, 2, 1, 1, 3, 1, 2, 1).judge(NoDuplicates()))


def test_asking_again_where_the_exchange_was_slow_is_not_counted() -> None:
    story = steady_story()
    story.fault(3, "drop_ack", 2, 3, 4, fires=30, until=31, source="exchange")
    assert passes(cycles(2, 4, 8, story=story).judge(NoDuplicates()))


def test_two_connections_that_serve_the_same_fail() -> None:
    # binance/binance-connector-rust#96: duplicated subscriptions after a renewal
    story = reset_story()
    story.serve(3, 3)
    assert fails(story.judge(NoDuplicates()), f"{BOOK} 2 times")


def test_a_repeated_subscribe_that_draws_an_error_fails() -> None:
    story = reset_story()
    asked = {"channels": [TRADES], "private": False, "id": 9}
    story.see(4, "exchange.subscribe_requested", 2, **asked)
    story.see(4, "exchange.error", 2, code=60012, message="again", id=9, method="subscribe")
    assert fails(story.judge(NoDuplicates()), "drew the error 60012")


def test_without_an_end_duplicates_cannot_be_told() -> None:
    assert is_unknown(steady_story().judge(NoDuplicates()))


def test_growth_is_told_from_noise() -> None:
    assert grows([0, 2, 6])
    assert grows([5, 6, 7, 8, 9, 10])
    assert not grows([5, 5, 5, 5])
    assert not grows([5, 7])
    assert not grows([0, 1, 0, 0, 1, 0, 0])
    assert not grows([])


# -- removed_stay_removed --------------------------------------------------------------------


def removed_story(*restored: str) -> Story:
    """BOOK is unwanted from 3 s on; the connection is cut at 4 s and restored with these."""
    story = steady_story()
    story.want(3, TRADES)
    story.see(3.1, "exchange.unsubscribed", 1, channels=[BOOK])
    story.cut(4, 1)
    story.connect(5, 2)
    story.subscribe(5.1, 2, *restored)
    story.send(5.2, 2, *restored)
    story.settle(20)
    return story


def test_a_removed_channel_that_stays_away_passes() -> None:
    assert passes(removed_story(TRADES).judge(RemovedStayRemoved()))


def test_a_removed_channel_that_comes_back_fails() -> None:
    # ccxt/ccxt#27296: an unsubscribe is lost in the race with a drop
    verdict = removed_story(TRADES, BOOK).judge(RemovedStayRemoved())
    assert fails(verdict, BOOK, "removed at 3.000 s")


def test_a_channel_that_is_wanted_again_may_come_back() -> None:
    story = removed_story(TRADES, BOOK)
    story.want(4.5, TRADES, BOOK)
    assert is_unknown(story.judge(RemovedStayRemoved()), "no channel was removed")


def test_without_a_reconnect_nothing_could_come_back() -> None:
    story = steady_story()
    story.want(3, TRADES)
    story.see(3.1, "exchange.unsubscribed", 1, channels=[BOOK])
    story.settle(20)
    assert is_unknown(story.judge(RemovedStayRemoved()), "never reconnected")
