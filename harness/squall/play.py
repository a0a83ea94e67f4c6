"""Carrying out the steps of a scenario, one after the other, each at its moment.

The decisions taken here are about time only: when to strike, when to go on, and when to give up
waiting. Whether the adapter did well is judged later, from the history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from squall.channels import further, resolve, resolve_fault
from squall.driver import Driver
from squall.exchange import Injection as ExchangeInjection
from squall.history import Event, History
from squall.moments import Moments
from squall.scenario import (
    Condition,
    Heal,
    PauseAdapter,
    Request,
    Sample,
    Scenario,
    Seen,
    Step,
    StopAdapter,
    Subscribe,
    Unsubscribe,
    Wait,
)
from squall.service import SOONEST, STRIKES, Service
from squall.testbed import Testbed
from squall_proxy import Injection

AnyInjection = Injection | ExchangeInjection

FIRES_WITHIN = 10.0
"""Seconds within which a cut must have cut; a frame to cut in its middle has to come first."""


class Play:
    """The steps at work on a testbed and the adapters in front of it."""

    def __init__(
        self,
        scenario: Scenario,
        testbed: Testbed,
        history: History,
        moments: Moments,
        service: Service,
        drivers: Sequence[Driver],
    ) -> None:
        self._scenario = scenario
        self._testbed = testbed
        self._history = history
        self._moments = moments
        self._service = service
        self._drivers = drivers
        self._wanted: list[str] = []
        self._commands = 0

    def want(self, channels: Sequence[str]) -> None:
        """From now on the adapter ought to hold these channels, and no others."""
        self._wanted = list(channels)
        dialect = self._testbed.dialect
        self._history.add(
            "scenario",
            "wanted",
            None,
            channels=self._wanted,
            private=[name for name in channels if dialect.is_private(name)],
            adapters=self._scenario.adapter.count,
        )

    async def perform(
        self, stop: Callable[[], Awaitable[None]], sample: Callable[[str], Awaitable[None]]
    ) -> None:
        """Carry out all the steps; the steady state has just been reached."""
        self._steady_at = self._history.now
        for index, step in enumerate(self._scenario.steps):
            injections = await self._begin(index, step)
            if injections is None:
                self._history.add("scenario", "step_ended", None, index=index, reason="at_most")
                continue
            begun = len(self._history)
            if isinstance(step.action, StopAdapter):
                await stop()
            elif isinstance(step.action, Sample):
                await sample("cycle")
            reason = await self._last(step, injections, begun)
            self._end(step, injections)
            self._history.add("scenario", "step_ended", None, index=index, reason=reason)

    # -- beginning ---------------------------------------------------------------------------

    async def _begin(self, index: int, step: Step) -> list[AnyInjection] | None:
        """Begin the step at its moment; None where that never came."""
        injections: list[AnyInjection] = []

        def begin() -> None:
            self._history.add("scenario", "step", None, index=index, **step.as_dict())
            injection = self._act(step)
            if injection is not None:
                injections.append(injection)

        match step.when:
            case Seen() as seen:
                came = await self._moments.at_event(
                    lambda event: _is(event, seen), seen.nth, step.at_most, begin
                )
                return injections if came else None
            case None:
                await asyncio.sleep(self._delay(step))
            case state:
                holds = self._holds(state, begun=len(self._history))
                if not await self._moments.until(holds, step.at_most):
                    return None
        begin()
        return injections

    def _delay(self, step: Step) -> float:
        if step.at is not None:
            return max(0.0, self._steady_at + step.at - self._history.now)
        return step.after or 0.0

    def _act(self, step: Step) -> AnyInjection | None:
        match step.action:
            case Wait() | StopAdapter() | Sample():
                return None
            case Heal():
                self._testbed.heal()
            case PauseAdapter():
                for driver in self._drivers:
                    driver.pause()
            case Subscribe(channels=channels):
                more = further(channels, self._wanted, self._testbed.dialect)
                self.want([*self._wanted, *more])
                self._command("subscribe", channels=more)
            case Unsubscribe(channels=channels):
                dialect = self._testbed.dialect
                fewer = [resolve(name, self._wanted, dialect) for name in channels]
                self.want([name for name in self._wanted if name not in fewer])
                self._command("unsubscribe", channels=fewer)
            case Request(method=method, params=params, count=count):
                for _ in range(count):
                    self._command("request", method=method, params=self._labelled(params))
            case fault:
                settled = resolve_fault(fault, self._wanted, self._testbed.dialect)
                return self._testbed.inject(settled, step.target)
        return None

    def _labelled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        # Deribit's `label` is the client's own mark: it tells each order from all the others.
        return {"label": f"squall-{self._commands + 1}", **params}

    def _command(self, do: str, **what: Any) -> None:
        self._commands += 1
        for driver in self._drivers:
            driver.send({"id": self._commands, "do": do, **what})

    # -- lasting and ending ------------------------------------------------------------------

    async def _last(self, step: Step, injections: Sequence[AnyInjection], begun: int) -> str:
        if step.lasting is not None:
            await asyncio.sleep(step.lasting)
            return "elapsed"
        if step.until is not None:
            holds = self._holds(step.until, begun, injections)
            return "condition" if await self._moments.until(holds, step.at_most) else "at_most"
        if step.do in STRIKES:
            await self._moments.until(lambda: all(i.fired for i in injections), FIRES_WITHIN)
        return "done"

    def _end(self, step: Step, injections: Sequence[AnyInjection]) -> None:
        if step.lasting is not None or step.until is not None:
            for injection in injections:
                injection.heal()
        if isinstance(step.action, PauseAdapter):
            for driver in self._drivers:
                driver.resume()

    def _holds(
        self, condition: Condition, begun: int, injections: Sequence[AnyInjection] = ()
    ) -> Callable[[], bool]:
        """The condition as a question; `begun` is where the step's own events start."""
        began = self._history.now

        def seen(what: Seen) -> bool:
            return sum(_is(e, what) for e in self._history.since_index(begun)) >= what.nth

        def dialled(since: float = 0.0) -> bool:
            return any(
                event.kind in ("dialled", "dial_lost") and event.at >= since
                for event in self._history.since_index(begun)
            )

        def abandoned() -> bool:
            ids = {injection.id for injection in injections}
            fired = [e for e in self._history.of("fault_fired", source="proxy") if e["id"] in ids]
            onset = fired[0].at if fired else began
            hit = {event.connection for event in fired}
            return dialled(onset + SOONEST) or (bool(hit) and hit <= self._service.left)

        match condition:
            case "steady":
                return lambda: self._service.steady
            case "exited":
                return lambda: all(driver.exited for driver in self._drivers)
            case "redialled":
                return dialled
            case "abandoned":
                return abandoned
            case Seen() as what:
                return lambda: seen(what)


def _is(event: Event, seen: Seen) -> bool:
    return event.kind == seen.event and seen.source in (None, event.source)
