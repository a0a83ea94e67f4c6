"""Does the adapter give back what it takes: sockets, files, threads, children, memory?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from squall.checks.base import Check, Findings, Seconds, limit, span, times, when
from squall.checks.connection import Connection, dialled
from squall.checks.timeline import Timeline
from squall.history import Event
from squall.verdict import Verdict, unknown

_MB = 1_000_000
# Zero; or SIGTERM, and as a shell or a runtime that handles it says the same.
_ENDED_AS_ASKED = (0, -15, 128 + 15)
_COUNTED = {"fds": "open files", "threads": "threads", "children": "child processes"}


@dataclass(frozen=True)
class NoGrowth(Check):
    """What the process holds does not grow from reconnect to reconnect.

    The end is compared with the first steady state; where cycles were sampled, with the first
    cycle if that is higher, for what is loaded once, at the first reconnect, is no leak. Memory
    counts only where it grew much, fast, and still in the second half of the run; 100 MB an hour
    is the guide's alert. Bugs of this kind: ccxt/ccxt#28440, slazarov/python-bittrex-websocket#61.
    """

    name = "no_growth"
    id = "A5"
    needs = ("process",)

    allowed: int = 2
    """So many more files, threads, children or sockets are none."""

    reconnects: int = 3
    """With fewer than this, growth cannot be told from warming up."""

    rss_mb_per_hour: float = 100.0
    """Memory may grow by so many megabytes an hour."""

    rss_mb: float = 32.0
    """Growth by less than this altogether is none."""

    def _look(self, timeline: Timeline) -> Verdict:
        moments: dict[object, list[Event]] = {}
        for sample in timeline.of("system", "sample"):
            moments.setdefault(sample.get("moment"), []).append(sample)
        before, cycles = moments.get("steady", []), moments.get("cycle", [])
        after = moments.get("settled", [])[-1:]
        if not before or not (cycles or after):
            return unknown("the process was not measured both before and after")
        samples = [before[0], *cycles, *after]
        first, last = samples[0], samples[-1]
        upgrades = timeline.after(first, "proxy", "upgraded", until=last.at)
        reconnects = sum(1 for _ in upgrades)
        findings = Findings()
        warm = cycles[0] if len(cycles) > 1 else first
        self._look_at_counts(first, warm, last, reconnects, findings)
        self._look_at_memory(samples, findings)
        findings.fine(first, last)
        return findings.verdict(
            f"after {times(reconnects, 'reconnect')} {_said(last)}; at first {_said(first)}",
            "",
        )

    def _look_at_counts(
        self, first: Event, warm: Event, last: Event, reconnects: int, findings: Findings
    ) -> None:
        before, early, after = _held(first), _held(warm), _held(last)
        for what in before.keys() & after.keys():
            start = max(before[what], early.get(what, 0))
            if after[what] - start <= self.allowed:
                continue
            grew = f"{what} grew from {start} to {after[what]} in {times(reconnects, 'reconnect')}"
            if reconnects >= self.reconnects:
                findings.fail(grew, first, last)
            else:
                findings.doubt(f"{grew}, too few to tell a leak from warming up", first, last)

    def _look_at_memory(self, samples: Sequence[Event], findings: Findings) -> None:
        known = [s for s in samples if s.get("rss_bytes") is not None]
        if len(known) < 4:
            return
        first, middle, last = known[0], known[len(known) // 2], known[-1]
        hours = (last.at - first.at) / 3600
        grown = (last["rss_bytes"] - first["rss_bytes"]) / _MB
        lately = (last["rss_bytes"] - middle["rss_bytes"]) / _MB
        if grown < self.rss_mb or lately < grown / 4 or grown <= self.rss_mb_per_hour * hours:
            return
        findings.fail(
            f"memory grew by {grown:.0f} MB in {span(last.at - first.at)}, {lately:.0f} MB of it "
            f"in the second half; {self.rss_mb_per_hour:g} MB an hour are allowed",
            first,
            middle,
            last,
        )


def _held(sample: Event) -> dict[str, int]:
    """What the process holds, by its name in a sentence."""
    counts = {said: sample.get(name) for name, said in _COUNTED.items()}
    sockets = sample.get("sockets")
    if sockets is not None:
        # After a proper close the kernel keeps TIME_WAIT by itself; no process holds it.
        counts["sockets"] = sum(n for state, n in sockets.items() if state != "TIME_WAIT")
    return {said: int(count) for said, count in counts.items() if count is not None}


def _said(sample: Event) -> str:
    return ", ".join(f"{count} {what}" for what, count in _held(sample).items())


@dataclass(frozen=True)
class CleanStop(Check):
    """Asked to stop, the adapter closes every connection, dials no more, and ends by itself.

    Its exit status is 0, or that of SIGTERM: any other says that stopping went wrong.

    Where giving up is right, an adapter that ended by itself must have left nothing open either.
    Bugs of this kind: ccxt/ccxt#10786 (a connector stays open), pladaria/reconnecting-websocket
    #87 (close during connecting).
    """

    name = "clean_stop"
    id = "A5b"
    always = True
    steady_first = False

    within: Seconds = 5.0
    """How long it may take to close its connections."""

    reaction: Seconds = 2.0
    """A dial that was under way when it was asked may still come so late."""

    def _look(self, timeline: Timeline) -> Verdict:
        asked = next(iter(timeline.of("adapter", "stop_requested")), None)
        if timeline.gone is not None:
            if "gives_up_on_bad_credentials" not in timeline.expected:
                return unknown(f"the adapter had exited {when(timeline.gone)}, unasked")
            asked = timeline.gone
        if asked is None:
            return unknown("the adapter was never asked to stop")
        findings = Findings()
        self._look_at_end(asked, timeline, findings)
        self._look_at_connections(asked, timeline, findings)
        self._look_at_dials(asked, timeline, findings)
        ended = findings.proofs[-1].at - asked.at if findings.proofs else 0.0
        return findings.verdict(
            f"closed everything and ended within {span(max(0.0, ended))} of being asked",
            "how it ended was not seen",
        )

    def _look_at_end(self, asked: Event, timeline: Timeline, findings: Findings) -> None:
        kills = [e for e in timeline.of("adapter", "stop_requested") if e.get("how") == "sigkill"]
        exits = timeline.of("adapter", "exited")
        if kills:
            why = f"asked to stop {when(asked)}, it did not end and was killed {when(kills[0])}"
            deadline = asked.at + self.within
            missed_by = kills[0].at - deadline
            findings.late(timeline, asked.at, deadline, why, asked, kills[0], missed_by=missed_by)
            return
        wrong = next(
            (e for e in exits if e["expected"] and e["status"] not in _ENDED_AS_ASKED), None
        )
        if wrong is not None:
            findings.fail(
                f"asked to stop {when(asked)}, it ended with status {wrong['status']}; 0 says "
                f"that all went well",
                asked,
                wrong,
            )
        elif len(exits) >= timeline.adapters:
            findings.fine(exits[-1])

    def _look_at_connections(self, asked: Event, timeline: Timeline, findings: Findings) -> None:
        deadline = asked.at + self.within
        for connection in timeline.connections.values():
            if connection.dialled is None or _over_before(asked, connection, timeline):
                continue
            left = connection.left
            if left is not None and left.at <= deadline:
                continue
            if left is None and timeline.events[-1].at < deadline:
                findings.doubt(f"the history ends before connection {connection.number} does")
            else:
                findings.late(
                    timeline,
                    asked.at,
                    deadline,
                    f"asked to stop {when(asked)}, it still held connection {connection.number} "
                    f"{limit(self.within)} later",
                    asked,
                    dialled(connection),
                    missed_by=(left or timeline.events[-1]).at - deadline,
                )

    def _look_at_dials(self, asked: Event, timeline: Timeline, findings: Findings) -> None:
        for dial in timeline.after(asked, "proxy", "dialled"):
            if dial.at > asked.at + self.reaction:
                why = f"asked to stop {when(asked)}, it dialled again {when(dial)}"
                deadline = asked.at + self.reaction
                missed_by = dial.at - deadline
                findings.late(timeline, asked.at, deadline, why, asked, dial, missed_by=missed_by)


def _over_before(asked: Event, connection: Connection, timeline: Timeline) -> bool:
    left = connection.left
    return left is not None and timeline.order(left) < timeline.order(asked)
