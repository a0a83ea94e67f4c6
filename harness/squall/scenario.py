"""A scenario is a value: which world to build, what to do to it, and what must then hold.

    Scenario(
        name="half-open",
        about="The line goes dead without a FIN or RST; the adapter must notice the silence.",
        channels={"trades": 2, "book": 1},
        steps=(Step(Blackhole(), until="abandoned", at_most=60.0),),
        expect={"detects_silence": {"within": 60.0}, "subscriptions_restored": {}},
    )

A YAML file says the same (`Scenario.load`, docs/scenarios.md). Steps happen one after the other;
the first waits for the steady state, and after the last one everything is
healed. Whoever writes scenarios in Python imports all of it from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from squall.channels import ChannelKind, Channels, spell
from squall.checks import CHECKS, check_named
from squall.errors import ScenarioError, did_you_mean
from squall.exchange import DIALECTS, Dialect, ExchangeFault, Settings
from squall.steps import (
    Action,
    Condition,
    Heal,
    Need,
    PauseAdapter,
    Request,
    Sample,
    Seconds,
    Seen,
    Step,
    StopAdapter,
    Subscribe,
    Unsubscribe,
    Wait,
    plain,
    repeat,
)
from squall.typed_yaml import AtLeast, Matches
from squall_proxy import Compression, TlsFault

__all__ = [
    "Action",
    "AdapterNeeds",
    "ChannelKind",
    "Channels",
    "Condition",
    "Covers",
    "Heal",
    "PauseAdapter",
    "Request",
    "Sample",
    "Scenario",
    "Seen",
    "Step",
    "StopAdapter",
    "Subscribe",
    "Unsubscribe",
    "Wait",
    "repeat",
]

ClockName = Literal["real", "virtual"]
KEBAB = r"[a-z0-9]+(-[a-z0-9]+)*"
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Covers:
    """What the scenario stands for: rows of the catalogue, the guide's issues, real bugs."""

    catalogue: tuple[Annotated[str, Matches(r"[A-K]-[0-9]{2}", "a row, such as B-01")], ...] = ()
    """Rows of the scenario catalogue, such as B-01."""

    guide: tuple[Literal[1, 2, 3, 4, 5, "drop_connection", "block_traffic"], ...] = ()
    """Numbers of the guide's issues, or the names of its two tests."""

    bugs: tuple[Annotated[str, Matches(r"https?://\S+", "a link")], ...] = ()
    """Links to bugs of this kind in real adapters."""


@dataclass(frozen=True)
class AdapterNeeds:
    """What the scenario asks of the adapter."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Passed to the adapter verbatim: durations are plain numbers of seconds here."""

    needs: tuple[Need, ...] = ()
    """What it must support beyond what the steps need anyway; if it does not: UNSUPPORTED."""

    count: Annotated[int, AtLeast(1)] = 1
    """How many adapters run side by side."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Which world to build, what to do to it, and what must then hold."""

    name: Annotated[str, Matches(KEBAB, "kebab-case, such as half-open")]
    """In kebab-case; the file bears the same name."""

    about: str
    """What goes wrong, and what a correct adapter does about it."""

    covers: Covers = field(default_factory=Covers)
    """What the scenario stands for."""

    channels: Channels
    """How many channels of each kind the adapter is to hold, or their full names."""

    dialect: str | None = field(default=None, metadata={"key": None})
    """The venue that is spoken; None for whichever the adapter speaks."""

    tls: bool = False
    """The adapter reaches the exchange over TLS (wss://), and is told whom to trust."""

    compression: Compression = "independent"
    """What becomes of the adapter's offer to compress messages (permessage-deflate)."""

    exchange: Settings = field(default_factory=Settings)
    """The venue that is spoken (dialect), and settings of the mock exchange."""

    adapter: AdapterNeeds = field(default_factory=AdapterNeeds)
    """What the scenario asks of the adapter."""

    clocks: tuple[ClockName, ...] = field(default=("real", "virtual"), metadata={"key": "clock"})
    """The clocks on which it makes sense; both, unless said otherwise."""

    seed: int | None = None
    """Makes chance repeatable; the run chooses one where there is none."""

    steps: tuple[Step, ...]
    """What is done, one after the other."""

    expect: Mapping[str, Mapping[str, Any]]
    """The checks that must pass, each with the parameters that differ from the profile's."""

    settle: Seconds = 30.0
    """How long the steady state may take to come back when everything is healed."""

    calm: Seconds = 2.0
    """How long the run then watches without touching anything."""

    path: Path | None = field(default=None, compare=False, metadata={"key": None})
    """The file that it was read from."""

    def __post_init__(self) -> None:
        if not re.fullmatch(KEBAB, self.name):
            raise ScenarioError(f"name: '{self.name}' is not kebab-case, such as half-open")
        if self.dialect is not None and self.dialect not in DIALECTS:
            hint = did_you_mean(self.dialect, DIALECTS)
            raise ScenarioError(f"unknown dialect '{self.dialect}'.{hint}")
        for what in ("channels", "clocks", "steps", "expect"):
            if not getattr(self, what):
                raise ScenarioError(f"{what}: a scenario needs at least one")
        if len(self.steps) > MOST_STEPS:
            raise ScenarioError(f"steps: {len(self.steps)} are too many; {MOST_STEPS} is the limit")
        for step in self.steps:
            if isinstance(step.action, TlsFault) and not self.tls:
                raise ScenarioError(f"steps: {step.do} needs TLS; add `tls: true` to the scenario")
        for name, parameters in self.expect.items():
            _check_expectation(name, parameters)

    @property
    def needs(self) -> frozenset[Need]:
        """All that the adapter must support: what is declared, and what the rest implies."""
        implied = {need for step in self.steps for need in step.needs}
        if self.tls:
            implied.add("tls")
        return frozenset(implied.union(self.adapter.needs))

    @property
    def asked_of_venue(self) -> Iterator[str]:
        """What the scenario asks of its venue, by name: settings, events, faults and methods."""
        for setting in fields(Settings):
            if getattr(self.exchange, setting.name) != setting.default:
                yield setting.name
        for step in self.steps:
            yield from (each.event for each in (step.when, step.until) if isinstance(each, Seen))
            if isinstance(step.action, ExchangeFault):
                yield step.action.name
            method = getattr(step.action, "method", None)
            if isinstance(method, str):
                yield method

    def wanted(self, dialect: Dialect) -> list[str]:
        """The full names of the channels. Raises `ScenarioError` if the venue has not so many."""
        return spell(self.channels, dialect)

    @property
    def adapter_may_exit(self) -> bool:
        """Whether an adapter that ends before the run does is right to do so."""
        stopped = any(isinstance(step.action, StopAdapter) for step in self.steps)
        return stopped or "gives_up_on_bad_credentials" in self.expect

    def as_dict(self) -> dict[str, Any]:
        """The scenario as plain JSON, durations in seconds: enough to explain a saved run."""
        return {
            "name": self.name,
            "about": self.about,
            "covers": plain(self.covers),
            "channels": plain(self.channels),
            "tls": self.tls,
            "compression": self.compression,
            "exchange": {"dialect": self.dialect, **plain(self.exchange)},
            "adapter": plain(self.adapter),
            "clock": list(self.clocks),
            "seed": self.seed,
            "steps": [step.as_dict() for step in self.steps],
            "expect": plain(self.expect),
            "settle": self.settle,
            "calm": self.calm,
        }

    @classmethod
    def load(cls, path: Path | str) -> Scenario:
        """Read a file that holds one scenario. Raises `ScenarioError`, a line for each mistake."""
        return _only(cls.load_all(path), str(path))

    @classmethod
    def load_all(cls, path: Path | str) -> tuple[Scenario, ...]:
        """Read a file that holds one scenario, or one for each of its variants."""
        from squall.scenario_file import load  # it builds the values of this module

        return load(Path(path))

    @classmethod
    def parse(cls, text: str, name: str) -> Scenario:
        """Read the text of a scenario file called `name`. Raises `ScenarioError`."""
        from squall.scenario_file import parse

        return _only(parse(text, name), name)


def _only(scenarios: tuple[Scenario, ...], where: str) -> Scenario:
    if len(scenarios) > 1:
        names = ", ".join(scenario.name for scenario in scenarios)
        raise ScenarioError(
            f"{where}: holds several scenarios, {names}; Scenario.load_all reads them"
        )
    return scenarios[0]


def _check_expectation(name: str, parameters: Mapping[str, Any]) -> None:
    check = check_named(name)
    if name not in CHECKS:
        raise ScenarioError(f"expect: call '{name}' by its name, '{check.name}'")
    known = [each.name for each in fields(check)]
    for parameter in parameters:
        if parameter not in known:
            hint = did_you_mean(parameter, known)
            raise ScenarioError(f"expect: '{name}' has no parameter '{parameter}'.{hint}")
