"""docs/scenarios.md tells of everything that there is, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from squall.channels import ChannelKind
from squall.checks import CHECKS
from squall.exchange import EXCHANGE_FAULTS
from squall.scenario import AdapterNeeds, Covers, Scenario
from squall.scenario_file import parse
from squall.steps import OWN_ACTIONS, State, Step
from squall.typed_yaml import keys
from squall_proxy import FAULTS, MessageFault

PAGE = (Path(__file__).parent.parent / "docs" / "scenarios.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(name: .*?)```", PAGE, re.S)


def table(heading: str) -> dict[str, str]:
    """The rows of the table under a heading, by their first word."""
    section = PAGE.partition(f"# {heading}\n")[2].partition("\n#")[0]
    return dict(re.findall(r"^\| `(\w+)`(.*)$", section, re.M))


@pytest.mark.parametrize(
    ("heading", "actions"),
    [
        ("Faults of the line", FAULTS),
        ("Faults of the exchange", EXCHANGE_FAULTS),
        ("Actions", OWN_ACTIONS),
    ],
)
def test_every_fault_and_action_is_described_with_its_settings(
    heading: str, actions: dict[str, type[Any]]
) -> None:
    rows = table(heading)
    assert set(rows) == set(actions)
    for name, action in actions.items():
        # What all message faults have stands on a page of its own.
        shared = keys(MessageFault) if issubclass(action, MessageFault) else {}
        own = [key for key in keys(action) if key not in shared]
        assert [key for key in own if f"`{key}`" not in rows[name]] == [], name


def test_every_check_is_described() -> None:
    rows = table("Checks")
    assert set(rows) == set(CHECKS)
    for name, check in CHECKS.items():
        assert f"{check.id} •".strip() in rows[name] if check.always else check.id in rows[name]
        assert ("•" in rows[name]) is check.always, name


def test_every_key_and_condition_is_described() -> None:
    known = [*keys(Scenario), *keys(Step), *keys(Covers), *keys(AdapterNeeds), "do", "variants"]
    for word in (*known, *get_args(State)):
        assert f"`{word}`" in PAGE or f"`{word}:" in PAGE, word
    for kind in get_args(ChannelKind):
        assert kind in PAGE


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_are_scenarios(text: str) -> None:
    assert parse(text, text.split()[1])


def test_the_example_of_steps_is_one() -> None:
    listed = PAGE.partition("## Steps\n\n```yaml\n")[2].partition("```")[0]
    rest = "name: x\nabout: y\nchannels: {trades: 1}\nexpect: {A4: {}}\nsteps:\n"
    assert len(parse(rest + listed, "x")[0].steps) == 26


def test_the_python_example_is_the_yaml_example_with_more_steps() -> None:
    code = PAGE.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    made, read = names["half_open"], parse(EXAMPLES[0], "half-open-twice")[0]
    assert made.steps[:2] == read.steps
    assert made.expect == read.expect
