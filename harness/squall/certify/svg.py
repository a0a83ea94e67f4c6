"""Draws lanes as SVG. Classes carry the colours, so the page decides about light and dark.

Nothing is styled in place: servers of continuous integration forbid inline styles in reports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from squall.certify.lanes import Lane, Mark, Picture, Rates, Span
from squall.pages.drawing import label, labels, length, middle, px, round_numbers
from squall.pages.markup import Markup, tag

WIDTH = 980
GUTTER = 224
TITLES = 72
MARGIN = 12
ROW = 16
BAR = 11
GAP = 12
HEAD = 46
RATES = 40
FOOT = 22

NARROW = 5.5
"""About the width of a letter in the names of rows, which are in a small monospace."""

THINNEST = 1.6
HALF = 4.0
"""Half the size of a mark."""

MOST_TITLES = 60


@dataclass(frozen=True)
class Axis:
    """From seconds to pixels."""

    seconds: float

    def x(self, at: float) -> float:
        """Where a moment is."""
        return GUTTER + at / self.seconds * (WIDTH - GUTTER - MARGIN)

    def ticks(self) -> list[float]:
        """Round moments."""
        return round_numbers(0.0, self.seconds)


def draw(picture: Picture) -> Markup:
    """The picture as an `svg` element."""
    axis = Axis(picture.seconds)
    y = float(HEAD)
    parts: list[Markup] = []
    for lane in picture.lanes:
        parts.append(_lane(lane, axis, y))
        y += _height(lane) + GAP
    if picture.rates.highest:
        parts.append(_rates(picture.rates, y))
        y += RATES + GAP
    behind = [*_bands(picture.bands, axis, y), *_moments(picture.moments, axis, y)]
    return tag(
        "svg",
        *_axis(axis, y),
        *behind,
        *parts,
        viewBox=f"0 0 {WIDTH} {y + FOOT:g}",
        role="img",
        aria_label="Timeline of the run; the log below says the same in words",
        class_="lanes",
    )


def _height(lane: Lane) -> float:
    return ROW * len(lane.rows) + (ROW if lane.note else 0)


# -- the frame -------------------------------------------------------------------------------


def _axis(axis: Axis, bottom: float) -> Iterator[Markup]:
    path = "".join(f"M{px(axis.x(at))} {HEAD - 4}V{px(bottom)}" for at in axis.ticks())
    yield tag("path", d=path, class_="grid")
    for at in axis.ticks():
        said = f"{at:g} s"
        yield label(middle(axis.x(at), said, WIDTH), bottom + 13, said, "tick")


def _bands(bands: Sequence[Span], axis: Axis, bottom: float) -> Iterator[Markup]:
    """A fault that lasted is a band; one that struck at once is a line."""
    struck = -THINNEST
    for number, band in enumerate(bands):
        left, width = axis.x(band.begin), axis.x(band.end) - axis.x(band.begin)
        if width <= THINNEST:
            if left < struck + THINNEST:
                continue
            struck = left
        yield tag(
            "rect",
            tag("title", band.title) if number < MOST_TITLES else None,
            x=px(left),
            y=str(HEAD - 14),
            width=px(max(width, THINNEST)),
            height=px(bottom - HEAD + 14),
            class_="band" if width > THINNEST else "strike",
        )
    wanted = [(axis.x(band.begin), band.label) for band in bands]
    yield from labels(wanted, (HEAD - 18, HEAD - 29), WIDTH - MARGIN, "fault")


def _moments(moments: Sequence[Mark], axis: Axis, bottom: float) -> Iterator[Markup]:
    for mark in moments:
        path = f"M{px(axis.x(mark.at))} {HEAD - 13}V{px(bottom)}"
        yield tag("path", tag("title", mark.title), d=path, class_="moment")
    wanted = [(axis.x(mark.at) + 3, mark.kind) for mark in moments]
    yield from labels(wanted, (HEAD - 5,), WIDTH - MARGIN, "moment")


# -- lanes -----------------------------------------------------------------------------------


def _lane(lane: Lane, axis: Axis, top: float) -> Markup:
    parts = [label(0, top + BAR - 1, lane.title, "lane")]
    titles = sum(len(row.spans) for row in lane.rows) <= MOST_TITLES
    for number, row in enumerate(lane.rows):
        y = top + ROW * number
        if row.label:
            parts.append(_row_label(row.label, y))
        parts += _spans(row.spans, axis, y, titles=titles)
        parts += _marks(row.marks, axis, y)
    if lane.note:
        y = top + ROW * len(lane.rows) + BAR - 1
        parts.append(label(GUTTER, y, lane.note, "note"))
    return tag("g", *parts)


def _row_label(name: str, y: float) -> Markup:
    """At the right of the gutter; the end of a long name says less than its beginning."""
    fits = int((GUTTER - TITLES - 6) / NARROW)
    short = name if len(name) <= fits else name[: fits - 1] + "…"
    title = tag("title", name) if short != name else None
    return tag("text", title, short, x=str(GUTTER - 6), y=px(y + BAR - 1), class_="row")


def _spans(spans: Iterable[Span], axis: Axis, y: float, *, titles: bool) -> Iterator[Markup]:
    if not titles:
        yield from _merged(spans, axis, y)
        return
    for span in spans:
        left = axis.x(span.begin)
        width = max(THINNEST, axis.x(span.end) - left)
        yield tag(
            "rect",
            tag("title", span.title) if span.title else None,
            x=px(left),
            y=px(y),
            width=px(width),
            height=str(BAR),
            class_=f"s {span.kind}",
        )
        ending = _cap(span, left + width, y)
        if ending:
            yield ending
        if span.label and width > length(span.label) + 6:
            yield label(left + 4, y + BAR - 2, span.label, f"on {span.kind}")


def _merged(spans: Iterable[Span], axis: Axis, y: float) -> Iterator[Markup]:
    """Hundreds of spans as one path for each kind: nobody points at a single one.

    What falls beside a dot that has its colour already adds nothing.
    """
    paths: dict[str, list[str]] = {}
    covered: dict[str, float] = {}
    for span in spans:
        left = axis.x(span.begin)
        right = max(axis.x(span.end), left + THINNEST / 2)
        if right > covered.get(span.kind, 0.0) + THINNEST:
            covered[span.kind] = right
            paths.setdefault(span.kind, []).append(f"M{px(left)} {px(y)}h{px(right - left)}")
    for kind, pieces in paths.items():
        yield tag(
            "path", d="".join(pieces), class_=f"s {kind}", transform=f"translate(0 {BAR / 2})"
        )


def _cap(span: Span, x: float, y: float) -> Markup | None:
    """How a connection ended is told by shape too: a cross is a reset, an arrow is still open."""
    middle, half = y + BAR / 2, BAR / 2 - 1
    if span.kind.endswith("rst"):
        return tag("path", d=_cross(x, middle, half), class_="cap rst")
    if span.kind.endswith("open"):
        d = f"M{px(x - 1)} {px(y)}l{px(half)} {px(BAR / 2)}l-{px(half)} {px(BAR / 2)}z"
        return tag("path", d=d, class_="cap open")
    if span.kind.endswith("fin"):
        return tag("path", d=f"M{px(x)} {px(y - 1)}V{px(y + BAR + 1)}", class_="cap fin")
    return None


def _marks(marks: Iterable[Mark], axis: Axis, y: float) -> Iterator[Markup]:
    """A diamond; what went wrong is a cross. One that would hide the one before is left out."""
    covered: dict[str, float] = {}
    for mark in marks:
        x, middle = axis.x(mark.at), y + BAR / 2
        if x < covered.get(mark.kind, -HALF) + HALF:
            continue
        covered[mark.kind] = x
        path = f"M{px(x)} {px(middle - HALF)}l4 4l-4 4l-4 -4z"
        if mark.kind in ("crash", "refused"):
            path = _cross(x, middle, HALF)
        yield tag("path", tag("title", mark.title), d=path, class_=f"m {mark.kind}")


def _cross(x: float, y: float, half: float) -> str:
    left, right, top, bottom = px(x - half), px(x + half), px(y - half), px(y + half)
    return f"M{left} {top}L{right} {bottom}M{right} {top}L{left} {bottom}"


# -- data ------------------------------------------------------------------------------------


def _rates(rates: Rates, top: float) -> Markup:
    bottom = top + RATES
    return tag(
        "g",
        label(0, top + BAR - 1, "Messages/s", "lane"),
        tag("text", f"{rates.highest:.3g}", x=str(GUTTER - 6), y=px(top + 8), class_="row"),
        tag("text", "0", x=str(GUTTER - 6), y=px(bottom), class_="row"),
        tag("path", d=f"M{GUTTER} {px(bottom)}H{WIDTH - MARGIN}", class_="grid"),
        tag(
            "path", tag("title", "sent"), d=_steps(rates.sent, rates, top, area=True), class_="sent"
        ),
        tag(
            "path",
            tag("title", "delivered to the consumer"),
            d=_steps(rates.delivered, rates, top, area=False),
            class_="delivered",
        ),
    )


def _steps(values: Sequence[float], rates: Rates, top: float, *, area: bool) -> str:
    if not values:
        return "M0 0"
    width = (WIDTH - GUTTER - MARGIN) / len(values)
    bottom = top + RATES
    path = [f"M{GUTTER} {px(bottom)}"]
    last = None
    for number, value in enumerate(values):
        y = px(bottom - value / rates.highest * RATES)
        if y != last:
            path.append(f"H{px(GUTTER + number * width)}V{y}")
        last = y
    path.append(f"H{px(GUTTER + len(values) * width)}V{px(bottom)}")
    return "".join(path) + ("z" if area else "")
