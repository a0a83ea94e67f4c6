"""Prometheus's text format, version 0.0.4, in which fleets and exchanges tell their numbers.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str | float]


def family(
    name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]
) -> Iterator[str]:
    """The lines of a metric: what it is, and each value with the labels that tell it apart."""
    yield from heading(name, kind, about)
    for labels, value in samples:
        yield sample(name, labels, value)


def heading(name: str, kind: str, about: str) -> Iterator[str]:
    """What a metric is."""
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"


def sample(name: str, labels: Labels, value: float) -> str:
    """The line of one value."""
    inside = ",".join(f'{key}="{_escaped(str(each))}"' for key, each in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
