"""Does the adapter authenticate first, with fresh material, and stop when it is refused?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from squall.checks.base import TOLERANCE, Check, Findings, Seconds, limit, times, when
from squall.checks.connection import dialled
from squall.checks.disturbance import Disturbance
from squall.checks.timeline import Timeline
from squall.history import Event
from squall.verdict import Verdict, failed, passed, unknown, unsupported

_NOT_PRIVATE = "the scenario is public: no credentials were given"
# Faults of the exchange after which credentials or tokens are refused.
REFUSING = frozenset({"reject_auth", "revoke", "expire_token"})


@dataclass(frozen=True)
class AuthBeforePrivate(Check):
    """On every connection, nothing private is asked for before authentication has succeeded.

    Sent, is not succeeded: the answer must have come. Bugs of this kind:
    nautechsystems/nautilus_trader#2097, knowm/XChange#4967.
    """

    name = "auth_before_private"
    id = "A9"
    always = True

    def _look(self, timeline: Timeline) -> Verdict:
        if not timeline.private:
            return unsupported(_NOT_PRIVATE)
        findings = Findings()
        authenticated: set[int | None] = set()
        kinds = ("auth_succeeded", "request", "subscribe_requested")
        for event in timeline.of("exchange", *kinds):
            if event.kind == "auth_succeeded":
                authenticated.add(event.connection)
            elif event.get("private") and not _is_auth(event):
                if event.connection in authenticated or event.get("authenticated"):
                    findings.fine(event)
                else:
                    findings.fail(
                        f"{_what(event)} on connection {event.connection} {when(event)}, before "
                        "authentication had succeeded there",
                        event,
                    )
        return findings.verdict(
            f"{times(len(findings.proofs), 'private request')}, each after the answer to the "
            "authentication",
            "nothing private was asked for",
        )


def _is_auth(event: Event) -> bool:
    return str(event.get("method", "")).endswith("auth")


def _what(event: Event) -> str:
    if event.kind == "subscribe_requested":
        return "subscribed to private channels"
    return f"sent {event.get('method')}"


@dataclass(frozen=True)
class FreshCredentials(Check):
    """Every authentication carries fresh material, and no expired token is used.

    A signature serves once; a refresh token serves once; a token is renewed before its life is
    over. Bugs of this kind: okxapi/python-okx#16 (a stored login is replayed),
    bmoscon/cryptofeed#1023 (a token is fetched once and for ever).
    """

    name = "fresh_credentials"
    id = "A10"

    def _look(self, timeline: Timeline) -> Verdict:
        if not timeline.private:
            return unsupported(_NOT_PRIVATE)
        findings = Findings()
        self._look_at_material(timeline, findings)
        self._look_at_refusals(timeline, findings)
        self._look_at_expiry(timeline, findings)
        asked = [e for e in timeline.of("exchange", "auth_requested") if timeline.watched(e)]
        if len(asked) > 1:
            findings.fine(*asked)
        return findings.verdict(
            f"authenticated {times(len(asked), 'time')}, each time with fresh material",
            "the adapter authenticated at most once",
        )

    def _look_at_material(self, timeline: Timeline, findings: Findings) -> None:
        used: dict[str, Event] = {}
        for event in timeline.of("exchange", "auth_requested"):
            grant, material = event.get("grant_type"), event.get("material")
            if material is None or grant not in ("client_signature", "refresh_token"):
                continue
            earlier = used.setdefault(str(material), event)
            if earlier.connection == event.connection:
                continue
            # A refresh token whose answer was lost was never exchanged for another.
            if grant == "client_signature" or _answered(earlier, timeline):
                what = "signature" if grant == "client_signature" else "refresh token"
                findings.fail(
                    f"the {what} of connection {earlier.connection} was used again on connection "
                    f"{event.connection} {when(event)}",
                    earlier,
                    event,
                )

    def _look_at_refusals(self, timeline: Timeline, findings: Findings) -> None:
        succeeded = False
        for event in timeline.of("exchange", "auth_succeeded", "auth_failed"):
            if event.kind == "auth_succeeded":
                succeeded = True
            elif succeeded and not event.get("injected") and not refused_by_fault(event, timeline):
                findings.fail(
                    f"authentication that worked before was refused with {event.get('code')} "
                    f"{when(event)}: what it carried was stale",
                    event,
                )

    def _look_at_expiry(self, timeline: Timeline, findings: Findings) -> None:
        for expired in timeline.of("exchange", "token_expired"):
            if refused_by_fault(expired, timeline) or not _is_latest_token(expired, timeline):
                continue
            for event in _on(expired, timeline, "auth_succeeded", "request"):
                if event.kind == "auth_succeeded":
                    break
                if event.get("private") and not _is_auth(event):
                    findings.fail(
                        f"the token expired {when(expired)}, and {when(event)} {event['method']} "
                        "was sent with it",
                        expired,
                        event,
                    )
                    break


def _answered(asked: Event, timeline: Timeline) -> bool:
    """Whether the answer to an authentication was sent, with a second to arrive in."""
    answer = next(_on(asked, timeline, "auth_succeeded"), None)
    connection = timeline.connections.get(asked.connection or 0)
    ended = connection.ended if connection else None
    return answer is not None and (ended is None or ended.at >= answer.at + 1.0)


def _on(mark: Event, timeline: Timeline, *kinds: str) -> Iterator[Event]:
    """What the exchange saw after `mark` on the same connection."""
    for event in timeline.after(mark, "exchange", *kinds):
        if event.connection == mark.connection:
            yield event


def _is_latest_token(expired: Event, timeline: Timeline) -> bool:
    earlier = timeline.before(expired, "exchange", "auth_succeeded")
    here = [event for event in earlier if event.connection == expired.connection]
    return not here or here[-1].get("token") == expired.get("token")


def refused_by_fault(event: Event, timeline: Timeline) -> bool:
    """Whether a fault of the exchange made credentials or tokens invalid by then.

    An expired token stays so until its connection authenticates anew.
    """
    for known in timeline.disturbances:
        if known.source != "exchange" or known.what not in REFUSING or known.at > event.at:
            continue
        lasting = known.what != "expire_token" and known.until >= event.at
        if lasting or not _renewed(known, event, timeline):
            return True
    return False


def _renewed(known: Disturbance, event: Event, timeline: Timeline) -> bool:
    """Whether the connection of `event` has authenticated since the fault began."""
    successes = timeline.after(known.started, "exchange", "auth_succeeded", until=event.at)
    return any(success.connection == event.connection for success in successes)


@dataclass(frozen=True)
class GivesUpOnBadCredentials(Check):
    """Refused credentials are tried a few times, then the adapter says so and stops.

    Wrong credentials do not become right by repetition, and an exchange locks who tries on
    (Deribit 12003, 12998; tiagosiebler/okx-api#83). The end is explicit: the process exits with
    a status other than 0, or reports the state `gave_up` or `stopped`; then nothing is dialled.
    """

    name = "gives_up_on_bad_credentials"
    id = "A12"
    steady_first = False

    attempts: int = 3
    """So many authentications may be tried in any `per`."""

    per: Seconds = 60.0
    """The length of the rolling window."""

    within: Seconds = 60.0
    """How long after the first refusal the end may take."""

    def _look(self, timeline: Timeline) -> Verdict:
        onset = next(
            (d for d in timeline.disturbances if d.what in ("reject_auth", "revoke")), None
        )
        if onset is None:
            return unknown("no credentials were refused")
        refused = list(timeline.after(onset.started, "exchange", "auth_failed"))
        if not refused and next(timeline.after(onset.started, "exchange", "closed"), None) is None:
            return unknown("the adapter never tried the credentials that would be refused")
        tried = [
            event
            for event in timeline.after(onset.started, "exchange", "auth_requested")
            if timeline.watched(event)
        ]
        for first, last in zip(tried, tried[self.attempts :], strict=False):
            if last.at - first.at < self.per:
                return failed(
                    f"{self.attempts + 1} authentications from {first.at:.3f} to {last.at:.3f} s; "
                    f"with refused credentials, {self.attempts} in {limit(self.per)} are enough",
                    *tried,
                )
        return self._look_at_end((refused or [onset.started])[0], onset, timeline)

    def _look_at_end(self, refused: Event, onset: Disturbance, timeline: Timeline) -> Verdict:
        deadline = refused.at + self.within
        end = _terminal_signal(onset.started, timeline)
        if end is not None and end.kind == "exited" and end["status"] == 0:
            return failed(f"exited with status 0 {when(end)}, as if all were well", refused, end)
        if end is not None and end.at <= deadline + TOLERANCE:
            dial = timeline.dial_after(end)
            if (
                dial is not None
                and dialled(dial).at > end.at + TOLERANCE
                and timeline.watched(dialled(dial))
            ):
                why = f"gave up {when(end)}, yet dialled {when(dialled(dial))}"
                return failed(why, end, dialled(dial))
            return passed(
                f"gave up {when(end)}, after {times(_tries(refused, timeline), 'refusal')}", end
            )
        findings = Findings()
        if timeline.watched_until < deadline - TOLERANCE:
            findings.skip(f"the run was over before the {limit(self.within)} allowed for it")
        else:
            why = (
                f"refused {when(refused)}, the adapter neither exited nor said that it gave up "
                f"within {limit(self.within)}"
            )
            missed_by = timeline.overdue(deadline, end)
            findings.late(timeline, refused.at, deadline, why, refused, missed_by=missed_by)
        return findings.verdict("", "the adapter did not give up")


def _terminal_signal(mark: Event, timeline: Timeline) -> Event | None:
    for event in timeline.after(mark, "adapter", "state", "exited"):
        if not timeline.watched(event) and event is not timeline.gone:
            return None
        if event.kind == "exited" or event.get("state") in ("gave_up", "stopped"):
            return event
    return None


def _tries(refused: Event, timeline: Timeline) -> int:
    later = timeline.after(refused, "exchange", "auth_failed")
    return sum(1 for _ in later) + (refused.kind == "auth_failed")
