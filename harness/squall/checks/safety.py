"""What an adapter must never do, whatever happens: crash, draw errors, betray secrets."""

from __future__ import annotations

from dataclasses import dataclass

from squall.checks.authentication import refused_by_fault
from squall.checks.base import Check, Findings, times, when
from squall.checks.timeline import Timeline
from squall.history import Event
from squall.verdict import Verdict, failed, passed, unknown, unsupported


@dataclass(frozen=True)
class StaysAlive(Check):
    """The adapter neither exits before it is asked to, nor leaves an error unhandled.

    Unhandled is what the runtime itself calls so ("Task exception was never retrieved",
    "UnhandledPromiseRejection", "panic:"); a logged traceback of a handled error is none. Where
    `gives_up_on_bad_credentials` is expected, an exit after a refusal is right. A bug of this
    kind: pladaria/reconnecting-websocket#183.
    """

    name = "stays_alive"
    id = "A17"
    always = True
    steady_first = False

    def _look(self, timeline: Timeline) -> Verdict:
        gone = timeline.gone
        gave_up = gone is not None and _may_give_up(gone, timeline)
        if gone is not None and not gave_up:
            return failed(f"exited with status {gone['status']} {when(gone)}, unasked", gone)
        # An error that nobody handles is one way to give up.
        crashes = [] if gave_up else timeline.of("adapter", "crash_reported")
        if crashes:
            line = " ".join(str(crashes[0].get("line")).split())[:200]
            return failed(f"left an error unhandled {when(crashes[0])}: {line}", *crashes)
        alive = timeline.of("adapter", "started", "ready") or timeline.of("proxy", "dialled")
        if not alive:
            return unknown("the adapter was never seen alive")
        ended = "gave up, as it should" if gave_up else "alive until it was asked to stop"
        return passed(ended, alive[0])


def _may_give_up(gone: Event, timeline: Timeline) -> bool:
    refused = timeline.before(gone, "exchange", "auth_failed")
    revoked = [known for known in timeline.disturbances if known.what == "revoke"]
    return "gives_up_on_bad_credentials" in timeline.expected and bool(refused or revoked)


@dataclass(frozen=True)
class KeepsSecrets(Check):
    """Neither a credential nor a token occurs in what the adapter prints."""

    name = "keeps_secrets"
    id = "A20"
    always = True
    steady_first = False

    def _look(self, timeline: Timeline) -> Verdict:
        printed = timeline.of("adapter", "secret_printed")
        if printed:
            first = printed[0]
            what, stream = first.get("what"), first.get("stream")
            return failed(f"printed {what} on {stream} {when(first)}", *printed)
        if not timeline.private:
            return unsupported("the scenario is public: there was no secret to keep")
        started = timeline.of("adapter", "started", "ready")
        if not started:
            return unknown("nothing of the adapter's output was seen")
        return passed("no credential and no token in what it printed", started[0])


@dataclass(frozen=True)
class NoErrors(Check):
    """The exchange answered nothing with an error, but for errors that the run provoked.

    Bugs of this kind: a resubscribe with a malformed symbol (btschwertfeger/python-kraken-sdk
    #148), a second login on an authenticated connection (knowm/XChange#4116).
    """

    name = "no_errors"
    id = "A11"
    always = True

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        for event in timeline.of("exchange", "error"):
            if timeline.watched(event) and not _provoked(event, timeline):
                method = event.get("method") or "a message"
                findings.fail(
                    f"the exchange answered {method} with {event.get('code')} "
                    f"{event.get('message') or ''} {when(event)}".replace("  ", " "),
                    event,
                )
        opened = timeline.of("exchange", "opened")
        findings.fine(*opened)
        provoked = len([e for e in timeline.of("exchange", "error") if timeline.watched(e)])
        return findings.verdict(
            f"no error on {times(len(opened), 'connection')}"
            + (f", but for {provoked} that the run provoked" if provoked else ""),
            "the exchange never saw the adapter",
        )


def _provoked(event: Event, timeline: Timeline) -> bool:
    """Whether the error is injected, or follows from a fault or from the run's own command."""
    if event.get("injected"):
        return True
    method = str(event.get("method") or "")
    commands = timeline.before(event, "adapter", "command")
    if method and any(command.get("method") == method for command in commands):
        return True
    closed = any(
        known.source == "exchange" and known.what in ("maintenance", "ban", "limit")
        for known in timeline.in_force(event.at, event.at)
    )
    needs_token = method.endswith("auth") or method.startswith("private/")
    return closed or (needs_token and refused_by_fault(event, timeline))


@dataclass(frozen=True)
class VerifiesCertificates(Check):
    """A certificate that is expired, for another host, or of an unknown authority is refused.

    Refused means that the handshake fails, and that nothing is asked for on that connection; nor
    may the adapter go on without TLS. A bug of this kind: an SDK that skipped the
    verification (Kucoin/kumex-level3-sdk#6).
    """

    name = "verifies_certificates"
    id = "C-09"

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        shown = [
            e for e in timeline.of("proxy", "fault_fired") if e.get("fault") == "tls_certificate"
        ]
        for event in shown:
            said = [
                later
                for later in timeline.of("proxy", "tls_established", "upgrade_requested")
                if later.connection == event.connection and later.at >= event.at
            ]
            if said:
                findings.fail(f"accepted the bad certificate shown {when(event)}", event, *said)
            else:
                findings.fine(event)
        for event in timeline.of("proxy", "tls_failed"):
            if event.get("why") == "http request":
                findings.fail(f"dialled without TLS {when(event)}", event)
        return findings.verdict(
            f"refused {times(len(shown), 'bad certificate')}",
            "the adapter never saw a bad certificate",
        )
