"""load/tally.py and load/histogram.py: numbers that add up, and percentiles that stay true."""

from __future__ import annotations

import json
import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squall.load.histogram import ERROR, Histogram
from squall.load.tally import MEASURES, MOST_REASONS, REST, Tally

SECONDS = st.floats(1e-6, 1e5)


def histogram(*values: float) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def nearest_rank(values: list[float], percent: float) -> float:
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values) - 1e-9) - 1)]


# -- the histogram -------------------------------------------------------------------------------


@given(st.lists(SECONDS, min_size=1), st.floats(0, 100))
def test_a_percentile_is_one_percent_off_at_most(values: list[float], percent: float) -> None:
    found = histogram(*values).percentile(percent)
    assert found == pytest.approx(nearest_rank(values, percent), rel=ERROR * 1.001)


@given(st.lists(SECONDS, min_size=1))
def test_the_ends_and_the_mean_are_exact(values: list[float]) -> None:
    made = histogram(*values)
    assert made.percentile(0) == min(values)
    assert made.percentile(100) == max(values)
    assert made.mean == pytest.approx(sum(values) / len(values))


@given(st.lists(SECONDS), st.lists(SECONDS), st.floats(0, 100))
def test_two_histograms_merged_say_what_one_would_have(
    one: list[float], other: list[float], percent: float
) -> None:
    merged = histogram(*one)
    merged.merge(histogram(*other))
    together = histogram(*one, *other)
    assert merged.percentile(percent) == together.percentile(percent)
    assert merged.count == together.count


def test_the_average_of_percentiles_would_be_wrong() -> None:
    quick, slow = [0.1] * 99, [10.0]
    merged = histogram(*quick)
    merged.merge(histogram(*slow))
    assert merged.percentile(99) == pytest.approx(0.1, rel=ERROR)


def test_nothing_measured_has_no_percentile() -> None:
    assert Histogram().percentile(99) is None
    assert Histogram().mean is None


@pytest.mark.parametrize("odd", [-1.0, 0.0, 1e-9, 1e9])
def test_what_lies_outside_the_scale_is_counted_all_the_same(odd: float) -> None:
    assert histogram(odd, odd).count == 2
    assert histogram(odd).percentile(50) == max(0.0, odd)


@given(st.lists(SECONDS))
def test_a_histogram_survives_json(values: list[float]) -> None:
    made = histogram(*values)
    again = Histogram.from_json(json.loads(json.dumps(made.as_json())))
    assert again.as_json() == made.as_json()


def test_an_hour_of_lag_stays_small() -> None:
    rng = Random(1)
    made = histogram(*(rng.lognormvariate(-4, 2) for _ in range(20_000)))
    assert len(made.as_json()["buckets"]) <= 1_382


# -- the tally -----------------------------------------------------------------------------------


def crowd(users: int, at: float = -1.0) -> Tally:
    """So many users who are whole from `at` on."""
    tally = Tally()
    for _ in range(users):
        tally.began(at)
        tally.dialled(at)
        tally.restored(at)
    return tally


def test_users_and_whole_ones_are_told_for_every_instant() -> None:
    tally = crowd(3)
    tally.lost(2.0)
    tally.restored(4.05)
    assert [tally.whole(at) for at in (0.0, 2.0, 2.1, 4.0, 4.1)] == [3, 3, 2, 2, 3]
    assert tally.users(9.0) == 3
    assert [(at, whole) for at, _, whole in tally.levels(1.9, 2.2)] == [
        (2.0, 3),
        (2.1, 2),
        (2.2, 2),
    ]


def test_a_peak_is_found_across_the_borders_of_seconds() -> None:
    tally = Tally()
    for at in (1.5, 1.7, 1.9, 2.1, 2.3, 2.45):
        tally.dialled(at)
    assert tally.peak("dialled", 0.0, 10.0) == (6, 2.5)


def test_a_second_holds_ten_tenths_and_no_eleventh() -> None:
    tally = Tally()
    tally.dialled(1.05)
    tally.dialled(2.05)
    assert tally.peak("dialled", 0.0, 10.0)[0] == 1


def test_what_was_before_the_storm_is_no_peak_of_it() -> None:
    tally = crowd(100, at=-0.05)
    tally.dialled(0.3)
    assert tally.peak("dialled", 0.0, 10.0)[0] == 1


def test_take_leaves_nothing_behind_and_loses_nothing() -> None:
    tally = crowd(2)
    first = tally.take()
    assert tally.as_json() == Tally().as_json()
    tally.lost(3.0)
    first.merge(tally.take())
    assert (first.users(), first.whole()) == (2, 1)


def test_two_workers_add_up() -> None:
    one, other = crowd(2), crowd(3)
    other.failed(1.0, "gave up")
    other.measured("recovery", 2.0, 1.0)
    other.counted(1.0, 10, 2_000)
    one.merge(Tally.from_json(json.loads(json.dumps(other.as_json()))))
    assert one.users() == 5
    assert one.reasons == {"gave up": 1}
    assert one.measures["recovery"].count == 1
    assert (one.messages[1], one.bytes[1]) == (10, 2_000)


def test_a_tally_can_be_moved_to_another_clock() -> None:
    tally = crowd(2, at=3.25)
    tally.counted(3.5, 7, 70)
    moved = tally.moved(-5)
    assert moved.first() == pytest.approx(-1.8)
    assert moved.messages == {-2: 7}
    assert tally.first() == pytest.approx(3.2)


def test_reasons_are_bounded() -> None:
    tally = Tally()
    for number in range(MOST_REASONS + 10):
        tally.failed(0.0, f"reason {number}")
    assert tally.reasons[REST] == 10
    assert len(tally.reasons) == MOST_REASONS + 1


def test_an_hour_stays_small() -> None:
    tally = Tally()
    for second in range(3_600):
        for tenth in range(10):
            tally.dialled(second + tenth / 10 + 0.05)
        tally.counted(second, 20_000, 4_000_000)
    assert len(tally.counts["dialled"]) == 36_000
    assert len(json.dumps(tally.as_json())) < 1_000_000


def test_an_unknown_measure_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Tally().measured("recvery", 1.0, 0.0)
    assert "recovery" in MEASURES


@pytest.mark.parametrize(
    "wrong", [{}, {"format": 2}, {"format": 1}, [], {"format": 1, "counts": {"dials": {}}}]
)
def test_what_is_no_tally_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="tally"):
        Tally.from_json(wrong)  # type: ignore[arg-type]
