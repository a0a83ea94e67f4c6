"""What a storm does next: pure, so that whoever keeps the clock only asks.

Locust's master looks once a second. A step is therefore handed out up to `LEAD` before its
instant, and the control API of the proxy or the exchange is told how long is still to wait: the
instant is kept by who does the harm, to the millisecond.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from squall.exchange.faults.access import ExpireToken
from squall.exchange.faults.venue import TestBurst
from squall.load.storm import Load, Storm, StormStep, Where
from squall_proxy import CutFault

LEAD = 2.0
"""Seconds before its instant at which a step is handed out."""


@dataclass(frozen=True)
class Phase:
    """Something that was in force for a while, as plots and reports show it."""

    at: float
    until: float
    do: str
    where: Where
    label: str

    @classmethod
    def of(cls, step: StormStep, duration: float) -> Phase:
        """The phase that a step makes: an instant where it is over at once."""
        if step.lasting is not None:
            until = min(step.at + step.lasting, duration)
        elif _lasts(step):
            until = duration
        else:
            until = step.at
        return cls(step.at, until, step.do, step.where, label(step))

    def as_json(self) -> dict[str, Any]:
        """Its form in fleet.json."""
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, data: Any) -> Phase:
        """The phase that was written. Raises TypeError."""
        return cls(**data)


def _lasts(step: StormStep) -> bool:
    return not (isinstance(step.action, CutFault | Load) or step.do in _AT_ONCE)


# Faults of the exchange that have done all they do when they have begun.
_AT_ONCE = frozenset({ExpireToken.name, TestBurst.name})


def label(step: StormStep) -> str:
    """The step in a few words."""
    if isinstance(step.action, Load):
        return f"load {step.action.users:,}"
    part = step.target.fraction
    return step.do if part is None else f"{step.do} {part:.0%}"


class Timeline:
    """The steps of a storm: each is handed out once, as soon as it can be ordered."""

    def __init__(self, storm: Storm, lead: float = LEAD) -> None:
        self._storm = storm
        self._lead = lead
        steps = sorted(storm.steps, key=lambda step: step.at)
        self._faults = [step for step in steps if step.where != "load"]
        self._loads = [step for step in steps if step.where == "load"]
        self.phases: list[Phase] = []
        """What was handed out, and the changes of the load that have come."""

    def due(self, now: float) -> tuple[StormStep, ...]:
        """The faults to order now, at `now` on the storm's clock; each is in `phases` then."""
        count = sum(step.at <= now + self._lead for step in self._faults)
        ready, self._faults = self._faults[:count], self._faults[count:]
        self.phases += [Phase.of(step, self._storm.duration) for step in ready]
        return tuple(ready)

    def load(self, now: float) -> tuple[int, float]:
        """How many users there are to be, and how many come or go each second."""
        storm = self._storm
        users, rate = storm.users, storm.spawn_rate
        for step in self._loads:
            if step.at > now:
                break
            assert isinstance(step.action, Load)
            users, rate = step.action.users, step.action.spawn_rate or storm.spawn_rate
            phase = Phase.of(step, storm.duration)
            if phase not in self.phases:
                self.phases.append(phase)
        return users, rate

    def over(self, now: float) -> bool:
        """Whether the storm has lasted as long as it should."""
        return now >= self._storm.duration
