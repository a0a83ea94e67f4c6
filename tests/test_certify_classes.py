"""What kind of failure it is: the table from checks to classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from certify_examples import case, failing
from squall.certify.classes import (
    CLASS_OF_CHECK,
    VerdictClass,
    classify,
    connected_at_the_end,
    worst,
)
from squall.checks import CHECKS
from squall.manifest import KnownFailure
from squall.verdict import Outcome
from story import reset_story


def test_every_check_has_a_class() -> None:
    assert CHECKS.keys() <= CLASS_OF_CHECK.keys()


def test_every_class_has_a_meaning_and_every_failure_a_check_that_leads_to_it() -> None:
    assert all(each.meaning.endswith(".") for each in VerdictClass)
    assert {each for each in VerdictClass if each.failed} <= set(CLASS_OF_CHECK.values())


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (["data_resumes", "subscriptions_restored", "stays_alive"], VerdictClass.CRASH),
        (["subscriptions_restored", "detects_silence", "data_resumes"], "never-detected"),
        (["no_storm", "data_resumes"], VerdictClass.STORM),
        (["reconnects", "subscriptions_restored", "data_resumes"], VerdictClass.GAVE_UP),
        (["data_resumes", "subscriptions_restored"], VerdictClass.LOST_SUBS),
        (["data_resumes"], VerdictClass.GAVE_UP),
        (["subscriptions_restored", "no_duplicates"], VerdictClass.DUP_SUBS),
        (["one_connection"], VerdictClass.DUP_SUBS),
        (["auth_before_private", "no_errors"], VerdictClass.AUTH),
        (["gives_up_on_bad_credentials", "no_storm"], VerdictClass.AUTH),
        (["no_growth", "clean_stop"], VerdictClass.LEAK),
        (["no_silent_loss"], VerdictClass.DATA),
        (["knows_it_is_stale"], VerdictClass.DATA),
        (["no_replayed_orders"], VerdictClass.SAFETY),
        (["keeps_secrets", "clean_stop"], VerdictClass.SAFETY),
        (["clean_stop"], VerdictClass.STOP),
    ],
)
def test_the_rule_that_explains_the_others_gives_the_class(
    broken: list[str], expected: str
) -> None:
    assert classify(failing(*broken)) == expected
    assert classify(failing(*reversed(broken))) == expected


def test_channels_that_are_missing_without_a_connection_were_given_up() -> None:
    lost = failing("data_resumes", "subscriptions_restored")
    assert classify(lost, connected=False) is VerdictClass.GAVE_UP
    assert connected_at_the_end(reset_story().history)
    assert not connected_at_the_end(reset_story(redial=None).history)


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.UNKNOWN, Outcome.UNSUPPORTED])
def test_what_did_not_fail_is_called_by_its_outcome(outcome: Outcome) -> None:
    found = classify(case(outcome))
    assert found.value == outcome.value
    assert not found.failed


def test_a_failure_that_is_announced_is_known_and_only_as_announced() -> None:
    known = KnownFailure(reason="not yet")
    assert classify(failing("no_storm", known=known)) is VerdictClass.KNOWN
    assert classify(case(Outcome.UNKNOWN, known=known)) is VerdictClass.UNKNOWN
    assert classify(case(known=known)) is VerdictClass.PASS


def test_the_worst_run_speaks_for_all() -> None:
    assert worst([VerdictClass.PASS, VerdictClass.STORM, VerdictClass.UNKNOWN]) == "storm"
    assert worst([VerdictClass.UNSUPPORTED, VerdictClass.PASS]) is VerdictClass.PASS
    assert worst([]) is VerdictClass.UNKNOWN


def test_the_documentation_names_every_check_beside_its_class() -> None:
    text = (Path(__file__).parents[1] / "docs" / "certify.md").read_text()
    rows = dict(re.findall(r"^\| `([\w -]+)` \|(.*)$", text, re.M))
    assert rows.keys() >= {each.value for each in VerdictClass}
    for name, found in CLASS_OF_CHECK.items():
        if found is not VerdictClass.UNKNOWN:
            assert f"`{name}`" in rows[found.value]
