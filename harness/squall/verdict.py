"""Outcomes and verdicts: what a check says of a history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from squall.history import Event


class Outcome(StrEnum):
    """What a check can say. A check that saw nothing says UNKNOWN, never PASS."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"
    UNSUPPORTED = "unsupported"


# The worse outcome speaks for the whole: one failure fails, one doubt is a doubt.
_SEVERITY = (Outcome.UNSUPPORTED, Outcome.PASS, Outcome.UNKNOWN, Outcome.FAIL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, one sentence that gives the reason, and the events that prove it."""

    outcome: Outcome
    why: str
    evidence: tuple[Event, ...] = ()


def passed(why: str, *evidence: Event) -> Verdict:
    """The adapter did what it should, and was seen doing it."""
    return Verdict(Outcome.PASS, why, evidence)


def failed(why: str, *evidence: Event) -> Verdict:
    """The adapter did what it should not; the evidence shows it."""
    return Verdict(Outcome.FAIL, why, evidence)


def unknown(why: str, *evidence: Event) -> Verdict:
    """Nothing was seen from which this could be judged."""
    return Verdict(Outcome.UNKNOWN, why, evidence)


def unsupported(why: str) -> Verdict:
    """The adapter, or the machine, does not offer what this needs."""
    return Verdict(Outcome.UNSUPPORTED, why)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """FAIL before UNKNOWN before PASS before UNSUPPORTED; UNKNOWN where there is none at all."""
    return max(outcomes, key=_SEVERITY.index, default=Outcome.UNKNOWN)
