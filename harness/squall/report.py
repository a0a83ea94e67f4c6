"""The report as text: the verdict first, in the adapter author's words, then the evidence.

    FAIL         half-open                     31.2 s  the line went silent at 3.204 s and for …

and at the end, for everything that did not pass, what was expected, what was seen, and the two
commands that show it again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from squall import __version__
from squall.checks import Check, Judged
from squall.history import Event
from squall.results import Case, Summary, Trouble, near, tally
from squall.verdict import Outcome

WIDTH = 100
INDENT = "  "
MOST_TIMES = 6

COLOURS = {
    Outcome.PASS: "32",
    Outcome.FAIL: "31;1",
    Outcome.UNKNOWN: "33",
    Outcome.UNSUPPORTED: "2",
}


class Terminal:
    """Where a report is written: a terminal that can rewrite a line, a pipe, or a CI log.

    Colour appears on a terminal only, and not where `NO_COLOR` asks for none (no-color.org).
    """

    def __init__(self, file: IO[str], environment: Mapping[str, str] = os.environ) -> None:
        self._file = file
        clever = file.isatty() and environment.get("TERM") != "dumb"
        self._colour = clever and not environment.get("NO_COLOR")
        self._rewrites = clever
        self._status = ""
        self.width = shutil.get_terminal_size((WIDTH, 24)).columns if clever else None

    def line(self, text: str = "", colour: str | None = None) -> None:
        """Write a line; control characters, which an adapter may have said, are made visible."""
        said = visible(text)
        if colour and self._colour:
            said = f"\x1b[{colour}m{said}\x1b[0m"
        status, self._status = self._status, ""
        self._write(("\r\x1b[K" if status else "") + said + "\n")
        self.status(status)

    def status(self, text: str) -> None:
        """Rewrite the last line; does nothing where lines cannot be rewritten."""
        if not self._rewrites:
            return
        assert self.width is not None
        if text or self._status:
            self._write("\r\x1b[K" + visible(text)[: self.width - 1])
        self._status = text

    def _write(self, text: str) -> None:
        # When whoever reads this has gone (`| head`), the suite and its files go on.
        with contextlib.suppress(BrokenPipeError):
            self._file.write(text)
            self._file.flush()


class TextReport:
    """Tells the story of a suite while it happens, and its end."""

    def __init__(self, terminal: Terminal, total: int, *, quiet: bool = False) -> None:
        self._terminal = terminal
        self._total = total
        self._quiet = quiet
        self._done = 0
        self._running: list[str] = []

    def header(self, text: str) -> None:
        """The line that says what is about to happen."""
        if not self._quiet:
            self._terminal.line(f"squall {__version__}: {text}")

    def began(self, name: str) -> None:
        """A run begins."""
        self._running.append(name)
        self._show_status()

    def ended(self, case: Case) -> None:
        """A run is over."""
        self._done += 1
        if case.name in self._running:
            self._running.remove(case.name)
        self._terminal.status("")
        if not self._quiet or _noteworthy(case):
            self._terminal.line(*one_line(case, self._terminal.width))
        self._show_status()

    def _show_status(self) -> None:
        names = ", ".join(self._running)
        going = self._running and self._done < self._total
        self._terminal.status(f"{self._done} of {self._total} done; running: {names}" * bool(going))

    def end(self, summary: Summary, folder: Path | None) -> None:
        """Failures and doubts in full, then the closing line."""
        self._terminal.status("")
        for title, lines in _parts(summary.cases):
            self._terminal.line()
            self._terminal.line(title, "1")
            for text in lines:
                self._terminal.line(text)
        if not self._quiet or summary.exit_code:
            self._terminal.line()
        self._terminal.line(closing(summary), _closing_colour(summary))
        if summary.internal_errors:
            self._terminal.line(failed_itself(summary.internal_errors))
        if folder is not None:
            self._terminal.line(f"report: {folder}")


def one_line(case: Case, width: int | None) -> tuple[str, str]:
    """A case on one line, and its colour."""
    word = "known" if case.expected else case.outcome.value
    shown = word.upper() if _noteworthy(case) else word
    text = f"{shown:<11}  {case.name:<34} {case.seconds:7.1f} s"
    if case.outcome is not Outcome.PASS:
        text += f"  {first_sentence(case.why)}"
    if width is not None and len(text) > width:
        text = text[: width - 3] + "..."
    return text, COLOURS[Outcome.UNSUPPORTED if case.expected else case.outcome]


def explanation(case: Case) -> Iterator[str]:
    """All that is worth reading about a case that did not pass."""
    covers = f"  ({', '.join(case.covers)})" if case.covers else ""
    yield f"{case.name}{covers}"
    yield from _wrapped(case.about, INDENT)
    if case.known is not None:
        yield from _known(case)
    if case.trouble is not None or not case.deciding:
        yield ""
        yield from _wrapped(case.why, INDENT)
    else:
        yield from _verdicts(case.deciding)
    yield from _times(case.times)
    if case.last_words:
        yield ""
        yield f"{INDENT}the adapter's last words:"
        yield from (f"{INDENT * 2}{line}" for line in case.last_words)
    yield from _commands(case)


def closing(summary: Summary) -> str:
    """`41 passed, 1 failed, 0 unknown, 2 unsupported in 71.2 s`."""
    counts = tally(summary.cases)
    said = [
        f"{counts['pass']} passed",
        f"{counts['fail']} failed",
        f"{counts['unknown']} unknown",
        f"{counts['unsupported']} unsupported",
    ]
    if counts["known"]:
        said.append(f"{counts['known']} known")
    if summary.not_run and not summary.interrupted:
        said.append(f"{summary.not_run} not run")
    text = f"{', '.join(said)} in {summary.seconds:.1f} s"
    return f"{text}; interrupted" if summary.interrupted else text


def failed_itself(times: int) -> str:
    """What there is to say where errors of Squall's own came up beside the runs."""
    return (
        f"squall itself failed {counted(times, 'time')} in the background, so this may not be "
        f"all: see internal-error.txt in the report"
    )


def first_sentence(text: str) -> str:
    """The first sentence of a reason, on one line."""
    line = " ".join(text.split())
    return re.split(r"(?<=[.;])\s+(?=[A-Z])", line, maxsplit=1)[0]


def visible(text: str) -> str:
    """The text without control characters: what an adapter says must not steer a terminal."""
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)


def counted(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _noteworthy(case: Case) -> bool:
    return case.outcome in (Outcome.FAIL, Outcome.UNKNOWN) and not case.expected


def _parts(cases: Iterable[Case]) -> Iterator[tuple[str, list[str]]]:
    """The headings under which the bad news comes, worst first, and the lines below each."""
    cases = list(cases)
    grave = [case for case in cases if _noteworthy(case)]
    of = {trouble: [case for case in grave if case.trouble is trouble] for trouble in Trouble}
    judged = [case for case in grave if case.trouble is None]
    parts = {
        "COULD NOT BE RUN": _at_once(of[Trouble.SETUP]),
        "SQUALL FAILED": _each(of[Trouble.INTERNAL]),
        "FAILURES": _each(case for case in judged if case.outcome is Outcome.FAIL),
        "UNKNOWN": _each(case for case in judged if case.outcome is Outcome.UNKNOWN),
        "INTERRUPTED": _at_once(of[Trouble.INTERRUPTED]),
        "BETTER THAN ANNOUNCED": _mended(cases),
        "REMARKS": _remarks(cases),
    }
    yield from ((title, lines) for title, lines in parts.items() if lines)


def _each(cases: Iterable[Case]) -> list[str]:
    return [line for case in cases for line in ("", *explanation(case))]


def _at_once(cases: Iterable[Case]) -> list[str]:
    """The cases by what they all suffer from: an adapter that cannot be started fails them all."""
    return _by_reason((case.why, case.name) for case in cases)


def _remarks(cases: Iterable[Case]) -> list[str]:
    return _by_reason((remark, case.name) for case in cases for remark in case.remarks)


def _by_reason(said: Iterable[tuple[str, str]]) -> list[str]:
    names: dict[str, list[str]] = {}
    for why, name in said:
        names.setdefault(why, []).append(name)
    lines: list[str] = []
    for why, several in names.items():
        lines += ["", *_wrapped(", ".join(several), ""), *_wrapped(why, INDENT)]
    return lines


def _mended(cases: Iterable[Case]) -> list[str]:
    names = [case.name for case in cases if case.mended]
    advice = "the manifest announces a failure that is none any more; strike it out"
    return ["", *_wrapped(", ".join(names), ""), f"{INDENT}{advice}"] if names else []


def _known(case: Case) -> Iterator[str]:
    assert case.known is not None
    link = f" ({case.known.link})" if case.known.link else ""
    yield from _wrapped(f"announced as {case.known.outcome}: {case.known.reason}{link}", INDENT)


def _verdicts(judged: Iterable[Judged]) -> Iterator[str]:
    """What the checks say; those that say the same for the same reason say it together."""
    same: dict[tuple[Outcome, str], list[Judged]] = {}
    for each in judged:
        same.setdefault((each.verdict.outcome, each.verdict.why), []).append(each)
    for (outcome, why), several in same.items():
        names = ", ".join(_name(each.check) for each in several)
        doubt = "cannot be told: " if outcome is Outcome.UNKNOWN else ""
        yield ""
        yield from _wrapped(f"{names}: {doubt}{why}", INDENT)
        yield from (f"{INDENT * 2}{_shortened(event)}" for event in several[0].verdict.evidence)


def _name(check: Check) -> str:
    return f"{check.name} ({check.id})" if check.id else check.name


def _shortened(event: Event) -> str:
    text = str(event)
    return text if len(text) <= 240 else text[:237] + "..."


def _times(times: Mapping[str, Any]) -> Iterator[str]:
    """When the first disturbances were noticed, and when all was well again."""
    disturbances: Sequence[Mapping[str, Any]] = times.get("disturbances", ())
    if disturbances:
        yield ""
    for each in disturbances[:MOST_TIMES]:
        reactions = ", ".join(f"{word} {_after(each[name])}" for name, word in _REACTIONS)
        yield f"{INDENT}{each['what']} at {each['at']:.3f} s: {reactions}"
    if len(disturbances) > MOST_TIMES:
        yield f"{INDENT}and {len(disturbances) - MOST_TIMES} more"


_REACTIONS = (("detection", "noticed"), ("dial", "dialled"), ("recovery", "served"))


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else f"after {seconds:.3f} s"


def _commands(case: Case) -> Iterator[str]:
    if case.history is not None or case.reproduce is not None:
        yield ""
    if case.history is not None:
        words = ["squall", "check", str(near(case.history.parent))]
        yield f"{INDENT}again:     {shlex.join(words)}"
    if case.reproduce is not None:
        yield f"{INDENT}reproduce: {case.reproduce}"


def _wrapped(text: str, indent: str) -> list[str]:
    lines: list[str] = []
    # A number and its unit stay together: the space between them does not break.
    for paragraph in re.sub(r"(?<=\d) (?=s\b)", "\u00a0", text).splitlines():
        lines += textwrap.wrap(
            paragraph,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return [line.replace("\u00a0", " ") for line in lines]


def _closing_colour(summary: Summary) -> str:
    return COLOURS[{0: Outcome.PASS, 2: Outcome.UNKNOWN}.get(summary.exit_code, Outcome.FAIL)]
