"""typed_yaml.py and yaml_source.py: annotations as a file format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squall.errors import ScenarioError
from squall.typed_yaml import AtLeast, Matches, OneOf, build, keys, required
from squall.yaml_source import compose, json_value, located


@dataclass(frozen=True)
class Inner:
    word: Literal["both", "up", 3] = "both"
    least: Annotated[int, AtLeast(2)] = 2

    def __post_init__(self) -> None:
        if self.least > 9:
            raise ValueError(f"least is {self.least};\nnine is the most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    delay: Annotated[float, "seconds"]
    rate: Annotated[float, "bytes per second"] = 1.0
    ratio: float | None = None
    on: bool = False
    text: str = ""
    names: tuple[str, ...] = ()
    some: Annotated[tuple[int, ...], AtLeast(1)] = (1,)
    env: Mapping[str, str] = field(default_factory=dict)
    either: Mapping[Literal["a", "b"], int] | tuple[str, ...] = ()
    number: Literal["all"] | int = "all"
    venue: Annotated[str, OneOf("venue", ("deribit", "kraken"))] = "deribit"
    link: Annotated[str, Matches(r"https://\S+", "a link")] | None = None
    inner: Inner = field(default_factory=Inner)
    verbatim: Any = None
    renamed: int = field(default=0, metadata={"key": "for"})
    hidden: int = field(default=0, metadata={"key": None})


def parse(text: str) -> Outer:
    with located("f.yaml", ScenarioError):
        return build(Outer, compose(text, "is empty"), "outer")


def mistakes(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    return [line.removeprefix("f.yaml:") for line in str(caught.value).split("\n")]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("200ms", 0.2),
        ("5s", 5.0),
        ("1.5m", 90.0),
        ("24h", 86_400.0),
        (".5 s", 0.5),
        ("250us", 0.00025),
        ("'5s'", 5.0),
        ("0", 0.0),
    ],
)
def test_a_duration_carries_its_unit(written: str, seconds: float) -> None:
    assert parse(f"delay: {written}").delay == seconds


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("5", "durations carry a unit: 5s or 5ms"),
        ("0.5", "durations carry a unit: 0.5s or 0.5ms"),
        ("5 sek", "unknown unit 'sek' in '5 sek'. Known: h, m, ms, s, us."),
        ("5m/s", "unknown unit 'm/s' in '5m/s'. Did you mean 'ms'?"),
        ("5 S", "unknown unit 'S' in '5 S'"),
        ("s", "delay is a number with its unit: 200ms, 5s, 2m or 1h; found 's'"),
        ("-5s", "found '-5s'"),
        ("1m30s", "found '1m30s'"),
        ("1e3s", "found '1e3s'"),
        ("inf", "found 'inf'"),
        ("9999999999999s", "found '9999999999999s'"),
        ("[5s]", "found a list"),
        ("", "found nothing"),
    ],
)
def test_a_wrong_duration_says_what_is_right(written: str, said: str) -> None:
    assert said in mistakes(f"delay: {written}")[0]


@given(st.decimals(0, 10**9, places=3, allow_nan=False))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_duration_is_as_exact_as_a_float_can_be(amount: Any) -> None:
    assert parse(f"delay: {amount}s").delay == float(amount)


def test_a_rate_may_be_bare() -> None:
    assert parse("{delay: 0, rate: 1000}").rate == 1000.0
    assert parse("{delay: 0, rate: 10kB/s}").rate == 10_000.0
    assert "Did you mean 'kB/s'" in mistakes("{delay: 0, rate: 10KB/s}")[0]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("ratio: 1e3", "ratio", 1000.0),
        ("ratio: 3", "ratio", 3.0),
        ("ratio: null", "ratio", None),
        ("on: true", "on", True),
        ("on: False", "on", False),
        ("text: 010", "text", "010"),
        ("text: yes", "text", "yes"),
        ("text: ''", "text", ""),
        ("names: [a, 1, 2024-01-01]", "names", ("a", "1", "2024-01-01")),
        ("env: {PORT: 8080, ON: yes}", "env", {"PORT": "8080", "ON": "yes"}),
        ("either: {a: 1}", "either", {"a": 1}),
        ("either: [a]", "either", ("a",)),
        ("number: 010", "number", 10),
        ("number: all", "number", "all"),
        ("venue: kraken", "venue", "kraken"),
        ("inner: {word: 3}", "inner", Inner(word=3)),
        ("inner: {}", "inner", Inner()),
        ("for: 4", "renamed", 4),
    ],
)
def test_what_is_written_is_what_arrives(text: str, name: str, value: Any) -> None:
    assert getattr(parse(f"delay: 1s\n{text}"), name) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ratio: .nan", "2:8: ratio is a number, such as 0.5; found '.nan'"),
        ("ratio: '1'", "2:8: ratio is a number, such as 0.5; found '1'"),
        ("on: yes", "2:5: on is true or false; found 'yes'"),
        ("on: 1", "2:5: on is true or false; found '1'"),
        ("text: [a]", "2:7: text is a text; found a list"),
        ("text:", "2:6: text has no value here"),
        ("names: a b", "2:8: names is a list, such as [a, b]; found 'a b'"),
        ("names: {a: b}", "2:8: names is a list, such as [a, b]; found a mapping"),
        ("some: []", "2:7: some has at least 1; found 0"),
        ("some: [1, x, y]", "2:11: some is a whole number, such as 3; found 'x'"),
        ("env: [a]", "2:6: env is a mapping of keys to values; found a list"),
        ("either: a", "2:9: either is a mapping, such as {a: 1}, or a list, such as [a, b];"),
        ("either: {c: 1}", "2:10: unknown key 'c'. Known: a, b."),
        ("number: al", "2:9: unknown number 'al'. Did you mean 'all'?"),
        ("number: 1.5", "2:9: unknown number '1.5'."),
        ("venue: krakn", "2:8: unknown venue 'krakn'. Did you mean 'kraken'?"),
        ("link: http://x", "2:7: link is a link; found 'http://x'"),
        ("inner: {word: down}", "2:15: unknown word 'down'. Known: 3, both, up."),
        ("inner: {least: 1}", "2:16: least is at least 2; found '1'"),
        ("inner: {least: 10}", "2:8: least is 10; nine is the most"),
        ("inner: both", "2:8: inner is a mapping of keys to values; found 'both'"),
        ("inner: {leats: 3}", "2:9: inner has no 'leats'. Did you mean 'least'?"),
        ("renamed: 3", "2:1: outer has no 'renamed'."),
        ("hidden: 3", "2:1: outer has no 'hidden'."),
        ("delay: 2s", "2:1: the key 'delay' is here a second time; the first is in line 1"),
        ("number: 99999999999999999999", "2:9: unknown number '99999999999999999999'."),
    ],
)
def test_a_mistake_says_where_what_and_what_would_be_right(text: str, said: str) -> None:
    assert mistakes(f"delay: 1s\n{text}")[0].startswith(said)


def test_a_misspelt_key_is_not_reported_as_missing_too() -> None:
    assert mistakes("delya: 5s") == ["1:1: outer has no 'delya'. Did you mean 'delay'?"]
    assert mistakes("text: a") == ["1:1: outer needs 'delay'"]


def test_all_mistakes_come_in_the_order_of_the_file() -> None:
    found = mistakes("ratio: x\nnames: [a, [b]]\nsome: [1, x, y]\ninner: {word: down, lest: 3}")
    assert [line.partition(": ")[0] for line in found] == [
        "1:1",
        "1:8",
        "2:12",
        "3:11",
        "3:14",
        "4:15",
        "4:21",
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[1, 1.5, -3, 1e2, 010]", [1, 1.5, -3, 100.0, 10]),
        ("[x, null, ~, true, False]", ["x", None, None, True, False]),
        ("['5', \"no\", 1:30]", ["5", "no", "1:30"]),
        ("[0x10, 1_000, 2024-01-01, .inf]", ["0x10", "1_000", "2024-01-01", ".inf"]),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("x: {<<: [{a: 1}, {a: 2, b: 2}]}", {"x": {"a": 1, "b": 2}}),
        ("'<<': a", {"<<": "a"}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
    ],
)
def test_verbatim_values_are_the_core_schema_of_yaml_1_2(text: str, value: Any) -> None:
    assert json_value(compose(text, "is empty")) == value


def test_a_yes_that_is_no_word_and_no_truth_is_refused() -> None:
    assert mistakes("delay: 1s\nverbatim: {a: off}") == [
        "2:15: 'off' is true to some and a word to others: write true, or quote it"
    ]
    assert parse("delay: 1s\nverbatim: {a: 'off'}").verbatim == {"a": "off"}


def test_keys_and_what_must_stand_there_come_from_the_dataclass() -> None:
    assert required(Outer) == ["delay"]
    assert "for" in keys(Outer)
    assert not {"renamed", "hidden"} & set(keys(Outer))


def test_odd_text_is_shown_on_one_line() -> None:
    long = mistakes(f'delay: "{"x" * 500}\\n\\u0007\\u2028"')
    assert len(long) == 1
    assert len(long[0]) < 200
    assert long[0].isprintable()
