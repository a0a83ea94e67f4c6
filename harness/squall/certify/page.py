"""What all pages of the report have around them."""

from __future__ import annotations

from squall.pages import frame
from squall.pages.markup import Markup, tag

STYLE = "report.css"
SCRIPT = "report.js"


def document(title: str, body: Markup, *, root: str, kind: str) -> str:
    """A whole page; `root` leads from it to the folder of the report."""
    head = (
        tag("link", rel="stylesheet", href=root + STYLE),
        tag("script", src=root + SCRIPT, defer=True),
    )
    return frame.document(title, tag("main", body), kind=kind, head=head)
