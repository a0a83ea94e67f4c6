"""What a fleet lives through, for Prometheus: `/storm/metrics` of Locust's web page.

The names are those of docker/alerts.yml. Durations are summaries, since that is what a tally holds:
their quantiles are of the whole storm, `_sum` and `_count` give the averages of any while.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from squall.load.tally import MEASURES, Tally
from squall.prometheus import family, heading, sample

QUANTILES = (0.5, 0.95, 0.99)

_COUNTERS = (
    ("dials", "dialled", "Dials, whatever came of them."),
    ("upgrades", "upgraded", "Dials that came to a WebSocket."),
    ("losses", "lost", "Whole users that were so no more."),
    ("restores", "restored", "Users that became whole: served on every channel."),
    ("failures", "failed", "Adapters that failed by their own doing."),
)
_WORKERS = (
    ("resident_bytes", "rss_bytes", "Memory of a worker process."),
    ("threads", "threads", "Threads of a worker process."),
    ("users", "users", "Users of a worker process."),
)


def exposition(fleet: Mapping[str, Any]) -> str:
    """The text for what `fleet.json` holds. Raises ValueError where there is no tally in it."""
    return "\n".join((*_of_tally(Tally.from_json(fleet["tally"])), *_of_workers(fleet))) + "\n"


def _of_tally(tally: Tally) -> Iterator[str]:
    for name, counted, about in _COUNTERS:
        yield from family(f"squall_{name}_total", "counter", about, [({}, tally.total(counted))])
    about = "Users that are whole."
    yield from family("squall_users_whole", "gauge", about, [({}, tally.whole())])
    for name in MEASURES:
        yield from _summary(name, tally)


def _summary(name: str, tally: Tally) -> Iterator[str]:
    histogram, known = tally.measures[name], f"squall_{name}_seconds"
    yield from heading(known, "summary", f"How long users took: {name.replace('_', ' ')}.")
    for quantile in QUANTILES:
        value = histogram.percentile(quantile * 100)
        if value is not None:
            yield sample(known, {"quantile": quantile}, value)
    yield sample(f"{known}_sum", {}, histogram.sum)
    yield sample(f"{known}_count", {}, histogram.count)


def _of_workers(fleet: Mapping[str, Any]) -> Iterator[str]:
    for name, key, about in _WORKERS:
        told = [
            ({"worker": worker}, report[key])
            for worker, report in fleet["workers"].items()
            if key in report
        ]
        yield from family(f"squall_worker_{name}", "gauge", about, told)
