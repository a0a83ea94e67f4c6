"""Orders in an outage, and requests whose answer was lost."""

from squall.checks.orders import NoReplayedOrders, RequestsFinish
from story import ORDERS, TRADES, Story, fails, is_unknown, is_unsupported, passes, steady_story


def outage_story(back: float = 30) -> Story:
    """No line from 2 s until `back`; one order is asked for at 10 s."""
    story = steady_story(channels=(TRADES,), private=(ORDERS,))
    story.cut(2, 1)
    story.order(10, 1, "a")
    story.serve(back, 2)
    story.see(90, "scenario.stopping")
    return story


# -- no_replayed_orders ----------------------------------------------------------------------


def test_an_order_that_dies_with_the_outage_passes() -> None:
    assert passes(outage_story().judge(NoReplayedOrders()))


def test_a_queue_that_is_flushed_on_reconnect_fails() -> None:
    # Marfusios/websocket-client#142: queued messages are sent on reconnect
    story = outage_story()
    story.see(30.1, "exchange.order_placed", 2, order="x", label="a")
    assert fails(story.judge(NoReplayedOrders()), "the order a, asked for at 10.000 s", "30.100 s")


def test_an_order_that_is_asked_for_again_is_wanted() -> None:
    story = outage_story()
    story.order(31, 2, "a")
    story.see(31.1, "exchange.order_placed", 2, order="x", label="a")
    assert passes(story.judge(NoReplayedOrders()))


def test_an_order_that_lay_in_the_silent_line_is_no_replay() -> None:
    story = steady_story(channels=(TRADES,), private=(ORDERS,))
    story.fault(2, "blackhole", 1, until=20)
    story.order(10, 1, "a")
    story.see(20.1, "exchange.order_placed", 1, order="x", label="a")
    story.see(60, "scenario.stopping")
    assert passes(story.judge(NoReplayedOrders()))


def test_an_order_in_flight_that_is_sent_again_fails() -> None:
    story = steady_story(channels=(TRADES,), private=(ORDERS,))
    story.order(2, 1, "a")
    story.see(2.1, "exchange.order_placed", 1, order="x", label="a")
    story.cut(2.2, 1)
    story.serve(3, 2)
    story.see(3.1, "exchange.order_placed", 2, order="y", label="a")
    assert fails(story.judge(NoReplayedOrders()), "placed 2 times")


def test_an_order_in_flight_that_is_placed_once_passes() -> None:
    story = steady_story(channels=(TRADES,), private=(ORDERS,))
    story.order(2, 1, "a")
    story.see(2.1, "exchange.order_placed", 1, order="x", label="a")
    story.cut(2.2, 1)
    story.serve(3, 2)
    assert passes(story.judge(NoReplayedOrders()))


def test_an_order_just_before_the_line_is_back_proves_nothing() -> None:
    story = outage_story(back=10.5)
    story.see(10.6, "exchange.order_placed", 2, order="x", label="a")
    assert is_unknown(story.judge(NoReplayedOrders()), "no order")


def test_an_adapter_that_takes_no_orders_is_not_judged() -> None:
    story = steady_story(adapter={"supports": ["public"]})
    assert is_unsupported(story.judge(NoReplayedOrders()), "request")


# -- requests_finish -------------------------------------------------------------------------


def asked_story(*, reached: bool = True) -> Story:
    story = steady_story(channels=(TRADES,), private=(ORDERS,))
    story.order(2, 1, "a")
    if reached:
        story.see(2.1, "exchange.request", 1, method="private/buy", private=True)
        story.see(2.1, "exchange.order_placed", 1, order="x", label="a")
    story.see(90, "scenario.stopping")
    return story


def test_a_request_with_its_answer_passes() -> None:
    story = asked_story()
    story.see(2.2, "adapter.reply", id=1, ok=True)
    assert passes(story.judge(RequestsFinish()))


def test_an_outcome_that_is_not_known_is_an_answer() -> None:
    story = asked_story()
    story.see(2.2, "adapter.reply", id=1, ok=False, error="cut", indefinite=True)
    assert passes(story.judge(RequestsFinish()))


def test_a_request_that_waits_for_ever_fails() -> None:
    # ccxt/ccxt#26766: futures are rejected under the wrong hash, callers wait for ever
    assert fails(asked_story().judge(RequestsFinish()), "request 1", "no answer within 30 s")


def test_an_answer_that_only_the_stop_brings_is_none() -> None:
    story = asked_story()
    story.see(91, "adapter.reply", id=1, ok=False)
    assert fails(story.judge(RequestsFinish()), "no answer")


def test_two_answers_fail() -> None:
    story = asked_story()
    story.see(2.2, "adapter.reply", id=1, ok=True)
    story.see(2.3, "adapter.reply", id=1, ok=False)
    assert fails(story.judge(RequestsFinish()), "more than once")


def test_done_is_said_only_of_what_the_exchange_has_seen() -> None:
    story = asked_story(reached=False)
    story.see(2.2, "adapter.reply", id=1, ok=True)
    assert fails(story.judge(RequestsFinish()), "the exchange never saw it")


def test_failed_is_not_said_of_an_order_that_was_placed() -> None:
    story = asked_story()
    story.see(2.2, "adapter.reply", id=1, ok=False, error="cut", indefinite=False)
    assert fails(story.judge(RequestsFinish()), "yet the order had been placed at 2.100 s")


def test_a_run_that_ends_early_proves_no_answer() -> None:
    story = steady_story()
    story.order(2, 1, "a")
    story.see(5, "scenario.stopping")
    assert is_unknown(story.judge(RequestsFinish()), "run was over")
