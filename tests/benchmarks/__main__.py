"""Measures, and prints ratios: `python -m benchmarks [--rounds 5] [--out FILE]`.

The kinds take turns within each round, so that a noisy neighbour hits them all alike; a ratio is
taken within a round, and the median of those ratios is what counts.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks import peers
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
            yield _said(running, command)

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
                for what, value in _said(running, command).items():
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


def _said(running: subprocess.Popen[str], command: Sequence[str]) -> Mapping[str, float]:
    assert running.stdout is not None
    line = running.stdout.readline()
    if not line:
        raise RuntimeError(f"{' '.join(command)} failed")
    figures: Mapping[str, float] = json.loads(line)
    return figures


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a Markdown page; its plot goes beside it")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    missing = peers.missing()
    for name, how in missing.items():
        _say(f"{name} is skipped: not found. To have it: {how}")
    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "load"
        source = Path(__file__).with_name("load.c")
        try:
            subprocess.run(["cc", "-O2", "-o", str(binary), str(source)], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            _say(f"the load is written in C and needs a compiler: {error}")
            return 3
        serve = [str(binary), "serve", "0", str(RATE)]
        with peers.process(serve, peers.LOAD_CORE) as server:
            assert server.stdout is not None
            bench = Bench(binary, int(server.stdout.readline()))
            for number in range(options.rounds):
                bench.round(missing)
                _say(f"round {number + 1} of {options.rounds} is over")
    machine = f"{os.cpu_count()} x {_processor()}, {platform.system()} {platform.release()}"
    when = datetime.datetime.now(datetime.UTC).date().isoformat()
    load = f"load average {os.getloadavg()[2]:.1f}"
    where = f"{when}, {machine}, Python {platform.python_version()}, {load}"
    text = page(bench.results, where, options.rounds, missing)
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
        options.out.with_suffix(".svg").write_text(plot(bench.results), encoding="utf-8")
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
