"""What a fleet lives through, for Prometheus: `/storm/metrics` of Locust's web page.

The names are those of docker/alerts.yml. Durations are summaries, since that is what a tally holds:
their quantiles are of the whole storm, `_sum` and `_count` give the averages of any while.

The format is https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from squall.load.tally import MEASURES, Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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

Labels = Mapping[str, str | float]


def exposition(fleet: Mapping[str, Any]) -> str:
    """The text for what `fleet.json` holds. Raises ValueError where there is no tally in it."""
    return "\n".join((*_of_tally(Tally.from_json(fleet["tally"])), *_of_workers(fleet))) + "\n"


def _of_tally(tally: Tally) -> Iterator[str]:
    for name, counted, about in _COUNTERS:
        yield from _family(f"{name}_total", "counter", about, [({}, tally.total(counted))])
    yield from _family("users_whole", "gauge", "Users that are whole.", [({}, tally.whole())])
    for name in MEASURES:
        yield from _summary(name, tally)


def _summary(name: str, tally: Tally) -> Iterator[str]:
    histogram, family = tally.measures[name], f"squall_{name}_seconds"
    yield f"# HELP {family} How long users took: {name.replace('_', ' ')}."
    yield f"# TYPE {family} summary"
    for quantile in QUANTILES:
        value = histogram.percentile(quantile * 100)
        if value is not None:
            yield _sample(family, {"quantile": quantile}, value)
    yield _sample(f"{family}_sum", {}, histogram.sum)
    yield _sample(f"{family}_count", {}, histogram.count)


def _of_workers(fleet: Mapping[str, Any]) -> Iterator[str]:
    for name, key, about in _WORKERS:
        told = [
            ({"worker": worker}, report[key])
            for worker, report in fleet["workers"].items()
            if key in report
        ]
        yield from _family(f"worker_{name}", "gauge", about, told)


def _family(
    name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]
) -> Iterator[str]:
    yield f"# HELP squall_{name} {about}"
    yield f"# TYPE squall_{name} {kind}"
    for labels, value in samples:
        yield _sample(f"squall_{name}", labels, value)


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(str(each))}"' for key, each in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
