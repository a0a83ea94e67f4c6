"""The keys that scenario files and storm files share: `exchange`, `steps`, and a step's `target`.

A step is read by the name that stands under `do`: that of an action, whose settings stand beside
the step's own keys. Which actions there are, and what a step has beside one, the files say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from yaml.nodes import MappingNode, Node, SequenceNode

from squall.errors import did_you_mean
from squall.exchange import DIALECTS, Settings
from squall.typed_yaml import OneOf, hints, keys, make, read, read_fields
from squall.yaml_source import Entry, Gather, Invalid, entries, found, shown, wrong
from squall_proxy import Target

T = TypeVar("T")


def read_exchange(present: Mapping[str, Entry], gather: Gather) -> str | None:
    """The dialect that a file names under `exchange`; what is wrong with it goes to `gather`."""
    return gather.attempt(_dialect, present["exchange"].value) if "exchange" in present else None


def _dialect(node: Node) -> str | None:
    entry = entries(node, "exchange").get("dialect")
    if entry is None:
        return None
    name: str = read(Annotated[str, OneOf("dialect", tuple(DIALECTS))], entry.value, "dialect")
    return name


def read_settings(node: Node) -> Settings:
    """What else stands under `exchange`. Raises `Invalid`."""
    present = entries(node, "exchange")
    settings = {key: entry for key, entry in present.items() if key != "dialect"}
    return make(Settings, read_fields(Settings, settings, node, "exchange"), node)


def read_list(node: Node, what: str, example: str, read_one: Callable[[Node], T]) -> tuple[T, ...]:
    """A list, with the mistakes of all its members. Raises `Invalid`."""
    if not isinstance(node, SequenceNode):
        raise wrong(node, f"{what} are a list, such as [{example}]; found {found(node)}")
    gather = Gather()
    members = [gather.attempt(read_one, each) for each in node.value]
    gather.settle()
    return tuple(each for each in members if each is not None)


def read_target(node: Node) -> Target:
    """The connections that a fault is meant for. Raises `Invalid`."""
    if isinstance(node, MappingNode):
        target: Target = read(Target, node, "target")
        return target
    return make(Target, {"which": read(hints(Target)["which"], node, "target")}, node)


@dataclass(frozen=True)
class StepReader(Generic[T]):
    """Reads steps of one kind; `example` is how one is written."""

    step: type[T]
    actions: Mapping[str, type[Any]]
    example: str
    stranger: Callable[[str], str]
    """What to say of an action that is none here."""

    readers: Mapping[str, Callable[[Node], Any]] = field(default_factory=dict)
    """For keys that their annotation does not say all about."""

    def entries(self, node: Node) -> dict[str, Entry]:
        """What a step says. Raises `Invalid`."""
        if not isinstance(node, MappingNode):
            raise wrong(node, f"a step is written {self.example}; found {found(node)}")
        return entries(node, "a step")

    def read(self, present: Mapping[str, Entry], node: Node, **more: Any) -> T:
        """The step that these entries of `node` say; `more` is known already. Raises `Invalid`."""
        do: str = read(str, present["do"].value, "do")
        if do not in self.actions:
            raise wrong(present["do"].value, self.stranger(do))
        action = self.actions[do]
        # A setting of a fault wins over a step's key of the same name.
        settings = {key: entry for key, entry in present.items() if key in keys(action)}
        own = {key: entry for key, entry in present.items() if key not in {"do", *settings}}
        gather = Gather()
        for key in [key for key in own if key not in keys(self.step)]:
            gather.problems += self._no_key(do, key, own.pop(key)).problems
        what = gather.attempt(read_fields, action, settings, node, do)
        readers = {"target": read_target, **self.readers}
        how = gather.attempt(read_fields, self.step, own, node, do, readers)
        gather.settle()
        made = make(action, what or {}, node)
        return make(self.step, {**(how or {}), "action": made, **more}, node)

    def _no_key(self, do: str, key: str, entry: Entry) -> Invalid:
        hint = did_you_mean(key, {*keys(self.actions[do]), *keys(self.step)})
        return wrong(entry.key, f"{do} has no {shown(key)}.{hint}")
