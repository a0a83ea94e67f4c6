"""YAML text as nodes that know their place, and mistakes that say it.

Only nodes are made, never objects: a file cannot run code. Scalars mean what YAML 1.2 says, so
that `yes`, `1:30` or `010` never turn into something that nobody wrote. Aliases and merge keys
are understood; a file that unfolds beyond all measure is refused before it is unfolded.

Every mistake is a `Problem` with line and column; `Invalid` carries all that were found, and
`located` turns them into the one error that the user sees, a line each.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from squall.errors import SquallError

P = ParamSpec("P")
T = TypeVar("T")

MOST_BYTES = 1 << 20
MOST_NODES = 100_000
MOST_DEPTH = 50
MOST_SHOWN = 20


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a text; lines and columns count from 1."""

    line: int
    column: int
    text: str


class Invalid(Exception):
    """What was read cannot be taken for a value; `problems` say why."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


class Gather:
    """Goes on after a mistake, so that one look at a file shows all of them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def attempt(self, read: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What `read` returns; None where it found problems, which are kept."""
        try:
            return read(*args, **kwargs)
        except Invalid as invalid:
            self.problems += invalid.problems
            return None

    def settle(self) -> None:
        """Raise `Invalid` if anything was wrong."""
        if self.problems:
            raise Invalid(*self.problems)


@contextlib.contextmanager
def located(where: str, error: type[SquallError]) -> Iterator[None]:
    """Raise what is `Invalid` inside as `error`: `where:line:column: text`, a line for each."""
    try:
        yield
    except Invalid as invalid:
        problems = sorted(set(invalid.problems))
        lines = [f"{where}:{each.line}:{each.column}: {each.text}" for each in problems]
        if len(lines) > MOST_SHOWN:
            lines[MOST_SHOWN:] = [f"{where}: and {len(lines) - MOST_SHOWN} more of these"]
        raise error("\n".join(lines)) from None


def read_text(path: Path, error: type[SquallError]) -> str:
    """The text of a YAML file. Raises `error` where it cannot be one."""
    try:
        if path.is_dir():
            raise error(f"{path}: is a folder; name a YAML file in it")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise error(f"{path}: there is no such file") from None
    except (OSError, ValueError) as reason:
        said = getattr(reason, "strerror", None) or reason
        raise error(f"{path}: cannot be read: {said}") from None
    if len(data) > MOST_BYTES:
        raise error(f"{path}: is larger than {MOST_BYTES} bytes; a YAML file like this is short")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = data.count(b"\n", 0, reason.start) + 1
        raise error(f"{path}:{line}: is not UTF-8 text, so it is no YAML file") from None


class _Nodes(yaml.SafeLoader):
    """Leaves the tag empty where the file names none: what a scalar is, its reader decides."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        return ""


def compose(text: str, empty: str) -> Node:
    """The one document in the text. Raises `Invalid`; says `empty` where there is none."""
    try:
        root: Node | None = yaml.compose(text, Loader=_Nodes)
        if root is None or is_null(root):
            raise Invalid(Problem(1, 1, empty))
        _bound(root)
        return root
    except yaml.MarkedYAMLError as error:
        raise Invalid(_syntax_problem(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Invalid(
            Problem(line, 1, "a character that no text has; is this a YAML file?")
        ) from None
    except RecursionError:
        raise Invalid(Problem(1, 1, "is nested too deeply")) from None


_HINTS = {
    "found character '\\t'": "a tab; YAML is indented with spaces",
    "but found another document": "a second document; one file holds one",
    "mapping values are not allowed": "a ': ' that cannot stand here; a text with ': ' in it is "
    "quoted, and a line that begins a key is indented as the one above",
}


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    said = error.problem or error.context or "something is wrong"
    text = next((hint for words, hint in _HINTS.items() if words in said), "")
    if not text:
        text = f"is not YAML: {said}"
        if error.context and error.context_mark and error.problem:
            text += f" ({error.context} that begins in line {error.context_mark.line + 1})"
    return _problem(error.problem_mark or error.context_mark, text)


def _problem(mark: yaml.Mark | None, text: str) -> Problem:
    """The problem, on one line whatever the file holds."""
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return Problem(mark.line + 1, mark.column + 1, text) if mark else Problem(1, 1, text)


def _bound(root: Node) -> None:
    """Refuse tags, cycles, and aliases of aliases that unfold without end ("billion laughs")."""
    known: dict[Node, tuple[int, int]] = {}
    within: set[Node] = set()

    def measure(node: Node) -> tuple[int, int]:
        """How many nodes it unfolds into, and how deep they are nested."""
        if node in within:
            raise wrong(node, "holds an alias to itself")
        if node not in known:
            if node.tag:
                raise wrong(node, f"the tag {shown(node.tag)} means nothing here; leave it out")
            within.add(node)
            inner = [measure(child) for child in _children(node)]
            within.discard(node)
            size = 1 + sum(size for size, _ in inner)
            depth = 1 + max((depth for _, depth in inner), default=0)
            if size > MOST_NODES:
                raise wrong(node, f"unfolds into more than {MOST_NODES} values")
            if depth > MOST_DEPTH:
                raise wrong(root, "is nested too deeply")
            known[node] = (size, depth)
        return known[node]

    measure(root)


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value


def wrong(node: Node, text: str) -> Invalid:
    """The mistake `text`, at the place of `node`."""
    return Invalid(_problem(node.start_mark, text))


class Entry(NamedTuple):
    """A key of a mapping, and what stands there."""

    key: Node
    value: Node


def entries(node: Node, what: str) -> dict[str, Entry]:
    """The keys of a mapping, those merged with `<<` included. Raises `Invalid`.

    Keys of the mapping itself win over merged ones, earlier merged ones over later.
    """
    if not isinstance(node, MappingNode):
        raise wrong(node, f"{what} is a mapping of keys to values; found {found(node)}")
    gather = Gather()
    own: dict[str, Entry] = {}
    merged: dict[str, Entry] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode):
            gather.problems += wrong(key, f"a key is one word; found {found(key)}").problems
        elif key.value == "<<" and key.style is None:
            more = gather.attempt(_merged, value, what)
            merged = {**(more or {}), **merged}
        elif key.value in own:
            line = own[key.value].key.start_mark.line + 1
            said = f"the key {shown(key.value)} is here a second time; the first is in line {line}"
            gather.problems += wrong(key, said).problems
        else:
            own[key.value] = Entry(key, value)
    gather.settle()
    return {**merged, **own}


def _merged(node: Node, what: str) -> Mapping[str, Entry]:
    if not isinstance(node, SequenceNode):
        return entries(node, what)
    result: dict[str, Entry] = {}
    for each in reversed(node.value):
        result |= entries(each, what)
    return result


# The YAML 1.2 core schema, decimal only.
WHOLE = re.compile(r"[-+]?[0-9]{1,15}")
NUMBER = re.compile(r"[-+]?(\.[0-9]{1,15}|[0-9]{1,15}(\.[0-9]{0,15})?)([eE][-+]?[0-9]{1,2})?")


def is_null(node: Node) -> bool:
    """Whether nothing stands there, or `null`."""
    return (
        isinstance(node, ScalarNode)
        and node.style is None
        and node.value in ("", "~", "null", "Null", "NULL")
    )


def plain_text(node: Node) -> str | None:
    """The text of a scalar without quotes: what could be a number. None for anything else."""
    return node.value if isinstance(node, ScalarNode) and node.style is None else None


def json_value(node: Node) -> Any:
    """What stands there, as JSON: for values that are passed on verbatim. Raises `Invalid`."""
    if isinstance(node, MappingNode):
        return {name: json_value(entry.value) for name, entry in entries(node, "this").items()}
    if isinstance(node, SequenceNode):
        return [json_value(each) for each in node.value]
    text = plain_text(node)
    if text is None:
        return str(node.value)
    if is_null(node):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in ("yes", "no", "on", "off"):
        raise wrong(node, f"'{text}' is true to some and a word to others: write true, or quote it")
    if WHOLE.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def shown(text: str) -> str:
    """The text in quotes, and not too long."""
    line = " ".join(text.split())
    return f"'{line[:57]}...'" if len(line) > 60 else f"'{line}'"


def found(node: Node) -> str:
    """What stands there, for a message."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    return "nothing" if is_null(node) else shown(node.value)
