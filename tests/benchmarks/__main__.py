"""Measures, and prints ratios: `python -m benchmarks [--rounds 5] [--out FILE]`.

The kinds take turns within each round, so that a noisy neighbour hits them all alike; a ratio is
taken within a round, and the median of those ratios is what counts.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks import peers
from benchmarks.command import compiled, options, say
from benchmarks.machine import described, open_files
from benchmarks.peers import Relay
from benchmarks.report import Results, page, plot

Start = Callable[[int], AbstractContextManager[Relay]]

# Messages a second of the ticker streams together.
RATE = 20_000
STREAMS = 100
IDLE = 5000
STORM = 4900
CONNECTS = 3000

BYTES: Mapping[str, Start] = {
    "direct": peers.direct,
    "Squall": peers.squall("plain"),
    "Squall, 4 stages": peers.squall("stages"),
    "Toxiproxy": peers.toxiproxy,
    "HAProxy": peers.haproxy(16 * 1024),
    "HAProxy 256 KB": peers.haproxy(256 * 1024),
}
MESSAGES: Mapping[str, Start] = {
    "direct": peers.direct,
    "Squall": peers.squall("websocket"),
    "Squall, a rule": peers.squall("rule"),
    "mitmproxy": peers.mitmproxy,
}


class Bench:
    """The load, and the server behind the relays."""

    def __init__(self, binary: Path, upstream: int) -> None:
        self.upstream = upstream
        self.results: Results = {}
        self._binary = binary

    @contextlib.contextmanager
    def held(self, mode: str, *arguments: float) -> Iterator[Mapping[str, float]]:
        """What a load has to say, while it holds what it has opened."""
        command = [str(self._binary), mode, *(f"{each:g}" for each in arguments)]
        with peers.process(command, peers.LOAD_CORE) as running:
            yield json.loads(peers.heard(running))

    def load(self, mode: str, *arguments: float) -> Mapping[str, float]:
        """What a load has measured."""
        with self.held(mode, *arguments) as figures:
            return figures

    def round(self, missing: Collection[str]) -> None:
        """Measure everything once."""
        for kinds, measure in (
            (BYTES, self._bytes),
            (BYTES, self._crowd),
            (MESSAGES, self._messages),
        ):
            for name, start in kinds.items():
                if name not in missing:
                    with start(self.upstream) as relay:
                        for what, value in measure(relay):
                            self._note(what, name, value)
        for name in ("timers", "stages"):
            command = [sys.executable, "-m", f"benchmarks.{name}", str(self.upstream), str(IDLE)]
            with peers.process(command) as running:
                for what, value in json.loads(peers.heard(running)).items():
                    self._note(f"{name}_{what}", "Squall", value)

    def _note(self, what: str, name: str, value: float) -> None:
        self.results.setdefault(what, {}).setdefault(name, []).append(value)

    def _bytes(self, relay: Relay) -> Iterator[tuple[str, float]]:
        """What a relay of bytes does, one thing after the other."""
        before = relay.cpu_seconds()
        got = self.load("bulk", relay.port, 1.0, 1)
        yield "bulk", got["mb_per_s"]
        yield "bulk_cpu", (relay.cpu_seconds() - before) * 1e6 / got["mb_per_s"]
        yield "bulk_load_cpu", got["cpu"]
        got = self.load("pingpong", relay.port, 1.0)
        yield "pingpong_p50", got["p50"]
        yield "pingpong_p99", got["p99"]
        yield "pingpong_load_cpu", got["cpu"]
        before = relay.cpu_seconds()
        got = self.load("fan", relay.port, 1.5, STREAMS)
        yield "fan_p50", got["p50"]
        yield "fan_cpu", (relay.cpu_seconds() - before) / got["messages"] * 1e6
        yield "fan_load_cpu", got["cpu"]
        before = relay.cpu_seconds()
        got = self.load("connect", relay.port, CONNECTS, 50)
        yield "connect", got["per_s"]
        yield "connect_cpu", (relay.cpu_seconds() - before) / CONNECTS * 1e6
        yield "connect_load_cpu", got["cpu"]

    def _crowd(self, relay: Relay) -> Iterator[tuple[str, float]]:
        """What many connections cost."""
        before = relay.memory_bytes()
        with self.held("idle", relay.port, IDLE):
            yield "idle", (relay.memory_bytes() - before) / IDLE / 1024
        yield "storm", self.load("storm", relay.port, STORM)["seconds"]

    def _messages(self, relay: Relay) -> Iterator[tuple[str, float]]:
        """What a relay of WebSocket messages does."""
        yield "messages", self.load("ws", relay.port, 1.0, 64, 0)["per_s"]
        paced = self.load("ws", relay.port, 1.5, 1, 1000)
        yield "message_p50", paced["p50"]
        yield "message_p99", paced["p99"]


def main() -> int:
    """Measure, print, write."""
    wanted = options("benchmarks", __doc__, rounds=5)
    open_files()
    missing = peers.missing()
    for name, how in missing.items():
        say(f"{name} is skipped: not found. To have it: {how}")
    with compiled("load.c") as binary:
        serve = [str(binary), "serve", "0", str(RATE)]
        with peers.process(serve, peers.LOAD_CORE) as server:
            bench = Bench(binary, int(peers.heard(server)))
            for number in range(wanted.rounds):
                bench.round(missing)
                say(f"round {number + 1} of {wanted.rounds} is over")
    text = page(bench.results, described(), wanted.rounds, missing)
    sys.stdout.write(text)
    if wanted.out:
        wanted.out.write_text(text, encoding="utf-8")
        wanted.out.with_suffix(".svg").write_text(plot(bench.results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
