"""Profiles: thresholds by name, from Squall or from a file."""

from pathlib import Path

import pytest

from squall.checks import CHECKS
from squall.checks.dialling import NoStorm
from squall.checks.liveness import DetectsSilence
from squall.errors import ScenarioError
from squall.profile import PROFILES, load_profile


def test_three_profiles_are_shipped() -> None:
    assert PROFILES == ("default", "lenient", "strict")
    assert [load_profile(name).name for name in PROFILES] == list(PROFILES)


def test_the_default_profile_says_what_the_checks_say_themselves() -> None:
    thresholds = load_profile("default").thresholds
    own = {name: check().as_dict() for name, check in CHECKS.items()}
    assert thresholds == {name: parameters for name, parameters in own.items() if parameters}


@pytest.mark.parametrize("name", CHECKS)
def test_lenient_forgives_more_than_default_and_strict_less(name: str) -> None:
    own = CHECKS[name]().as_dict()
    for profile, forgives in (("strict", False), ("lenient", True)):
        for parameter, value in load_profile(profile).thresholds.get(name, {}).items():
            assert value == own[parameter] or (value > own[parameter]) is forgives


def test_what_the_scenario_says_wins_over_the_profile() -> None:
    checks = load_profile("strict").checks({"no_storm": {"dials": 3}, "detects_silence": {}})
    assert NoStorm(dials=3, handful=0) in checks
    assert DetectsSilence(within=20.0) in checks


def test_thresholds_of_what_is_always_judged_hold_too() -> None:
    stop = next(c for c in load_profile("strict").checks({}) if c.name == "clean_stop")
    assert stop.as_dict() == {"within": 2.0, "reaction": 1.0}


def test_a_file_is_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("detects_silence: {within: 2m}\n")
    profile = load_profile(str(path))
    assert profile.name == "ours"
    assert profile.thresholds == {"detects_silence": {"within": 120.0}}


def test_a_misspelt_profile_is_corrected() -> None:
    with pytest.raises(ScenarioError, match=r"unknown profile 'strickt'\. Did you mean 'strict'"):
        load_profile("strickt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("detect_silence: {within: 5s}", r":1:1: unknown check 'detect_silence'\. Did you mean"),
        ("detects_silence: {witin: 5s}", r":1:19: .*'witin'\. Did you mean 'within'"),
        ("detects_silence: {within: 5}", r":1:27: .*durations carry a unit"),
        ("no_storm: {dials: many}", r":1:19: dials is a whole number"),
        ("- a", r":1:1: a profile is a mapping"),
        ("", "is empty"),
    ],
)
def test_mistakes_are_shown_where_they_are(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        load_profile(str(path))


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="there is no such file"):
        load_profile(str(tmp_path / "none.yaml"))
