"""Did the run put the adapter to the test at all? A green run that tested nothing is worthless."""

from __future__ import annotations

from dataclasses import dataclass

from squall.checks.base import Check, listed, when
from squall.checks.timeline import Timeline
from squall.verdict import Verdict, passed, unknown

# What a step can do without disturbing anybody.
_PEACEFUL = frozenset({"wait", "heal", "sample"})
# A limit takes effect on those who exceed it; on all others it is enough that it was in force.
_RULES = frozenset({"limit"})


@dataclass(frozen=True)
class Exercised(Check):
    """The adapter was steady, every step was carried out, and every fault took effect.

    Where the scenario puts no fault and gives no command, a condition that it waits for must
    have come true.
    """

    name = "exercised"
    always = True

    def _look(self, timeline: Timeline) -> Verdict:
        assert timeline.steady is not None
        declared = timeline.scenario.get("steps") or ()
        steps = timeline.of("scenario", "step")
        done = {step.get("index") for step in steps}
        undone = [
            f"{step.get('do')} (step {index + 1})"
            for index, step in enumerate(declared)
            if index not in done
        ]
        if undone:
            return unknown(f"never came to {listed(undone)}")
        faults = [known for known in timeline.disturbances if known.source != "scenario"]
        idle = [known for known in faults if not known.fired and known.what not in _RULES]
        if idle:
            said = [f"{known.what} of {known.at:.3f} s" for known in idle]
            return unknown(f"never took effect: {listed(said)}", *(known.started for known in idle))
        acts = [step for step in steps if step["do"] not in _PEACEFUL]
        # Tokens expire and heartbeats are asked for without anybody's doing; then it is a wait
        # that says what the adapter must be put through.
        acts += [
            end for end in timeline.of("scenario", "step_ended") if end["reason"] == "condition"
        ]
        if not faults and not acts:
            return unknown("nothing was done to the adapter")
        taken = ", ".join(dict.fromkeys(known.what for known in faults))
        return passed(
            f"steady {when(timeline.steady)}, every step carried out"
            + (f", and these took effect: {taken}" if taken else ""),
            timeline.steady,
            *(known.fired[0] for known in faults if known.fired),
        )
