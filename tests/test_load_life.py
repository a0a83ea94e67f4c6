"""What a user lives through, from what its adapter tells; and the clock that it is told on."""

from __future__ import annotations

import pytest

from squall.load.clocks import Offset
from squall.load.life import IN_VAIN, Life, Recorder
from squall.load.tally import Tally


class World:
    """A user whose clock is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.recorder = Recorder(lambda: self.now)
        self.life = Life(self.recorder)
        self.tally = Tally()

    def after(self, seconds: float, what: str, *told: object) -> None:
        self.now += seconds
        getattr(self.life, what)(*told)

    def whole(self, *, login: bool = True) -> None:
        self.after(0.0, "dialled")
        self.after(0.01, "opened")
        self.after(0.02, "upgraded")
        if login:
            self.after(0.03, "authenticated")
        self.after(0.04, "restored")

    def measured(self) -> dict[str, list[float]]:
        tally, samples = self.recorder.take()
        self.tally.merge(tally)
        found: dict[str, list[float]] = {}
        for name, seconds, why in samples:
            if why is None and seconds is not None:
                found.setdefault(name, []).append(round(seconds, 6))
        return found


def test_each_stage_is_measured_from_the_end_of_the_one_before() -> None:
    world = World()
    world.whole()
    assert world.measured() == {
        "connect": [0.01],
        "upgrade": [0.02],
        "authenticate": [0.03],
        "subscribe": [0.04],
    }
    assert (world.tally.users(), world.tally.whole(), world.tally.total("dialled")) == (1, 1, 1)


def test_without_a_login_the_subscription_begins_at_the_upgrade() -> None:
    world = World()
    world.whole(login=False)
    measured = world.measured()
    assert "authenticate" not in measured
    assert measured["subscribe"] == [0.04]


def test_an_adapter_that_does_not_tell_of_tcp_has_the_whole_dial_as_connect() -> None:
    world = World()
    world.after(0.0, "dialled")
    world.after(0.5, "upgraded")
    assert world.measured() == {"connect": [0.5]}


def test_recovery_spans_all_dials_from_the_drop_to_whole_and_outage_ends_at_the_upgrade() -> None:
    world = World()
    world.whole()
    world.measured()
    world.after(1.0, "lost")
    world.after(2.0, "dialled")
    world.after(0.5, "lost")
    world.after(3.0, "dialled")
    world.after(0.25, "opened")
    world.after(0.25, "upgraded")
    world.after(1.0, "restored")
    measured = world.measured()
    assert measured["outage"] == [6.0]
    assert measured["recovery"] == [7.0]
    assert world.tally.total("lost") == 1
    assert world.tally.total("dialled") == 3


def test_a_connection_lost_before_it_was_whole_ends_no_recovery() -> None:
    world = World()
    world.whole()
    world.after(1.0, "lost")
    world.after(1.0, "dialled")
    world.after(0.5, "upgraded")
    world.after(0.5, "lost")
    world.after(1.0, "dialled")
    world.after(0.5, "upgraded")
    world.after(0.5, "restored")
    measured = world.measured()
    assert measured["recovery"] == [4.0]
    assert measured["outage"] == [1.5, 1.5]


def test_a_first_connection_is_no_recovery_however_often_it_is_dialled() -> None:
    world = World()
    world.after(0.0, "dialled")
    world.after(1.0, "lost")
    world.whole()
    measured = world.measured()
    assert "recovery" not in measured
    assert "outage" not in measured
    assert world.tally.total("lost") == 0


def test_a_dial_in_vain_is_told_without_a_duration() -> None:
    world = World()
    world.after(0.0, "dialled")
    world.after(0.1, "opened")
    world.after(1.0, "lost")
    assert [name for name, seconds, _ in world.recorder.samples if seconds is None] == [IN_VAIN]
    world.whole()
    world.after(1.0, "lost")
    assert [name for name, *_ in world.recorder.samples].count(IN_VAIN) == 1


def test_a_token_that_is_gone_makes_a_user_less_than_whole_without_an_outage() -> None:
    world = World()
    world.whole()
    world.measured()
    world.after(1.0, "degraded")
    assert world.measured() == {}
    assert world.tally.whole() == 0
    world.after(0.5, "authenticated")
    world.after(0.25, "restored")
    assert world.measured() == {"authenticate": [0.5], "subscribe": [0.25], "recovery": [0.75]}


def test_a_first_message_is_measured_once_a_connection() -> None:
    world = World()
    for _ in range(2):
        world.whole(login=False)
        world.after(0.5, "data")
        world.after(0.5, "data")
        world.after(1.0, "lost")
    assert world.measured()["first_message"] == pytest.approx([0.54, 0.54])


def test_lag_is_asked_for_once_a_second_and_never_below_zero() -> None:
    world = World()
    world.whole()
    asked = []
    for _ in range(25):
        world.now += 0.1
        asked.append(world.life.data())
    assert sum(asked) == 3
    world.life.lag(-0.5)
    assert world.measured()["lag"] == [0.0]


def test_messages_are_counted_and_not_sampled() -> None:
    world = World()
    world.whole()
    world.measured()
    for _ in range(1000):
        world.after(0.0, "received", 100)
    assert world.measured() == {}
    assert sum(world.tally.messages.values()) == 1000
    assert sum(world.tally.bytes.values()) == 100_000


def test_a_failure_tells_why_and_is_no_duration() -> None:
    world = World()
    world.life.failed("it gave up")
    assert world.recorder.samples[-1].why == "it gave up"
    assert world.measured() == {}
    assert world.tally.reasons == {"it gave up": 1}


def test_a_whole_user_that_ends_is_whole_no_more() -> None:
    world = World()
    world.whole()
    world.after(1.0, "ended")
    world.after(1.0, "ended")
    world.measured()
    assert (world.tally.users(), world.tally.whole()) == (0, 0)


def test_nothing_that_comes_after_the_end_changes_anything() -> None:
    world = World()
    world.whole()
    world.recorder.closed = True
    world.measured()
    world.after(1.0, "lost")
    world.after(1.0, "dialled")
    world.after(1.0, "ended")
    assert world.measured() == {}
    assert (world.tally.users(), world.tally.whole()) == (1, 1)


def test_the_quickest_answer_tells_the_masters_clock() -> None:
    offset = Offset()
    offset.answered(asked=10.0, theirs=1000.9, now=12.0)
    assert offset.seconds == pytest.approx(989.9)
    offset.answered(asked=20.0, theirs=1010.05, now=20.1)
    assert offset.seconds == pytest.approx(990.0)
    offset.answered(asked=30.0, theirs=1021.0, now=32.0)
    assert offset.seconds == pytest.approx(990.0)
    assert offset.error == pytest.approx(0.05)
