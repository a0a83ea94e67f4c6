"""What can go wrong that a user can mend. Each message says where, what, and what would be right.

SquallError
├── ScenarioError   a scenario file, or a value in it
├── AdapterError    a manifest, or an adapter that cannot be started
├── HistoryError    a saved history that cannot be read
└── NetworkError    a port or an address that cannot be used
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SquallError(Exception):
    """Something that the user can mend; the message is all that is shown, exit code 3."""


class ScenarioError(SquallError):
    """A scenario file, or a value in it, is wrong."""


class AdapterError(SquallError):
    """A manifest is wrong, or the adapter cannot be started."""


class HistoryError(SquallError):
    """A saved history cannot be read."""


class NetworkError(SquallError):
    """A port or an address cannot be used."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'latency'?`, or the list of what is known where nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f" Did you mean '{near[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""
