"""The steps of a scenario: what is done to the adapter's world, and when.

    when | at | after      the moment at which the step begins
    do                     what is done: a fault of the line, a fault of the exchange, or one of
                           the harness's own actions below
    for | until            how long the step lasts; its fault is healed when it is over

A fault without `for` and `until` stays in force while the next steps happen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, ClassVar, Literal

from squall.channels import Channels, check_reference
from squall.errors import ScenarioError, did_you_mean
from squall.exchange import EXCHANGE_FAULTS, ExchangeFault
from squall.kinds import EVENT_KINDS, sources_of
from squall.typed_yaml import AtLeast, OneOf
from squall_proxy import FAULTS, Fault, MessageFault, Target, TunnelRefused

Seconds = Annotated[float, "seconds"]
Need = Literal[
    "public",
    "private",
    "events",
    "subscribe",
    "unsubscribe",
    "request",
    "health",
    "process",
    "http-proxy",
    "tls",
    "permessage-deflate",
]

NEGOTIATED: frozenset[Need] = frozenset({"permessage-deflate"})
"""What an adapter says it offers nowhere but on the line, to an exchange that grants it."""

AT_MOST = 60.0
_EVERY_KIND = tuple(dict.fromkeys(kind for kinds in EVENT_KINDS.values() for kind in kinds))


@dataclass(frozen=True)
class Seen:
    """An event: the `nth` of its kind since the step before was over."""

    event: Annotated[str, OneOf("event", _EVERY_KIND)]
    """A kind of docs/history.md, such as auth_requested."""

    nth: Annotated[int, AtLeast(1)] = 1
    """Which one of them, counted from 1."""

    source: Annotated[str, OneOf("source", tuple(EVENT_KINDS))] | None = None
    """Who reports it; needed where several do: both proxy and exchange say `closed`."""

    def __post_init__(self) -> None:
        sources = sources_of(self.event)
        if not sources:
            hint = did_you_mean(self.event, _EVERY_KIND)
            raise ScenarioError(f"unknown event '{self.event}'.{hint}")
        if self.source is None and len(sources) > 1:
            raise ScenarioError(
                f"'{self.event}' is reported by {' and '.join(sources)}; "
                f"say which one counts, e.g. source: {sources[0]}"
            )
        if self.source is not None and self.source not in sources:
            raise ScenarioError(
                f"'{self.event}' is never reported by '{self.source}'; "
                f"right would be source: {' or '.join(sources)}"
            )


# What a step can begin or end with.
# steady: every wanted channel is served exactly once and sends data.
# abandoned: the adapter left the connections that the fault hit, or dialled anew.
# redialled: it dialled since the step began.  exited: it ended.
State = Literal["steady", "abandoned", "redialled", "exited"]
Condition = State | Seen


@dataclass(frozen=True)
class Wait:
    """Do nothing `for` a time or `until` a condition."""


@dataclass(frozen=True)
class Heal:
    """Remove every fault that is in force."""


@dataclass(frozen=True)
class Subscribe:
    """Tell the adapter to hold more channels."""

    needs: ClassVar[tuple[Need, ...]] = ("subscribe",)

    channels: Channels
    """So many further ones of a kind, {trades: 1}, or full names."""


@dataclass(frozen=True)
class Unsubscribe:
    """Tell the adapter to give up channels."""

    needs: ClassVar[tuple[Need, ...]] = ("unsubscribe",)

    channels: Annotated[tuple[str, ...], AtLeast(1)]
    """Which ones: the first of the trades channels is trades/1; or full names."""


@dataclass(frozen=True)
class Request:
    """Tell the adapter to send requests, orders say, without waiting for the answers."""

    needs: ClassVar[tuple[Need, ...]] = ("request",)

    method: str
    """As the venue calls it, such as private/buy."""

    params: Mapping[str, Any] = field(default_factory=dict)
    """Passed on verbatim."""

    count: Annotated[int, AtLeast(1)] = 1
    """How many of them, at once."""


@dataclass(frozen=True)
class StopAdapter:
    """Ask the adapter to stop, as at the end of a run."""


@dataclass(frozen=True)
class PauseAdapter:
    """Freeze the adapter's process `for` a time, as a laptop that is shut does."""

    needs: ClassVar[tuple[Need, ...]] = ("process",)


@dataclass(frozen=True)
class Sample:
    """Measure the adapter's files, threads, children, memory and sockets (a cycle is over)."""


OwnAction = Wait | Heal | Subscribe | Unsubscribe | Request | StopAdapter | PauseAdapter | Sample
Action = Fault | ExchangeFault | OwnAction

OWN_ACTIONS: Mapping[str, type[OwnAction]] = {
    "wait": Wait,
    "heal": Heal,
    "subscribe": Subscribe,
    "unsubscribe": Unsubscribe,
    "request": Request,
    "stop_adapter": StopAdapter,
    "pause_adapter": PauseAdapter,
    "sample": Sample,
}

# Everything that `do` can name.
ACTIONS: Mapping[str, type[Action]] = {**FAULTS, **EXCHANGE_FAULTS, **OWN_ACTIONS}
_NAMES: Mapping[type[Action], str] = {action: name for name, action in ACTIONS.items()}


def _of_a_login(event: str) -> bool:
    return event.startswith("auth_")


# As Deribit, Bybit and Binance call a login, and as faults of the exchange do.
_PRIVATE = re.compile(r"(public/)?auth|session\.logon|private/.+")


def _only_private(action: Action) -> bool:
    """Whether it hits what only an adapter that logs in sends, or the answer to that."""
    patterns = (action, action.since) if isinstance(action, MessageFault) else ()
    named = [
        *(pattern.where.get(key) for pattern in patterns if pattern for key in ("method", "op")),
        getattr(action, "method", None),
    ]
    return any(isinstance(name, str) and _PRIVATE.fullmatch(name) for name in named)


@dataclass(frozen=True)
class Step:
    """One thing that is done, and when."""

    action: Action = field(metadata={"key": None})
    """A fault of the line, a fault of the exchange, or an action of the harness."""

    when: Condition | None = None
    """Begin when this holds; without it, as soon as the step before is over."""

    at: Seconds | None = None
    """Begin so long after the first steady state."""

    after: Seconds | None = None
    """Begin so long after the step before was over."""

    lasting: Seconds | None = field(default=None, metadata={"key": "for"})
    """How long the step lasts; its fault is healed then."""

    until: Condition | None = None
    """The step lasts until this holds; its fault is healed then."""

    at_most: Seconds = AT_MOST
    """How long `when`, and then `until`, is waited for before the run goes on without."""

    target: Target = field(default_factory=Target)
    """The connections that a fault of the line hits: all, newest, oldest, a number, or more."""

    line: int | None = field(default=None, compare=False, metadata={"key": None})
    """Where it stands in its file."""

    def __post_init__(self) -> None:
        begins = [name for name in ("when", "at", "after") if getattr(self, name) is not None]
        if len(begins) > 1:
            raise ScenarioError(f"a step begins at one moment: {' or '.join(begins)}, not both")
        if self.lasting is not None and self.until is not None:
            raise ScenarioError("a step ends once: for, or until with at_most as its limit")
        if isinstance(self.action, Wait) and self.lasting is None and self.until is None:
            raise ScenarioError("wait needs an end: for: 3s, or until: steady")
        if isinstance(self.action, PauseAdapter) and self.lasting is None:
            raise ScenarioError("pause_adapter needs an end: for: 5s")
        if self.target != Target() and not isinstance(self.action, Fault):
            raise ScenarioError(f"target is for faults of the line; '{self.do}' is none")

        for reference in _references(self.action):
            check_reference(reference)

    @property
    def do(self) -> str:
        """The name of the action, as a scenario file writes it."""
        return _NAMES[type(self.action)]

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the adapter must offer so that the step can begin, act and end."""
        if isinstance(self.action, TunnelRefused):
            return ("http-proxy",)
        found: tuple[Need, ...] = getattr(self.action, "needs", ())
        waits = (each.event for each in (self.when, self.until) if isinstance(each, Seen))
        private = any(map(_of_a_login, waits)) or _only_private(self.action)
        return (*found, "private") if private else found

    def as_dict(self) -> dict[str, Any]:
        """The step as plain JSON, durations in seconds; what is not set is left out."""
        waits = self.when is not None or self.until is not None
        timing = {
            "when": self.when,
            "at": self.at,
            "after": self.after,
            "for": self.lasting,
            "until": self.until,
            "at_most": self.at_most if waits else None,
        }
        said = {
            "settings": plain(self.action),
            "timing": {name: plain(each) for name, each in timing.items() if each is not None},
            "target": self.target.as_json() if isinstance(self.action, Fault) else None,
        }
        return {"do": self.do} | {name: each for name, each in said.items() if each}


def _references(action: Action) -> Sequence[str]:
    one, several = getattr(action, "channel", None), getattr(action, "channels", ())
    return [name for name in (one, *several) if isinstance(name, str)]


def repeat(times: int, *steps: Step) -> tuple[Step, ...]:
    """The steps, `times` times over."""
    return steps * times


def plain(value: Any) -> Any:
    """The value as plain JSON: dataclasses and mappings as objects, tuples as arrays."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value
