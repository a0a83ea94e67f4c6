"""history.py: events, queries, disk."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from squall.errors import HistoryError
from squall.history import Event, History


def test_time_starts_at_zero_whatever_the_clock_says() -> None:
    now = 1000.0
    history = History(lambda: now)
    now = 1002.5
    assert history.add("scenario", "steady").at == 2.5


def test_listeners_are_called_inside_add() -> None:
    history, seen = History(), []
    end = history.listen(lambda event: seen.append(event.kind))
    history.add("proxy", "dialled", 1)
    end()
    history.add("proxy", "closed", 1)
    assert seen == ["dialled"]


def test_queries_filter_by_kind_source_and_time() -> None:
    history = History(
        events=[
            Event(1.0, "proxy", "closed", 1),
            Event(2.0, "exchange", "closed", 1),
            Event(3.0, "proxy", "closed", 2),
        ]
    )
    assert [e.at for e in history.of("closed", source="proxy")] == [1.0, 3.0]
    assert [e.at for e in history.of("closed", since=2.0)] == [2.0, 3.0]
    first, last = history.first("closed", source="exchange"), history.last("closed")
    assert first is not None
    assert last is not None
    assert (first.at, last.at) == (2.0, 3.0)
    assert history.first("opened") is None
    assert [e.at for e in history.since_index(2)] == [3.0]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    history = History()
    history.add("exchange", "subscribed", 3, channels=["a", "b"], refused=[])
    history.add("scenario", "calm", seconds=2.0)
    path = tmp_path / "deep" / "history.jsonl"
    history.save(path)
    assert list(History.load(path)) == list(history)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00\x01", "not a text file"),
        (b"not json\n", "history.jsonl:1: is no event"),
        (b'{"at": 1}\n', "history.jsonl:1: is no event"),
        (b"[1, 2]\n", "history.jsonl:1: is no event"),
        (b'{"at": 1, "source": "moon", "kind": "full"}\n', "unknown source 'moon'"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "history.jsonl"
    path.write_bytes(content)
    with pytest.raises(HistoryError, match=complaint):
        History.load(path)


def test_a_gzipped_history_is_read_as_it_is(tmp_path: Path) -> None:
    history = History()
    history.add("scenario", "calm", seconds=2.0)
    history.save(tmp_path / "history.jsonl")
    packed = tmp_path / "history.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "history.jsonl").read_bytes()))
    assert list(History.load(packed)) == list(history)
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(HistoryError, match="no complete gzip file"):
        History.load(packed)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(HistoryError, match="cannot be read"):
        History.load(tmp_path / "nowhere.jsonl")


def test_wait_for_gives_the_event_or_none_after_the_timeout() -> None:
    async def scene() -> tuple[Event | None, Event | None]:
        loop = asyncio.get_running_loop()
        history = History(loop.time)
        loop.call_soon(lambda: history.add("proxy", "dialled", 1))
        found = await history.wait_for(lambda event: event.kind == "dialled", timeout=5)
        return found, await history.wait_for(lambda event: False, timeout=0.01)

    found, missed = asyncio.run(scene())
    assert found is not None
    assert found.connection == 1
    assert missed is None
