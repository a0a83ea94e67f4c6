"""Gaps are mended, and nothing is lost or doubled without a word."""

from squall.checks.data import NoSilentLoss, Resynchronises
from story import BOOK, TRADES, Story, fails, is_unknown, is_unsupported, passes, steady_story

# -- resynchronises --------------------------------------------------------------------------


def gap_story(snapshot: float | None = 3.0, *also: str) -> Story:
    """BOOK has a gap at 2 s; a snapshot comes, and these channels are subscribed anew as well."""
    story = steady_story()
    story.send(0.9, 1, BOOK, snapshot=True)
    story.fault(2, "gap", 1, until=2, source="exchange", channel=BOOK, count=1)
    if snapshot is not None:
        story.subscribe(2.5, 1, BOOK, *also)
        story.send(snapshot, 1, BOOK, snapshot=True)
    story.see(40, "scenario.stopping")
    return story


def test_a_fresh_snapshot_of_that_book_passes() -> None:
    assert passes(gap_story().judge(Resynchronises()))


def test_a_gap_that_nobody_mends_fails() -> None:
    # bmoscon/cryptofeed#604: the gap is not detected
    verdict = gap_story(snapshot=None).judge(Resynchronises())
    assert fails(verdict, f"{BOOK} had a gap at 2.000 s", "no fresh snapshot within 10 s")


def test_a_snapshot_over_http_mends_it_too() -> None:
    story = gap_story(snapshot=None)
    story.see(4, "exchange.rest", None, method="GET", path="/api/v2/public/get_order_book")
    assert passes(story.judge(Resynchronises()))


def test_subscribing_everything_anew_fails_unless_it_is_allowed() -> None:
    story = gap_story(3.0, TRADES)
    assert fails(story.judge(Resynchronises()), "also subscribed anew", TRADES)
    assert passes(story.judge(Resynchronises(others=True)))


def test_a_gap_in_a_stream_without_snapshots_is_not_judged() -> None:
    story = steady_story()
    story.fault(2, "gap", 1, until=2, source="exchange", channel=TRADES, count=1)
    story.see(40, "scenario.stopping")
    assert is_unknown(story.judge(Resynchronises()), "a stream without snapshots")


def test_without_a_gap_nothing_was_mended() -> None:
    assert is_unknown(steady_story().judge(Resynchronises()), "no gap")


# -- no_silent_loss --------------------------------------------------------------------------


def deliver(story: Story, at: float, seq: int, number: int = 1, **detail: bool) -> None:
    """The exchange sends it and the consumer gets it."""
    story.see(at, "exchange.sent", number, channel=BOOK, seq=seq, snapshot=False)
    story.see(at, "adapter.message", channel=BOOK, seq=seq, **({"gap": False} | detail))


def stream(*numbers: int) -> Story:
    story = steady_story()
    for place, seq in enumerate(numbers):
        deliver(story, 1 + place * 0.5, seq)
    return story


def test_every_message_once_passes() -> None:
    assert passes(stream(10, 11, 12, 13, 14).judge(NoSilentLoss()))


def test_numbers_that_leap_by_nature_are_no_loss() -> None:
    assert passes(stream(10, 13, 14, 20, 21, 22).judge(NoSilentLoss()))


def test_a_message_sent_and_not_delivered_fails() -> None:
    story = stream(10, 11)
    story.see(2, "exchange.sent", 1, channel=BOOK, seq=12, snapshot=False)
    deliver(story, 2.5, 13)
    assert fails(story.judge(NoSilentLoss()), BOOK, "1 message lost after number 11", "2.500 s")


def test_a_flag_makes_a_loss_known() -> None:
    story = stream(10, 11)
    story.see(2, "exchange.sent", 1, channel=BOOK, seq=12, snapshot=False)
    deliver(story, 2.5, 13, gap=True)
    assert passes(story.judge(NoSilentLoss()))


def test_a_leap_over_a_reconnect_without_a_word_fails() -> None:
    # bmoscon/cryptofeed#1016: the gap over a reconnect is not seen
    story = stream(10, 11, 12, 13, 14, 15, 16)
    story.cut(5, 1)
    story.connect(9, 2)
    deliver(story, 9.5, 25, number=2)
    assert fails(story.judge(NoSilentLoss()), "8 messages lost after number 16")


def test_a_state_other_than_live_in_between_makes_it_known() -> None:
    story = stream(10, 11, 12, 13, 14, 15, 16)
    story.cut(5, 1)
    story.say(5.1, "disconnected")
    story.connect(9, 2)
    deliver(story, 9.5, 25, number=2)
    assert passes(story.judge(NoSilentLoss()))


def test_a_fresh_snapshot_makes_up_for_what_it_skips() -> None:
    story = stream(10, 11, 12, 13, 14, 15, 16)
    story.connect(9, 2)
    story.see(9.4, "exchange.sent", 2, channel=BOOK, seq=25, snapshot=True)
    story.see(9.5, "adapter.message", channel=BOOK, seq=25, gap=False)
    assert passes(story.judge(NoSilentLoss()))


def test_an_injected_gap_that_is_not_flagged_fails() -> None:
    story = stream(10, 11)
    story.fault(2, "gap", 1, source="exchange", until=2, channel=BOOK, count=1)
    deliver(story, 2.0, 13)
    assert fails(story.judge(NoSilentLoss()), "lost after number 11")


def test_a_message_delivered_twice_fails() -> None:
    assert fails(stream(10, 11, 12, 11).judge(NoSilentLoss()), "number 11 was delivered again")


def test_messages_without_numbers_prove_nothing() -> None:
    story = steady_story()
    story.see(2, "adapter.message", channel=BOOK, seq=None, gap=False)
    assert is_unknown(story.judge(NoSilentLoss()), "no numbered messages")


def test_without_events_a_loss_cannot_be_seen() -> None:
    story = steady_story(adapter={"supports": ["public"]})
    assert is_unsupported(story.judge(NoSilentLoss()), "events")
