"""What docs/fidelity.md says of the backends is so."""

from __future__ import annotations

import asyncio

import pytest

from conformance import LINES, PROBES, measure
from conformance.table import Cell, key, page
from squall_proxy import FAULTS, NetworkFault

# Where a line cannot do better, and the page says so.
SHORT_OF_EXACT = {
    "half a close": "mitmproxy ends the other half of TLS too",
    "`slow_upgrade` interval=0.005": "mitmproxy passes a head on when it is complete",
}

OWN = [name for name in LINES if name.startswith("embedded")]
MITMPROXY = [name for name in LINES if name.startswith("mitmproxy")]


def test_every_fault_is_probed() -> None:
    probed = {probe.fault.name for probe in PROBES if probe.fault is not None}
    # What is done to packets is no proxy's to do, and has witnesses of its own.
    on_connections = {n for n, fault in FAULTS.items() if not issubclass(fault, NetworkFault)}
    assert probed == on_connections


@pytest.mark.parametrize("name", OWN)
def test_our_own_proxy_does_everything_exactly(name: str) -> None:
    found = asyncio.run(measure(LINES[name]))
    assert {what: str(cell) for what, cell in found.items() if not _fine(cell)} == {}


@pytest.mark.parametrize("name", MITMPROXY)
def test_through_mitmproxy_all_but_the_known_is_exact(name: str) -> None:
    if why := LINES[name].missing:
        pytest.skip(why)
    found = asyncio.run(measure(LINES[name]))
    known = {key(probe) for probe in PROBES if probe.what in SHORT_OF_EXACT}
    wrong = {what: str(cell) for what, cell in found.items() if not _fine(cell)}
    assert wrong.keys() <= known, wrong
    assert not any(cell.verdict == "fails" for cell in found.values())


def _fine(cell: Cell) -> bool:
    return cell.exact or cell.verdict == "impossible"


def test_the_page_numbers_what_differs() -> None:
    cells = {key(probe): Cell("exact") for probe in PROBES}
    cells[key(PROBES[0])] = Cell("approximate", "other side: nothing, not fin")
    made = page({"one": cells, "two": "it is not installed"}, "Now.")
    assert "approximate (1)" in made
    assert "1. other side: nothing, not fin" in made
    assert "Not measured: two, it is not installed." in made
