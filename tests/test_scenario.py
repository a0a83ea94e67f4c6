"""scenario.py, steps.py, channels.py and kinds.py: the values, as Python writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scenario_examples import GOOD
from squall.channels import further, resolve, resolve_fault, spell
from squall.errors import ScenarioError
from squall.exchange import EXCHANGE_FAULTS, dialect
from squall.exchange.faults import DropAck, StallChannel
from squall.kinds import EVENT_KINDS
from squall.scenario import (
    Action,
    AdapterNeeds,
    Heal,
    PauseAdapter,
    Request,
    Scenario,
    Seen,
    Step,
    StopAdapter,
    Subscribe,
    Unsubscribe,
    Wait,
    repeat,
)
from squall.steps import ACTIONS, OWN_ACTIONS
from squall.typed_yaml import keys
from squall_proxy import FAULTS, Blackhole, DropMessage, Flap, Pattern, Rst, Target

ROOT = Path(__file__).parent.parent
DERIBIT = dialect("deribit")
RST = Rst()


def scenario(**changes: Any) -> Scenario:
    usual: dict[str, Any] = {
        "name": "half-open",
        "about": "The line goes dead.",
        "channels": {"trades": 2, "book": 1},
        "steps": (Step(RST),),
        "expect": {"subscriptions_restored": {}},
    }
    return Scenario(**(usual | changes))


def test_a_scenario_needs_no_file() -> None:
    made = scenario(steps=(Step(Blackhole(), until="abandoned", at_most=60.0),))
    assert made.as_dict()["steps"] == [
        {
            "do": "blackhole",
            "settings": {"direction": "both"},
            "timing": {"until": "abandoned", "at_most": 60.0},
            "target": "all",
        }
    ]


def test_a_scenario_survives_json() -> None:
    said = Scenario.parse(GOOD, "good").as_dict()
    assert json.loads(json.dumps(said)) == said
    assert said["exchange"]["dialect"] == "deribit"
    assert said["exchange"]["ack_latency"] == 0.015
    assert said["expect"]["detects_silence"] == {"within": 60.0}


def test_no_setting_of_a_step_can_hide_another() -> None:
    flap = Step(Flap(after=1.0), after=2.0)
    assert flap.as_dict()["settings"]["after"] == 1.0
    assert flap.as_dict()["timing"]["after"] == 2.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Half Open"}, "not kebab-case"),
        ({"steps": ()}, "steps: a scenario needs at least one"),
        ({"channels": {}}, "channels: a scenario needs at least one"),
        ({"expect": {}}, "expect: a scenario needs at least one"),
        ({"dialect": "derbit"}, "unknown dialect 'derbit'. Did you mean 'deribit'?"),
        ({"expect": {"A4": {}}}, "call 'A4' by its name, 'subscriptions_restored'"),
        ({"expect": {"detects_silence": {"witin": 1}}}, "Did you mean 'within'?"),
        ({"steps": repeat(10_001, Step(RST))}, "10000 is the limit"),
    ],
)
def test_a_wrong_value_is_refused_in_python_too(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(said)):
        scenario(**changes)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Step(RST, at=1.0, when="steady"), "begins at one moment"),
        (lambda: Step(RST, lasting=1.0, until="steady"), "ends once"),
        (lambda: Step(Wait()), "wait needs an end"),
        (lambda: Step(PauseAdapter(), until="steady"), "pause_adapter needs an end"),
        (lambda: Step(Heal(), target=Target("newest")), "target is for faults of the line"),
        (lambda: Seen("dialed"), "unknown event 'dialed'. Did you mean 'dialled'?"),
        (lambda: Seen("closed"), "reported by proxy and exchange"),
        (lambda: Step(Unsubscribe(("trade/1",))), "unknown kind of channel 'trade'"),
    ],
)
def test_a_step_is_refused_that_makes_no_sense(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(said)):
        make()


def test_what_the_steps_do_is_what_the_adapter_must_support() -> None:
    made = scenario(
        adapter=AdapterNeeds(needs=("private",)),
        steps=(
            Step(Subscribe({"trades": 1})),
            Step(Unsubscribe(("trades/1",))),
            Step(Request("private/buy")),
            Step(PauseAdapter(), lasting=5.0),
        ),
    )
    assert made.needs == {"private", "subscribe", "unsubscribe", "request", "process"}
    assert scenario().needs == frozenset()


def test_who_waits_for_a_login_needs_an_adapter_that_logs_in() -> None:
    for step in (
        Step(Rst(), when=Seen("auth_requested")),
        Step(Blackhole(), until=Seen("auth_failed")),
    ):
        assert scenario(steps=(step,)).needs == {"private"}


@pytest.mark.parametrize(
    ("action", "private"),
    [
        (DropMessage(since=Pattern(where={"method": "public/auth"}), same="id"), True),
        (DropMessage(direction="client_to_server", where={"op": "auth"}), True),
        (DropMessage(direction="client_to_server", where={"method": "private/buy"}), True),
        (DropMessage(since=Pattern(where={"method": "public/subscribe"}), same="id"), False),
        (DropMessage(where={"params.channel": "book.*"}), False),
        (DropAck(method="auth"), True),
        (DropAck(method="subscribe"), False),
    ],
)
def test_who_waits_for_a_private_message_needs_an_adapter_that_logs_in(
    action: Action, private: bool
) -> None:
    assert ("private" in scenario(steps=(Step(action),)).needs) == private


def test_a_scenario_over_tls_needs_an_adapter_that_can() -> None:
    assert scenario(tls=True).needs == {"tls"}


def test_an_adapter_may_exit_where_it_is_told_to_or_ought_to_give_up() -> None:
    assert not scenario().adapter_may_exit
    assert scenario(steps=(Step(StopAdapter()),)).adapter_may_exit
    assert scenario(expect={"gives_up_on_bad_credentials": {}}).adapter_may_exit


def test_the_kinds_of_events_are_those_of_the_history_page() -> None:
    page = (ROOT / "docs" / "history.md").read_text(encoding="utf-8")
    for source, section in re.findall(r"^## (\w+):(.*?)(?=^## |\Z)", page, re.M | re.S):
        rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", section, re.M)
        kinds = [kind for row in rows for kind in re.findall(r"`(\w+)`", row)]
        assert sorted(EVENT_KINDS[source]) == sorted(kinds)
    assert len(re.findall(r"^## (\w+):", page, re.M)) == len(EVENT_KINDS)


def test_every_word_after_do_means_one_thing() -> None:
    assert len(ACTIONS) == len(FAULTS) + len(EXCHANGE_FAULTS) + len(OWN_ACTIONS)
    # An author who writes `after` for a step of its own would get a flap's setting: no others.
    shared = {
        (name, key) for name, each in ACTIONS.items() for key in keys(each) if key in keys(Step)
    }
    assert shared <= {("flap", "after")}
    assert all(not {"do", "repeat", "steps"} & set(keys(each)) for each in ACTIONS.values())


def test_channels_are_spelt_by_the_venue() -> None:
    assert spell({"trades": 2, "book": 1}, DERIBIT) == [
        *DERIBIT.channels("trades", 2),
        *DERIBIT.channels("book", 1),
    ]
    assert spell(("a", "b"), DERIBIT) == ["a", "b"]
    with pytest.raises(ScenarioError, match="channels: trades: 1000000: "):
        spell({"trades": 1_000_000}, DERIBIT)


def test_further_channels_are_none_that_the_adapter_holds() -> None:
    wanted = spell({"trades": 2, "book": 1}, DERIBIT)
    assert further({"trades": 2}, wanted, DERIBIT) == DERIBIT.channels("trades", 4)[2:]
    without_first = wanted[1:]
    assert further({"trades": 1}, without_first, DERIBIT) == DERIBIT.channels("trades", 1)
    assert further(("trades/1", "x"), wanted, DERIBIT) == [wanted[0], "x"]


def test_a_reference_counts_among_the_channels_of_its_kind() -> None:
    wanted = spell({"book": 1, "trades": 2}, DERIBIT)
    assert resolve("trades/2", wanted, DERIBIT) == wanted[2]
    assert resolve("book/1", wanted, DERIBIT) == wanted[0]
    assert resolve(wanted[1], wanted, DERIBIT) == wanted[1]
    for reference, said in {
        "trades/3": "the adapter holds 2 of the kind 'trades'; right would be trades/1 to trades/2",
        "trades/0": "right would be trades/1",
        "ticker/1": "holds no channel of the kind 'ticker'",
    }.items():
        with pytest.raises(ScenarioError, match=said):
            resolve(reference, wanted, DERIBIT)


def test_a_fault_of_a_channel_gets_its_full_name() -> None:
    wanted = spell({"trades": 2}, DERIBIT)
    second = StallChannel(channel="trades/2")
    assert resolve_fault(second, wanted, DERIBIT) == StallChannel(channel=wanted[1])
    assert resolve_fault(StallChannel(), wanted, DERIBIT) == StallChannel()
    assert resolve_fault(RST, wanted, DERIBIT) is RST
