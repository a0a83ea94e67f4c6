"""The toxics of Toxiproxy, and the faults of this proxy that do what they say.

To add one, write one row in `TOXICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from squall_proxy.faults import (
    Latency,
    LimitData,
    ResetPeer,
    Slicer,
    SlowClose,
    Stall,
    StreamFault,
    Throttle,
    Timeout,
    Way,
)
from squall_proxy.injection import Target
from squall_proxy.toxiproxy.go_json import Float32, Struct

Attributes = Mapping[str, int]

WAYS: Mapping[str, Way] = MappingProxyType(
    {"upstream": "client_to_server", "downstream": "server_to_client"}
)
"""Toxiproxy's names of the directions."""


@dataclass(frozen=True)
class ToxicType:
    """One kind of toxic: `go` is the name of its struct, which messages quote.

    `fault` makes the fault; it raises ValueError for attributes that cannot be.
    """

    name: str
    go: str
    attributes: tuple[str, ...]
    fault: Callable[[Attributes, Way], StreamFault | None]

    @property
    def struct(self) -> Struct:
        """How its attributes are read."""
        return Struct(f"toxics.{self.go}", self.go, dict.fromkeys(self.attributes, "int64"))


@dataclass(frozen=True)
class Toxic:
    """One toxic of a proxy, as its clients see it."""

    name: str
    type: ToxicType
    stream: str
    toxicity: float = 1.0
    attributes: Attributes = field(default_factory=dict)

    @property
    def way(self) -> Way:
        """The direction that it concerns."""
        return WAYS[self.stream.lower()]

    @property
    def all_attributes(self) -> Attributes:
        """Its attributes; what was not given is 0."""
        return {name: self.attributes.get(name, 0) for name in self.type.attributes}

    @property
    def fault(self) -> StreamFault | None:
        """What it does; None where it does nothing. Raises ValueError."""
        return self.type.fault(self.all_attributes, self.way)

    @property
    def target(self) -> Target:
        """The share of connections that it hits. Toxiproxy takes any number for it."""
        return Target() if self.toxicity >= 1 else Target(fraction=max(0.0, self.toxicity))

    def as_json(self) -> dict[str, object]:
        """Its form in answers; all attributes are there, also those that are 0."""
        return {
            "attributes": self.all_attributes,
            "name": self.name,
            "type": self.type.name,
            "stream": self.stream,
            "toxicity": Float32(self.toxicity),
        }


def _milliseconds(number: int) -> float:
    """Toxiproxy takes negative times for none."""
    return max(0, number) / 1000


def _latency(given: Attributes, way: Way) -> StreamFault:
    delay, jitter = _milliseconds(given["latency"]), _milliseconds(given["jitter"])
    return Latency(delay, jitter, direction=way)


def _bandwidth(given: Attributes, way: Way) -> StreamFault:
    rate = given["rate"]
    if rate < 0:
        raise ValueError(f"bandwidth: rate is {rate}; it must be 0 or more")
    # Nothing passes at 0 KB/s, and nothing is lost: it flows on when the toxic is gone.
    return Throttle(rate * 1000.0, direction=way) if rate else Stall(direction=way)


def _slicer(given: Attributes, way: Way) -> StreamFault:
    return Slicer(
        given["average_size"], given["size_variation"], max(0, given["delay"]) / 1e6, direction=way
    )


TOXICS: Mapping[str, ToxicType] = MappingProxyType(
    {
        each.name: each
        for each in (
            ToxicType("noop", "NoopToxic", (), lambda given, way: None),
            ToxicType("latency", "LatencyToxic", ("latency", "jitter"), _latency),
            ToxicType("bandwidth", "BandwidthToxic", ("rate",), _bandwidth),
            ToxicType(
                "slow_close",
                "SlowCloseToxic",
                ("delay",),
                lambda given, way: SlowClose(_milliseconds(given["delay"]), direction=way),
            ),
            ToxicType(
                "timeout",
                "TimeoutToxic",
                ("timeout",),
                lambda given, way: Timeout(_milliseconds(given["timeout"]), direction=way),
            ),
            ToxicType(
                "reset_peer",
                "ResetToxic",
                ("timeout",),
                lambda given, way: ResetPeer(_milliseconds(given["timeout"]), direction=way),
            ),
            ToxicType(
                "slicer", "SlicerToxic", ("average_size", "size_variation", "delay"), _slicer
            ),
            ToxicType(
                "limit_data",
                "LimitDataToxic",
                ("bytes",),
                lambda given, way: LimitData(max(0, given["bytes"]), direction=way),
            ),
        )
    }
)
"""Every toxic of Toxiproxy 2.12, under its type."""
