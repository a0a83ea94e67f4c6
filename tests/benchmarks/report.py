"""What was measured as a page of Markdown, and as a plot."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Results = dict[str, dict[str, list[float]]]
"""What was measured, of whom, once a round."""


@dataclass(frozen=True)
class Measure:
    """One column of figures, and what is promised of it."""

    name: str
    title: str
    unit: str
    more_is_better: bool
    goals: Mapping[tuple[str, str], float]
    """By whom and against whom: the ratio that must be reached."""


MEASURES = (
    Measure("bulk", "bulk, one connection", "MB/s", True, {
        ("Squall", "Toxiproxy"): 2.0, ("Squall", "HAProxy"): 2.0, ("Squall", "HAProxy 256 KB"): 0.8,
    }),
    Measure("bulk_cpu", "CPU of the relay a gigabyte", "ms", False, {
        ("Squall", "Toxiproxy"): 0.5, ("Squall", "HAProxy"): 0.5,
    }),
    Measure("pingpong_p50", "ping-pong, p50", "µs", False, {
        ("Squall", "Toxiproxy"): 1.0, ("Squall", "HAProxy"): 1.1,
    }),
    Measure("pingpong_p99", "ping-pong, p99", "µs", False, {}),
    Measure("fan_p50", "100 ticker streams, p50", "µs", False, {}),
    Measure("fan_cpu", "CPU of the relay a message", "µs", False, {
        ("Squall", "Toxiproxy"): 0.9, ("Squall, 4 stages", "Squall"): 2.0,
    }),
    Measure("connect", "connections with their first byte", "1/s", True, {
        ("Squall", "Toxiproxy"): 1.2,
    }),
    Measure("connect_cpu", "CPU of the relay a connection", "µs", False, {}),
    Measure("idle", "memory of an idle connection, of 5,000", "KB", False, {
        ("Squall", "Toxiproxy"): 0.15,
    }),
    Measure("storm", "storm of 4,900 reconnects", "s", False, {("Squall", "Toxiproxy"): 1.0}),
    Measure("messages", "WebSocket messages there and back", "1/s", True, {
        ("Squall, a rule", "mitmproxy"): 10.0,
    }),
    Measure("message_p50", "a message of 1,000 a second, p50", "µs", False, {}),
    Measure("message_p99", "a message of 1,000 a second, p99", "µs", False, {}),
)  # fmt: skip

# What is promised in absolute terms: the figure, what it is, and the most that it may be.
BOUNDS = (
    ("timers_p50", "timers are late, p50", "µs", 100),
    ("timers_p99", "timers are late, p99", "µs", 1000),
    ("stages_install", "install four stages on 5,000 live connections, CPU", "ms", 20),
    ("stages_remove", "remove them again, CPU", "ms", 20),
)


def ratio(results: Results, measure: str, of: str, to: str) -> tuple[float, float, float] | None:
    """The median of the ratios within each round, and the least and the greatest."""
    kinds = results.get(measure, {})
    pairs = list(zip(kinds.get(of, ()), kinds.get(to, ()), strict=False))
    ratios = [mine / theirs for mine, theirs in pairs if theirs]
    return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def page(results: Results, where: str, rounds: int, missing: Mapping[str, str]) -> str:
    """The whole of docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench`: {where}; {rounds} rounds in which all kinds took turns. A figure"
        " is the median of its rounds. A ratio is taken within a round; shown is the median of"
        " these, with the least and the greatest.",
        "",
        "![ratios](benchmarks.svg)",
        "",
        "## What is promised",
        "",
        "| | of | against | ratio | least to greatest | goal | |",
        "|---|---|---|--:|---|---|---|",
    ]
    for measure in MEASURES:
        for (of, to), goal in measure.goals.items():
            ratios = ratio(results, measure.name, of, to)
            if ratios is None:
                lines.append(f"| {measure.title} | {of} | {to} | | | | not measured |")
                continue
            median, least, most = ratios
            reached = median >= goal if measure.more_is_better else median <= goal
            sign = "at least" if measure.more_is_better else "at most"
            lines.append(
                f"| {measure.title} | {of} | {to} | {median:.2f} | {least:.2f} to {most:.2f}"
                f" | {sign} {goal:g} | {'reached' if reached else '**missed**'} |"
            )
    lines += ["", "| | figure | least to greatest | goal | |", "|---|--:|---|---|---|"]
    for name, title, unit, most_allowed in BOUNDS:
        found = results.get(name, {}).get("Squall")
        if found:
            middle = statistics.median(found)
            verdict = "reached" if middle <= most_allowed else "**missed**"
            lines.append(
                f"| {title} | {_figure(middle)} {unit} | {_figure(min(found))} to"
                f" {_figure(max(found))} | at most {most_allowed} {unit} | {verdict} |"
            )
    for heading, measures in (
        ("Relays of bytes", MEASURES[:-3]),
        ("Relays of WebSocket messages", MEASURES[-3:]),
    ):
        rows = [(each.name, f"{each.title}, {each.unit}") for each in measures]
        lines += ["", f"## {heading}", "", *table(results, rows)]
    lines += [
        "",
        "## Is the load the bottleneck?",
        "",
        "The load is a program in C (`tests/benchmarks/load.c`) that shares one core with its"
        " server; the relay has the other core. Without a relay it reaches the figures of the"
        " column *direct*. Its own share of a core while it drives a relay:",
        "",
        *table(results, [(f"{name}_load_cpu", name) for name in
                         ("bulk", "pingpong", "fan", "connect")]),
        "",
        "Ticker streams: 100 connections, 20,000 messages of 200 bytes a second together; a lost or"
        " reordered one ends the run. Connections: 50 at a time. *4 stages* are a throttle, a slow"
        " close and a limit that nothing reaches, and a latency of 1 ms, so its latencies are that"
        " much longer. Shares of a core, CPU and memory hardly depend on what else a machine does;"
        " rates and latencies do, and mean little where the load average is above a half. *A rule*"
        " looks for the channel in the JSON of every message from the exchange; mitmproxy does"
        " the same, embedded with no addon but those that it needs.",
    ]  # fmt: skip
    if missing:
        lines += ["", *(f"- {name} was skipped; to have it: `{how}`" for name, how in
                        missing.items())]  # fmt: skip
    return "\n".join(lines) + "\n"


def table(results: Results, rows: Iterable[tuple[str, str]]) -> list[str]:
    """A row of medians for each figure, under its title; a column for each kind that has some."""
    rows = list(rows)
    kinds = list(dict.fromkeys(kind for name, _ in rows for kind in results.get(name, {})))
    lines = [f"| | {' | '.join(kinds)} |", f"|---|{'--:|' * len(kinds)}"]
    for name, title in rows:
        by_kind = results.get(name, {})
        cells = [_figure(statistics.median(by_kind[kind])) if kind in by_kind else "" for kind in
                 kinds]  # fmt: skip
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def _figure(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def plot(results: Results) -> str:
    """The promised ratios as bars, twice as good twice as long, on a scale of doublings."""
    bars = []
    for measure in MEASURES:
        for (of, to), goal in measure.goals.items():
            found = ratio(results, measure.name, of, to)
            if found is not None:
                good = found[0] / goal if measure.more_is_better else goal / found[0]
                label = f"{measure.title}: {of} / {to}"
                bars.append((label, good, f"{found[0]:.2f} (goal {goal:g})"))
    left, row, wide = 380, 26, 860
    height = row * len(bars) + 50
    unit = 70.0  # pixels for a factor of two
    middle = left + 120
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{wide}" height="{height}" fill="white"/>',
        f'<text x="{middle}" y="18" text-anchor="middle">the goal</text>',
        f'<line x1="{middle}" y1="24" x2="{middle}" y2="{height - 10}" stroke="#555"/>',
    ]
    for number, (label, good, said) in enumerate(bars):
        y = 30 + row * number
        length = max(-110.0, min(230.0, unit * math.log2(good)))
        colour = "#3a7d44" if good >= 1 else "#b3423a"
        x, size = (middle, length) if length >= 0 else (middle + length, -length)
        out += [
            f'<text x="{left - 10}" y="{y + 13}" text-anchor="end">{_escaped(label)}</text>',
            f'<rect x="{x:.1f}" y="{y + 3}" width="{max(1.0, size):.1f}" height="14"'
            f' fill="{colour}"/>',
            f'<text x="{max(middle, x + size) + 8:.1f}" y="{y + 14}">{said}</text>',
        ]
    return "\n".join([*out, "</svg>"]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
