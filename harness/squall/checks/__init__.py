"""The checks: pure functions of a run's history, each with its thresholds.

    judge(history, expectations(history.first("run_started")))

A check that crashes says UNKNOWN and the others still speak. One that saw nothing says UNKNOWN
too: only what was put to the test can pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from squall.checks.authentication import (
    AuthBeforePrivate,
    FreshCredentials,
    GivesUpOnBadCredentials,
)
from squall.checks.base import Check
from squall.checks.concurrency import OneConnection
from squall.checks.coverage import Exercised
from squall.checks.data import NoSilentLoss, Resynchronises
from squall.checks.dialling import (
    BackoffGrows,
    HonoursRetryAfter,
    NoStorm,
    PacesRequests,
    Spread,
)
from squall.checks.liveness import AnswersHeartbeats, DetectsSilence, KnowsItIsStale
from squall.checks.measures import metrics
from squall.checks.orders import NoReplayedOrders, RequestsFinish
from squall.checks.recovery import DataResumes, Reconnects
from squall.checks.resources import CleanStop, NoGrowth
from squall.checks.safety import KeepsSecrets, NoErrors, StaysAlive, VerifiesCertificates
from squall.checks.subscriptions import (
    NoDuplicates,
    RemovedStayRemoved,
    SubscriptionsRestored,
)
from squall.checks.timeline import Timeline
from squall.errors import HistoryError, ScenarioError, did_you_mean
from squall.history import Event, History
from squall.verdict import Verdict, unknown

__all__ = [
    "CHECKS",
    "Check",
    "Judged",
    "check_named",
    "checks_for",
    "expectations",
    "judge",
    "metrics",
]

CHECKS: Mapping[str, type[Check]] = {
    check.name: check
    for check in (
        Exercised,
        StaysAlive,
        DataResumes,
        Reconnects,
        DetectsSilence,
        KnowsItIsStale,
        AnswersHeartbeats,
        SubscriptionsRestored,
        NoDuplicates,
        RemovedStayRemoved,
        OneConnection,
        NoStorm,
        BackoffGrows,
        HonoursRetryAfter,
        Spread,
        PacesRequests,
        AuthBeforePrivate,
        FreshCredentials,
        GivesUpOnBadCredentials,
        NoErrors,
        KeepsSecrets,
        VerifiesCertificates,
        Resynchronises,
        NoSilentLoss,
        NoReplayedOrders,
        RequestsFinish,
        NoGrowth,
        CleanStop,
    )
}

_BY_ID: Mapping[str, type[Check]] = {check.id: check for check in CHECKS.values() if check.id}


@dataclass(frozen=True)
class Judged:
    """A check, and what it said of a history."""

    check: Check
    verdict: Verdict


def check_named(text: str) -> type[Check]:
    """The check of this name, or of this id, such as A3. Raises `ScenarioError`."""
    found = CHECKS.get(text) or _BY_ID.get(text)
    if found is None:
        raise ScenarioError(f"unknown check '{text}'.{did_you_mean(text, CHECKS)}")
    return found


def checks_for(expect: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """The checks named in `expect`, with those parameters, and those that are always judged.

    Raises `ScenarioError` where a check or a parameter is unknown.
    """
    chosen: dict[str, Mapping[str, Any]] = {c.name: {} for c in CHECKS.values() if c.always}
    chosen |= {check_named(name).name: parameters for name, parameters in expect.items()}
    return [_build(CHECKS[name], chosen[name]) for name in CHECKS if name in chosen]


def _build(check: type[Check], parameters: Mapping[str, Any]) -> Check:
    known = {each.name for each in fields(check)}
    for name in parameters:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ScenarioError(f"'{check.name}' has no parameter '{name}'.{hint}")
    return check(**parameters)


def expectations(run_started: Event) -> list[Check]:
    """The checks of a saved run, as its first event tells. Raises `HistoryError`."""
    try:
        return checks_for(run_started.get("expect") or {})
    except (ScenarioError, AttributeError, TypeError) as error:
        raise HistoryError(f"the run's first event: expect: {error}") from error


def judge(history: History, expectations: Sequence[Check]) -> list[Judged]:
    """What each check says of the history, in the order given."""
    timeline = Timeline(history)
    return [Judged(check, _verdict(check, timeline)) for check in expectations]


def _verdict(check: Check, timeline: Timeline) -> Verdict:
    try:
        return check.verdict(timeline)
    except Exception as error:
        return unknown(f"the check itself crashed: {type(error).__name__}: {error}")
