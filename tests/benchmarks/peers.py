"""The relays that are compared, each started as a process of its own, or skipped with a reason."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".peers"
HOST = "127.0.0.1"

# The relay has a core of its own, the load and the server share the other.
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
LOAD_CORE, RELAY_CORE = (CORES[0], CORES[1]) if len(CORES) > 1 else (None, None)


@dataclass(frozen=True)
class Relay:
    """A relay that runs: where it listens, and as which process."""

    port: int
    pid: int | None = None

    def cpu_seconds(self) -> float:
        """What all its threads have used so far."""
        if self.pid is None:
            return 0.0
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def memory_bytes(self) -> int:
        """What it keeps in memory."""
        if self.pid is None:
            return 0
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def pinned(core: int | None) -> Callable[[], None]:
    """For `preexec_fn`."""
    return lambda: os.sched_setaffinity(0, {core}) if core is not None else None


@contextlib.contextmanager
def process(
    command: Sequence[str], core: int | None = RELAY_CORE
) -> Iterator[subprocess.Popen[str]]:
    """A process on a core, killed at the end; what it says on standard error is dropped."""
    paths = [str(ROOT / "proxy"), str(ROOT / "tests")]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=pinned(core),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "LOG_LEVEL": "fatal"},
        cwd=ROOT,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def heard(running: subprocess.Popen[str]) -> str:
    """What a process says first. Raises RuntimeError where it ends without a word."""
    assert running.stdout is not None
    line = running.stdout.readline()
    if not line:
        raise RuntimeError(f"{running.args!s:.200} failed")
    return line


@contextlib.contextmanager
def direct(upstream: int) -> Iterator[Relay]:
    """No relay at all."""
    yield Relay(upstream)


def squall(variant: str) -> Callable[[int], contextlib.AbstractContextManager[Relay]]:
    """Our own proxy."""

    @contextlib.contextmanager
    def start(upstream: int) -> Iterator[Relay]:
        command = [sys.executable, "-m", "benchmarks.relay", str(upstream), variant]
        with process(command) as running:
            yield Relay(int(heard(running)), running.pid)

    return start


@contextlib.contextmanager
def toxiproxy(upstream: int) -> Iterator[Relay]:
    """Shopify's Toxiproxy, without a toxic."""
    api, port = _free_port(), _free_port()
    with process([_found("server"), "-host", HOST, "-port", str(api)]) as running:
        _await_port(api)
        proxy = {"name": "x", "listen": f"{HOST}:{port}", "upstream": f"{HOST}:{upstream}"}
        request = urllib.request.Request(
            f"http://{HOST}:{api}/proxies", json.dumps(proxy).encode(), {"User-Agent": "squall"}
        )
        urllib.request.urlopen(request, timeout=5).close()
        yield Relay(port, running.pid)


def haproxy(bufsize: int) -> Callable[[int], contextlib.AbstractContextManager[Relay]]:
    """HAProxy, one thread, TCP mode."""

    @contextlib.contextmanager
    def start(upstream: int) -> Iterator[Relay]:
        port = _free_port()
        config = PEERS / f"haproxy-{port}.cfg"
        config.write_text(
            f"global\n  nbthread 1\n  maxconn 9000\n  tune.bufsize {bufsize}\n"
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
            f"listen x\n  bind {HOST}:{port} backlog 4096\n  server s {HOST}:{upstream}\n"
        )
        try:
            with process([_found("haproxy"), "-db", "-f", str(config)]) as running:
                _await_port(port)
                yield Relay(port, _youngest(running.pid))
        finally:
            config.unlink()

    return start


@contextlib.contextmanager
def mitmproxy(upstream: int) -> Iterator[Relay]:
    """mitmproxy with its WebSocket layer and one rule."""
    port = _free_port()
    script = Path(__file__).with_name("mitm_rule.py")
    with process([str(_mitm_python()), str(script), str(upstream), str(port)]) as running:
        _await_port(port)
        yield Relay(port, running.pid)


def missing() -> dict[str, str]:
    """The peers that are not here, and how to get them."""
    reasons = {}
    if _which("server") is None:
        reasons["Toxiproxy"] = (
            "GOBIN=$PWD/.peers/bin go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
        )
    if _which("haproxy") is None:
        reasons["HAProxy"] = reasons["HAProxy 256 KB"] = "apt install haproxy"
    if not _mitm_python().exists():
        reasons["mitmproxy"] = (
            "python -m venv .peers/mitm && .peers/mitm/bin/pip install mitmproxy==11.0.2"
        )
    return reasons


def _mitm_python() -> Path:
    return PEERS / "mitm" / "bin" / "python"


def _which(name: str) -> str | None:
    here = PEERS / "bin" / name
    # Toxiproxy's server has too common a name to be looked for elsewhere.
    return str(here) if here.exists() else shutil.which(name) if name != "server" else None


def _found(name: str) -> str:
    path = _which(name)
    assert path is not None, f"{name} is missing"
    return path


def _youngest(pid: int) -> int:
    """The process at the end of the line: a wrapper may have started the real one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _youngest(int(children[-1])) if children else pid


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _await_port(port: int) -> None:
    for _ in range(500):
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, port), 1).close()
            return
        time.sleep(0.02)  # noqa: TID251  # this is no asyncio code
    raise TimeoutError(f"nothing listens on port {port}")
