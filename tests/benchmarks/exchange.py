"""What the exchange holds: `python -m benchmarks.exchange [--rounds 3] [--out FILE]`.

Clients, exchange and everything else share the machine. Kinds take turns within each round; a
figure is the median of its rounds, a ratio is taken within a round.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import peers
from benchmarks.command import compiled, options, say
from benchmarks.machine import described, open_files
from benchmarks.report import Results, ratio, table
from squall.exchange import dialect

PROCESSES = 2
LOGINS = 4000
RESTORES = 10_000
HELD = 10_000
FAN = (1000, 40)
"""Connections, and the channels that each of them follows."""

TICK = "0.1s"
BATCH = "50ms"
SECONDS = 4.0

SERVERS = ("websockets", "own frames", "picows", "aiohttp")
WIRES = ("websockets", "thin")
GOALS = (
    ("restore_per_s", "full restores", "1/s", 2000),
    ("held", "connections held at once", "", 10_000),
    ("fan_per_s", "messages to all clients together", "1/s", 200_000),
)


@dataclass(frozen=True)
class Venue:
    """A running `squall exchange`."""

    said: Mapping[str, str]

    @property
    def port(self) -> str:
        """Where clients dial."""
        return self.said["rest"].rpartition(":")[2]

    def metric(self, name: str) -> float:
        """The sum over all processes."""
        with urllib.request.urlopen(f"{self.said['api']}/metrics", timeout=60) as answer:
            text = answer.read().decode()
        return sum(map(float, re.findall(rf"^{name}\{{.*\}} (\S+)$", text, re.MULTILINE)))

    def requests(self, channels: int) -> tuple[str, str, str]:
        """The path, the login and the subscription of every client."""
        venue = dialect("deribit")
        grant = {
            "grant_type": "client_credentials",
            "client_id": self.said["key"],
            "client_secret": self.said["secret"],
        }
        login = {"jsonrpc": "2.0", "id": 1, "method": "public/auth", "params": grant}
        names = {"channels": venue.channels("ticker", channels)}
        subscribe = {"jsonrpc": "2.0", "id": 2, "method": "private/subscribe", "params": names}
        return venue.path, json.dumps(login), json.dumps(subscribe)


@dataclass
class Bench:
    """The load in C, and what was measured: figure, kind, one value a round."""

    binary: Path
    results: Results = field(default_factory=dict)

    def note(self, what: str, kind: str, value: float) -> None:
        """Keep a figure."""
        self.results.setdefault(what, {}).setdefault(kind, []).append(value)

    @contextlib.contextmanager
    def load(self, mode: str, *words: object, core: int | None = None) -> Iterator[
        Mapping[str, float]
    ]:  # fmt: skip
        """What the load has to say, while it holds what it has opened."""
        command = [str(self.binary), mode, *map(str, words)]
        with peers.process(command, core) as running:
            line = peers.heard(running)
            figures: Mapping[str, float] = json.loads(line)
            if figures["failed"] or figures.get("lost"):
                raise RuntimeError(f"{mode}: not every client was served: {line}")
            yield figures

    def logins(self, kind: str) -> None:
        """What a login costs a server that does nothing else, on a core of its own."""
        command = [sys.executable, "-m", "benchmarks.login_servers", kind]
        with peers.process(command) as server:
            relay = peers.Relay(int(peers.heard(server)), server.pid)
            before = relay.cpu_seconds()
            words = (relay.port, LOGINS, 50, 0, "/", '{"id": 1}', '{"id": 2}')
            with self.load("restore", *words, core=peers.LOAD_CORE) as got:
                self.note("login_us", kind, (relay.cpu_seconds() - before) / LOGINS * 1e6)
                self.note("login_per_s", kind, got["per_s"])

    def restores(self, wire: str) -> None:
        """Clients that come back as fast as they are let in."""
        with exchange("--wire", wire) as venue:
            before = venue.metric("process_cpu_seconds_total")
            with self.load("restore", venue.port, RESTORES, 400, 0, *venue.requests(2)) as got:
                spent = venue.metric("process_cpu_seconds_total") - before
            self.note("restore_per_s", wire, got["per_s"])
            self.note("restore_us", wire, spent / RESTORES * 1e6)
            self.note("restore_load_us", wire, got["cpu_us"])
            self.note("restore_p99_ms", wire, got["p99_ms"])

    def holds(self, wire: str) -> None:
        """Clients that stay, and get data now and then."""
        with exchange("--wire", wire, "--set", "tick=10s") as venue:
            before = venue.metric("process_resident_memory_bytes")
            with self.load("hold", venue.port, HELD, 400, 1, *venue.requests(2)):
                held = venue.metric("squall_exchange_connections")
                memory = venue.metric("process_resident_memory_bytes") - before
            self.note("held", wire, held)
            self.note("held_kb", wire, memory / held / 1024)

    def fans(self, kind: str, batch: str) -> None:
        """Much data for many clients."""
        connections, channels = FAN
        words = ("--wire", "thin", "--set", f"tick={TICK}", "--set", f"batch_interval={batch}")
        with exchange(*words) as venue:
            requests = venue.requests(channels)
            with self.load("hold", venue.port, connections, 50, SECONDS, *requests) as got:
                lag = venue.metric("squall_exchange_loop_lag_seconds") / PROCESSES
                spent = venue.metric("process_cpu_seconds_total")
                sent = venue.metric("squall_exchange_messages_out_total")
            self.note("fan_per_s", kind, got["messages_per_s"])
            self.note("fan_mb", kind, got["mb_per_s"])
            self.note("fan_us", kind, spent / sent * 1e6)
            self.note("fan_load", kind, got["load_cores"])
            self.note("fan_lag_ms", kind, lag * 1000)


@contextlib.contextmanager
def exchange(*words: str) -> Iterator[Venue]:
    """An exchange of two processes that lets in whoever comes."""
    command = [sys.executable, "-m", "squall", "exchange", "--processes", str(PROCESSES)]
    command += ["--api-port", "0", "--set", "connections_per_address=100000", *words]
    paths = [str(peers.ROOT / each) for each in ("harness", "proxy", "reference_adapter")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    ) as running:
        try:
            said: dict[str, str] = {}
            assert running.stdout is not None
            while "secret" not in said:
                word, value = running.stdout.readline().split()
                said[word] = value
            yield Venue(said)
        finally:
            running.terminate()


MEASURES = (
    ("restore_per_s", "full restores, 1/s"),
    ("restore_us", "CPU of the exchange a restore, µs"),
    ("restore_load_us", "CPU of the load a restore, µs"),
    ("restore_p99_ms", "a restore, p99, ms"),
    ("held", "connections held"),
    ("held_kb", "memory of a connection that is held, KB"),
)
FANS = (
    ("fan_per_s", "messages, 1/s"),
    ("fan_mb", "data, MB/s"),
    ("fan_us", "CPU of the exchange a message, µs"),
    ("fan_load", "load, cores"),
    ("fan_lag_ms", "lag of the event loops, the worst of 10 s, ms"),
)
LOGIN = (
    ("login_us", "CPU of the server a login, µs"),
    ("login_per_s", "logins, 1/s"),
)


def page(results: Results, where: str, rounds: int, missing: Sequence[str]) -> str:
    """The whole of docs/benchmarks-exchange.md."""
    offered = FAN[0] * FAN[1] / float(TICK.removesuffix("s"))
    lines = [
        "# Benchmarks of the exchange",
        "",
        f"Written by `python -m benchmarks.exchange`: {where}; {rounds} rounds in which all kinds"
        " took turns. A figure is the median of its rounds.",
        "",
        f"`squall exchange --processes {PROCESSES}` and a load in C"
        " (`tests/benchmarks/exchange_load.c`) share the machine.",
        "",
        "## What is promised",
        "",
        "| | figure | least to greatest | goal | |",
        "|---|--:|---|---|---|",
    ]
    for name, title, unit, goal in GOALS:
        found = results[name]["batched" if name == "fan_per_s" else "thin"]
        middle = statistics.median(found)
        lines.append(
            f"| {title} | {middle:,.0f} {unit} | {min(found):,.0f} to {max(found):,.0f}"
            f" | at least {goal:,} | {'reached' if middle >= goal else '**missed**'} |"
        )
    ratios = ratio(results, "restore_us", "thin", "websockets")
    assert ratios is not None
    median, least, most = ratios
    lines += [
        "",
        "## Restores and connections",
        "",
        "Dial, upgrade, login, subscription to 2 channels; then the connection is cut, or held. The"
        " exchange answers each request after 15 ms, as it does by default. *thin* is"
        " `--wire thin`.",
        "",
        *table(results, MEASURES),
        "",
        f"The exchange's CPU a restore with thin frames is {median:.2f} times"
        f" that with `websockets` ({least:.2f} to {most:.2f}).",
        "",
        "What limits it is CPU:"
        f" {_middle(results, 'restore_us', 'thin'):.0f} µs of the exchange and"
        f" {_middle(results, 'restore_load_us', 'thin'):.0f} µs of the load a restore, on"
        f" {os.cpu_count()} cores. Connections are limited by file descriptors, half in each"
        " process, not by memory.",
        "",
        "## Fan-out",
        "",
        f"{FAN[0]:,} clients of {FAN[1]} channels that tick every {TICK}: {offered:,.0f} messages a"
        f" second are due. *batched* is `batch_interval={BATCH}`: what is due for a client by then"
        " goes out in one write. Without it each message is a system call, and that is the limit."
        " An exchange that cannot keep up leaves messages out rather than fall behind.",
        "",
        *table(results, FANS),
        "",
        "## Servers",
        "",
        "An upgrade and two requests that are decoded and answered, and nothing else, on one core;"
        f" {LOGINS:,} logins, 50 at a time, each on a connection of its own. *own frames* is about"
        " what `--wire thin` does.",
        "",
        *table(results, LOGIN),
    ]
    if missing:
        lines += ["", *(f"- {name} was skipped: `pip install {name}`" for name in missing)]
    return "\n".join(lines) + "\n"


def _middle(results: Results, what: str, kind: str) -> float:
    return statistics.median(results[what][kind])


def main() -> int:
    """Measure, print, write."""
    wanted = options("benchmarks.exchange", __doc__, rounds=3)
    most = open_files()
    if sys.platform != "linux" or most < HELD + 1000:
        say(f"this needs Linux, and {HELD + 1000} file descriptors: `ulimit -n` allows {most}")
        return 3
    missing = [name for name in ("picows", "aiohttp") if not importlib.util.find_spec(name)]
    with compiled("exchange_load.c") as binary:
        bench = Bench(binary)
        for number in range(wanted.rounds):
            for kind in SERVERS:
                if kind not in missing:
                    bench.logins(kind)
            for wire in WIRES:
                bench.restores(wire)
                bench.holds(wire)
            bench.fans("batched", BATCH)
            bench.fans("each by itself", "0s")
            say(f"round {number + 1} of {wanted.rounds} is over")
    text = page(bench.results, described(), wanted.rounds, missing)
    sys.stdout.write(text)
    if wanted.out:
        wanted.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
