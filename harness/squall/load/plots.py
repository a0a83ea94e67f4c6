"""The plots of a storm as SVG: a line over time with bands where faults were, and a histogram.

Marks are told by attributes of their own, too: where a server forbids styles, the plots can still
be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from squall.load.histogram import Histogram
from squall.load.thresholds import duration
from squall.load.timeline import Phase
from squall.pages import drawing
from squall.pages.drawing import middle, px, round_numbers
from squall.pages.markup import Markup, tag

WIDTH = 720
LEFT = 56
RIGHT = 18
TOP = 34
HEIGHT = 150
FOOT = 24
MOST_POINTS = 600

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From seconds and values to pixels."""

    since: float
    until: float
    highest: float

    def x(self, at: float) -> float:
        """Where a moment is."""
        part = (at - self.since) / (self.until - self.since)
        return LEFT + min(1.0, max(0.0, part)) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Where a value is."""
        return TOP + HEIGHT - value / self.highest * HEIGHT


def over_time(
    points: Iterable[Point],
    since: float,
    until: float,
    phases: Sequence[Phase],
    *,
    title: str,
    percent: bool = False,
) -> Markup:
    """A value over time, as steps, with bands where faults were in force.

    Each point is the end of a tenth of a second and the value then. Where there are more points
    than pixels, the highest of several is drawn (of a percentage the lowest): no peak is lost.
    """
    drawn = thinned(list(points), lowest=percent)
    highest = 1.0 if percent else _round_up(max((value for _, value in drawn), default=0.0))
    scale = Scale(since, until, highest)
    marks = [0.0, 0.5, 1.0] if percent else [0.0, highest / 2, highest]
    moments = [(scale.x(at), f"{at:g} s") for at in round_numbers(since, until)]
    return _plot(
        title,
        *_levels(scale, marks, percent=percent),
        *_ticks(moments),
        *_bands(phases, scale),
        tag("path", d=_area(drawn, scale), class_="area", fill="none"),
        tag("path", d=_line(drawn, scale), class_="line", fill="none", stroke="currentColor"),
    )


def spread(histogram: Histogram, title: str) -> Markup:
    """How often something took how long: bars of equal width on a logarithmic axis."""
    bars = list(_bins(histogram))
    least, most = bars[0][0], bars[-1][1]
    highest = max(count for _, _, count in bars)
    low, high = math.log(least), math.log(most)
    room = WIDTH - LEFT - RIGHT

    def x(seconds: float) -> float:
        return LEFT + (math.log(seconds) - low) / (high - low) * room

    scale = Scale(0.0, 1.0, _round_up(highest))
    rects = [
        tag(
            "rect",
            tag("title", f"{duration(begin)} to {duration(end)}: {count:,}"),
            x=px(x(begin) + 0.5),
            y=px(scale.y(count)),
            width=px(max(1.0, x(end) - x(begin) - 1)),
            height=px(max(0.0, scale.y(0) - scale.y(count))),
            class_="bar",
        )
        for begin, end, count in bars
    ]
    return _plot(
        title,
        *_levels(scale, [0.0, scale.highest / 2, scale.highest], percent=False),
        *rects,
        *_ticks((x(tick), duration(tick)) for tick in _log_ticks(least, most)),
    )


def thinned(points: Sequence[Point], *, lowest: bool) -> list[Point]:
    """At most `MOST_POINTS`, the highest (or lowest) of several that lie together."""
    together = math.ceil(len(points) / MOST_POINTS) or 1
    choose = min if lowest else max
    return [
        (chunk[-1][0], choose(value for _, value in chunk))
        for chunk in (points[i : i + together] for i in range(0, len(points), together))
    ]


BINS_PER_DECADE = 40


def _bins(histogram: Histogram) -> Iterator[tuple[float, float, int]]:
    """The buckets of the histogram gathered into wider ones, from the first to the last."""
    counts: dict[int, int] = {}
    for begin, end, count in histogram.bars():
        middle = min(histogram.most, max(histogram.least, math.sqrt(begin * end)))
        place = math.floor(math.log10(max(middle, 1e-6)) * BINS_PER_DECADE)
        counts[place] = counts.get(place, 0) + count
    for place in range(min(counts), max(counts) + 1):
        ends = (10 ** (place / BINS_PER_DECADE), 10 ** ((place + 1) / BINS_PER_DECADE))
        yield *ends, counts.get(place, 0)


def _log_ticks(least: float, most: float) -> Iterator[float]:
    decades = math.log10(most / least)
    steps = (1, 2, 5) if decades < 2.5 else (1,)
    if decades < 0.4:
        yield from (least, most)
        return
    for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1):
        for step in steps:
            tick = step * 10.0**power
            if least * 0.999 <= tick <= most * 1.001:
                yield tick


# -- the frame -----------------------------------------------------------------------------------


def _plot(title: str, *parts: Markup) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        *parts,
        viewBox=f"0 0 {WIDTH} {TOP + HEIGHT + FOOT}",
        role="img",
        aria_label=title,
        class_="plot",
    )


def _ticks(ticks: Iterable[tuple[float, str]]) -> Iterator[Markup]:
    for x, said in ticks:
        yield _text(middle(x, said, WIDTH), TOP + HEIGHT + 15, said, "middle")


def _levels(scale: Scale, marks: Sequence[float], *, percent: bool) -> Iterator[Markup]:
    path = "".join(f"M{LEFT} {px(scale.y(mark))}H{WIDTH - RIGHT}" for mark in marks)
    yield tag("path", d=path, class_="grid", fill="none", stroke="currentColor", stroke_width=0.3)
    for mark in marks:
        said = f"{mark:.0%}" if percent else f"{mark:,.6g}"
        yield _text(LEFT - 6, scale.y(mark) + 3, said, "end")


def _bands(phases: Sequence[Phase], scale: Scale) -> Iterator[Markup]:
    """A fault that lasted is a band, one that struck at once a line; each with its name."""
    for phase in phases:
        left, right = scale.x(phase.at), scale.x(phase.until)
        lasted = right - left > 1.6
        said = f"{phase.label} at {phase.at:g} s"
        yield tag(
            "rect",
            tag("title", f"{said} until {phase.until:g} s" if lasted else said),
            x=px(left),
            y=px(TOP - 6),
            width=px(max(1.6, right - left)),
            height=px(HEIGHT + 6),
            class_="band" if lasted else "strike",
            fill_opacity=0.2 if lasted else 0.7,
        )
    wanted = [(scale.x(phase.at), phase.label) for phase in phases]
    lines = (TOP - 10, TOP - 21)
    yield from drawing.labels(wanted, lines, WIDTH - RIGHT, "fault", fill="currentColor")


def _line(points: Sequence[Point], scale: Scale) -> str:
    """Steps: the value holds until the next point."""
    if not points:
        return "M0 0"
    path = [f"M{px(scale.x(scale.since))} {px(scale.y(points[0][1]))}"]
    for at, value in points:
        path.append(f"V{px(scale.y(value))}H{px(scale.x(at))}")
    return "".join(path)


def _area(points: Sequence[Point], scale: Scale) -> str:
    if not points:
        return "M0 0"
    bottom = px(scale.y(0))
    return f"{_line(points, scale)}V{bottom}H{px(scale.x(scale.since))}z"


def _round_up(value: float) -> float:
    """The least of 1, 2, 4, 5, 10, 20... that is not below, so that its half is round too."""
    if value <= 2:
        return 2.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * nice for nice in (1, 2, 4, 5, 6, 8, 10) if power * nice >= value)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return drawing.label(x, y, text, "tick", text_anchor=anchor, fill="currentColor")
