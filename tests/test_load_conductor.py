"""How a storm is led: when it begins, what it orders, and why it ends."""

from __future__ import annotations

from squall.load.conductor import Conductor, Fleet
from squall.load.storm import Load, Storm, StormStep
from squall.load.thresholds import Threshold
from squall_proxy import Fin, Refuse

RESTORED = (Threshold.parse("restored == 100%"),)
WHOLE = Fleet(users=10, whole=10)


def storm(*steps: StormStep, **said: float) -> Storm:
    return Storm(
        name="test",
        about="A test.",
        users=10,
        spawn_rate=10.0,
        duration=said.get("duration", 20.0),
        patience=said.get("patience", 5.0),
        steps=steps,
        thresholds=RESTORED,
    )


def test_the_clock_starts_at_the_first_whole_second_after_the_fleet_was_whole() -> None:
    conductor = Conductor(storm())
    assert conductor.look(1.2, Fleet(users=10, whole=9)) == ()
    assert conductor.at(1.2) is None
    conductor.look(3.4, WHOLE)
    assert conductor.began == 4.0
    assert conductor.at(5.5) == 1.5


def test_users_that_are_still_to_come_hold_the_storm_back() -> None:
    conductor = Conductor(storm())
    conductor.look(1.0, Fleet(users=9, whole=9))
    assert conductor.began is None


def test_faults_are_ordered_ahead_of_their_time_and_once() -> None:
    fin, refuse = StormStep(Fin(), at=2.0), StormStep(Refuse(), at=10.0, lasting=3.0)
    conductor = Conductor(storm(refuse, fin))
    assert conductor.look(0.5, WHOLE) == ()
    assert conductor.look(1.0, WHOLE) == (fin,)
    assert conductor.look(2.0, WHOLE) == ()
    assert conductor.look(9.5, WHOLE) == (refuse,)
    assert [phase.do for phase in conductor.phases] == ["fin", "refuse"]


def test_the_load_changes_with_its_steps_on_the_storms_clock() -> None:
    conductor = Conductor(storm(StormStep(Load(users=40, spawn_rate=5.0), at=3.0)))
    assert conductor.load(0.0) == (10, 10.0)
    conductor.look(0.5, WHOLE)
    assert conductor.load(3.9) == (10, 10.0)
    assert conductor.load(4.0) == (40, 5.0)


def test_it_ends_when_it_has_lasted_and_says_nothing() -> None:
    conductor = Conductor(storm(duration=5.0))
    conductor.look(0.5, WHOLE)
    conductor.look(5.9, WHOLE)
    assert not conductor.over
    conductor.look(6.0, WHOLE)
    assert conductor.over
    assert conductor.why == ""


def test_a_fleet_that_never_gathers_ends_it_and_says_how_far_it_came() -> None:
    conductor = Conductor(storm(patience=5.0))
    conductor.look(5.9, Fleet(users=10, whole=7))
    assert not conductor.over
    conductor.look(6.1, Fleet(users=10, whole=7))
    assert conductor.over
    assert "7 of 10 users" in conductor.why


def test_a_lost_worker_ends_it_by_name() -> None:
    conductor = Conductor(storm())
    conductor.look(1.0, WHOLE)
    conductor.look(2.0, Fleet(users=5, whole=5, lost_workers=["host (pid 7)"]))
    assert conductor.over
    assert "host (pid 7)" in conductor.why


def test_the_first_reason_is_the_one_that_stays() -> None:
    conductor = Conductor(storm())
    conductor.end("the proxy is gone")
    conductor.end("it was stopped before its time")
    assert conductor.why == "the proxy is gone"
    assert conductor.look(3.0, WHOLE) == ()
