"""A badge for a README: how many of the scenarios were passed."""

from __future__ import annotations

from collections.abc import Sequence

from squall.certify.classes import VerdictClass
from squall.certify.matrix import Cell, passing, tally
from squall.pages.markup import tag

_LETTER = 6.6
_COLOURS = {"good": "#1a7f37", "bad": "#b62324", "doubt": "#8a5300"}


def badge(cells: Sequence[Cell]) -> str:
    """An SVG image that says `squall | 52 of 54 pass`."""
    counts = tally(cells)
    judged = len(cells) - counts[VerdictClass.UNSUPPORTED]
    said = f"{counts[VerdictClass.PASS]} of {judged} pass" if judged else "nothing judged"
    failed = any(cell.verdict.failed for cell in cells)
    colour = _COLOURS["bad" if failed else "good" if judged and passing(cells) else "doubt"]
    left, right = 52, round(len(said) * _LETTER + 16)
    return tag(
        "svg",
        tag("title", f"squall: {said}"),
        tag("rect", width=left, height=20, fill="#444c56", rx=3),
        tag("rect", x=left - 3, width=right + 3, height=20, fill=colour, rx=3),
        tag(
            "g",
            tag("text", "squall", x=left / 2, y=14),
            tag("text", said, x=left + right / 2, y=14),
            fill="#fff",
            font_family="Verdana,DejaVu Sans,sans-serif",
            font_size=11,
            text_anchor="middle",
        ),
        xmlns="http://www.w3.org/2000/svg",
        width=left + right,
        height=20,
        role="img",
        aria_label=f"squall: {said}",
    )
