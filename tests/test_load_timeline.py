"""load/timeline.py: what is due next, each thing once."""

from __future__ import annotations

import pytest

from squall.load import storm_file
from squall.load.storm import Storm
from squall.load.timeline import LEAD, Phase, Timeline


def storm(*steps: str) -> Storm:
    lines = "".join(f"  - {step}\n" for step in steps)
    return storm_file.parse(
        f"storm: s\nabout: a\nusers: 100\nduration: 30s\nthresholds: [users > 0]\nsteps:\n{lines}"
    )


def test_a_step_is_handed_out_once_and_ahead_of_its_instant() -> None:
    timeline = Timeline(storm("{at: 5.25s, do: fin}"))
    assert timeline.due(5.25 - LEAD - 0.01) == ()
    (step,) = timeline.due(5.25 - LEAD)
    assert step.at == 5.25
    assert timeline.due(6.0) == ()


def test_a_tick_that_comes_late_hands_out_all_that_was_missed_in_order() -> None:
    steps = ("{at: 4s, do: rst}", "{at: 1s, do: fin}", "{at: 20s, do: fin}")
    due = Timeline(storm(*steps)).due(9.0)
    assert [step.do for step in due] == ["fin", "rst"]


def test_the_load_follows_its_steps() -> None:
    timeline = Timeline(
        storm("{at: 5s, do: load, users: 400, spawn_rate: 20}", "{at: 9s, do: load, users: 50}")
    )
    assert timeline.due(30.0) == ()
    assert [timeline.load(now) for now in (0.0, 4.9, 5.0, 9.0)] == [
        (100, 100.0),
        (100, 100.0),
        (400, 20),
        (50, 100.0),
    ]
    timeline.load(9.5)
    assert [phase.label for phase in timeline.phases] == ["load 400", "load 50"]


def test_a_storm_is_over_when_its_time_is_up() -> None:
    timeline = Timeline(storm("{at: 5s, do: fin}"))
    assert not timeline.over(29.9)
    assert timeline.over(30.0)


@pytest.mark.parametrize(
    ("step", "until", "label"),
    [
        ("{at: 2s, do: fin}", 2.0, "fin"),
        ("{at: 2s, do: close, code: 1012, target: {fraction: 0.2}}", 2.0, "close 20%"),
        ("{at: 2s, do: refuse, for: 10s}", 12.0, "refuse"),
        ("{at: 2s, do: refuse, for: 100s}", 30.0, "refuse"),
        ("{at: 2s, do: latency, delay: 1s}", 30.0, "latency"),
        ("{at: 2s, do: expire_token}", 2.0, "expire_token"),
        ("{at: 2s, do: maintenance, for: 3s}", 5.0, "maintenance"),
    ],
)
def test_phases_say_from_when_to_when(step: str, until: float, label: str) -> None:
    timeline = Timeline(storm(step))
    timeline.due(2.0)
    (phase,) = timeline.phases
    assert (phase.at, phase.until, phase.label) == (2.0, until, label)
    assert Phase.from_json(phase.as_json()) == phase
