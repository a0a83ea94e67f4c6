"""The first page: the verdict in a sentence, then who did how, then the matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from squall.backends import EMBEDDED
from squall.certify.cell_page import css_class
from squall.certify.classes import VerdictClass
from squall.certify.matrix import Cell, Column, Matrix, predicate, tally, verdict
from squall.certify.page import document
from squall.pages.frame import chip, table
from squall.pages.markup import Markup, tag
from squall.report import counted
from squall.scenario import Scenario

FEW = 3
"""With so few adapters there is room for what each scenario does."""

_UNREMARKABLE = (VerdictClass.PASS, VerdictClass.UNSUPPORTED)


def index_page(matrix: Matrix) -> str:
    """The page as HTML."""
    body = (
        _head(matrix),
        tag("section", _adapters(matrix), aria_label="Adapters"),
        tag("section", _filter(), _legend(matrix), _matrix(matrix), aria_label="Scenarios"),
        _help(),
    )
    return document("Certification", tag("div", *body), root="", kind="index")


def _head(matrix: Matrix) -> Markup:
    return tag(
        "header",
        tag("p", "Squall certification", class_="up"),
        tag("h1", verdict(matrix)),
        tag("p", ", ".join(_conditions(matrix)), ".", class_="quiet"),
    )


def _conditions(matrix: Matrix) -> Iterator[str]:
    terms = matrix.terms
    size = (
        f"{counted(len(matrix.scenarios), 'scenario')}, {counted(len(matrix.columns), 'adapter')}"
    )
    yield f"{size}, each {counted(terms.repeat, 'time')}" if terms.repeat > 1 else size
    yield f"profile {terms.profile}"
    yield f"{terms.clock} clock"
    if terms.proxy != EMBEDDED:
        yield f"proxy {terms.proxy}"
    if terms.tls:
        yield "TLS"
    if terms.seed is not None:
        yield f"seed {terms.seed}"
    yield f"squall {terms.squall}"
    if matrix.started is not None:
        yield f"{matrix.started:%Y-%m-%d %H:%M}"
    if matrix.not_run:
        yield f"{counted(matrix.not_run, 'cell')} not run"


# -- adapters --------------------------------------------------------------------------------


def _adapters(matrix: Matrix) -> Markup:
    rows = (_adapter(column, matrix.of(column)) for column in matrix.columns)
    return table(("Adapter", "Verdict", "What went wrong"), rows, "adapters stacked")


def _adapter(column: Column, cells: Sequence[Cell]) -> Markup:
    counts = tally(cells)
    worth = [each for each in VerdictClass if counts[each] and each not in _UNREMARKABLE]
    wrong = (
        part for each in worth for part in (chip(f"{each} {counts[each]}", css_class(each)), " ")
    )
    name = tag("th", column.name, " ", tag("small", column.version), scope="row")
    said = predicate(cells) if cells else "was not run"
    return tag("tr", name, tag("td", said), tag("td", *wrong))


# -- the matrix ------------------------------------------------------------------------------


def _filter() -> Markup:
    """Only a script can filter: without one, this is not there."""
    return tag(
        "form",
        tag("label", "Filter", for_="filter"),
        tag("input", id="filter", type="search", placeholder="half-open, B-01, an adapter …"),
        tag("output", id="count", for_="filter"),
        role="search",
        id="search",
        hidden=True,
    )


def _legend(matrix: Matrix) -> Markup:
    counts = tally(list(matrix.cells.values()))
    items = [
        tag(
            "li",
            chip(each, css_class(each), data_class=each),
            tag("span", each.meaning, tag("small", f" {counted(count, 'cell')}")),
        )
        for each in VerdictClass
        if (count := counts[each])
    ]
    return tag(
        "details",
        tag("summary", "What the words mean"),
        tag("ul", *items, class_="legend"),
        open=True,
        id="legend",
    )


def _matrix(matrix: Matrix) -> Markup:
    few = len(matrix.columns) <= FEW
    head = tag(
        "tr",
        tag("th", "Scenario", scope="col"),
        tag("th", "What goes wrong", scope="col", class_="about") if few else None,
        *(_column(column) for column in matrix.columns),
    )
    bodies = (
        _group(letter, name, scenarios, matrix, few) for (letter, name), scenarios in matrix.groups
    )
    table = tag("table", tag("caption", "Scenarios by adapters"), tag("thead", head), *bodies)
    return tag("div", table, class_="matrix", id="matrix", tabindex="-1")


def _column(column: Column) -> Markup:
    version = tag("small", column.version) if column.version else None
    return tag("th", column.name, version, scope="col", data_adapter=column.title)


def _group(
    letter: str, name: str, scenarios: Sequence[Scenario], matrix: Matrix, few: bool
) -> Markup:
    title = f"{letter} {name}".strip()
    width = len(matrix.columns) + 1 + few
    head = tag(
        "tr", tag("th", tag("span", title), scope="rowgroup", colspan=str(width)), class_="group"
    )
    return tag("tbody", head, *(_row(scenario, matrix, few) for scenario in scenarios))


def _row(scenario: Scenario, matrix: Matrix, few: bool) -> Markup:
    words = " ".join((*scenario.covers.catalogue, *(f"guide-{n}" for n in scenario.covers.guide)))
    return tag(
        "tr",
        tag(
            "th",
            scenario.name,
            " ",
            tag("small", ", ".join(scenario.covers.catalogue)),
            scope="row",
            title=None if few else scenario.about,
        ),
        tag("td", scenario.about, class_="about") if few else None,
        *(_cell(matrix.cell(column, scenario), column, scenario) for column in matrix.columns),
        data_words=words,
    )


def _cell(cell: Cell | None, column: Column, scenario: Scenario) -> Markup:
    if cell is None:
        return tag("td", tag("span", "not run"), class_="none")
    verdict = cell.verdict
    runs = len(cell.cases)
    page = tag(
        "a",
        verdict,
        tag("small", f" {cell.agreeing}/{runs}", title=f"{cell.agreeing} of {runs} runs")
        if runs > 1
        else None,
        tag("small", " unexpected") if cell.surprising else None,
        tag("small", " random", title="chance decides") if cell.random and runs == 1 else None,
        href=f"{column.key}/{scenario.name}/index.html",
        id=f"{column.key}--{scenario.name}",
        title=cell.case.why if verdict is not VerdictClass.PASS else None,
    )
    return tag("td", page, class_=css_class(verdict))


def _help() -> Markup:
    keys = (("arrows", "move"), ("Enter", "opens a cell"), ("Esc", "goes back"), ("/", "filters"))
    said = [part for key, does in keys for part in (tag("kbd", key), f" {does} ")]
    return tag("p", *said, class_="quiet keys", hidden=True, id="keys")
