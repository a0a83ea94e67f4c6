"""Variants: one file, several scenarios that differ in a value or two.

    variants:
      - {code: 1000}
      - {code: 1001}
    steps:
      - {do: close, code: "${code}"}

Each variant is a scenario of its own, named after its values: clean-close-1000. This happens to
the nodes of the file, before anything is read, so a value is read as if it stood where `${...}`
is, and a mistake in it is reported where it does stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from squall.errors import did_you_mean
from squall.yaml_source import Gather, entries, found, shown, wrong

MOST_VARIANTS = 100
PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")

Values = Mapping[str, ScalarNode]


def expand(root: Node) -> Iterator[tuple[str, Node]]:
    """The scenarios in a file: what their variant adds to the name, and their nodes.

    One without an addition where the file has no variants. Raises `Invalid`.
    """
    listed = next((each for each in _pairs(root) if each[0].value == "variants"), None)
    if listed is None:
        yield "", root
        return
    rest = MappingNode(
        root.tag,
        [pair for pair in root.value if pair is not listed],
        root.start_mark,
        root.end_mark,
    )
    for name, values in _variants(listed[1]).items():
        yield name, _filled(rest, values)


def _pairs(root: Node) -> list[tuple[Node, Node]]:
    return root.value if isinstance(root, MappingNode) else []


def _variants(node: Node) -> dict[str, Values]:
    if not isinstance(node, SequenceNode) or not node.value:
        raise wrong(node, f"variants are a list, such as [{{code: 1000}}]; found {found(node)}")
    if len(node.value) > MOST_VARIANTS:
        raise wrong(node, f"{len(node.value)} variants are too many; {MOST_VARIANTS} is the limit")
    gather, named = Gather(), dict[str, Values]()
    for each in node.value:
        values = gather.attempt(_values, each)
        name = _name(values) if values else ""
        if name in named:
            gather.problems += wrong(each, f"a second variant called {shown(name)}").problems
        elif values:
            named[name] = values
    gather.settle()
    return named


def _values(node: Node) -> Values:
    values: dict[str, ScalarNode] = {}
    for name, entry in entries(node, "a variant").items():
        if not isinstance(entry.value, ScalarNode):
            raise wrong(entry.value, f"{name} is one value; found {found(entry.value)}")
        values[name] = entry.value
    if not _name(values):
        raise wrong(node, "a variant is named after its values; found none that makes a name")
    return values


def _name(values: Values) -> str:
    words = "-".join(value.value.lower() for value in values.values())
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def _filled(root: Node, values: Values) -> Node:
    """A copy in which the values stand in the place of their `${...}`."""
    gather, used = Gather(), set[str]()

    def fill(node: Node) -> Node:
        if isinstance(node, MappingNode):
            pairs = [(key, fill(value)) for key, value in node.value]
            return MappingNode(node.tag, pairs, node.start_mark, node.end_mark)
        if isinstance(node, SequenceNode):
            items = [fill(each) for each in node.value]
            return SequenceNode(node.tag, items, node.start_mark, node.end_mark)
        names = PLACEHOLDER.findall(node.value)
        for name in names:
            if name not in values:
                said = f"no variant has a value for {shown(name)}.{did_you_mean(name, values)}"
                gather.problems += wrong(node, said).problems
        used.update(names)
        if PLACEHOLDER.fullmatch(node.value):
            return values.get(names[0], node)
        return _text(node, values) if names else node

    copy = fill(root)
    for name in values.keys() - used:
        gather.problems += wrong(values[name], f"{shown(name)} is used nowhere").problems
    gather.settle()
    return copy


def _text(node: Node, values: Values) -> ScalarNode:
    text = PLACEHOLDER.sub(lambda match: _value(values, match), node.value)
    return ScalarNode(node.tag, text, node.start_mark, node.end_mark, style='"')


def _value(values: Values, match: re.Match[str]) -> str:
    known = values.get(match[1])
    return known.value if known else match[0]
