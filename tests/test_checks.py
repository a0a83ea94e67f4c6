"""All checks together: the table, what is judged when, and that none ever crashes."""

import dataclasses
import random
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from squall.checks import CHECKS, check_named, checks_for, expectations, judge, metrics
from squall.checks.base import Check, Seconds
from squall.checks.coverage import Exercised
from squall.checks.liveness import DetectsSilence
from squall.checks.timeline import Timeline
from squall.errors import HistoryError, ScenarioError
from squall.history import Event, History
from squall.kinds import EVENT_KINDS
from squall.verdict import Outcome, Verdict
from story import BOOK, ORDERS, TRADES, Story, is_unknown, passes, reset_story, steady_story

# -- the table -------------------------------------------------------------------------------


def test_every_check_is_found_by_its_name_and_by_its_id() -> None:
    for name, check in CHECKS.items():
        assert check_named(name) is check
        if check.id:
            assert check_named(check.id) is check


def test_ids_are_unique() -> None:
    ids = [check.id for check in CHECKS.values() if check.id]
    assert len(ids) == len(set(ids))


def test_a_misspelt_check_is_corrected() -> None:
    with pytest.raises(ScenarioError, match=r"'detect_silence'\. Did you mean 'detects_silence'"):
        check_named("detect_silence")


@pytest.mark.parametrize("name", CHECKS)
def test_every_parameter_has_a_default_and_a_type_that_a_file_can_hold(name: str) -> None:
    check = CHECKS[name]
    assert check() == check()
    types = typing.get_type_hints(check, include_extras=True)
    for each in dataclasses.fields(check):
        assert types[each.name] in (Seconds, int, float, bool, str)


def test_what_is_always_judged_comes_without_asking() -> None:
    found = [check.name for check in checks_for({"detects_silence": {"within": 5.0}})]
    always = {name for name, check in CHECKS.items() if check.always}
    assert always == {
        "exercised",
        "stays_alive",
        "one_connection",
        "auth_before_private",
        "no_errors",
        "keeps_secrets",
        "clean_stop",
    }
    assert set(found) == always | {"detects_silence"}


def test_a_misspelt_parameter_is_corrected() -> None:
    with pytest.raises(ScenarioError, match=r"no parameter 'witin'\. Did you mean 'within'"):
        checks_for({"detects_silence": {"witin": 5.0}})


# -- judging ---------------------------------------------------------------------------------


class Crashing(Check):
    name = "crashing"

    def _look(self, timeline: Timeline) -> Verdict:
        raise ZeroDivisionError("oops")


def test_a_check_that_crashes_is_unknown_and_the_others_still_speak() -> None:
    judged = judge(reset_story().history, [Crashing(), DetectsSilence(), Exercised()])
    assert is_unknown(judged[0].verdict, "the check itself crashed: ZeroDivisionError: oops")
    assert [j.verdict.outcome for j in judged[1:]] == [Outcome.UNKNOWN, Outcome.PASS]


def test_a_saved_run_is_judged_as_it_was_live(tmp_path: Path) -> None:
    story = reset_story(expect={"reconnects": {"within": 3.0}, "data_resumes": {}})
    story.stop(65, 2)
    history = story.history
    path = tmp_path / "history.jsonl"
    history.save(path)
    loaded = History.load(path)
    first = loaded.first("run_started")
    assert first is not None
    checks = expectations(first)
    assert next(c for c in checks if c.name == "reconnects").as_dict()["within"] == 3.0
    saved = [(j.check, j.verdict.outcome, j.verdict.why) for j in judge(loaded, checks)]
    assert saved == [(j.check, j.verdict.outcome, j.verdict.why) for j in judge(history, checks)]


@pytest.mark.parametrize("expect", [{"no_such": {}}, {"reconnects": {"nope": 1}}, ["A1"], 7])
def test_a_history_with_unknown_expectations_is_refused(expect: Any) -> None:
    with pytest.raises(HistoryError, match="expect"):
        expectations(Event(0, "scenario", "run_started", None, {"expect": expect}))


def test_never_steady_leaves_only_what_needs_no_steadiness() -> None:
    story = Story(private=(ORDERS,))
    story.connect(0.5, 1)
    story.subscribe(0.6, 1, TRADES)
    story.see(30, "scenario.stopping")
    story.stop(30, 1)
    for judged in judge(story.history, [check() for check in CHECKS.values()]):
        verdict = judged.verdict
        if judged.check.name in ("stays_alive", "keeps_secrets", "clean_stop"):
            assert verdict.outcome is Outcome.PASS, verdict
        elif judged.check.name != "gives_up_on_bad_credentials":
            assert is_unknown(verdict, f"never steady: {BOOK} is not served")


# -- exercised -------------------------------------------------------------------------------


def test_a_fault_that_took_effect_was_an_exercise() -> None:
    assert passes(reset_story().judge(Exercised()))


def test_nothing_happened_is_unknown() -> None:
    story = steady_story()
    story.step(2, 0, "wait", reason="elapsed")
    assert is_unknown(story.judge(Exercised()), "nothing was done")


def test_a_fault_that_never_took_effect_is_unknown() -> None:
    story = steady_story()
    story.fault(2, "truncate", until=9)
    assert is_unknown(story.judge(Exercised()), "never took effect: truncate of 2.000 s")


def test_a_limit_that_nobody_exceeded_was_in_force_all_the_same() -> None:
    story = reset_story()
    story.fault(1.5, "limit", source="exchange")
    assert passes(story.judge(Exercised()))


def test_a_step_that_was_never_come_to_is_unknown() -> None:
    story = reset_story(steps=[{"do": "rst"}, {"do": "refuse"}])
    story.step(2, 0, "rst")
    assert is_unknown(story.judge(Exercised()), "never came to refuse (step 2)")


def test_a_command_to_the_adapter_is_an_exercise() -> None:
    story = steady_story()
    story.step(2, 0, "stop_adapter")
    assert passes(story.judge(Exercised()))


def test_a_condition_that_came_true_of_itself_is_an_exercise() -> None:
    story = steady_story()
    story.step(2, 0, "wait", reason="condition")
    assert passes(story.judge(Exercised()))


# -- metrics ---------------------------------------------------------------------------------


def test_detection_dial_and_recovery_are_measured_apart() -> None:
    story = steady_story()
    story.leave(12, 1)
    story.fault(2, "blackhole", 1, until=12)
    story.connect(15, 2)
    story.subscribe(16, 2, TRADES, BOOK)
    story.send(17, 2)
    story.see(60, "scenario.stopping")
    found = metrics(story.history)
    assert found["disturbances"] == [
        {"what": "blackhole", "at": 2, "detection": 10, "dial": 13, "recovery": 15}
    ]
    assert found["dials"] == 2
    assert found["dials_per_minute"] == 2
    assert found["subscribe_messages_per_reconnect"] == 1
    assert found["mean_reconnect_time"] == 3
    assert found["failure_rate"] == 0


def test_to_leave_at_the_end_is_no_reaction() -> None:
    story = steady_story()
    story.fault(2, "malform_message", 1, fires=2)
    story.heal(3)
    story.settle(5)
    story.stop(5, 1)
    story.leave(5.1, 1)
    (reaction,) = metrics(story.history)["disturbances"]
    assert reaction["detection"] is None


def test_an_empty_history_measures_nothing() -> None:
    found = metrics(History())
    assert found["disturbances"] == []
    assert found["dials"] == 0
    assert found["failure_rate"] is None


# -- robustness ------------------------------------------------------------------------------

_DETAILS: dict[str, st.SearchStrategy[Any]] = {
    "channel": st.sampled_from([TRADES, BOOK, ORDERS]),
    "channels": st.lists(st.sampled_from([TRADES, BOOK, ORDERS]), max_size=4),
    "private": st.booleans(),
    "adapters": st.integers(1, 3),
    "fault": st.sampled_from(
        ["rst", "blackhole", "flap", "refuse", "gap", "expire_token", "limit"]
    ),
    "id": st.integers(1, 3),
    "settings": st.just({"channel": BOOK}),
    "target": st.sampled_from(["all", "newest", "oldest", 2]),
    "index": st.integers(0, 2),
    "do": st.sampled_from(["request", "health", "pause_adapter", "wait", "rst"]),
    "reason": st.sampled_from(["done", "condition", "at_most"]),
    "seq": st.none() | st.integers(0, 9),
    "gap": st.booleans(),
    "snapshot": st.booleans(),
    "state": st.sampled_from(["live", "disconnected", "gave_up", "connecting"]),
    "status": st.integers(-9, 2),
    "expected": st.booleans(),
    "how": st.sampled_from(["fin", "rst", "stdin", "sigkill"]),
    "by": st.sampled_from(["client", "server", "proxy", "exchange", "network"]),
    "upgrade": st.booleans(),
    "listener": st.sampled_from(["ws", "rest"]),
    "retry_after": st.none() | st.floats(0, 9) | st.just("4"),
    "grant_type": st.sampled_from(["client_signature", "refresh_token"]),
    "material": st.sampled_from(["a", "b"]),
    "token": st.sampled_from(["s", "t"]),
    "method": st.sampled_from(["private/buy", "public/auth", "public/subscribe"]),
    "code": st.integers(1, 9),
    "injected": st.booleans(),
    "params": st.just({"label": "a"}),
    "label": st.sampled_from(["a", "b"]),
    "ok": st.booleans(),
    "seconds": st.floats(0, 5),
    "after": st.floats(0, 5),
    "moment": st.sampled_from(["steady", "cycle", "settled", "stopped"]),
    "fds": st.integers(0, 50),
    "rss_bytes": st.integers(0, 10**9),
    "sockets": st.just({"ESTABLISHED": 2, "TIME_WAIT": 1}),
}
_KINDS = [
    (source, kind)
    for source, kinds in EVENT_KINDS.items()
    for kind in kinds
    if kind != "run_started"
]
_EVENT = st.tuples(
    st.sampled_from(_KINDS),
    st.floats(0, 20, allow_nan=False),
    st.none() | st.integers(1, 4),
    st.fixed_dictionaries(_DETAILS),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(_EVENT, max_size=60), st.booleans())
def test_no_history_crashes_a_check(drawn: list[Any], orderly: bool) -> None:
    story = Story(private=(ORDERS,))
    story.serve(0.1, 1)
    story.steady(0.5)
    now = 0.5
    for (source, kind), at, connection, detail in drawn:
        now = now + at if orderly else at
        story.see(now, f"{source}.{kind}", connection, **detail)
    _nothing_crashes(story.history)


def _nothing_crashes(history: History) -> None:
    for judged in judge(history, [check() for check in CHECKS.values()]):
        assert "crashed" not in judged.verdict.why, judged
        assert judged.verdict.why
        if judged.verdict.outcome in (Outcome.PASS, Outcome.FAIL):
            assert judged.verdict.evidence, judged
    metrics(history)


def test_a_history_cut_off_anywhere_can_be_judged() -> None:
    story = reset_story(private=(ORDERS,))
    story.stop(65, 2)
    events = list(story.history)
    for end in range(len(events)):
        _nothing_crashes(History(events=events[:end]))


def test_a_long_history_is_judged_in_one_reading() -> None:
    story = reset_story()
    rng = random.Random(1)
    for place in range(20_000):
        at = 2.5 + place * 0.003
        story.see(at, "exchange.sent", 2, channel=BOOK, seq=place, snapshot=False)
        if rng.random() < 0.9:
            story.see(at, "adapter.message", channel=BOOK, seq=place, gap=False)
    verdicts = judge(story.history, [check() for check in CHECKS.values()])
    failed = {j.check.name for j in verdicts if j.verdict.outcome is Outcome.FAIL}
    assert failed == {"no_silent_loss"}
