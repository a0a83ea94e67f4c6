"""What leaves when: filters are functions and the link is a queue, so there is no loop here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squall_proxy import (
    Blackhole,
    Cut,
    Latency,
    LimitData,
    Slicer,
    SlowClose,
    Stall,
    StreamFault,
    Throttle,
    Timeout,
    Trickle,
)
from squall_proxy.link import Break, Chunk, End, Filter, Link, Payload

repeatable = settings(derandomize=True, deadline=None, max_examples=100)


def attach(fault: StreamFault) -> Filter:
    return fault.attach(Random(1))


def everything(link: Link, now: float) -> list[Payload | Break]:
    return list(iter(lambda: link.pop(now), None))


# Filters are functions from a chunk to chunks


def test_latency_moves_due() -> None:
    late = attach(Latency(0.2))
    assert list(late(Chunk(b"x", 1.0))) == [Chunk(b"x", 1.2)]
    assert list(late(Chunk(End.FIN, 1.0))) == [Chunk(End.FIN, 1.2)]


def test_jitter_stays_within_its_bounds_and_never_makes_anything_early() -> None:
    late = attach(Latency(0.1, jitter=0.3))
    due = [chunk.due for _ in range(500) for chunk in late(Chunk(b"x", 1.0))]
    assert min(due) == 1.0
    assert 1.35 < max(due) <= 1.4


def test_the_same_seed_gives_the_same_jitter() -> None:
    def draw() -> list[Chunk]:
        late = attach(Latency(0.1, jitter=0.1))
        return [chunk for _ in range(10) for chunk in late(Chunk(b"x", 0.0))]

    assert draw() == draw()


def test_throttle_needs_its_time_for_every_byte() -> None:
    slow = attach(Throttle(100))
    chunks = list(slow(Chunk(bytes(12), 5.0)))
    assert [len(chunk.data) for chunk in chunks if isinstance(chunk.data, bytes)] == [5, 5, 2]
    assert [chunk.due for chunk in chunks] == pytest.approx([5.05, 5.1, 5.12])
    # The line is busy with these when the next come, and free again when others come late.
    assert [chunk.due for chunk in slow(Chunk(b"12345", 5.0))] == pytest.approx([5.17])
    assert [chunk.due for chunk in slow(Chunk(b"12345", 9.0))] == pytest.approx([9.05])


def test_trickle_is_a_byte_an_interval() -> None:
    chunks = list(attach(Trickle(2))(Chunk(b"abc", 1.0)))
    assert chunks == [Chunk(b"a", 3.0, 0), Chunk(b"b", 5.0, 1), Chunk(b"c", 7.0, 2)]


@pytest.mark.parametrize("fault", [Blackhole(), Stall()])
def test_what_is_held_is_never_due(fault: StreamFault) -> None:
    assert list(attach(fault)(Chunk(b"x", 1.0))) == [Chunk(b"x", math.inf)]


def test_normal_jitter_has_its_standard_deviation() -> None:
    late = attach(Latency(10.0, jitter=1.0, distribution="normal"))
    delays = [chunk.due for _ in range(2000) for chunk in late(Chunk(b"x", 0.0))]
    assert statistics.mean(delays) == pytest.approx(10, abs=0.1)
    assert statistics.stdev(delays) == pytest.approx(1, abs=0.1)


def test_pareto_jitter_is_small_as_a_rule_and_now_and_then_big() -> None:
    late = attach(Latency(1.0, jitter=0.1, distribution="pareto"))
    delays = sorted(chunk.due for _ in range(5000) for chunk in late(Chunk(b"x", 0.0)))
    assert delays[0] >= 1.0
    assert statistics.mean(delays) == pytest.approx(1.1, abs=0.02)
    assert delays[2500] < 1.06
    assert delays[-1] > 2.0


def test_slices_have_about_their_size_and_come_one_after_the_other() -> None:
    chunks = list(attach(Slicer(10, 5, delay=0.5))(Chunk(bytes(100), 2.0)))
    sizes = [len(chunk.data) for chunk in chunks if isinstance(chunk.data, bytes)]
    assert sum(sizes) == 100
    assert all(5 <= size <= 15 for size in sizes[:-1])
    assert [chunk.due for chunk in chunks] == [2.0 + 0.5 * n for n in range(len(chunks))]
    assert [chunk.offset for chunk in chunks] == [sum(sizes[:n]) for n in range(len(sizes))]


@pytest.mark.parametrize(("average", "variation"), [(0, 0), (1, 1)])
def test_a_slicer_that_could_make_slices_of_nothing_is_refused(
    average: int, variation: int
) -> None:
    with pytest.raises(ValueError, match="size"):
        Slicer(average, variation)


def test_what_a_filter_leaves_out_is_lost_and_counted() -> None:
    link = Link()
    link.set_filters([(1, attach(Timeout()))])
    link.put(b"abc", 0.0)
    link.put(End.FIN, 0.0)
    assert everything(link, 0.0) == [End.FIN]
    assert (link.held, link.lost, link.bites) == (0, 3, [1])


def test_a_limit_breaks_the_stream_and_says_whose_it_is() -> None:
    link = Link()
    link.set_filters([(1, attach(Latency(1))), (7, attach(LimitData(4)))])
    link.put(b"abc", 0.0)
    link.put(b"def", 0.0)
    assert everything(link, 0.9) == []
    assert everything(link, 1.0)[:3] == [b"abc", b"d", Break(7, End.FIN)]
    assert link.bites == [1, 7]


# The link


def test_nothing_overtakes_what_came_before_it() -> None:
    delays = {b"a": 5.0, b"b": 1.0, b"c": 7.0, End.FIN: 0.0}

    def moody(chunk: Chunk) -> Iterator[Chunk]:
        yield Chunk(chunk.data, chunk.due + delays[chunk.data])

    link = Link()
    link.set_filters([(1, moody)])
    for payload in (b"a", b"b", b"c", End.FIN):
        link.put(payload, 0.0)
    assert link.due() == 5.0
    assert everything(link, 4.9) == []
    assert everything(link, 5.0) == [b"a", b"b"]
    assert everything(link, 7.0) == [b"c", End.FIN]


def test_a_mark_comes_when_all_before_it_has_left() -> None:
    link, seen = Link(), []
    link.set_filters([(1, attach(Latency(1)))])
    link.put(b"head", 0.0)
    link.put(lambda: seen.append("passed"), 0.0)
    assert link.pop(0.5) is None
    assert link.pop(1.0) == b"head"
    mark = link.pop(1.0)
    assert callable(mark)
    mark()
    assert seen == ["passed"]


def test_a_big_chunk_is_cut_only_as_far_as_it_has_left() -> None:
    link = Link()
    link.set_filters([(1, attach(Trickle(1)))])
    link.put(bytes(1_000_000), 0.0)
    assert everything(link, 3.0) == [b"\0"] * 3
    assert link.held == 999_997
    link.set_filters([])
    assert everything(link, 3.0) == [bytes(999_997)]
    assert link.held == 0
    assert link.clear


def test_a_fault_added_later_holds_what_is_in_flight() -> None:
    link = Link()
    link.set_filters([(1, attach(Latency(1)))])
    link.put(b"x", 0.0)
    link.set_filters([(1, attach(Latency(1))), (2, attach(Blackhole()))])
    assert link.pop(1e9) is None
    assert link.due() == math.inf


def test_bites_are_told_once_and_only_where_something_changed() -> None:
    link = Link()
    link.set_filters([(1, attach(Latency(0))), (2, attach(Latency(1)))])
    for _ in range(3):
        link.put(b"x", 0.0)
    everything(link, 9.0)
    assert link.bites == [2]


def test_dropping_keeps_the_end() -> None:
    link = Link()
    link.set_filters([(1, attach(Trickle(1)))])
    link.put(b"abc", 0.0)
    link.put(End.FIN, 0.0)
    assert link.pop(1.0) == b"a"
    assert link.drop() == 2
    assert everything(link, 9.0) == [End.FIN]


faults: st.SearchStrategy[StreamFault] = st.one_of(
    st.builds(Latency, st.floats(0, 2), st.floats(0, 2)),
    st.builds(Throttle, st.floats(1, 1000)),
    st.builds(Trickle, st.floats(0.01, 1)),
    st.builds(Slicer, st.integers(10, 50), st.integers(0, 9), st.floats(0, 1)),
    st.builds(SlowClose, st.floats(0, 2)),
    st.builds(Cut, st.just(60.0), st.just(1 << 40)),
    st.just(Blackhole()),
    st.just(Stall()),
)
moves = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=60),
        st.floats(0, 3),
        st.lists(faults, max_size=3).map(tuple),
    ),
    max_size=30,
)


@repeatable
@given(moves)
def test_no_change_of_faults_loses_or_reorders_a_byte(
    steps: list[bytes | float | tuple[StreamFault, ...]],
) -> None:
    link, now, sent, received = Link(), 0.0, b"", b""
    for step in steps:
        if isinstance(step, bytes):
            link.put(step, now)
            sent += step
        elif isinstance(step, float):
            now += step
        else:
            link.set_filters((n, attach(fault)) for n, fault in enumerate(step))
        for piece in everything(link, now):
            assert isinstance(piece, bytes)
            received += piece
        assert link.held == len(sent) - len(received)
    link.set_filters([])
    link.put(End.FIN, now)
    *rest, end = everything(link, now)
    assert received + b"".join(piece for piece in rest if isinstance(piece, bytes)) == sent
    assert end is End.FIN
    assert link.clear
