"""HTML and SVG, escaped in one place: whatever is not `Markup` is text, and text is escaped.

An adapter can say anything, so nothing it said may become an element, an attribute or a link.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_VOID = frozenset({"meta", "link", "br", "hr", "input"})
# Neither HTML nor XML knows these, escaped or not.
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


NOTHING = Markup("")


def tag(name: str, /, *children: str | None, **attributes: str | float | bool | None) -> Markup:
    """An element. An attribute that is None or False is left out; `class_` stands for `class`."""
    said = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{said}>")
    return Markup(f"<{name}{said}>{join(children)}</{name}>")


def join(children: Iterable[str | None]) -> Markup:
    """Several pieces, one after the other, each escaped if it is text."""
    return Markup("".join(escape(child) for child in children if child))


def escape(text: str) -> Markup:
    """The text as HTML; characters that cannot be shown become visible."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_NO_TEXT.sub(_visible, text), quote=False))


def prose(text: str) -> Markup:
    """A sentence in which `words in backticks` are code, as docstrings have them."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return join(tag("code", part) if n % 2 else part for n, part in enumerate(parts))


def link(address: str, *children: str | None, **attributes: str | None) -> Markup:
    """A link to the web where the address is one, else only what it would show."""
    if not re.match(r"https?://", address):
        return join(children or (address,))
    return tag("a", *(children or (address,)), href=address, rel="noreferrer", **attributes)


def _attribute(key: str, value: str | float | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    text = value if isinstance(value, str) else f"{value:g}"
    return f' {name}="{html.escape(_NO_TEXT.sub(_visible, text), quote=True)}"'


def _visible(match: re.Match[str]) -> str:
    return f"\\x{ord(match[0]):02x}"
