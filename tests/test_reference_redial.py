from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall_reference.actions import GiveUp, Loss
from squall_reference.breaker import Breaker
from squall_reference.redial import Redial, Wait, full_jitter
from squall_reference.settings import Settings

REFUSED = Loss("connection refused")


class Highest(Random):
    """Draws the greatest delay."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Lowest(Random):
    """Draws the least delay."""

    def uniform(self, a: float, b: float) -> float:
        return a


def waits(redial: Redial, count: int, loss: Loss = REFUSED) -> list[float]:
    """The delays before the dials after `count` losses in a row."""
    now, found = 0.0, []
    for _ in range(count):
        verdict = redial.lost(loss, now)
        assert isinstance(verdict, Wait)
        found.append(verdict.until - now)
        now = verdict.until
        redial.dialled()
    return found


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    redial = Redial(Settings(breaker_failures=None), Highest())
    assert waits(redial, 8) == [1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(0, 10_000), st.integers())
def test_a_delay_is_never_more_than_the_cap(attempt: int, seed: int) -> None:
    assert 0 <= full_jitter(attempt, 1.0, 30.0, Random(seed)) <= 30.0


def test_delays_differ_from_client_to_client() -> None:
    assert len({full_jitter(5, 1.0, 30.0, Random(seed)) for seed in range(50)}) == 50


def test_after_a_stable_connection_the_first_delay_is_short_and_random() -> None:
    redial = Redial(Settings(), Highest())
    waits(redial, 3)
    redial.stable()
    assert waits(redial, 1) == [1.0]


def test_a_wide_first_delay_holds_for_a_line_that_was_not_yet_stable_too() -> None:
    redial = Redial(Settings(first_delay_max=5.0), Highest())
    assert waits(redial, 4) == [5, 5, 5, 8]


def test_a_connection_that_was_not_stable_counts_as_a_failure() -> None:
    # Backoff reset on the mere upgrade: https://github.com/ccxt/ccxt dialled 11 239 times in 12 s.
    redial = Redial(Settings(), Highest())
    assert waits(redial, 4, Loss("closed by the exchange: 1000")) == [1, 2, 4, 8]


def test_by_default_it_never_gives_up() -> None:
    assert len(waits(Redial(Settings(), Random(1)), 10_000)) == 10_000


def test_with_max_attempts_it_gives_up_and_says_why() -> None:
    redial = Redial(Settings(max_attempts=3, breaker_failures=None), Random(1))
    waits(redial, 2)
    assert redial.lost(REFUSED, 9.0) == GiveUp(
        "3 attempts in a row failed, the last: connection refused"
    )


def test_attempts_are_counted_in_a_row_and_not_in_a_lifetime() -> None:
    # The guide never resets its counter: after ten disconnects in all the adapter stops.
    redial = Redial(Settings(max_attempts=2), Random(1))
    for _ in range(20):
        waits(redial, 1)
        redial.stable()
        waits(redial, 1)


def test_retry_after_is_never_undercut() -> None:
    for seed in range(200):
        redial = Redial(Settings(), Random(seed))
        assert waits(redial, 1, Loss("503", 503, 10.0))[0] >= 10.0


def test_retry_after_does_not_shorten_a_longer_backoff() -> None:
    redial = Redial(Settings(breaker_failures=None), Highest())
    waits(redial, 5)
    assert waits(redial, 1, Loss("503", 503, 2.0)) == [30.0]


def test_an_open_circuit_honours_retry_after_too() -> None:
    redial = Redial(Settings(), Lowest())
    waits(redial, 4)
    assert waits(redial, 1, Loss("429", 429, 120.0)) == [120.0]


def test_a_403_without_retry_after_is_a_ban_of_unknown_length() -> None:
    assert waits(Redial(Settings(), Lowest()), 1, Loss("403", 403)) == [30.0]


@pytest.mark.parametrize("status", [301, 401, 404, 200, 502])
def test_other_refusals_are_retried_with_backoff(status: int) -> None:
    assert waits(Redial(Settings(), Highest()), 2, Loss("no", status)) == [1.0, 2.0]


def test_the_circuit_opens_after_five_failures_and_allows_one_trial_at_a_time() -> None:
    redial = Redial(Settings(), Lowest())
    assert waits(redial, 7) == [0, 0, 0, 0, 20, 20, 20]
    assert redial.breaker.state == "half_open"


def test_the_verdict_says_when_the_circuit_is_open() -> None:
    redial = Redial(Settings(breaker_failures=2), Random(1))
    verdicts = [redial.lost(REFUSED, 0.0) for _ in range(2)]
    assert [isinstance(v, Wait) and v.circuit_open for v in verdicts] == [False, True]


def test_a_stable_connection_closes_the_circuit() -> None:
    redial = Redial(Settings(), Highest())
    waits(redial, 6)
    redial.stable()
    assert redial.breaker.state == "closed"
    assert waits(redial, 3) == [1, 1, 2]


def test_without_a_breaker_there_is_only_backoff() -> None:
    assert max(waits(Redial(Settings(breaker_failures=None), Lowest()), 20)) == 0


def test_open_circuits_do_not_end_in_the_same_instant() -> None:
    ends = set()
    for seed in range(50):
        breaker = Breaker(1, 20.0, Random(seed))
        breaker.failed(100.0)
        assert breaker.open_until is not None
        assert 120.0 <= breaker.open_until <= 125.0
        ends.add(breaker.open_until)
    assert len(ends) == 50


@given(st.integers())
def test_defaults_never_dial_more_than_ten_times_in_any_minute(seed: int) -> None:
    redial, now, dials = Redial(Settings(), Random(seed)), 0.0, [0.0]
    for _ in range(40):
        verdict = redial.lost(REFUSED, now)
        assert isinstance(verdict, Wait)
        now = verdict.until
        dials.append(now)
        redial.dialled()
    assert all(late - early > 60 for early, late in zip(dials, dials[10:], strict=False))


@given(st.integers())
def test_defaults_dial_again_within_thirty_seconds_of_any_heal(seed: int) -> None:
    assert max(waits(Redial(Settings(), Random(seed)), 40)) <= 30.0
