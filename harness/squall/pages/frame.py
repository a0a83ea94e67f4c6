"""What every page has around it, and what more than one has on it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

from squall import __version__
from squall.pages.markup import Markup, join, tag


def document(title: str, *parts: Markup, kind: str, head: Iterable[Markup]) -> str:
    """A whole page: `head` brings style and scripts, `kind` is the class of the body."""
    top = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · Squall"),
        tag("link", rel="icon", href="data:,"),
        *head,
    )
    body = tag("body", *parts, tag("footer", f"Squall {__version__}"), class_=kind)
    return join((Markup("<!doctype html>\n"), tag("html", top, body, lang="en"), "\n"))


def asset(package: str, name: str) -> str:
    """A file that a package ships for its pages."""
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")


def stylesheet(package: str, name: str) -> str:
    """The look of all pages, and after it what a package adds to it."""
    return asset("squall.pages", "page.css") + asset(package, name)


def chip(word: str, kind: str, **attributes: str) -> Markup:
    """A verdict as a coloured word; `kind` is its colour: pass, fail, unknown, known, ..."""
    return tag("span", word, class_=f"chip {kind}", **attributes)


def row(name: str, *values: str) -> Markup:
    """A row of a table: what it is about, and what there is to say of it."""
    return tag("tr", tag("th", name, scope="row"), *(tag("td", value) for value in values))


def table(heads: Iterable[str], rows: Iterable[Markup], kind: str) -> Markup:
    """A table that scrolls where the screen is too narrow; no `heads`, no row of them."""
    cells = [tag("th", word, scope="col") for word in heads]
    head = tag("thead", tag("tr", *cells)) if cells else None
    return tag("div", tag("table", head, tag("tbody", *rows), class_=kind), class_="wide")
