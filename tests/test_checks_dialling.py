"""How often, how soon, how many at once: storms are caught, jitter never is."""

import itertools
import random
from collections.abc import Iterable

import pytest

from squall.checks.concurrency import OneConnection
from squall.checks.dialling import (
    BackoffGrows,
    HonoursRetryAfter,
    NoStorm,
    PacesRequests,
    Spread,
)
from squall.verdict import Outcome
from story import (
    Story,
    fails,
    is_unknown,
    is_unsupported,
    passes,
    reset_story,
    steady_story,
)


def refused_dials(pauses: Iterable[float], **adapter: object) -> Story:
    """From 2 s on every dial is refused; after each the adapter waits for the next pause."""
    story = steady_story(adapter=adapter)
    story.cut(2.0, 1)
    at = 2.0
    for number, pause in enumerate(itertools.chain([0.0], pauses), 2):
        at += pause
        story.dial(at, number)
        story.see(at, "proxy.upgrade_refused", number, status=503, by="proxy")
    return story


def full_jitter(rng: random.Random, base: float, cap: float, count: int) -> list[float]:
    return [rng.uniform(0, min(cap, base * 2**n)) for n in range(count)]


# -- no_storm --------------------------------------------------------------------------------


def test_a_ladder_of_pauses_is_no_storm() -> None:
    assert passes(refused_dials([1, 2, 4, 8, 16, 32, 60, 60]).judge(NoStorm()))


def test_accept_then_close_without_a_pause_is_a_storm() -> None:
    # ccxt 4.5.90: 11 239 connections in 12 s
    verdict = refused_dials([0.001] * 5000).judge(NoStorm())
    assert fails(verdict, "5001 dials within", "15 in any 60 s are decent")


def test_of_many_connections_by_design_only_those_at_work_may_dial() -> None:
    # ccxt 4.5.90 on Binance opens one for each stream: 300 dials of three in half a second
    story = refused_dials([0.5] * 45, connections=50)
    story.connect(0.6, 100)
    story.connect(0.7, 101)
    assert fails(story.judge(NoStorm()), "45 in any 60 s are decent")
    for number in range(102, 149):
        story.connect(0.8, number)
    assert passes(story.judge(NoStorm()))


def test_a_dial_a_second_is_a_storm() -> None:
    # websocket-client 1.9.2: 29 dials in 30 s against a 503
    assert fails(refused_dials([1.0] * 28).judge(NoStorm()), "29 dials")


def test_dials_that_replace_what_the_run_has_cut_are_not_counted() -> None:
    story = steady_story()
    for number in range(1, 50):
        story.cut(number * 2.0, number)
        story.serve(number * 2.0 + 0.1, number + 1)
    assert passes(story.judge(NoStorm(dials=2, handful=0)))


def test_the_second_dial_after_a_cut_is_counted() -> None:
    # robtaussig/react-use-websocket#65: two layers reconnect
    story = steady_story()
    for number in range(1, 50, 2):
        story.cut(number * 2.0, number)
        story.serve(number * 2.0 + 0.1, number + 1)
        story.serve(number * 2.0 + 0.2, number + 2)
    assert fails(story.judge(NoStorm()))


def test_plain_requests_over_http_are_no_dials() -> None:
    story = steady_story()
    for number in range(2, 100):
        story.dial(3.0, number, listener="rest")
    assert passes(story.judge(NoStorm()))


def test_a_fleet_may_dial_once_each() -> None:
    story = Story(adapters=50)
    for number in range(50):
        story.connect(0.5, number)
    story.steady()
    assert passes(story.judge(NoStorm()))


def test_no_dial_at_all_proves_nothing_about_storms() -> None:
    story = Story()
    story.steady()
    assert is_unknown(story.judge(NoStorm()), "no dial was seen")


# -- backoff_grows ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pauses",
    [
        [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60],
        [0.5, 1, 2, 4] + [4] * 12,
        [0.1, 0.1, 0.1, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5],
        [30.0] * 14,
    ],
    ids=["guide", "low-cap", "handful-then-5-s", "long-and-constant"],
)
def test_pauses_that_grow_or_are_long_enough_pass(pauses: list[float]) -> None:
    assert passes(refused_dials(pauses).judge(BackoffGrows()))


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.25, 1.0, 2.5])
def test_short_constant_pauses_fail(pause: float) -> None:
    # nautechsystems/nautilus_trader#1989: four to five reconnects a second
    assert fails(refused_dials([pause] * 20).judge(BackoffGrows()), "they do not grow")


def test_tiny_random_pauses_fail() -> None:
    rng = random.Random(1)
    story = refused_dials(rng.uniform(0, 0.2) for _ in range(60))
    assert fails(story.judge(BackoffGrows()), "they do not grow")


def test_one_hiccup_makes_no_backoff() -> None:
    pauses = [0.002] * 200
    pauses[120] = 1.7
    assert fails(refused_dials(pauses).judge(BackoffGrows()))


def test_a_short_cap_of_the_adapters_own_is_a_cap() -> None:
    pauses = [0.1, 0.2, 0.4] + [0.5] * 20
    story = refused_dials(pauses, settings={"backoff_max": 0.5})
    assert passes(story.judge(BackoffGrows()))


def test_few_pauses_tell_nothing() -> None:
    assert is_unknown(refused_dials([0.5, 0.2, 0.4]).judge(BackoffGrows()), "cannot be told")
    assert is_unknown(reset_story().judge(BackoffGrows()), "no dial failed")


def test_reconnects_after_cuts_by_the_run_are_no_failed_dials() -> None:
    story = steady_story()
    for number in range(1, 40):
        story.cut(number * 5.0, number)
        story.serve(number * 5.0 + 0.01, number + 1)
    assert is_unknown(story.judge(BackoffGrows()))


def test_several_connections_have_no_common_pause() -> None:
    story = refused_dials([0.0] * 20, connections=3)
    assert is_unsupported(story.judge(BackoffGrows()))


LADDERS = [(1.0, 60.0), (0.5, 60.0), (1.0, 30.0), (1.0, 10.0), (2.0, 5.0), (0.1, 60.0)]


@pytest.mark.parametrize("thousand", range(10))
def test_full_jitter_never_fails_a_dialling_check(thousand: int) -> None:
    for seed in range(1000 * thousand, 1000 * thousand + 1000):
        base, cap = LADDERS[seed % len(LADDERS)]
        pauses = full_jitter(random.Random(seed), base, cap, 12 + seed % 30)
        told = {"backoff_max": cap} if seed % 2 or cap < 60 or base < 0.5 else {}
        history = refused_dials(pauses, settings=told).history
        for check in (NoStorm(), BackoffGrows()):
            verdict = check.judge(history)
            assert verdict.outcome is not Outcome.FAIL, (seed, base, cap, verdict.why)


# -- honours_retry_after ---------------------------------------------------------------------


def refused_with(retry_after: object, again: float | None, end: float = 60) -> Story:
    story = steady_story()
    story.cut(2, 1)
    story.dial(3, 2)
    story.see(3, "proxy.upgrade_refused", 2, status=503, retry_after=retry_after, by="proxy")
    if again is not None:
        story.serve(again, 3)
    story.see(end, "scenario.stopping")
    return story


def test_waiting_as_asked_passes() -> None:
    assert passes(refused_with("10", again=13.0).judge(HonoursRetryAfter()))


def test_dialling_before_the_time_is_over_fails() -> None:
    # pybit 5.17: 503 with Retry-After 10 ignored, ten dials in 0.1 s
    verdict = refused_with(10, again=3.01).judge(HonoursRetryAfter())
    assert fails(verdict, "Retry-After 10 s at 3.000 s", "after 0.01 s")


@pytest.mark.parametrize("asked", [None, "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_refusal_without_a_number_of_seconds_is_not_judged(asked: str | None) -> None:
    assert is_unknown(refused_with(asked, again=3.5).judge(HonoursRetryAfter()))


def test_a_run_that_ends_before_the_time_proves_nothing() -> None:
    assert is_unknown(refused_with(10, again=None, end=6).judge(HonoursRetryAfter()))


# -- spread ----------------------------------------------------------------------------------


def herd(delays: Iterable[float]) -> Story:
    """A fleet is cut at 5 s; each adapter dials again after its delay."""
    delays = list(delays)
    story = Story(adapters=len(delays))
    for number in range(len(delays)):
        story.connect(0.5, number + 1)
    story.steady()
    for number in range(len(delays)):
        story.cut(5.0, number + 1)
    for number, delay in enumerate(delays):
        story.connect(5.0 + delay, 1000 + number)
    return story


def test_random_delays_of_up_to_five_seconds_pass() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        assert passes(herd(rng.uniform(0, 5) for _ in range(20 + seed % 31)).judge(Spread()))


def test_lockstep_fails() -> None:
    # reconnecting-websocket 4.4.0: jitter once a process, or none
    assert fails(herd([1.0] * 50).judge(Spread()), "50 of 50 adapters", "50% may")


def test_the_strict_share_wants_a_wider_spread() -> None:
    assert fails(herd(n * 0.04 for n in range(50)).judge(Spread(share=0.2)))
    assert passes(herd(n * 0.3 for n in range(50)).judge(Spread(share=0.2)))


def test_a_few_adapters_are_no_herd() -> None:
    assert is_unknown(herd([0.0] * 5).judge(Spread()))


def test_a_fleet_that_does_not_come_back_cannot_be_judged() -> None:
    story = herd([1.0] * 30)
    story.events = [e for e in story.events if e.connection is None or e.connection < 1010]
    assert is_unknown(story.judge(Spread()), "only 10 dialled again")


# -- one_connection --------------------------------------------------------------------------


def test_one_connection_after_the_other_passes() -> None:
    assert passes(reset_story().judge(OneConnection()))


def test_two_connections_side_by_side_fail() -> None:
    # binance/binance-connector-python#505: each drop doubles the connections
    story = reset_story()
    story.serve(2.6, 3)
    assert fails(story.judge(OneConnection()), "connections 2, 3 were open side by side")


def test_as_many_as_the_adapter_needs_by_design_pass() -> None:
    story = reset_story(adapter={"connections": 2})
    story.serve(2.6, 3)
    assert passes(story.judge(OneConnection()))


def test_closing_the_old_one_while_the_new_one_opens_is_no_overlap() -> None:
    story = steady_story()
    story.serve(2.0, 2)
    story.leave(2.8, 1)
    story.settle(10)
    assert passes(story.judge(OneConnection()))


def test_a_planned_handover_may_last_as_long_as_allowed() -> None:
    story = steady_story()
    story.serve(2.0, 2)
    story.leave(30, 1)
    story.settle(40)
    assert fails(story.judge(OneConnection()))
    assert passes(story.judge(OneConnection(handover=60)))


def test_a_silent_connection_that_was_left_behind_does_not_count_while_it_is_silent() -> None:
    story = steady_story()
    story.fault(2, "blackhole", 1, until=30)
    story.serve(10, 2)
    story.leave(30.1, 1)
    story.settle(40)
    assert passes(story.judge(OneConnection()))


def test_an_old_connection_that_lives_on_after_the_heal_fails() -> None:
    # fiduswriter/fiduswriter#1322: the old socket comes back to life beside the new one
    story = steady_story()
    story.fault(2, "blackhole", 1, until=10)
    story.serve(10, 2)
    story.settle(10.5)
    assert fails(story.judge(OneConnection()), "connections 1, 2")


def test_a_connection_that_the_run_has_cut_does_not_count() -> None:
    story = steady_story()
    story.fault(2, "fin", 1, until=2)
    story.serve(2.1, 2)
    story.settle(30)
    assert passes(story.judge(OneConnection()))


def test_nothing_upgraded_proves_nothing() -> None:
    story = Story()
    story.dial(0.5, 1)
    story.steady()
    assert is_unknown(story.judge(OneConnection()), "no connection was ever upgraded")


# -- paces_requests --------------------------------------------------------------------------


def test_requests_within_the_limits_pass() -> None:
    assert passes(steady_story().judge(PacesRequests()))


def test_a_burst_beyond_the_limit_fails() -> None:
    # nautechsystems/nautilus_trader#5012: nine messages in the first second, five are allowed
    story = steady_story()
    story.see(2, "exchange.limit_exceeded", 1, rule="5 in 1 s", count=9)
    assert fails(story.judge(PacesRequests()), "'5 in 1 s'", "2.000 s", "counted 9")


def test_an_exchange_without_requests_proves_no_pace() -> None:
    story = Story()
    story.connect(0.5, 1)
    story.steady()
    assert is_unknown(story.judge(PacesRequests()), "no request")
