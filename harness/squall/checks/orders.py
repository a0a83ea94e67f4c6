"""Requests in flight and orders in an outage: nothing is lost quietly, nothing is sent twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from squall.checks.base import TOLERANCE, Check, Findings, Seconds, limit, times, when
from squall.checks.connection import dialled
from squall.checks.timeline import Timeline
from squall.history import Event
from squall.verdict import Verdict

# A command is on its way to the adapter; what it does within this time it may have decided while
# it still, or again, was connected.
_ON_ITS_WAY = 1.0


@dataclass(frozen=True)
class NoReplayedOrders(Check):
    """An order asked for during an outage is not sent when the line is back, nor sent twice.

    The price it was meant for is gone; who wants it still asks again. A queue that is flushed on
    reconnect is the bug (Marfusios/websocket-client#142). Orders are told by their `label`. What
    an adapter wrote into a line that had gone silent unnoticed may yet arrive there: only orders
    on a connection that was dialled later count.
    """

    name = "no_replayed_orders"
    id = "A16"
    needs = ("request",)

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        for command in _orders(timeline):
            placed = [
                e for e in timeline.after(command, "exchange", "order_placed") if _same(e, command)
            ]
            if len(placed) > 1 and not _asked_again(command, timeline):
                findings.fail(
                    f"the order {label(command)}, asked for once, was placed "
                    f"{times(len(placed), 'time')}",
                    command,
                    *placed,
                )
            elif _during_outage(command, timeline):
                self._look_at(command, placed, timeline, findings)
            elif _cut_in_flight(command, timeline):
                findings.fine(command)
        return findings.verdict(
            f"{times(len(findings.proofs), 'order')} met an outage, none was sent afterwards or "
            "a second time",
            "no order with a label was asked for during an outage or shortly before",
        )

    def _look_at(
        self, command: Event, placed: list[Event], timeline: Timeline, findings: Findings
    ) -> None:
        replayed = [event for event in placed if _on_a_later_line(event, command, timeline)]
        if replayed and not _asked_again(command, timeline):
            findings.fail(
                f"the order {label(command)}, asked for {when(command)} while the line was down, "
                f"reached the exchange {when(replayed[0])}",
                command,
                *replayed,
            )
        else:
            findings.fine(command)


def _orders(timeline: Timeline) -> Iterator[Event]:
    for event in timeline.of("adapter", "command"):
        if event.get("do") == "request" and label(event) is not None:
            yield event


def label(command: Event) -> str | None:
    """What marks the order that this command asks for."""
    found = (command.get("params") or {}).get("label")
    return None if found is None else str(found)


def _same(placed: Event, command: Event) -> bool:
    return placed.get("label") is not None and str(placed["label"]) == label(command)


def _asked_again(command: Event, timeline: Timeline) -> bool:
    later = timeline.after(command, "adapter", "command")
    return any(label(event) == label(command) for event in later)


def _during_outage(command: Event, timeline: Timeline) -> bool:
    """No working connection when it was asked for, nor for a while after."""
    until = command.at + _ON_ITS_WAY
    silent = [s.connection for s in timeline.silences if s.disturbance.overlaps(command.at, until)]
    working = [c for c in timeline.held(command) if c not in silent]
    opened = next(timeline.after(command, "proxy", "upgraded", until=until), None)
    return not working and opened is None


def _cut_in_flight(command: Event, timeline: Timeline) -> bool:
    """Whether a connection was lost before the adapter had answered."""
    replies = timeline.after(command, "adapter", "reply")
    reply = next((event for event in replies if event.get("id") == command.get("id")), None)
    losses = [c.lost for c in timeline.dials if c.lost is not None and timeline.watched(c.lost)]
    return any(
        timeline.order(command) < timeline.order(lost)
        and (reply is None or timeline.order(lost) < timeline.order(reply))
        for lost in losses
    )


def _on_a_later_line(placed: Event, command: Event, timeline: Timeline) -> bool:
    connection = timeline.connections.get(placed.connection or 0)
    if connection is None or connection.dialled is None:
        return True
    return timeline.order(dialled(connection)) > timeline.order(command)


@dataclass(frozen=True)
class RequestsFinish(Check):
    """Every request ends: with its answer, an error, or the word that its outcome is not known.

    Exactly once, in time, and truthfully: `ok` only for what the exchange has seen, and no plain
    error for an order that was placed after all; that outcome is `indefinite`. Callers that wait
    for ever are bugs like ccxt/ccxt#26766.
    """

    name = "requests_finish"
    id = "K-02"
    needs = ("request",)

    within: Seconds = 30.0
    """How long an answer may take."""

    def _look(self, timeline: Timeline) -> Verdict:
        findings = Findings()
        replies: dict[object, list[Event]] = {}
        for reply in timeline.of("adapter", "reply"):
            # An answer that comes only because the adapter stops ends nobody's waiting.
            if timeline.watched(reply):
                replies.setdefault(reply.get("id"), []).append(reply)
        for command in timeline.of("adapter", "command"):
            if command.get("do") == "request":
                answers = replies.get(command.get("id"), [])
                self._look_at(command, answers[: timeline.adapters + 1], timeline, findings)
        return findings.verdict(
            f"{times(len(findings.proofs), 'request')}, each ended once and in time",
            "no request could be followed to its end",
        )

    def _look_at(
        self, command: Event, answers: list[Event], timeline: Timeline, findings: Findings
    ) -> None:
        which = f"request {command.get('id')} ({command.get('method')}) {when(command)}"
        deadline = command.at + self.within
        if len(answers) > timeline.adapters:
            findings.fail(f"{which} was answered more than once", command, *answers)
        elif answers and answers[0].at <= deadline + TOLERANCE:
            self._look_at_truth(which, command, answers[0], timeline, findings)
        elif timeline.watched_until < deadline - TOLERANCE:
            findings.skip(f"the run was over before {which} was due")
        else:
            why = f"{which} had no answer within {limit(self.within)}"
            missed_by = timeline.overdue(deadline, answers[0] if answers else None)
            findings.late(
                timeline, command.at, deadline, why, command, *answers, missed_by=missed_by
            )

    def _look_at_truth(
        self, which: str, command: Event, answer: Event, timeline: Timeline, findings: Findings
    ) -> None:
        if answer.get("ok") and not _reached(command, answer, timeline):
            why = f"{which} was answered as done, but the exchange never saw it"
            findings.fail(why, command, answer)
            return
        definite = not answer.get("ok") and not answer.get("indefinite")
        placed = timeline.after(command, "exchange", "order_placed", until=answer.at)
        unowned = next((event for event in placed if _same(event, command)), None)
        if definite and unowned is not None:
            why = f"{which} was answered as failed, yet the order had been placed {when(unowned)}"
            findings.fail(why, command, unowned, answer)
        else:
            findings.fine(answer)


def _reached(command: Event, answer: Event, timeline: Timeline) -> bool:
    method = command.get("method")
    seen = timeline.after(command, "exchange", "request", "rest", until=answer.at)
    return any(event.kind == "rest" or event.get("method") == method for event in seen)
