"""Where frames begin and end, however the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frames_witness import built, masked, pieces
from squall_proxy.frames import FrameTracker, Truncation, close_frame, frame_size

repeatable = settings(derandomize=True, deadline=None, max_examples=200)
frames = st.one_of(
    st.builds(built, st.binary(max_size=300), st.sampled_from((1, 2, 9, 10))),
    st.builds(masked, st.binary(max_size=120)),
    st.just(b"\x82\x7f" + (70_000).to_bytes(8, "big") + bytes(70_000)),
)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", 0),
        (b"\x81", 0),
        (b"\x81\x00", 2),
        (b"\x81\x7d", 127),
        (b"\x81\x7e\x01", 0),
        (b"\x81\x7e\x01\x00", 260),
        (b"\x81\x7f" + bytes(7), 0),
        (b"\x81\x7f" + (1 << 20).to_bytes(8, "big"), 10 + (1 << 20)),
        (b"\x81\x80", 6),
        (b"\x81\xfe\x01\x00", 264),
    ],
)
def test_the_size_of_a_frame_is_in_its_header(data: bytes, size: int) -> None:
    assert frame_size(data) == size
    assert frame_size(b"..." + data, 3) == size


@repeatable
@given(st.lists(frames, max_size=6), st.lists(st.integers(0), max_size=12))
def test_boundaries_are_found_however_the_stream_is_cut(
    sent: list[bytes], places: list[int]
) -> None:
    ends, position = {0}, 0
    for each in sent:
        position += len(each)
        ends.add(position)
    tracker, position = FrameTracker(), 0
    for piece in pieces(b"".join(sent), places):
        first = min(end for end in ends if end >= position)
        expected = first - position if first - position <= len(piece) else None
        assert tracker.boundary(piece) == expected
        tracker.feed(piece)
        position += len(piece)
        assert tracker.at_boundary == (position in ends)


@repeatable
@given(frames, st.lists(st.integers(0), max_size=12))
def test_a_truncated_frame_has_begun_and_is_not_complete(whole: bytes, places: list[int]) -> None:
    truncation, passed, done = Truncation(), b"", False
    for piece in pieces(whole + built(b"the next"), places):
        if not done:
            half, done = truncation.feed(piece)
            passed += half
    assert done
    assert whole.startswith(passed)
    assert 0 < len(passed) < len(whole)


def test_a_close_frame_is_seen_once_it_is_complete() -> None:
    tracker = FrameTracker()
    close = masked(b"\x03\xe8", opcode=8)
    tracker.feed(masked(b"last words") + close[:-1])
    assert not tracker.closed
    tracker.feed(close[-1:])
    assert tracker.closed


def test_close_frames_carry_code_and_reason() -> None:
    assert close_frame(1000) == b"\x88\x02\x03\xe8"
    assert close_frame(4001, "é") == b"\x88\x04\x0f\xa1\xc3\xa9"


@pytest.mark.parametrize("code", [1005, 1006, 1015, -1, 65536])
def test_codes_that_never_stand_in_a_frame_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match=str(code)):
        close_frame(code)
