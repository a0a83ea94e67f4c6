"""load/thresholds.py: what a storm may cost; every threshold can pass, fail and be unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from squall.errors import ScenarioError
from squall.load.tally import Tally
from squall.load.thresholds import (
    Threshold,
    Window,
    duration,
    failure_rate,
    herd_factor,
    metric_named,
    percentage,
)
from squall.verdict import Outcome

WHOLE = Window(60.0)


def fleet(users: int) -> Tally:
    tally = Tally()
    for _ in range(users):
        tally.began(-2.0)
        tally.dialled(-2.0)
        tally.restored(-1.5)
    return tally


def cut(tally: Tally, delays: Sequence[float], at: float = 2.0) -> Tally:
    """All are cut at one instant; each dials after its delay, and is whole 0.2 s later."""
    for delay in delays:
        tally.lost(at)
        tally.dialled(at + delay)
        tally.restored(at + delay + 0.2)
        tally.measured("recovery", delay + 0.2, at + delay + 0.2)
    return tally


def jitter(users: int, most: float, seed: int = 1) -> list[float]:
    rng = Random(seed)
    return [rng.uniform(0, most) for _ in range(users)]


def judged(text: str, tally: Tally, window: Window = WHOLE) -> Outcome:
    return Threshold.parse(text).judge(tally, window).outcome


# -- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("recovery_p99 < 30s", 30.0),
        ("connect_p95<=500ms", 0.5),
        ("recovery_max < 2m", 120.0),
        ("restored == 100%", 1.0),
        ("failure_rate_5m < 10%", 0.1),
        ("peak_dials_per_s < 200", 200.0),
        ("peak_dials_per_s < 200/s", 200.0),
        ("  users == 1000 ", 1000.0),
        ("lag_p99.9 < 1s", 1.0),
        ("herd_factor < 2.5", 2.5),
        ("outage_mean > 0", 0.0),
    ],
)
def test_thresholds_are_read(text: str, limit: float) -> None:
    read = Threshold.parse(text)
    assert read.limit == pytest.approx(limit)
    assert Threshold.parse(str(read)) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("recovry_p99 < 30s", "Did you mean 'recovery_p99'"),
        ("restord == 100%", "Did you mean 'restored'"),
        ("recovery_p99 < 30", "write 30s or 30ms"),
        ("restored == 100", "write 100%"),
        ("users < 5s", "write 5"),
        ("recovery_p101 < 1s", "p0 to p100"),
        ("recovery_median < 1s", "p0 to p100"),
        ("restored", "is no threshold"),
        ("restored = 100%", "is no threshold"),
        ("restored == -1%", "is no threshold"),
    ],
)
def test_a_mistake_is_told_with_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as error:
        Threshold.parse(text)
    assert said in str(error.value)


# -- judging -------------------------------------------------------------------------------------


def healthy() -> Tally:
    tally = cut(fleet(100), jitter(100, 5.0))
    tally.counted(3.0, 600, 60_000)
    return tally


def sick() -> Tally:
    """Nobody came back in time, all at once, and some gave up."""
    tally = fleet(100)
    for number in range(100):
        tally.lost(2.0)
        tally.dialled(2.5)
        tally.measured("recovery", 40.0, 42.5)
        if number < 20:
            tally.failed(3.0, "gave up")
    return tally


THRESHOLDS = [
    "recovery_p99 < 30s",
    "recovery_max < 30s",
    "recovery_mean < 30s",
    "restored == 100%",
    "restored >= 99.5%",
    "peak_dials_per_s < 60",
    "herd_factor < 3",
    "failures == 0",
    "failure_rate < 10%",
    "failure_rate_5m < 10%",
    "messages > 0",
    "messages_per_s >= 10",
]


@pytest.mark.parametrize("text", THRESHOLDS)
def test_a_threshold_can_pass_and_fail(text: str) -> None:
    assert judged(text, healthy()) is Outcome.PASS
    assert judged(text, sick()) is Outcome.FAIL


@pytest.mark.parametrize(
    "text", ["recovery_p99 < 30s", "restored == 100%", "herd_factor < 3", "failure_rate_5m < 10%"]
)
def test_nothing_measured_is_unknown(text: str) -> None:
    assert judged(text, Tally()) is Outcome.UNKNOWN


@pytest.mark.parametrize("text", THRESHOLDS)
def test_half_a_storm_passes_nothing(text: str) -> None:
    early = Window(30.0, complete=False, why="a worker died")
    verdict = Threshold.parse(text).judge(healthy(), early)
    assert verdict.outcome is Outcome.UNKNOWN
    assert "a worker died" in verdict.why


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("recovery_max < 30s", Outcome.FAIL),
        ("recovery_max < 40s", Outcome.FAIL),
        ("peak_dials_per_s < 60", Outcome.FAIL),
        ("failures == 0", Outcome.FAIL),
        ("failures == 30", Outcome.UNKNOWN),
        ("failures > 30", Outcome.UNKNOWN),
        ("restored == 100%", Outcome.UNKNOWN),
        ("recovery_p99 < 30s", Outcome.UNKNOWN),
        ("herd_factor < 3", Outcome.UNKNOWN),
        ("failure_rate < 10%", Outcome.UNKNOWN),
    ],
)
def test_half_a_storm_fails_what_can_only_get_worse(text: str, outcome: Outcome) -> None:
    assert judged(text, sick(), Window(30.0, complete=False, why="a worker died")) is outcome


def test_restored_is_told_for_the_end_of_the_storm_and_not_for_what_comes_after() -> None:
    tally = healthy()
    for _ in range(100):
        tally.lost(60.4)
        tally.ended(60.4)
    assert judged("restored == 100%", tally) is Outcome.PASS
    assert judged("users == 100", tally) is Outcome.PASS


def test_one_user_of_a_thousand_that_is_missing_is_not_rounded_away() -> None:
    tally = cut(fleet(1000), jitter(999, 5.0))
    tally.lost(2.0)
    verdict = Threshold.parse("restored == 100%").judge(tally, WHOLE)
    assert verdict.outcome is Outcome.FAIL
    assert "99.9%" in verdict.why


# -- the herd ------------------------------------------------------------------------------------


@pytest.mark.parametrize("users", [50, 200, 1000, 5000])
@pytest.mark.parametrize("seed", range(20))
def test_a_fleet_that_spreads_its_dials_as_the_rfc_asks_is_no_herd(users: int, seed: int) -> None:
    factor = herd_factor(cut(fleet(users), jitter(users, 5.0, seed)), 60.0)
    assert factor is not None
    assert 1.0 <= factor < 2.5


@pytest.mark.parametrize(
    "delays",
    [lambda n: [0.0] * n, lambda n: [1.0] * n, lambda n: jitter(n, 0.9)],
    ids=["at once", "after the same pause", "jitter of less than a second"],
)
def test_a_fleet_that_comes_back_together_is_a_herd(
    delays: Callable[[int], list[float]],
) -> None:
    assert herd_factor(cut(fleet(200), delays(200)), 60.0) == pytest.approx(5.0)


def test_many_retries_are_a_herd_too() -> None:
    tally = cut(fleet(100), jitter(100, 5.0))
    for _ in range(400):
        tally.dialled(4.0)
    factor = herd_factor(tally, 60.0)
    assert factor is not None
    assert factor > 20


def test_a_fleet_that_grows_is_no_herd() -> None:
    tally = cut(fleet(100), jitter(100, 5.0))
    for _ in range(300):
        tally.began(20.0)
        tally.dialled(20.0)
        tally.restored(20.05)
    factor = herd_factor(tally, 60.0)
    assert factor is not None
    assert factor < 2.5


def test_a_handful_is_no_herd() -> None:
    assert herd_factor(cut(fleet(20), [0.0] * 20), 60.0) is None


# -- failures ------------------------------------------------------------------------------------


def test_the_failure_rate_is_that_of_the_worst_window() -> None:
    tally = Tally()
    for second in range(1200):
        tally.dialled(float(second))
    for second in range(600, 660):
        tally.failed(float(second), "gave up")
    assert failure_rate(tally, 1200.0) == pytest.approx(0.05)
    assert failure_rate(tally, 1200.0, 300.0) == pytest.approx(0.2)


def test_failures_without_any_dial_are_a_rate_of_all() -> None:
    tally = Tally()
    tally.failed(5.0, "crashed")
    assert failure_rate(tally, 10.0) == 1.0


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "said"),
    [(1.0, "100%"), (0.0, "0%"), (0.999, "99.9%"), (0.9996, "99.96%"), (0.0001, "0.01%")],
)
def test_what_is_not_all_is_not_shown_as_all(part: float, said: str) -> None:
    assert percentage(part) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0123, "12.3 ms"), (0.84, "840 ms"), (5.0, "5.00 s"), (62.1, "62.1 s"), (750, "12.5 min")],
)
def test_durations_have_three_digits(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0"), (2.5, "2.5"), (14, "14"), (999.4, "999"), (1592.25, "1,592")]
)
def test_a_plain_number_is_never_in_powers_of_ten(value: float, said: str) -> None:
    assert metric_named("messages_per_s").say(value) == said
