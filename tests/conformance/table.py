"""What comes of the probes, and the page that says it: docs/fidelity.md."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformance.line import Stage, Way, stage
from conformance.probes import PROBES, Probe
from squall_proxy import Target

_WITHIN = 30.0

HEAD = """\
# How faithful the backends are

Each row was put to the test by raw sockets on both sides of the line, which share no code with
the proxy: whether a FIN, a RST or nothing arrives, which bytes, in which order, and not too early.
*Exact* means that they saw what the fault promises. Where they saw something else the cell says
what, and what was promised.

This page is written by `python -m conformance`, in `tests`. {when}

"""


@dataclass(frozen=True)
class Cell:
    """What came of one probe on one line."""

    verdict: str
    how: str = ""

    @property
    def exact(self) -> bool:
        return self.verdict == "exact"

    def __str__(self) -> str:
        return f"{self.verdict}: {self.how}" if self.how else self.verdict


async def measure(way: Way, probes: Sequence[Probe] = PROBES) -> dict[str, Cell]:
    """Every probe on one line, one after the other."""
    found: dict[str, Cell] = {}
    async with stage(way) as made:
        for probe in probes:
            found[key(probe)] = await _cell(made, probe)
            made.clear()
            await asyncio.sleep(0.02)
    return found


def key(probe: Probe) -> str:
    """What a row is called; two probes of one fault are told apart by what they look at."""
    promised = ", ".join(f"{name}: {value}" for name, value in probe.promised.items())
    return f"{probe.what} | {promised}"


async def _cell(made: Stage, probe: Probe) -> Cell:
    if probe.fault is not None:
        lacks = made.backend.lacks(probe.fault, Target())
        if lacks is not None:
            return Cell("impossible", lacks)
    try:
        seen = await asyncio.wait_for(probe.see(made, probe.fault), _WITHIN)
    except (TimeoutError, OSError, AssertionError) as error:
        return Cell("fails", f"{type(error).__name__} {error}".strip())
    differs = [
        f"{name}: {value}, not {probe.promised[name]}"
        for name, value in seen.items()
        if value != probe.promised[name]
    ]
    return Cell("approximate", "; ".join(differs)) if differs else Cell("exact")


def page(columns: Mapping[str, Mapping[str, Cell] | str], when: str) -> str:
    """The table as Markdown; a column that could not be measured says why, below it."""
    measured = {name: cells for name, cells in columns.items() if not isinstance(cells, str)}
    lines = [
        "| fault | what is promised | " + " | ".join(measured) + " |",
        "|" + "---|" * (len(measured) + 2),
    ]
    notes: dict[str, int] = {}
    for probe in PROBES:
        cells = [_short(found[key(probe)], notes) for found in measured.values()]
        promised = "; ".join(f"{n}: {_brief(v)}" for n, v in probe.promised.items())
        lines.append(f"| {probe.what} | {promised} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{number}. {note}" for note, number in notes.items()), ""]
    lines += [
        f"Not measured: {name}, {why}." for name, why in columns.items() if isinstance(why, str)
    ]
    return HEAD.format(when=when) + "\n".join(lines).rstrip() + "\n"


def _short(cell: Cell, notes: dict[str, int]) -> str:
    if not cell.how:
        return cell.verdict
    number = notes.setdefault(cell.how, len(notes) + 1)
    return f"{cell.verdict} ({number})"


def _brief(value: str) -> str:
    return (value or "none") if len(value) <= 40 else "these frames"
