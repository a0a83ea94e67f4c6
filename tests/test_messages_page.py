"""docs/messages.md tells of every rule on messages, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from squall.scenario_file import parse
from squall.typed_yaml import hints, keys
from squall_proxy import FAULTS, Compression, MalformMessage, MessageFault, Pattern, TamperUpgrade
from squall_proxy.patterns import Opcode

PAGE = (Path(__file__).parent.parent / "docs" / "messages.md").read_text(encoding="utf-8")
STEPS = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


def rows(heading: str) -> dict[str, str]:
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)`(.*)$", section, re.M))


def test_every_rule_is_described_with_its_settings() -> None:
    table, shared = rows("What is done to them"), keys(MessageFault)
    rules = {name: each for name, each in FAULTS.items() if issubclass(each, MessageFault)}
    assert set(rules) <= set(table)
    for name, rule in rules.items():
        own = [key for key in keys(rule) if key not in shared]
        assert [key for key in own if f"`{key}`" not in table[name]] == [], name


def test_every_key_of_a_pattern_is_described() -> None:
    assert set(rows("Which messages")) >= set(keys(MessageFault)) >= set(keys(Pattern))


@pytest.mark.parametrize(
    "annotation",
    [Opcode, Compression, hints(MalformMessage)["kind"], hints(TamperUpgrade)["kind"]],
)
def test_every_word_is_described(annotation: Any) -> None:
    for word in get_args(annotation):
        assert f"`{word}`" in PAGE or f'`"{word}"`' in PAGE or f'="{word}"' in PAGE, word


def test_every_way_with_an_offer_of_compression_is_described() -> None:
    assert set(rows("Compression")) - {"compression"} == set(get_args(Compression))
    assert all(f"`{each}`" in PAGE for each in ("permessage_deflate", "max_message_bytes"))


@pytest.mark.parametrize("steps", STEPS)
def test_the_examples_are_steps(steps: str) -> None:
    head = "name: x\nabout: y\nchannels: {trades: 1}\nexpect: {A4: {}}\nsteps:\n"
    (scenario,) = parse(head + steps, "x")
    assert len(scenario.steps) == steps.count("do: ")


def test_the_python_example_runs() -> None:
    exec(PAGE.partition("```python\n")[2].partition("```")[0], {})
