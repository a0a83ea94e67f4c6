"""What the processes of an exchange report, as Prometheus reads it.

Each process has its own series, told apart by the label `process`; `sum without (process)` adds
them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from squall.hosting.member import Report
from squall.prometheus import family

_PREFIX = "squall_exchange_"

Metric = tuple[str, str, str, Callable[[Report], float]]
"""Name, kind, what it is, and how it is told from a report."""

_GAUGES: tuple[Metric, ...] = (
    ("connections", "gauge", "TCP connections that are open.", lambda r: r.connections),
    ("subscriptions", "gauge", "Channels that are being served.", lambda r: r.subscriptions),
    (
        "loop_lag_seconds",
        "gauge",
        "The greatest delay of the event loop within the last 10 s.",
        lambda r: r.lag,
    ),
    (
        "faults_in_force",
        "gauge",
        "Faults that the control port has put in force.",
        lambda r: sum(in_force for in_force, _ in r.faults.values()),
    ),
)
_COUNTERS = {
    "dials": "TCP connections that were accepted.",
    "dials_refused": "Connections dropped at once for want of file descriptors.",
    "upgrades": "WebSocket connections that came up.",
    "upgrades_refused": "Upgrades that were answered with an HTTP error.",
    "logins": "Logins that succeeded.",
    "logins_failed": "Logins that were refused.",
    "subscriptions_granted": "Channels that were granted.",
    "messages_in": "Text messages from clients.",
    "messages_out": "Text messages to clients.",
    "bytes_in": "Bytes from clients, HTTP and frames and all.",
    "bytes_out": "Bytes to clients.",
    "slow_consumers": "Connections cut off because their client did not read.",
}
_FIELDS = {"subscriptions_granted": "subscriptions"}
_PROCESS: tuple[Metric, ...] = (
    (
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory of the process.",
        lambda r: r.rss_bytes,
    ),
    (
        "process_cpu_seconds_total",
        "counter",
        "User and system CPU time of the process.",
        lambda r: r.cpu_seconds,
    ),
)


def page(reports: Sequence[Report]) -> str:
    """The whole of `GET /metrics`."""
    lines = (
        line
        for name, kind, about, value in _metrics()
        for line in family(name, kind, about, (({"process": r.process}, value(r)) for r in reports))
    )
    return "".join(f"{line}\n" for line in lines)


def _metrics() -> Iterator[Metric]:
    for name, kind, about, value in _GAUGES:
        yield f"{_PREFIX}{name}", kind, about, value
    for name, about in _COUNTERS.items():
        yield f"{_PREFIX}{name}_total", "counter", about, _counted(name)
    yield from _PROCESS


def _counted(name: str) -> Callable[[Report], float]:
    return lambda report: report.counts[_FIELDS.get(name, name)]
