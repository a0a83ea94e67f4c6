"""load/storm.py and load/storm_file.py: a storm is a value, and a file says the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jsonschema
import pytest
import yaml

from squall import catalogue
from squall.cli import main
from squall.errors import ScenarioError
from squall.exchange import Settings
from squall.exchange.faults.access import ExpireToken
from squall.load import storm_file
from squall.load.storm import Load, Storm, StormStep
from squall.load.thresholds import Threshold
from squall.schema import schema
from squall_proxy import Close, Fin, Latency, Refuse, Target, Throttle

GOOD = """\
storm: mine
about: It blows.
users: 100
spawn_rate: 50
patience: 30s
duration: 20s
engine: gevent
exchange: {tick: 250ms, order_updates: false}
adapter: {first_delay_max: 2.5}
channels: {trades: 2, orders: 1}
private: true
seed: 7
steps:
  - {at: 1s, do: fin}
  - {at: 2500ms, do: latency, delay: 200ms, jitter: 50ms, for: 3s, target: {fraction: 0.25}}
  - {at: 3s, do: throttle, rate: 10kB/s, for: 1s}
  - {at: 4s, do: load, users: 400, spawn_rate: 25}
  - {at: 5s, do: expire_token}
thresholds: [restored == 100%, recovery_p99 < 30s]
"""


def test_a_file_says_what_a_value_says() -> None:
    assert storm_file.parse(GOOD) == Storm(
        name="mine",
        about="It blows.",
        users=100,
        spawn_rate=50,
        patience=30.0,
        duration=20.0,
        engine="gevent",
        exchange=Settings(tick=0.25, order_updates=False),
        adapter={"first_delay_max": 2.5},
        channels={"trades": 2, "orders": 1},
        private=True,
        seed=7,
        steps=(
            StormStep(Fin(), at=1.0),
            StormStep(
                Latency(delay=0.2, jitter=0.05),
                at=2.5,
                lasting=3.0,
                target=Target(fraction=0.25),
            ),
            StormStep(Throttle(rate=10_000.0), at=3.0, lasting=1.0),
            StormStep(Load(users=400, spawn_rate=25), at=4.0),
            StormStep(ExpireToken(), at=5.0),
        ),
        thresholds=(Threshold("restored", "==", 1.0), Threshold("recovery_p99", "<", 30.0)),
    )


@pytest.mark.parametrize("name", [*catalogue.storms(), None])
def test_what_is_written_is_read_again(name: str | None) -> None:
    storm = storm_file.parse(GOOD) if name is None else storm_file.find(name)
    assert storm_file.parse(storm_file.dump(storm)) == storm


BAD = [
    ("duration: 20s", "duration: 20", "6:11: duration: durations carry a unit: 20s or 20ms"),
    ("duration: 20s", "duratoin: 20s", "Did you mean 'duration'"),
    ("do: fin", "do: fni", "14:18: unknown fault 'fni'. Did you mean 'fin'"),
    ("do: fin", "do: vanish", "'vanish' has no place in a storm"),
    ("do: fin", "do: wait", "'wait' has no place in a storm"),
    ("do: fin", "do: fin, for: 2s", "fin is over at once"),
    ("at: 1s, do: fin", "do: fin", "fin needs 'at'"),
    ("at: 1s, do: fin", "at: 1s, users: 4", "do: load, users: 500"),
    ("at: 1s, do: fin", "at: 30s, do: fin", "fin is to begin at 30 s, but the storm lasts 20 s"),
    ("do: expire_token", "do: expire_token, target: newest", "target is for faults of the line"),
    ("delay: 200ms", "dely: 200ms", "Did you mean 'delay'"),
    ("restored == 100%", "restord == 100%", "19:14: unknown metric 'restord'"),
    ("recovery_p99 < 30s", "recovery_p99 < 30", "write 30s or 30ms"),
    ("private: true", "private: false", "needs a login; add `private: true`"),
    ("users: 100", "users: 0", "users is at least 1"),
    ("spawn_rate: 50", "spawn_rate: 0", "spawn_rate is 0"),
    ("engine: gevent", "engine: geevnt", "Did you mean 'gevent'"),
    ("{tick: 250ms", "{dialect: derbit", "Did you mean 'deribit'"),
    ("storm: mine", "storm: My Storm", "kebab-case"),
]


@pytest.mark.parametrize(("old", "new", "said"), BAD)
def test_a_mistake_is_told_with_its_place(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ScenarioError) as error:
        storm_file.parse(GOOD.replace(old, new, 1), "mine.yaml")
    assert "mine.yaml:" in str(error.value)
    assert said in str(error.value)


def test_all_mistakes_are_told_at_once() -> None:
    text = GOOD.replace("do: fin", "do: fni").replace("restored", "restord")
    with pytest.raises(ScenarioError) as error:
        storm_file.parse(text)
    assert len(str(error.value).splitlines()) == 2


def test_seven_storms_are_shipped_and_are_no_scenarios() -> None:
    assert set(catalogue.storms()) == {
        "flap",
        "outage",
        "ramp",
        "rolling-restart",
        "steady",
        "thundering-herd",
        "token-expiry",
    }
    for name, path in catalogue.storms().items():
        assert storm_file.load(path).name == name
        assert path not in catalogue.shipped().values()


def test_a_storm_is_found_by_name_and_by_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert storm_file.find(str(path)).path == path
    assert storm_file.find("steady").name == "steady"
    with pytest.raises(ScenarioError, match="Did you mean 'outage'"):
        storm_file.find("outaeg")
    with pytest.raises(ScenarioError, match="there is no such file"):
        storm_file.find(str(tmp_path / "other.yaml"))


def test_a_larger_fleet_grows_with_its_steps() -> None:
    storm = storm_file.find("ramp").scaled(500)
    loads = [step.action.users for step in storm.steps if isinstance(step.action, Load)]
    assert (storm.users, loads, storm.most_users) == (500, [2000, 1000], 2000)


def test_steps_know_who_does_them() -> None:
    where = [step.where for step in storm_file.parse(GOOD).steps]
    assert where == ["proxy", "proxy", "proxy", "load", "exchange"]


def test_a_step_is_ordered_in_the_words_of_a_scenario() -> None:
    steps = storm_file.parse(GOOD).steps
    assert storm_file.order(steps[1]) == {
        "do": "latency",
        "delay": "0.2s",
        "jitter": "0.05s",
        "target": {"which": "all", "fraction": 0.25},
    }
    assert storm_file.order(steps[2]) == {"do": "throttle", "rate": "10000B/s"}
    close = StormStep(Close(1012), at=0.0, target=Target("newest"))
    assert storm_file.order(close) == {"do": "close", "code": 1012, "target": "newest"}


@pytest.mark.parametrize(
    "change",
    [
        {"steps": (StormStep(Refuse(), at=20.0),)},
        {"thresholds": ()},
        {"channels": {}},
        {"dialect": "nowhere"},
        {"users": 0},
    ],
)
def test_a_storm_built_in_python_is_checked_too(change: dict[str, object]) -> None:
    with pytest.raises(ScenarioError):
        dataclasses.replace(storm_file.parse(GOOD), **change)  # type: ignore[arg-type]


def test_the_schema_accepts_storms_and_shows_mistakes() -> None:
    said = schema("storm")
    jsonschema.Draft202012Validator.check_schema(said)
    validator = jsonschema.Draft202012Validator(said)
    for name in catalogue.storms():
        storm = storm_file.find(name)
        validator.validate(yaml.safe_load(storm_file.dump(storm)))
    validator.validate(yaml.safe_load(GOOD))
    for old, new in (("do: fin", "do: fni"), ("duration: 20s", "duration: 20"), ("at: 1s, ", "")):
        assert not validator.is_valid(yaml.safe_load(GOOD.replace(old, new, 1)))
    assert not [key for key, each in said["properties"].items() if not each.get("description")]


def test_squall_validate_knows_a_storm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    assert main(["validate", str(path)]) == 0
    assert "a storm, in order" in capsys.readouterr().out
    path.write_text(GOOD.replace("do: fin", "do: fni"))
    assert main(["validate", str(path)]) == 3
    assert "mine.yaml:14:18" in capsys.readouterr().err
