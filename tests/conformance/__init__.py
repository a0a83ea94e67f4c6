"""Conformance of the backends: does each fault do on the wire what it says, whoever carries it out?

A probe puts one fault in force and says what raw sockets on both sides then see. It is run on
each line: a backend, and a way of getting to it. What differs from what the fault promises makes
it *approximate* there. `python -m conformance` runs everything and writes docs/fidelity.md.
"""

from conformance.line import LINES, Stage
from conformance.probes import PROBES, Probe
from conformance.table import Cell, measure

__all__ = ["LINES", "PROBES", "Cell", "Probe", "Stage", "measure"]
