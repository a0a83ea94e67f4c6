"""A history as lanes, and the lanes as SVG."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from certify_examples import NASTY, everything_nasty, recovered, storm
from squall.certify.lanes import Lane, Picture, picture
from squall.certify.svg import Axis, draw
from squall.history import Event, History
from story import BOOK, ORDERS, TRADES, Story, reset_story, steady_story


def lane(found: Picture, title: str) -> Lane:
    return next(each for each in found.lanes if each.title == title)


def spans(found: Picture, title: str, row: int = 0) -> list[tuple[float, float, str]]:
    return [(s.begin, s.end, s.kind) for s in lane(found, title).rows[row].spans]


def test_what_the_adapter_says_of_itself_is_a_lane() -> None:
    assert spans(picture(recovered()), "Adapter") == [
        (0, 0.1, "running"),
        (0.1, 0.6, "connecting"),
        (0.6, 2.0, "live"),
        (2.0, 2.6, "disconnected"),
        (2.6, 62.6, "live"),
    ]


def test_an_adapter_that_says_nothing_is_running() -> None:
    assert spans(picture(reset_story().history), "Adapter") == [(0, 64.0, "running")]


def test_a_connection_is_a_bar_from_the_dial_with_its_end_as_its_kind() -> None:
    found = lane(picture(recovered()), "Connections")
    assert [row.label for row in found.rows] == ["#1", "#2"]
    first, second = (row.spans[-1] for row in found.rows)
    assert (first.begin, first.end, first.kind) == (0.5, 2.0, "rst")
    assert "by the fault rst" in first.title
    assert (second.begin, second.end, second.kind) == (2.5, 62.6, "fin")
    assert "by the adapter" in second.title


def test_a_connection_that_never_ends_is_open_and_one_without_upgrade_was_only_dialling() -> None:
    story = steady_story()
    story.dial(3, 2)
    story.see(3.1, "proxy.upgrade_refused", 2, status=503, by="proxy")
    story.see(3.2, "proxy.closed", 2, by="server", how="fin")
    story.settle(10)
    rows = lane(picture(story.history), "Connections").rows
    assert rows[0].spans[-1].kind == "open"
    assert (rows[1].spans[0].kind, rows[1].spans[0].label) == ("dialling fin", "503")


def test_a_channel_is_served_from_its_subscription_to_the_end_of_its_connection() -> None:
    found = lane(picture(recovered()), "Served")
    assert [row.label for row in found.rows] == [TRADES, BOOK]
    assert spans(picture(recovered()), "Served") == [(0.5, 2.0, "served"), (2.5, 62.6, "served")]


def test_a_channel_that_is_served_twice_stands_out() -> None:
    story = steady_story()
    story.serve(3, 2)
    story.leave(5, 1)
    story.settle(10)
    assert spans(picture(story.history), "Served")[1] == (3, 5, "too-often")


def test_many_channels_are_one_row_that_counts_them() -> None:
    channels = [f"trades.{number}" for number in range(30)]
    story = Story(channels=channels)
    story.connect(1, 1)
    story.subscribe(2, 1, *channels[:20])
    story.subscribe(3, 1, *channels[20:])
    story.leave(5, 1)
    story.settle(6)
    (row,) = lane(picture(story.history), "Served").rows
    assert row.label == "30 channels"
    assert [(s.begin, s.kind, s.label) for s in row.spans] == [
        (2, "partly", "20 of 30"),
        (3, "served", "30 of 30"),
    ]


def test_a_login_lasts_until_its_connection_ends_or_its_token_expires() -> None:
    story = steady_story(private=[ORDERS])
    story.see(4, "exchange.token_expired", 1, token="t0.5")
    story.see(6, "exchange.auth_requested", 1, grant_type="refresh_token", material="r")
    story.see(6, "exchange.auth_failed", 1, code=13004, injected=True)
    story.settle(8)
    (row,) = lane(picture(story.history), "Auth").rows
    assert [(s.begin, s.end) for s in row.spans] == [(0.5, 4)]
    assert [mark.kind for mark in row.marks] == ["asked", "expired", "asked", "refused"]


def test_a_fault_is_a_band_and_says_if_it_never_took_effect() -> None:
    story = steady_story()
    story.fault(2, "latency", 1, until=5, delay=0.25)
    story.fault(6, "refuse")
    story.settle(8)
    first, second = picture(story.history).bands
    assert (first.begin, first.end) == (2, 5)
    assert first.title == "latency at 2.000 s, for 3.000 s (delay 0.25)"
    assert (second.begin, second.end) == (6, 10)
    assert "never took effect" in second.title


def test_messages_are_counted_per_second_and_what_reached_the_consumer_besides() -> None:
    story = steady_story(channels=[TRADES])
    for number in range(100):
        story.send(1 + number / 10, 1)
        story.see(1 + number / 10, "adapter.message", channel=TRADES, seq=number)
    story.settle(18)
    rates = picture(story.history).rates
    assert max(rates.sent) == pytest.approx(10, abs=2)
    assert sum(rates.delivered) * 20 / len(rates.delivered) == pytest.approx(100)


def test_a_history_of_one_event_can_be_drawn() -> None:
    only = History(events=[Event(0.0, "scenario", "run_started", None, {})])
    ElementTree.fromstring(draw(picture(only)))


def test_the_drawing_is_well_formed_whatever_the_adapter_said() -> None:
    history = History(events=everything_nasty(recovered()))
    text = draw(picture(history))
    assert "<script" not in text
    assert "onerror=" not in text.replace("&lt;img src=x onerror=alert(2)&gt;", "")
    root = ElementTree.fromstring(text)
    assert {element.tag for element in root.iter()} <= {"svg", "g", "path", "rect", "text", "title"}
    assert any(NASTY[:10] in (element.text or "") for element in root.iter("title"))


def test_a_storm_fits_into_a_drawing_of_bounded_size() -> None:
    small, large = (len(draw(picture(storm(dials)))) for dials in (100, 2000))
    assert large < 60_000
    assert large < 4 * small


def test_the_drawing_leaves_styling_to_the_page() -> None:
    assert "style=" not in draw(picture(recovered()))


@pytest.mark.parametrize("seconds", [0.003, 0.9, 7.0, 64.8, 5400.0, 86_400.0])
def test_the_axis_has_a_handful_of_round_ticks(seconds: float) -> None:
    ticks = Axis(seconds).ticks()
    assert 3 <= len(ticks) <= 9
    assert ticks[0] == 0
    assert ticks[-1] <= seconds
    assert Axis(seconds).x(seconds) <= 980
