"""What all pages of the report have around them."""

from __future__ import annotations

from squall import __version__
from squall.certify.markup import Markup, join, tag

STYLE = "report.css"
SCRIPT = "report.js"


def document(title: str, body: Markup, *, root: str, kind: str) -> str:
    """A whole page; `root` leads from it to the folder of the report."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · Squall"),
        tag("link", rel="icon", href="data:,"),
        tag("link", rel="stylesheet", href=root + STYLE),
        tag("script", src=root + SCRIPT, defer=True),
    )
    foot = tag("footer", f"Squall {__version__}")
    page = tag("html", head, tag("body", tag("main", body), foot, class_=kind), lang="en")
    return join((Markup("<!doctype html>\n"), page, "\n"))
