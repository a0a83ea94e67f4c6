"""Manifests: the YAML file that names an adapter, so that a command line needs no more than that.

docs/adapter-protocol.md describes the keys. An adapter without a file is a bare command,
`Manifest.of_command`: everything else then has its default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from yaml.nodes import MappingNode, Node

from squall.errors import AdapterError
from squall.exchange import DIALECTS
from squall.typed_yaml import AtLeast, Matches, OneOf, build, make, read_fields
from squall.yaml_source import Gather, compose, entries, located, read_text, wrong

Seconds = Annotated[float, "seconds"]
Support = Literal["public", "private", "events", "subscribe", "unsubscribe", "request", "health"]


@dataclass(frozen=True, kw_only=True)
class KnownFailure:
    """A scenario that the adapter is known not to pass, and why."""

    outcome: Literal["fail", "unknown"] = "fail"
    """What comes of it as yet."""

    reason: str
    """What the adapter does wrong, in a sentence."""

    sometimes: bool = False
    """Whether it is left to chance: then a pass is no surprise."""

    link: Annotated[str, Matches(r"https?://\S+", "a link")] | None = None
    """Where it is reported."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """An adapter: how it is started, and what can be asked of it."""

    name: str
    """What reports call it."""

    command: Annotated[tuple[str, ...], AtLeast(1)] | None = None
    """The program and its arguments; it is run in the manifest's folder."""

    object: Annotated[str, Matches(r"[\w.]+:\w+", "of the form package.module:function")] | None = (
        None
    )
    """An asyncio adapter that runs in Squall's own process, on either clock. Where there is a
    command too, that serves the real clock."""

    dialect: Annotated[str, OneOf("dialect", tuple(DIALECTS))] = "deribit"
    """The venue that it speaks."""

    url_env: str | None = None
    """The variable from which it reads its URL, where it has one of its own."""

    env: Mapping[str, str] = field(default_factory=dict)
    """Further variables of its environment."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Passed to it verbatim: durations are plain numbers of seconds here."""

    supports: tuple[Support, ...] = ()
    """What can be asked of it; a scenario that needs more is UNSUPPORTED."""

    channels: tuple[str, ...] = ()
    """Where it cannot take every channel: those that it can."""

    connections: Annotated[int, AtLeast(1)] = 1
    """How many connections it opens by design."""

    redirect: Literal["url", "http-proxy"] = "url"
    """How it is led to the mock exchange: by its URL, or by an HTTP proxy."""

    tls: bool = True
    """Whether it can dial wss://; where it cannot, a scenario over TLS is UNSUPPORTED."""

    expect: Mapping[str, KnownFailure] = field(default_factory=dict)
    """Known failures, by the name of the scenario; they are shown as such."""

    grace: Seconds = 5.0
    """How long it may take to stop before it is killed."""

    folder: Path | None = field(default=None, compare=False, metadata={"key": None})
    """Where the manifest is, and where its command runs; None for the present folder."""

    def __post_init__(self) -> None:
        if self.command is None and self.object is None:
            raise AdapterError(
                "a manifest needs 'command', such as [python, my_adapter.py], "
                "or 'object', such as my_package.adapter:function"
            )
        if self.redirect == "http-proxy" and not self.tls:
            raise AdapterError("redirect: an HTTP proxy leads to wss://, so it needs tls: true")

    @property
    def declared(self) -> bool:
        """Whether it says what the adapter supports; otherwise the adapter says it when ready."""
        return bool(self.supports)

    @classmethod
    def load(cls, path: Path | str) -> Manifest:
        """Read a manifest. Raises `AdapterError`, a line for each mistake in it."""
        path = Path(path)
        text = read_text(path, AdapterError)
        with located(str(path), AdapterError):
            empty = "is empty; a manifest needs at least name, and command or object"
            node = compose(text, empty)
            values = read_fields(
                cls, entries(node, "a manifest"), node, "a manifest", {"expect": _known_failures}
            )
            return make(cls, {**values, "folder": path.absolute().parent}, node)

    @classmethod
    def of_command(cls, command: Sequence[str]) -> Manifest:
        """An adapter that is nothing but a command, run in the present folder."""
        if not command:
            raise AdapterError("the adapter's command is empty; try: python my_adapter.py")
        words = [word for word in command[1:] if not word.startswith("-")] or [command[0]]
        return cls(name=Path(words[0]).stem, command=tuple(command))


def _known_failures(node: Node) -> dict[str, KnownFailure]:
    gather = Gather()
    known: dict[str, KnownFailure | None] = {}
    for scenario, entry in entries(node, "expect").items():
        known[scenario] = gather.attempt(_known_failure, scenario, entry.value)
    gather.settle()
    return {scenario: failure for scenario, failure in known.items() if failure is not None}


def _known_failure(scenario: str, node: Node) -> KnownFailure:
    if not isinstance(node, MappingNode):
        raise wrong(
            node,
            f"say why {scenario} is expected to fail: "
            "{outcome: fail, reason: what it does wrong, link: where it is reported}",
        )
    return build(KnownFailure, node, scenario)
