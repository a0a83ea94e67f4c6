"""`squall doctor`: one adapter, a calm exchange, and what to do next.

Nothing goes wrong in this run. The adapter is started, brought to the steady state, asked every
command that it says it understands, and stopped. What that shows, `squall.diagnosis` reads from
the history.

    LEVEL 0  what the exchange sees
      ok       dialled                              0.412 s
      WRONG    logged in                                     it never tried
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeAlias

from squall import __version__, catalogue
from squall.diagnosis import QUESTIONS, Finding, State, announced, examine, wants_private
from squall.errors import AdapterError, ScenarioError
from squall.history import History
from squall.manifest import Manifest
from squall.plan import unsuitable
from squall.play import Play
from squall.profile import Profile
from squall.report import INDENT, WIDTH, Terminal
from squall.run import STEADY_WITHIN, Result, Run, Setup
from squall.scenario import Action, Request, Scenario, Step, Subscribe, Unsubscribe, Wait
from squall.steps import NEGOTIATED
from squall.virtual_clock import loop_factory

ANSWERS_WITHIN = 10.0
LAST_WORDS = 12

CALM_DAY = Scenario(
    name="doctor",
    about="Nothing goes wrong.",
    channels={"trades": 2, "book": 1, "ticker": 1, "orders": 1},
    steps=(Step(Wait(), lasting=1.5),),
    expect={"paces_requests": {}},
    settle=10.0,
    calm=0.5,
)

ORDERS = {
    "deribit": Request(
        "private/buy",
        {"instrument_name": "BTC-PERPETUAL", "amount": 10, "type": "limit", "price": 100},
    )
}
"""An order to try `request` with, by venue."""

Line: TypeAlias = tuple[str, str | None]
"""A line of text and its colour."""


def examination(manifest: Manifest, profile: Profile, terminal: Terminal) -> int:
    """Run the adapter, tell what was found; 0 where nothing is wrong, 1 where something is.

    Raises `AdapterError` where it cannot be started at all.
    """
    terminal.line(f"squall {__version__}: doctor, {manifest.name} ({manifest.dialect})")
    terminal.status(f"until it is steady may take {STEADY_WITHIN:.0f} s")
    with asyncio.Runner(loop_factory=loop_factory("real")) as runner:
        result = runner.run(consult(manifest, profile))
    terminal.status("")
    if result.history.first("started") is None:
        raise AdapterError(result.error or f"{manifest.name} was not started")
    findings = examine(result.history, manifest, result.judged)
    for text, colour in page(findings, result, manifest):
        terminal.line(text, colour)
    return int(any(finding.state is State.WRONG for finding in findings))


# -- the run -------------------------------------------------------------------------------------


async def consult(manifest: Manifest, profile: Profile) -> Result:
    """Run the adapter through a day on which nothing goes wrong."""
    return await _Visit(CALM_DAY, manifest, Setup(profile)).execute()


class _Visit(Run):
    """A run in which the adapter is asked what it can do."""

    def _build(self) -> None:
        super()._build()
        self._play = _Interview(
            self.scenario,
            self._testbed,
            self.history,
            self._moments,
            self._service,
            self._drivers,
        )


class _Interview(Play):
    """After the calm, every command that the adapter announced, and its answer."""

    async def perform(
        self, stop: Callable[[], Awaitable[None]], sample: Callable[[str], Awaitable[None]]
    ) -> None:
        await super().perform(stop, sample)
        for command in announced(self._history):
            if command in QUESTIONS and self._ask(command):
                await self._answer()

    def _ask(self, command: str) -> bool:
        """Send the command; False where this venue or this adapter does not allow it."""
        if command == "health":
            self._command(command)
            return True
        action = self._action(command)
        if action is None:
            return False
        try:
            self._act(Step(action))
        except ScenarioError:  # it cannot take any channels but those of its manifest
            return False
        return True

    def _action(self, command: str) -> Action | None:
        if command == "request":
            dialect = self._testbed.dialect.name
            return ORDERS.get(dialect) if wants_private(self._history) else None
        return Subscribe({"trades": 1}) if command == "subscribe" else Unsubscribe(("trades/1",))

    async def _answer(self) -> None:
        id = self._commands
        await self._moments.until(
            lambda: any(reply.get("id") == id for reply in self._history.of("reply")),
            ANSWERS_WITHIN,
        )
        await self._moments.until(lambda: self._service.steady, ANSWERS_WITHIN)


# -- the page ------------------------------------------------------------------------------------

_LEVELS = {
    0: "what the exchange and the system see",
    1: "events on standard output",
    2: "commands on standard input",
}
UNDER = " " * 14
_COLOURS = {State.FINE: "32", State.WRONG: "31;1", State.MISSING: "2", State.UNTRIED: "2"}


def page(findings: Sequence[Finding], result: Result, manifest: Manifest) -> Iterator[Line]:
    """All that there is to say, the next thing to do last."""
    for level, about in _LEVELS.items():
        some = [finding for finding in findings if finding.level == level]
        if some:
            yield "", None
            yield f"LEVEL {level}  {about}", "1"
            for finding in some:
                yield from _lines(finding)
    wrong = [finding for finding in findings if finding.state is State.WRONG]
    if wrong and result.last_words:
        yield "", None
        yield "its last words:", None
        for line in result.last_words.splitlines()[-LAST_WORDS:]:
            yield f"{INDENT}{line}", None
    yield "", None
    for text in textwrap.wrap(_closing(findings, result.history, manifest), WIDTH):
        yield text, "31;1" if wrong else "32"


def _lines(finding: Finding) -> Iterator[Line]:
    state = finding.state
    word = state.upper() if state is State.WRONG else state.value
    at = "" if finding.at is None else f"{finding.at:.3f} s"
    begin = f"{INDENT}{word:<9}{finding.title:<20}{at:>9}  "
    for text in _wrapped(f"{begin}{' '.join(finding.said.split())}", "", UNDER):
        yield text.rstrip(), _COLOURS[state]
    if finding.todo and state is not State.FINE:
        for text in _wrapped(finding.todo, f"{UNDER}-> ", f"{UNDER}   "):
            yield text, None


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )


def _closing(findings: Sequence[Finding], history: History, manifest: Manifest) -> str:
    wrong = [finding for finding in findings if finding.state is State.WRONG]
    if wrong:
        first = wrong[0]
        more = f" ({len(wrong) - 1} more to mend)" if len(wrong) > 1 else ""
        return f"Next: {first.title}: {first.todo or first.said}{more}"
    offered = _offered(history) | NEGOTIATED  # which it had no occasion to show
    scenarios = [s for s in catalogue.find([]) if not unsuitable(s, manifest, "real")]
    able = [scenario for scenario in scenarios if scenario.needs <= offered]
    text = f"Nothing is wrong. At level {_level(history)}, "
    if len(able) == len(scenarios):
        return f"{text}it can be put through all {len(scenarios)} scenarios of the catalogue."
    lacking = sorted({need for scenario in scenarios for need in scenario.needs - offered})
    return (
        f"{text}it can be put through {len(able)} of {len(scenarios)} scenarios of the catalogue; "
        f"the rest needs {', '.join(lacking)}."
    )


def _offered(history: History) -> set[str]:
    first = history.first("run_started")
    assert first is not None
    events = {"events"} if history.first("ready") else set()
    return set(first["adapter"]["supports"]) | events | set(announced(history))


def _level(history: History) -> int:
    if announced(history):
        return 2
    return 1 if history.first("ready") is not None else 0
