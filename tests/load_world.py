"""An exchange, a proxy in front of it and Locust, each in a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from squall.load.results import Fleet
from squall.load.tally import Tally

ROOT = Path(__file__).parent.parent
LOCUSTFILE = ROOT / "harness" / "squall" / "load" / "locustfile.py"
T = TypeVar("T")
PATIENCE = 90.0
"""Seconds; a machine may be busy."""


class Process:
    """A child, which says what it says into a file: nobody would empty a pipe."""

    def __init__(self, log: Path, *words: str, env: Mapping[str, str] | None = None) -> None:
        parts = ("harness", "proxy", "reference_adapter")
        path = os.pathsep.join(str(ROOT / part) for part in parts)
        kept = {name: value for name, value in os.environ.items() if name[:7] != "LOCUST_"}
        self.log = log
        with log.open("w") as out:
            self.popen = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**kept, "PYTHONPATH": path, **(env or {})},
            )

    def until(self, found: Callable[[], T | None]) -> T:
        """Wait until something is found, as long as it runs."""
        deadline = time.monotonic() + PATIENCE
        while (result := found()) is None:
            assert self.popen.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(0.05)
        return result

    def line(self, *words: str) -> str:
        """The first whole line of its output in which all these words are."""

        def look() -> str | None:
            lines = self.log.read_text().splitlines(keepends=True)
            wanted = (each for each in lines if each.endswith("\n"))
            return next((each for each in wanted if all(w in each for w in words)), None)

        return self.until(look)

    def stop(self) -> None:
        self.popen.terminate()
        try:
            self.popen.wait(20.0)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@dataclass(frozen=True)
class Place:
    """Where the fleet dials, who does the harm, and the account of the exchange."""

    url: str
    proxy_api: str
    credentials: dict[str, str]


@contextlib.contextmanager
def place(folder: Path) -> Iterator[Place]:
    """An exchange with a proxy in front of it."""
    words = ("-m", "squall", "exchange", "--port", "0", "--set", "connections_per_address=10000")
    with contextlib.ExitStack() as ending:
        exchange = Process(folder / "exchange.log", *words)
        ending.callback(exchange.stop)
        url, key, secret = (exchange.line(word).split()[1] for word in ("url ", "key ", "secret "))
        host, _, path = url.removeprefix("ws://").partition("/")
        words = ("-m", "squall", "proxy", "--upstream", host, "--api-port", "0")
        proxy = Process(folder / "proxy.log", *words)
        ending.callback(proxy.stop)
        ports = [
            json.loads(proxy.line('"listening"', f'"listener": "{name}"'))["port"]
            for name in ("proxy", "api")
        ]
        yield Place(
            f"ws://127.0.0.1:{ports[0]}/{path}",
            f"http://127.0.0.1:{ports[1]}",
            {"SQUALL_API_KEY": key, "SQUALL_API_SECRET": secret},
        )


class Storming:
    """Locust, that plays a storm."""

    def __init__(
        self, where: Place, folder: Path, storm: str, *words: str, locustfile: str = ""
    ) -> None:
        self.out = folder / "out"
        (folder / "storm.yaml").write_text(textwrap.dedent(storm), encoding="utf-8")
        file = LOCUSTFILE
        if locustfile:
            file = folder / "locustfile.py"
            file.write_text(textwrap.dedent(locustfile), encoding="utf-8")
        self.process = Process(
            folder / "locust.log",
            *("-m", "locust", "-f", str(file), "--headless", "--only-summary"),
            *("--storm", str(folder / "storm.yaml"), "--host", where.url),
            *("--proxy-api", where.proxy_api, "--out", str(self.out), *words),
            env=where.credentials,
        )

    def __enter__(self) -> Storming:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def told(self) -> dict[str, Any]:
        """What fleet.json holds; empty where there is none yet."""
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads((self.out / "fleet.json").read_text())
            return found
        return {}

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until it is true of fleet.json, which is returned."""

        def look() -> dict[str, Any] | None:
            told = self.told()
            return told if told and condition(told) else None

        return self.process.until(look)

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        return self.process.popen.wait(PATIENCE)

    def fleet(self) -> Fleet:
        return Fleet.from_json(self.told())


def on_free_port() -> list[str]:
    """Options for a master that shares this machine with other masters."""
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        port = str(there.getsockname()[1])
    return [*("--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port)]


def lived(tally: Tally) -> tuple[int, int, int]:
    """Users at the end, whole ones among them, and losses since the storm began."""
    return tally.users(), tally.whole(), tally.total("lost", since=0.0)
