"""What the drawings of all pages share: how numbers, words and the marks of an axis are set.

Classes carry the colours, so that the page decides about light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from squall.pages.markup import Markup, tag

LETTER = 5.9
"""About the width of a letter in labels, which are 10 pixels high."""

MOST_MARKS = 8
"""Into at most so many parts an axis is divided."""


def px(pixels: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{pixels:.1f}".removesuffix(".0")


def length(text: str) -> float:
    """About how many pixels a label takes."""
    return len(text) * LETTER


def label(x: float, y: float, text: str, kind: str, **attributes: str) -> Markup:
    """A word at its place."""
    return tag("text", text, x=px(x), y=px(y), class_=kind, **attributes)


def labels(
    wanted: Iterable[tuple[float, str]],
    lines: Sequence[float],
    right: float,
    kind: str,
    **attributes: str,
) -> Iterator[Markup]:
    """Each word at its place on the first line that has room for it, or not at all."""
    free = dict.fromkeys(lines, 0.0)
    for x, text in wanted:
        start = min(x, right - length(text))
        line = next((line for line in lines if start >= free[line]), None)
        if line is not None:
            yield label(start, line, text, kind, **attributes)
            free[line] = start + length(text) + 6


def middle(x: float, text: str, width: float) -> float:
    """Where the middle of a label is, as near to `x` as a drawing of this width has room."""
    return min(x, width - length(text) / 2)


def round_numbers(since: float, until: float) -> list[float]:
    """Round numbers at equal distances, from the first to the last that lie between the two."""
    rough = (until - since) / MOST_MARKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    first, last = math.ceil(since / step - 1e-9), math.floor(until / step + 1e-9)
    return [step * number for number in range(first, last + 1)]
