"""Adapters that are wrong on purpose, one bug each, and the correct one from which they descend.

A chaos tool is believed when it catches what it claims to catch. `good` is a whole adapter that
does everything right; each specimen gets exactly one thing wrong, as a real one did, and says
which scenario must catch it and which check must name it. `matrix` runs them all.
"""

from gallery import authenticating, dialling, ending, reading, restoring, trading, watching
from gallery.good import Adapter
from gallery.specimen import GALLERY, Specimen

__all__ = [
    "GALLERY",
    "Adapter",
    "Specimen",
    "authenticating",
    "dialling",
    "ending",
    "reading",
    "restoring",
    "trading",
    "watching",
]
