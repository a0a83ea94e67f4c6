"""The backends by their names, and whether they can be had here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from squall.backend import Backend, Line
from squall.embedded import Embedded
from squall.errors import NetworkError
from squall.mitmproxy import Mitm
from squall.namespaced import Namespaced
from squall_proxy.kernel import probe
from squall_proxy.mitm import available

EMBEDDED = "embedded"


def _toxiproxy(line: Line) -> Backend:
    # Its client takes a while to import, and most runs do without.
    from squall.toxiproxy import Toxiproxy

    return Toxiproxy(line)


BACKENDS: Mapping[str, Callable[[Line], Backend]] = {
    EMBEDDED: Embedded,
    "namespace": Namespaced,
    "toxiproxy": _toxiproxy,
    "mitmproxy": Mitm,
}


def check_backend(name: str, clock: str) -> None:
    """Raise `NetworkError` where this backend cannot be had, or not on this clock."""
    if name == "mitmproxy" and not available():
        raise NetworkError(
            "--proxy mitmproxy: mitmproxy is not installed; pip install 'squall[mitm]'"
        )
    if name == "namespace" and (why := probe().network):
        raise NetworkError(f"--proxy namespace: {why}")
    if name != EMBEDDED and clock == "virtual":
        raise NetworkError(
            f"--proxy {name}: a process of its own lives in real time; leave out --clock virtual"
        )
