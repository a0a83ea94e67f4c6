"""After a cut: the next dial, the next upgrade, and data of every channel."""

from squall.checks.recovery import DataResumes, Reconnects
from story import (
    BOOK,
    ORDERS,
    TRADES,
    Story,
    fails,
    is_unknown,
    passes,
    reset_story,
    steady_story,
)

# -- data_resumes ----------------------------------------------------------------------------


def test_data_that_come_back_after_the_heal_pass() -> None:
    assert passes(reset_story().judge(DataResumes()))


def test_a_channel_that_stays_silent_fails_though_others_came_back() -> None:
    # ccxt/ccxt#22662: watchMultiple hangs, data of some symbols do not come back
    story = reset_story(redial=None)
    story.connect(2.5, 2)
    story.subscribe(2.6, 2, TRADES)
    story.send(2.7, 2, TRADES)
    assert fails(story.judge(DataResumes()), f"no data of {BOOK} within 30 s", "at 2.000 s")


def test_what_reaches_the_consumer_counts_more_than_what_was_sent() -> None:
    story = reset_story()
    for channel in (TRADES, BOOK):
        story.see(0.6, "adapter.message", channel=channel, seq=1, gap=False)
    story.see(3.0, "adapter.message", channel=TRADES, seq=2, gap=False)
    assert fails(story.judge(DataResumes()), BOOK)


def test_data_sent_into_a_dead_connection_do_not_count() -> None:
    story = reset_story(redial=None)
    story.send(2.1, 1)
    assert fails(story.judge(DataResumes()), "no data")


def test_a_long_backoff_of_the_adapter_is_waited_for() -> None:
    settings = {"settings": {"backoff_max": 60}}
    assert passes(reset_story(redial=45, adapter=settings).judge(DataResumes()))
    assert fails(reset_story(redial=45).judge(DataResumes()))
    assert fails(reset_story(redial=45, adapter=settings).judge(DataResumes(backoff=False)))


def test_a_run_that_ended_too_soon_proves_nothing_about_data() -> None:
    story = steady_story()
    story.cut(2, 1)
    story.heal(2)
    story.see(10, "scenario.aborted", why="enough")
    assert is_unknown(story.judge(DataResumes()), "over 8.00 s after the heal")


def test_an_adapter_that_exited_will_send_no_data() -> None:
    story = steady_story()
    story.cut(2, 1)
    story.see(3, "adapter.exited", status=1, expected=False)
    story.see(3, "scenario.aborted", why="it ended")
    story.heal(3)
    assert fails(story.judge(DataResumes()), "exited with status 1 at 3.000 s")


def test_a_served_channel_without_traffic_is_not_held_against_the_adapter() -> None:
    story = reset_story(redial=None, private=(ORDERS,))
    story.connect(2.5, 2)
    story.subscribe(2.6, 2, TRADES, BOOK, ORDERS)
    story.send(2.7, 2, TRADES, BOOK)
    assert is_unknown(story.judge(DataResumes()), "nothing to send", ORDERS)


def test_lateness_in_a_held_up_harness_proves_nothing() -> None:
    story = reset_story(redial=33.0)
    story.stall(20, 1.5)
    verdict = story.judge(DataResumes())
    assert is_unknown(verdict, "held up for 1.50 s at 20.000 s")


def test_a_short_hold_up_does_not_excuse_data_that_never_came() -> None:
    story = reset_story(redial=None)
    story.stall(20, 0.5)
    assert fails(story.judge(DataResumes()), "within 30 s of the heal")


def test_without_a_steady_state_it_is_said_what_was_missing() -> None:
    story = Story()
    story.connect(0.5, 1)
    story.subscribe(0.6, 1, TRADES)
    assert is_unknown(story.judge(DataResumes()), f"never steady: {BOOK} is not served")


# -- reconnects ------------------------------------------------------------------------------


def test_a_dial_soon_after_the_cut_passes() -> None:
    verdict = reset_story().judge(Reconnects())
    assert passes(verdict)
    assert "at the latest after 0.50 s" in verdict.why


def test_no_dial_after_a_reset_fails() -> None:
    # hyperliquid-dex/hyperliquid-python-sdk#191: no reconnect at all
    verdict = reset_story(redial=None).judge(Reconnects())
    assert fails(verdict, "connection 1 was cut at 2.000 s", "did not dial again within 10 s")


def test_a_clean_close_by_the_exchange_is_a_cut_as_well() -> None:
    # slackapi/node-slack-sdk#53: close 1000 is not treated as a disconnect
    story = steady_story()
    story.see(2, "exchange.closed", 1, code=1000, by="exchange")
    story.see(2, "proxy.server_closed", 1, how="fin")
    story.leave(2.1, 1)
    story.settle(30, settled=False)
    assert fails(story.judge(Reconnects()), "did not dial again")


def test_a_close_of_the_adapters_own_is_no_cut() -> None:
    story = steady_story()
    story.leave(2, 1)
    story.settle(30, settled=False)
    assert is_unknown(story.judge(Reconnects()), "no live connection was cut")


def test_a_dial_without_an_upgrade_fails() -> None:
    story = reset_story(redial=None)
    story.dial(3, 2)
    assert fails(story.judge(Reconnects()), "dialled at 3.000 s, but no upgrade followed")


def test_a_cut_while_dialling_is_refused_is_not_judged() -> None:
    story = steady_story()
    story.fault(1.5, "refuse", None, until=60)
    story.cut(2, 1)
    story.settle(62, settled=False)
    assert is_unknown(story.judge(Reconnects()), "another fault kept it")


def test_a_second_cut_soon_after_the_first_allows_for_backoff() -> None:
    # A backoff that starts again only after a stable period is good manners.
    story = reset_story(adapter={"settings": {"backoff_max": 30}})
    story.cut(4, 2)
    story.serve(30, 3)
    assert passes(story.judge(Reconnects()))


def test_a_second_cut_that_is_ignored_fails_in_the_end() -> None:
    # jaggedsoft/node-binance-api#9: reconnects once, the second drop is ignored
    story = reset_story(adapter={"settings": {"backoff_max": 30}})
    story.cut(4, 2)
    assert fails(story.judge(Reconnects()), "connection 2", "within 40 s")


def test_a_connection_made_before_the_break_owes_no_further_dial() -> None:
    story = reset_story(redial=None)
    story.serve(1.5, 2)
    assert passes(story.judge(Reconnects()))


def test_an_exit_instead_of_a_dial_fails() -> None:
    story = steady_story()
    story.cut(2, 1)
    story.see(2.1, "adapter.exited", status=1, expected=False)
    story.see(2.1, "scenario.aborted", why="it ended")
    assert fails(story.judge(Reconnects()), "exited with status 1")


def test_a_late_dial_with_the_harness_held_up_is_unknown() -> None:
    story = reset_story(redial=12.5)
    story.stall(5, 0.8)
    assert is_unknown(story.judge(Reconnects()), "held up")


def test_a_short_hold_up_does_not_excuse_a_dial_that_never_came() -> None:
    story = reset_story(redial=None)
    story.stall(5, 0.8)
    assert fails(story.judge(Reconnects()), "did not dial again")
