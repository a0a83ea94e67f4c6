"""`junit.xml`: the results as continuous integration systems read them.

One test suite, a test case for each run. Jenkins' schema (junit-10.xsd) knows no "unknown": it is
an `error` here. What is unsupported, or announced as a known failure, is `skipped`.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from squall import __version__
from squall.report import explanation, first_sentence
from squall.results import Case, Summary, write
from squall.verdict import Outcome

# https://www.w3.org/TR/xml/#charsets: what is outside has no place in a document, escaped or not.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(summary: Summary, folder: Path) -> None:
    """Write `junit.xml` into the folder."""
    write(folder / "junit.xml", junit(summary))


def junit(summary: Summary) -> str:
    """The document."""
    root = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(root, "testsuite", _counts(summary))
    properties = ElementTree.SubElement(suite, "properties")
    said = {
        "squall": __version__,
        "adapter": summary.adapter,
        "profile": summary.profile,
        "clock": summary.clock,
        "seed": "" if summary.seed is None else str(summary.seed),
    }
    for name, value in said.items():
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    for case in summary.cases:
        _add(suite, case, summary.adapter)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _counts(summary: Summary) -> dict[str, str]:
    elements = [_element(case) for case in summary.cases]
    return {
        "name": "squall",
        "tests": str(len(elements)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
        "skipped": str(elements.count("skipped")),
        "time": f"{summary.seconds:.3f}",
        "timestamp": summary.started.isoformat(timespec="seconds"),
    }


def _element(case: Case) -> str | None:
    if case.expected:
        return "skipped"
    return {
        Outcome.PASS: None,
        Outcome.FAIL: "failure",
        Outcome.UNKNOWN: "error",
        Outcome.UNSUPPORTED: "skipped",
    }[case.outcome]


def _add(suite: ElementTree.Element, case: Case, adapter: str) -> None:
    found = ElementTree.SubElement(
        suite,
        "testcase",
        name=_clean(case.name),
        classname=_clean(f"squall.{adapter}"),
        time=f"{case.seconds:.3f}",
    )
    if element := _element(case):
        message = _clean(first_sentence(case.why))
        text = _clean("\n".join(explanation(case)))
        said = ElementTree.SubElement(found, element, message=message)
        said.text = text
        if element != "skipped":
            said.set("type", case.trouble or case.outcome)


def _clean(text: str) -> str:
    return _NO_XML.sub("?", text)
