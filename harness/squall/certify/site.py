"""The pages and files of a report that speak of all cells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from squall.certify.badge import badge
from squall.certify.folder import INDEX
from squall.certify.index_page import index_page
from squall.certify.matrix import Cell, Matrix, group
from squall.certify.page import SCRIPT, STYLE
from squall.junit import junit
from squall.pages.frame import asset, stylesheet
from squall.results import write


def write_site(matrix: Matrix, root: Path) -> None:
    """Write everything but the pages of the cells into the folder of the report."""
    write(root / STYLE, stylesheet("squall.certify", STYLE))
    write(root / SCRIPT, asset("squall.certify", SCRIPT))
    write(root / "index.html", index_page(matrix))
    write(root / INDEX, json.dumps(as_json(matrix), indent=1, default=str) + "\n")
    write(root / "junit.xml", all_junit(matrix))
    write(root / "badge.svg", badge(list(matrix.cells.values())))
    for column in matrix.columns:
        if cells := matrix.of(column):
            write(root / column.key / "badge.svg", badge(cells))


def as_json(matrix: Matrix) -> dict[str, Any]:
    """`index.json`: the matrix for other programs."""
    terms = matrix.terms
    return {
        "squall": terms.squall,
        "profile": terms.profile,
        "clock": terms.clock,
        "proxy": terms.proxy,
        "tls": terms.tls,
        "seed": terms.seed,
        "repeat": terms.repeat,
        "started": matrix.started and matrix.started.isoformat(timespec="seconds"),
        "seconds": round(matrix.seconds, 1),
        "interrupted": matrix.interrupted,
        "exit_code": matrix.exit_code,
        "scenarios": {
            scenario.name: {
                "group": group(scenario)[0],
                "covers": list(scenario.covers.catalogue),
                "about": scenario.about,
            }
            for scenario in matrix.scenarios
        },
        "adapters": {
            column.key: {
                "name": column.name,
                "version": column.version,
                "cells": {cell.scenario.name: _cell(cell) for cell in matrix.of(column)},
            }
            for column in matrix.columns
        },
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "class": cell.verdict.value,
        "outcome": cell.case.outcome.value,
        "why": cell.case.why,
        "runs": len(cell.cases),
        "agreeing": cell.agreeing,
        "unexpected": cell.surprising,
        "random": cell.random,
        "seconds": round(cell.case.seconds, 3),
        "page": f"{cell.column.key}/{cell.scenario.name}/index.html",
    }


def all_junit(matrix: Matrix) -> str:
    """One document with a test suite for each adapter."""
    root = ElementTree.Element("testsuites")
    for column in matrix.columns:
        summary = matrix.summary(column)
        # Where the history lay while the run went on, there is nothing any more.
        cases = tuple(replace(case, history=None) for case in summary.cases)
        root.extend(ElementTree.fromstring(junit(replace(summary, cases=cases))))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
