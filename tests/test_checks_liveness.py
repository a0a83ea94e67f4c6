"""Silence: is it noticed, is it told, and does the adapter prove itself alive?"""

import pytest

from squall.checks.liveness import AnswersHeartbeats, DetectsSilence, KnowsItIsStale
from story import (
    BOOK,
    Story,
    fails,
    is_unknown,
    is_unsupported,
    passes,
    steady_story,
)


def silent_story(
    until: float, left: float | None = None, what: str = "blackhole", **fault: str
) -> Story:
    """The line is silent from 2 s; the first byte is swallowed at 2.4 s."""
    story = steady_story()
    if left is not None:
        story.leave(left, 1)
    story.fault(2, what, 1, fires=2.4, until=until, **fault)
    story.see(until + 40, "scenario.stopping")
    return story


# -- detects_silence -------------------------------------------------------------------------


def test_leaving_the_silent_connection_in_time_passes() -> None:
    verdict = silent_story(until=20, left=20).judge(DetectsSilence())
    assert passes(verdict)
    assert "after 17.6 s" in verdict.why


def test_a_new_dial_counts_as_noticing_though_the_old_socket_stays() -> None:
    story = silent_story(until=30)
    story.serve(20, 2)
    assert passes(story.judge(DetectsSilence()))


def test_saying_disconnected_counts_as_noticing() -> None:
    story = silent_story(until=30)
    story.say(15, "disconnected")
    assert passes(story.judge(DetectsSilence()))


@pytest.mark.parametrize("until", [2.41, 62])
def test_a_connection_left_at_the_onset_was_not_left_for_its_silence(until: float) -> None:
    # websocket-client 1.9.2 closes the first connections after a reset by itself
    verdict = silent_story(until=until, left=2.401).judge(DetectsSilence())
    assert is_unknown(verdict, "ended after 0.40 s")


def test_the_other_dials_of_several_connections_are_no_noticing() -> None:
    story = silent_story(until=62)
    story.serve(2.41, 2)
    assert fails(story.judge(DetectsSilence()))


def test_a_silence_nobody_notices_fails_in_the_adapter_authors_words() -> None:
    # aio-libs/aiohttp#8540: the missed heartbeat never surfaces
    verdict = silent_story(until=62).judge(DetectsSilence())
    assert fails(verdict)
    assert verdict.why == (
        "the line went silent at 2.000 s and for 60.0 s the adapter neither closed connection 1 "
        "nor dialled again; it must notice within 60 s"
    )


def test_what_the_adapter_does_after_the_heal_is_no_noticing() -> None:
    story = silent_story(until=62)
    story.leave(62.1, 1)
    assert fails(story.judge(DetectsSilence()))


def test_stopping_is_no_noticing() -> None:
    story = steady_story()
    story.fault(2, "blackhole", 1, fires=2.4)
    story.see(64, "scenario.stopping")
    story.stop(64, 1)
    assert fails(story.judge(DetectsSilence()))


def test_a_silence_that_is_healed_early_proves_nothing() -> None:
    assert is_unknown(silent_story(until=7).judge(DetectsSilence()), "ended after 5.00 s")


def test_noticing_too_late_fails() -> None:
    assert fails(silent_story(until=90, left=88).judge(DetectsSilence()))


def test_a_dead_line_on_which_nothing_was_sent_is_dead_all_the_same() -> None:
    # Catalogue B-03: only what the adapter sends is swallowed, and it sends nothing.
    story = steady_story()
    story.fault(2, "blackhole", until=67, direction="client_to_server")
    story.see(70, "scenario.stopping")
    assert fails(story.judge(DetectsSilence()), "connection 1")


def test_a_dial_under_the_silence_is_judged_from_its_own_beginning() -> None:
    story = steady_story()
    story.dial(22, 2)
    story.fault(2, "blackhole", 2, fires=22, until=75)
    story.leave(2.1, 1)
    story.see(80, "scenario.stopping")
    assert passes(story.judge(DetectsSilence()))
    assert fails(story.judge(DetectsSilence(within=50)), "went silent at 22.000 s", "connection 2")


def test_a_handshake_that_is_never_answered_must_be_given_up() -> None:
    # websocket-client 1.9.2: the first dial blocks for ever
    story = steady_story()
    story.cut(2, 1)
    story.dial(3, 2)
    story.fault(2, "handshake_blackhole", 2, fires=3, until=70)
    story.see(80, "scenario.stopping")
    assert fails(story.judge(DetectsSilence()), "connection 2")


def test_a_silent_exchange_is_judged_where_the_line_is_sound() -> None:
    story = steady_story()
    story.fault(2, "no_ping", 1, until=70, source="exchange")
    story.leave(20, 1)
    story.see(80, "scenario.stopping")
    assert passes(story.judge(DetectsSilence()))


def test_silence_with_the_harness_held_up_is_unknown() -> None:
    story = silent_story(until=62)
    story.stall(30, 2)
    assert is_unknown(story.judge(DetectsSilence()), "held up")


def test_a_short_hold_up_does_not_excuse_who_was_watched_for_longer() -> None:
    story = silent_story(until=67)
    story.stall(30, 2)
    assert fails(story.judge(DetectsSilence()), "for 65.0 s")
    story.stall(50, 2)
    assert is_unknown(story.judge(DetectsSilence()), "held up")


# -- knows_it_is_stale -----------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["state", "gap", "log", "health", "exit"])
def test_any_word_to_the_consumer_passes(sign: str) -> None:
    story = silent_story(until=70)
    match sign:
        case "state":
            story.say(30, "disconnected")
        case "gap":
            story.see(30, "adapter.message", channel=BOOK, seq=9, gap=True)
        case "log":
            story.see(30, "adapter.log", message=f"{BOOK} is stale")
        case "health":
            story.see(29, "adapter.command", id=4, do="health")
            story.see(30, "adapter.reply", id=4, ok=False)
        case "exit":
            story.see(30, "adapter.exited", status=1, expected=False)
    assert passes(story.judge(KnowsItIsStale()))


def test_showing_old_prices_as_fresh_fails() -> None:
    # ccxt/ccxt#21731: hangs for hours and returns a stale cache
    story = silent_story(until=70)
    story.see(30, "adapter.log", message="all is well")
    story.see(31, "adapter.reply", id=4, ok=True)
    assert fails(story.judge(KnowsItIsStale()), "data stood still from 2.000 s on")


def test_an_adapter_that_leaves_the_connection_must_not_keep_it_to_itself() -> None:
    story = silent_story(until=10, left=10)
    story.serve(20, 2)
    assert fails(story.judge(KnowsItIsStale()), "until 12.000 s")


def test_a_quick_reconnect_owes_no_word() -> None:
    story = silent_story(until=10, left=10)
    story.serve(10.5, 2)
    assert is_unknown(story.judge(KnowsItIsStale()), "ended after")


def test_data_of_another_connection_are_no_news_of_the_silent_one() -> None:
    story = silent_story(until=72, left=75)
    story.connect(0.5, 2)
    story.subscribe(0.6, 2, "ticker.ETH")
    for second in range(3, 80):
        story.send(second, 2, "ticker.ETH")
    assert fails(story.judge(KnowsItIsStale()), "nothing told the consumer")


def test_what_was_said_before_the_silence_still_holds() -> None:
    story = steady_story()
    story.cut(2, 1)
    story.say(2.1, "disconnected")
    story.fault(3, "handshake_blackhole", 2, until=80)
    story.dial(3, 2)
    story.see(90, "scenario.stopping")
    assert passes(story.judge(KnowsItIsStale()))


def test_an_adapter_that_only_is_not_heard_still_has_fresh_data() -> None:
    story = silent_story(until=80, direction="client_to_server")
    assert is_unknown(story.judge(KnowsItIsStale()), "no data stood still")


def test_without_events_staleness_cannot_be_told() -> None:
    story = Story(adapter={"supports": ["public"]})
    assert is_unsupported(story.judge(KnowsItIsStale()), "events")


# -- answers_heartbeats ----------------------------------------------------------------------


def test_every_answered_test_request_passes() -> None:
    story = steady_story()
    for at in (2, 12):
        story.see(at, "exchange.test_requested", 1)
        story.see(at + 0.1, "exchange.test_answered", 1, after=0.1)
    assert passes(story.judge(AnswersHeartbeats()))


def test_one_answer_may_serve_a_burst() -> None:
    story = steady_story()
    for _ in range(5):
        story.see(2, "exchange.test_requested", 1)
    story.see(2.1, "exchange.test_answered", 1, after=0.1)
    story.see(30, "scenario.stopping")
    assert passes(story.judge(AnswersHeartbeats()))


def test_a_missed_heartbeat_fails() -> None:
    # f0cii/deribit-api#5: the heartbeat is not driven by test_request
    story = steady_story()
    story.see(2, "exchange.test_requested", 1)
    story.see(12, "exchange.heartbeat_missed", 1, after=10)
    story.see(12, "exchange.closed", 1, code=1006, by="exchange")
    story.see(12, "proxy.server_closed", 1, how="fin")
    story.see(30, "scenario.stopping")
    assert fails(story.judge(AnswersHeartbeats()), "waited in vain", "12.000 s")


def test_an_unanswered_request_fails_though_the_exchange_forgives_it() -> None:
    story = steady_story()
    story.see(2, "exchange.test_requested", 1)
    story.see(30, "scenario.stopping")
    assert fails(story.judge(AnswersHeartbeats()), "not answered within 10 s")


def test_what_a_fault_swallowed_is_not_held_against_the_adapter() -> None:
    story = silent_story(until=60)
    story.see(3, "exchange.test_requested", 1)
    story.see(13, "exchange.heartbeat_missed", 1, after=10)
    assert is_unknown(story.judge(AnswersHeartbeats()), "disturbed")


def test_a_frozen_adapter_cannot_answer() -> None:
    story = steady_story()
    story.step(2, 0, "pause_adapter", reason=None)
    story.see(60, "scenario.step_ended", index=0, reason="elapsed")
    story.see(5, "exchange.test_requested", 1)
    story.see(15, "exchange.heartbeat_missed", 1, after=10)
    story.see(70, "scenario.stopping")
    assert is_unknown(story.judge(AnswersHeartbeats()), "disturbed")


def test_without_a_test_request_nothing_was_proved() -> None:
    assert is_unknown(steady_story().judge(AnswersHeartbeats()), "no test request")
