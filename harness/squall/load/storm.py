"""A storm is a value: how large a fleet, what is done to it and when, and what that may cost.

    Storm(
        name="thundering-herd",
        about="Every line is cut at one instant.",
        users=1000,
        duration=20.0,
        steps=(StormStep(Fin(), at=2.0),),
        thresholds=(Threshold.parse("restored == 100%"),),
    )

A YAML file says the same (`squall.load.storm_file`, docs/load.md). The storm's clock shows 0 when
the whole fleet is connected and served for the first time; the steps name instants on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from squall.channels import Channels, spell
from squall.errors import ScenarioError, did_you_mean
from squall.exchange import DIALECTS, EXCHANGE_FAULTS, ExchangeFault, Settings
from squall.exchange import dialect as dialect_named
from squall.load.thresholds import Threshold
from squall.scenario import KEBAB
from squall.steps import plain
from squall.typed_yaml import AtLeast, Matches
from squall_proxy import (
    FAULTS,
    CutFault,
    Fault,
    NetworkFault,
    Target,
    TlsFault,
    TunnelRefused,
    Vanish,
)

Seconds = Annotated[float, "seconds"]
Engine = Literal["asyncio", "gevent"]
Where = Literal["proxy", "exchange", "load"]

DIALECT = "deribit"
"""The venue that is spoken where a storm names none; the reference adapter speaks this one."""


_ONE_FEED: Channels = {"trades": 1}


@dataclass(frozen=True)
class Load:
    """Change how many users there are."""

    users: Annotated[int, AtLeast(1)]
    """So many from now on."""

    spawn_rate: float | None = None
    """So many come or go each second; the storm's own spawn_rate where it is not said."""

    def __post_init__(self) -> None:
        if self.users < 1:
            raise ScenarioError(f"users is {self.users}; it must be 1 or more")
        if self.spawn_rate is not None and self.spawn_rate <= 0:
            raise ScenarioError(f"spawn_rate is {self.spawn_rate}; it must be above 0")


LOAD = "load"
Action = Fault | ExchangeFault | Load

ACTIONS: Mapping[str, type[Action]] = {
    # Faults of packets, of TLS and of tunnels take a testbed that a storm has not.
    **{
        name: fault
        for name, fault in FAULTS.items()
        if not issubclass(fault, (NetworkFault, Vanish, TlsFault, TunnelRefused))
    },
    **EXCHANGE_FAULTS,
    LOAD: Load,
}
"""Everything that `do` can name in a storm."""

_NAMES: Mapping[type[Action], str] = {action: name for name, action in ACTIONS.items()}


@dataclass(frozen=True)
class StormStep:
    """One thing that is done, at an instant of the storm's clock."""

    action: Action = field(metadata={"key": None})
    """A fault of the line, a fault of the exchange, or a change of the load."""

    at: Seconds
    """Seconds after the whole fleet was served for the first time."""

    lasting: Seconds | None = field(default=None, metadata={"key": "for"})
    """How long the fault stays in force; without it, until the storm is over."""

    target: Target = field(default_factory=Target)
    """The connections that a fault of the line hits: all, or of them a fraction, say."""

    def __post_init__(self) -> None:
        if type(self.action) not in _NAMES:
            raise ScenarioError(f"{self.action} has no place in a storm")
        if self.at < 0:
            raise ScenarioError(f"at is {self.at}; a storm begins at 0")
        if self.lasting is not None and isinstance(self.action, CutFault | Load):
            raise ScenarioError(f"{self.do} is over at once; it has no 'for'")
        if self.lasting is not None and self.lasting <= 0:
            raise ScenarioError(f"for is {self.lasting}; it must be above 0")
        if self.target != Target() and not isinstance(self.action, Fault):
            raise ScenarioError(f"target is for faults of the line; '{self.do}' is none")

    @property
    def do(self) -> str:
        """The name of the action, as a storm file writes it."""
        return _NAMES[type(self.action)]

    @property
    def where(self) -> Where:
        """Who does it."""
        if isinstance(self.action, Load):
            return "load"
        return "proxy" if isinstance(self.action, Fault) else "exchange"

    @property
    def ends(self) -> float | None:
        """When its fault is healed; None where the storm's end is the first to do so."""
        return None if self.lasting is None else self.at + self.lasting

    def as_dict(self) -> dict[str, Any]:
        """The step as plain JSON, durations in seconds."""
        said = {
            "at": self.at,
            "for": self.lasting,
            "target": None if self.target == Target() else self.target.as_json(),
            "settings": plain(self.action) or None,
        }
        return {"do": self.do} | {key: each for key, each in said.items() if each is not None}


@dataclass(frozen=True, kw_only=True)
class Storm:
    """How large a fleet, what is done to it and when, and what that may cost."""

    name: Annotated[str, Matches(KEBAB, "kebab-case, such as thundering-herd")] = field(
        metadata={"key": "storm"}
    )
    """What it is called, in kebab-case."""

    about: str
    """What happens, and what a good fleet makes of it."""

    users: Annotated[int, AtLeast(1)] = 200
    """Adapters in the fleet; `--users` goes before it."""

    spawn_rate: float = 100.0
    """Users that come or go each second while the fleet is built up."""

    patience: Seconds = 60.0
    """How long the last user may take to be served for the first time."""

    duration: Seconds
    """How long the storm lasts, from the moment at which all were served for the first time."""

    engine: Engine = "asyncio"
    """asyncio: adapters on one native thread with a uvloop loop; gevent: one greenlet each."""

    dialect: str = field(default=DIALECT, metadata={"key": None})
    """The venue that is spoken."""

    exchange: Settings = field(default_factory=Settings)
    """The venue that is spoken (dialect), and settings of the mock exchange."""

    adapter: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the adapter, passed verbatim: durations are plain numbers of seconds here."""

    channels: Channels = field(default_factory=lambda: _ONE_FEED)
    """How many channels of each kind a user holds, or their full names."""

    private: bool = False
    """Whether users log in. Channels of orders need it."""

    seed: int = 0
    """Makes chance repeatable: each user's jitter, and the targets of faults."""

    steps: tuple[StormStep, ...] = ()
    """What is done, at which instants."""

    thresholds: tuple[Threshold, ...]
    """What the storm may cost, such as recovery_p99 < 30s."""

    path: Path | None = field(default=None, compare=False, metadata={"key": None})
    """The file that it was read from."""

    def __post_init__(self) -> None:
        if not re.fullmatch(KEBAB, self.name):
            raise ScenarioError(f"storm: '{self.name}' is not kebab-case, such as thundering-herd")
        if self.dialect not in DIALECTS:
            hint = did_you_mean(self.dialect, DIALECTS)
            raise ScenarioError(f"unknown dialect '{self.dialect}'.{hint}")
        if self.users < 1:
            raise ScenarioError(f"users is {self.users}; it must be 1 or more")
        for name in ("spawn_rate", "duration"):
            if getattr(self, name) <= 0:
                raise ScenarioError(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("channels", "thresholds"):
            if not getattr(self, name):
                raise ScenarioError(f"{name}: a storm needs at least one")
        for step in self.steps:
            if step.at >= self.duration:
                raise ScenarioError(
                    f"{step.do} is to begin at {step.at:g} s, but the storm lasts "
                    f"{self.duration:g} s"
                )
        self._check_channels()

    def _check_channels(self) -> None:
        venue = dialect_named(self.dialect)
        secret = [name for name in self.wanted if venue.is_private(name)]
        if secret and not self.private:
            raise ScenarioError(f"{secret[0]} needs a login; add `private: true`")

    @property
    def wanted(self) -> list[str]:
        """The full names of the channels that each user holds."""
        return spell(self.channels, dialect_named(self.dialect))

    @property
    def most_users(self) -> int:
        """The most users that there are at any time."""
        loads = [step.action.users for step in self.steps if isinstance(step.action, Load)]
        return max(self.users, *loads) if loads else self.users

    @property
    def build_up(self) -> float:
        """Seconds after which a fleet that is still not whole never will be."""
        return self.users / self.spawn_rate + self.patience

    def scaled(self, users: int) -> Storm:
        """The same storm for so many users; steps that change the load grow with it."""
        return replace(self, users=users, steps=tuple(self._scaled(s, users) for s in self.steps))

    def _scaled(self, step: StormStep, users: int) -> StormStep:
        if not isinstance(step.action, Load):
            return step
        grown = max(1, round(step.action.users * users / self.users))
        return replace(step, action=replace(step.action, users=grown))

    def as_dict(self) -> dict[str, Any]:
        """The storm as plain JSON, durations in seconds: enough to explain a saved result."""
        return {
            "storm": self.name,
            "about": self.about,
            "users": self.users,
            "spawn_rate": self.spawn_rate,
            "patience": self.patience,
            "duration": self.duration,
            "engine": self.engine,
            "exchange": {"dialect": self.dialect, **plain(self.exchange)},
            "adapter": plain(self.adapter),
            "channels": plain(self.channels),
            "private": self.private,
            "seed": self.seed,
            "steps": [step.as_dict() for step in self.steps],
            "thresholds": [str(each) for each in self.thresholds],
        }
