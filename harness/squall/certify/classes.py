"""What kind of failure it is, so that adapters can be compared at a glance.

A run that goes wrong usually breaks several rules: an adapter that crashes restores nothing
either. The table is in the order in which a rule explains the others, and the first one that is
broken gives the class.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from squall.checks.timeline import Timeline
from squall.history import History
from squall.results import Case
from squall.verdict import Outcome


class VerdictClass(StrEnum):
    """What a cell of the matrix says, worst first."""

    CRASH = "crash"
    NEVER_DETECTED = "never-detected"
    STORM = "storm"
    AUTH = "auth"
    GAVE_UP = "gave-up"
    LOST_SUBS = "lost-subs"
    DUP_SUBS = "dup-subs"
    LEAK = "leak"
    DATA = "data"
    SAFETY = "safety"
    STOP = "stop"
    UNKNOWN = "unknown"
    KNOWN = "known failure"
    PASS = "pass"
    UNSUPPORTED = "unsupported"

    @property
    def failed(self) -> bool:
        """Whether a rule was broken, and nobody had announced it."""
        return _ORDER.index(self) < _ORDER.index(VerdictClass.UNKNOWN)

    @property
    def meaning(self) -> str:
        """The legend: what the adapter did, in a sentence."""
        return _MEANINGS[self]


_ORDER = tuple(VerdictClass)

_MEANINGS = {
    VerdictClass.CRASH: "It ended by itself, or left an error unhandled.",
    VerdictClass.NEVER_DETECTED: "The line was dead and it did not notice, or not in time.",
    VerdictClass.STORM: "It dialled too often, too soon, or all at once.",
    VerdictClass.AUTH: "It authenticated too late, with stale material, or again and again.",
    VerdictClass.GAVE_UP: "It did not come back, or came back too late.",
    VerdictClass.LOST_SUBS: "It came back, but channels were missing at the end.",
    VerdictClass.DUP_SUBS: "It held channels or connections more often than it should.",
    VerdictClass.LEAK: "What its process holds grew from reconnect to reconnect.",
    VerdictClass.DATA: "Its consumer got data that were lost, doubled or stale, and was not told.",
    VerdictClass.SAFETY: "It broke a rule of the venue, or put orders or secrets at risk.",
    VerdictClass.STOP: "Asked to stop, it left something open or did not end.",
    VerdictClass.UNKNOWN: "It could not be told; the page says why. This is no pass.",
    VerdictClass.KNOWN: "It failed as its manifest announces.",
    VerdictClass.PASS: "It did everything that the scenario asks for, and was seen doing it.",
    VerdictClass.UNSUPPORTED: "It does not offer what the scenario needs.",
}

# Checks by their names. What is first explains what comes later.
CLASS_OF_CHECK = {
    "stays_alive": VerdictClass.CRASH,
    "detects_silence": VerdictClass.NEVER_DETECTED,
    "gives_up_on_bad_credentials": VerdictClass.AUTH,
    "fresh_credentials": VerdictClass.AUTH,
    "auth_before_private": VerdictClass.AUTH,
    "no_storm": VerdictClass.STORM,
    "backoff_grows": VerdictClass.STORM,
    "honours_retry_after": VerdictClass.STORM,
    "spread": VerdictClass.STORM,
    "answers_heartbeats": VerdictClass.SAFETY,
    "reconnects": VerdictClass.GAVE_UP,
    "one_connection": VerdictClass.DUP_SUBS,
    "no_duplicates": VerdictClass.DUP_SUBS,
    "removed_stay_removed": VerdictClass.DUP_SUBS,
    "subscriptions_restored": VerdictClass.LOST_SUBS,
    "data_resumes": VerdictClass.GAVE_UP,
    "no_growth": VerdictClass.LEAK,
    "resynchronises": VerdictClass.DATA,
    "no_silent_loss": VerdictClass.DATA,
    "knows_it_is_stale": VerdictClass.DATA,
    "keeps_secrets": VerdictClass.SAFETY,
    "verifies_certificates": VerdictClass.SAFETY,
    "no_replayed_orders": VerdictClass.SAFETY,
    "requests_finish": VerdictClass.SAFETY,
    "paces_requests": VerdictClass.SAFETY,
    "no_errors": VerdictClass.SAFETY,
    "clean_stop": VerdictClass.STOP,
    "exercised": VerdictClass.UNKNOWN,
}
_RANK = {name: rank for rank, name in enumerate(CLASS_OF_CHECK)}


def classify(case: Case, *, connected: bool = True) -> VerdictClass:
    """The class of one run; `connected` is whether the adapter held a connection at its end.

    Channels are missing from an adapter that came back without them, and from one that did not
    come back at all: the checks say the same of both, the last connection tells them apart.
    """
    if case.expected:
        return VerdictClass.KNOWN
    if case.outcome is not Outcome.FAIL:
        return VerdictClass(case.outcome.value)
    broken = [j.check.name for j in case.judged if j.verdict.outcome is Outcome.FAIL]
    first = min(broken, key=lambda name: _RANK.get(name, len(_RANK)), default="")
    found = CLASS_OF_CHECK.get(first, VerdictClass.SAFETY)
    if found is VerdictClass.LOST_SUBS and not connected:
        return VerdictClass.GAVE_UP
    return found


def worst(classes: Iterable[VerdictClass]) -> VerdictClass:
    """The class that speaks for several runs; UNKNOWN where there is none."""
    return min(classes, key=_ORDER.index, default=VerdictClass.UNKNOWN)


def connected_at_the_end(history: History) -> bool:
    """Whether the adapter held a live connection when the run had given it time to settle."""
    timeline = Timeline(history)
    return timeline.calm is None or bool(timeline.held(timeline.calm.began))
