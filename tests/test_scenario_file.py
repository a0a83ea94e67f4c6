"""scenario_file.py: from YAML to a Scenario, and what is said of mistakes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenario_examples import ALIASES, BAD_SCENARIOS, GOOD, GOOD_SCENARIOS, SMALL, VARIANTS, Bad
from squall.errors import ScenarioError
from squall.exchange import EXCHANGE_FAULTS, Settings
from squall.scenario import Covers, Heal, Request, Sample, Scenario, Seen, Subscribe, Wait
from squall.scenario_file import parse
from squall_proxy import FAULTS, Close, Target

PLACE = re.compile(r"[^:\n]+:\d+:\d+: \S")


def mistakes(text: str, name: str = "good") -> list[str]:
    try:
        parse(text, name)
    except ScenarioError as error:
        return str(error).split("\n")
    return []


def steps(*lines: str) -> str:
    listed = "\n".join(f"  - {line}" for line in lines)
    return SMALL.replace("steps: [{do: rst}]", f"steps:\n{listed}")


def test_every_key_of_a_scenario_arrives_in_its_value() -> None:
    scenario = Scenario.parse(GOOD, "good")
    assert scenario.covers == Covers(
        catalogue=("B-01",),
        guide=(2, "drop_connection"),
        bugs=("https://github.com/ccxt/ccxt/issues/20946",),
    )
    assert scenario.channels == {"trades": 2, "book": 2, "ticker": 1, "orders": 1}
    assert scenario.dialect == "deribit"
    assert scenario.exchange == Settings(ack_latency=0.015, token_lifetime=60.0)
    assert scenario.adapter.settings == {"silence_timeout": 3, "urls": ["a", None]}
    assert scenario.clocks == ("real", "virtual")
    assert scenario.seed == 7
    assert (scenario.settle, scenario.calm) == (30.0, 2.0)


def test_a_step_carries_its_fault_its_moment_and_its_end() -> None:
    found = Scenario.parse(GOOD, "good").steps
    assert (found[0].do, found[0].action, found[0].line) == ("rst", FAULTS["rst"](), 13)
    assert (found[1].until, found[1].at_most) == ("abandoned", 60.0)
    assert (found[2].when, found[2].target) == (Seen("auth_requested", nth=2), Target("newest"))
    assert (found[3].at, found[3].lasting) == (5.0, 20.0)
    assert found[4].after == 1.5
    assert found[4].as_dict()["settings"]["rate"] == 10_000.0
    assert found[5].as_dict()["settings"]["headers"] == {"Retry-After": "10"}
    assert isinstance(found[6].action, EXCHANGE_FAULTS["delay_ack"])


def test_repeat_unrolls_into_steps() -> None:
    found = Scenario.parse(GOOD, "good").steps
    assert [step.do for step in found[8:38]] == ["rst", "wait", "sample"] * 10
    assert [step.line for step in found[8:11]] == [23, 24, 25]
    nested = steps("{repeat: 3, steps: [{do: sample}, {repeat: 2, steps: [{do: rst}]}]}")
    assert [s.do for s in Scenario.parse(nested, "small").steps] == ["sample", "rst", "rst"] * 3


def test_the_actions_of_the_harness_are_read_like_faults() -> None:
    found = Scenario.parse(GOOD, "good").steps
    assert [step.action for step in found[38:]][:2] == [Heal(), Subscribe({"trades": 1})]
    assert Request("private/buy", {"amount": 10}, 10) in [step.action for step in found]
    assert Sample() in [step.action for step in found]


def test_expectations_go_by_the_name_of_their_check_and_keep_only_what_was_said() -> None:
    assert Scenario.parse(GOOD, "good").expect == {
        "detects_silence": {"within": 60.0},
        "subscriptions_restored": {},
        "one_connection": {},
    }


def test_aliases_and_merge_keys_save_typing() -> None:
    found = Scenario.parse(ALIASES, "aliases").steps
    assert [step.lasting for step in found] == [3.0, 3.0, 5.0]


def test_a_setting_of_a_fault_wins_over_a_key_of_the_step() -> None:
    flap = Scenario.parse(steps("{do: flap, after: 2s}"), "small").steps[0]
    assert flap.after is None
    assert flap.as_dict()["settings"]["after"] == 2.0


def test_each_variant_is_a_scenario_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "variants.yaml"
    path.write_text(VARIANTS)
    found = Scenario.load_all(path)
    assert [scenario.name for scenario in found] == ["variants-1000-1s", "variants-4000-0-5s"]
    assert found[0].about == "A close with code 1000."
    assert found[1].steps[0].action == Close(code=4000, reason="code 4000")
    assert found[1].steps[1].lasting == 0.5
    assert found[0].path == path
    with pytest.raises(ScenarioError, match="holds several scenarios, variants-1000-1s, variants-"):
        Scenario.load(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("code: 4000", "code: 1006", "8:5: "),
        ("code: 4000", "code: x", "6:12: code is a whole number, such as 3; found 'x'"),
        ("code: 4000", "code: [1]", "6:12: code is one value; found a list"),
        ("code: 4000", "cod: 4000", "2:8: no variant has a value for 'code'. Did you mean 'cod'?"),
        ("4000, pause: 0.5s", "1000, pause: 1s", "6:5: a second variant called '1000-1s'"),
        ("- {code: 4000", "- {more: 1, code: 4000", "6:12: 'more' is used nowhere"),
        ("  - {code: 4000, pause: 0.5s}", "  - {}", "6:5: a variant is named after its values;"),
        ("0.5s", "5", "6:25: for: durations carry a unit: 5s or 5ms"),
        (
            "${pause}",
            "${pausee}",
            "9:21: no variant has a value for 'pausee'. Did you mean 'pause'",
        ),
    ],
)
def test_a_mistake_in_a_variant_is_reported_where_it_stands(old: str, new: str, said: str) -> None:
    assert any(line.startswith(f"v:{said}") for line in mistakes(VARIANTS.replace(old, new), "v"))


def test_variants_are_a_list() -> None:
    assert mistakes(SMALL + "variants: {code: 1}\n", "small") == [
        "small:6:11: variants are a list, such as [{code: 1000}]; found a mapping"
    ]


@pytest.mark.parametrize("bad", BAD_SCENARIOS, ids=lambda bad: f"{bad.old}-{bad.new}")
def test_a_mistake_is_reported_with_its_place_and_the_right_word(bad: Bad) -> None:
    said = mistakes(bad.of(GOOD))
    assert said[0].startswith(f"good:{bad.said}")
    assert all(PLACE.match(line) for line in said)


def test_all_mistakes_of_a_file_are_reported_in_one_go() -> None:
    text = GOOD.replace("do: blackhole", "do: latnecy").replace("seed: 7", "seed: x")
    text = text.replace("within: 60s", "witin: 60s").replace("trades: 2", "trade: 2")
    assert [line.split(": ")[0] for line in mistakes(text)] == [
        "good:7:12",
        "good:11:7",
        "good:14:10",
        "good:33:21",
    ]


def test_so_many_mistakes_are_cut_short() -> None:
    said = mistakes(steps(*["{do: rts}"] * 50), "small")
    assert len(said) == 21
    assert said[-1] == "small: and 30 more of these"


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but words\n", "---\n", "~", "--- \n..."])
def test_an_empty_file_says_what_a_scenario_needs(text: str) -> None:
    assert mistakes(text) == [
        "good:1:1: is empty; a scenario needs at least name, about, channels, steps, expect"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\n\tabout: b", "2:1: a tab; YAML is indented with spaces"),
        ("name: a\n---\nname: b", "2:1: a second document; one file holds one"),
        ("about: this: that", "1:12: a ': ' that cannot stand here"),
        ("name: {a: b", "1:12: is not YAML: expected ',' or '}'"),
        ("name: *missing", "1:7: is not YAML: found undefined alias"),
        ("name: &a [*a]", "1:7: holds an alias to itself"),
        ("name: a\x00", "1:1: a character that no text has"),
        ("name: !!python/object/apply:os.abort []", "1:7: the tag 'tag:yaml.org,2002:python/"),
        ("- name: good", "1:1: a scenario is a mapping of keys to values; found a list"),
        ("just words", "1:1: a scenario is a mapping of keys to values; found 'just words'"),
        ("? [a, b]\n: c", "1:3: a key is one word; found a list"),
        ("[" * 3000, "1:1: is nested too deeply"),
        ("about: " + "{a: " * 3000, "1:1: is nested too deeply"),
    ],
)
def test_text_that_is_no_scenario_gets_one_plain_line(text: str, said: str) -> None:
    found = mistakes(text)
    assert len(found) == 1
    assert found[0].startswith(f"good:{said}")


def test_a_billion_laughs_are_refused_before_they_unfold() -> None:
    laughs = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    laughs += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert mistakes("\n".join(laughs))[0].endswith("unfolds into more than 100000 values")


def test_repeats_within_repeats_do_not_fill_the_memory() -> None:
    inner = "{do: rst}"
    for _ in range(12):
        inner = f"{{repeat: 1000, steps: [{inner}]}}"
    assert "is the limit" in mistakes(steps(inner), "small")[0]


def test_the_name_of_the_file_is_the_name_of_the_scenario(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert Scenario.load(path) == Scenario.parse(GOOD, "good")
    assert Scenario.load(path).path == path
    wrong = tmp_path / "other.yaml"
    wrong.write_text(GOOD)
    with pytest.raises(ScenarioError, match="name is 'good', but the file is called 'other'"):
        Scenario.load(str(wrong))


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert Scenario.load(path).name == "small"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    binary, huge = tmp_path / "binary.yaml", tmp_path / "huge.yaml"
    binary.write_bytes(b"name: a\n\xff\xfe\x00\x01")
    huge.write_bytes(b"#" * (2 << 20))
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    for path, said in [
        (tmp_path / "missing.yaml", "there is no such file"),
        (tmp_path, "is a folder; name a YAML file in it"),
        (binary, "is not UTF-8 text"),
        (huge, "is larger than"),
        (loop, "cannot be read"),
        (Path("nul\0.yaml"), "cannot be read"),
    ]:
        with pytest.raises(ScenarioError) as caught:
            Scenario.load(path)
        assert str(caught.value).startswith(f"{path}:")
        assert said in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text(SMALL)
    path.chmod(0)
    with pytest.raises(ScenarioError, match=r"cannot be read: Permission denied"):
        Scenario.load(path)


WORDS = [
    *re.findall(r"\w+|[^\w\s]", GOOD),
    "\n",
    "\t",
    "  ",
    "&a",
    "*a",
    "<<",
    "!",
    "%",
    "\x85",
    "é",
]


@st.composite
def mutations(draw: st.DrawFn) -> tuple[str, str]:
    """A good file in which a few characters, words or lines were changed."""
    name = draw(st.sampled_from(sorted(GOOD_SCENARIOS)))
    text = GOOD_SCENARIOS[name]
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        new = draw(st.one_of(st.sampled_from(WORDS), st.text(max_size=5), st.just("")))
        text = text[:begin] + new + text[end:]
    return name, text


@settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(mutations())
def test_whatever_is_wrong_with_a_file_its_place_is_told(mutation: tuple[str, str]) -> None:
    name, text = mutation
    for line in mistakes(text, name):
        assert PLACE.match(line) or line.endswith("more of these")


def test_a_step_that_only_waits_needs_an_end() -> None:
    assert mistakes(steps("{do: wait}"), "small") == [
        "small:5:5: wait needs an end: for: 3s, or until: steady"
    ]
    assert Scenario.parse(steps("{do: wait, for: 0}"), "small").steps[0].action == Wait()
