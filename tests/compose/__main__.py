"""docker-compose.yml tried for real: `python tests/compose`.

It uses the Docker engine that runs here; as root it starts one of its own where there is none, with
a socket and a data folder of its own and without a hand on the host's packet filter. Images that
cannot be pulled are made here under the names that the files use, from Debian's packages and from
Toxiproxy's Go module. What cannot be had is skipped, with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / ".peers" / "compose"

SQUALL = "squall"
PYTHON = "python:3.13-slim-trixie"
TOXIPROXY = "ghcr.io/shopify/toxiproxy:2.12.0"
MODULE = "github.com/Shopify/toxiproxy/v2"
PROMETHEUS = "prom/prometheus:v2.53.3"

UI = "http://127.0.0.1:8089"
USERS = 20
"""A few: what goes between containers is no load."""

PATIENCE = 180.0

Environment = Mapping[str, str]


class Skipped(Exception):
    """Why it cannot be tried here."""


def main() -> int:
    """Try all of it; 1 where something fails."""
    try:
        with engine() as environment:
            images(environment)
            compose = Compose(environment)
            code = 0
            for name, attempt in (("suite", suite), ("storm", storm), ("alerts", alerts)):
                try:
                    failed = attempt(compose)
                except Skipped as why:
                    print(f"{name}: skipped: {why}")
                    continue
                print(f"{name}: {'FAILED' if failed else 'passed'}", flush=True)
                code |= failed
            return code
    except Skipped as why:
        print(f"docker-compose.yml: skipped: {why}")
        return 0


# The engine


@contextlib.contextmanager
def engine() -> Iterator[Environment]:
    """A Docker engine: the one that runs, or one of our own."""
    if not shutil.which("docker"):
        raise Skipped("there is no docker")
    if _ok("docker", "info"):
        yield os.environ
        return
    if not shutil.which("dockerd") or os.geteuid() != 0:
        raise Skipped("no Docker engine runs here, and none can be started")
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="squall-docker-") as folder:
        environment = {**os.environ, "DOCKER_HOST": f"unix://{folder}/docker.sock"}
        with (WORK / "dockerd.log").open("wb") as log:
            daemon = subprocess.Popen(_dockerd(folder), stdout=log, stderr=log)
            try:
                until(lambda: _ok("docker", "info", environment=environment), "dockerd", 60)
                yield environment
            finally:
                daemon.terminate()
                daemon.wait(60)
                # It leaves the host's network namespace bound there.
                _ok("umount", f"{folder}/exec/netns/default")


def _dockerd(folder: str) -> list[str]:
    return [
        "dockerd",
        f"--host=unix://{folder}/docker.sock",
        f"--data-root={folder}/data",
        f"--exec-root={folder}/exec",
        f"--pidfile={folder}/pid",
        # Compose makes bridges of its own, and ports go through docker-proxy: no rules are needed.
        "--bridge=none",
        "--iptables=false",
        "--ip-masq=false",
    ]


# Images


def images(environment: Environment) -> None:
    """Have every image that is tried here, and build our own."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name, make in ((PYTHON, _python), (TOXIPROXY, _toxiproxy), (PROMETHEUS, _prometheus)):
        if not _ok("docker", "image", "inspect", name, environment=environment) and not _ok(
            "docker", "pull", "--quiet", name, environment=environment
        ):
            print(f"{name}: cannot be pulled, so it is made here", flush=True)
            make(name, environment)
    # Through the host's network: the bridge of an engine of our own leads nowhere.
    _run(
        "docker",
        "build",
        "--quiet",
        "--network=host",
        f"--tag={SQUALL}",
        str(ROOT),
        environment=environment,
    )


def _python(name: str, environment: Environment) -> None:
    rootfs = _debian("python3,python3-pip,python3-venv,ca-certificates")
    for marker in rootfs.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    python = rootfs / "usr/local/bin/python"
    python.unlink(missing_ok=True)
    python.symlink_to("/usr/bin/python3")
    # The package index may be reached through somebody whom only this host knows to trust.
    bundle = "etc/ssl/certs/ca-certificates.crt"
    if (Path("/") / bundle).exists():
        shutil.copy(Path("/") / bundle, rootfs / bundle)
    _import(rootfs, name, environment, f"ENV PIP_CERT=/{bundle}")


def _prometheus(name: str, environment: Environment) -> None:
    rootfs = _debian("prometheus")
    _import(rootfs, name, environment, 'ENTRYPOINT ["/usr/bin/prometheus"]')


def _debian(packages: str) -> Path:
    """A Debian with these packages."""
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise Skipped("images can neither be pulled nor be made here")
    rootfs = WORK / packages.partition(",")[0]
    if not (rootfs / "etc" / "debian_version").exists() or (rootfs / "debootstrap").exists():
        shutil.rmtree(rootfs, ignore_errors=True)
        _run("debootstrap", "--variant=minbase", f"--include={packages}", "trixie", str(rootfs))
    return rootfs


def _import(rootfs: Path, name: str, environment: Environment, change: str) -> None:
    with subprocess.Popen(["tar", "-C", str(rootfs), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            ["docker", "import", "--change", change, "-", name],
            stdin=tar.stdout,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )


def _toxiproxy(name: str, environment: Environment) -> None:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise Skipped(f"{name} can neither be pulled nor be made without Go")
    folder = WORK / "toxiproxy"
    version = "v" + name.rpartition(":")[2]
    settings = {**environment, "CGO_ENABLED": "0", "GOBIN": str(folder)}
    for program in ("server", "cli"):
        _run(go, "install", f"{MODULE}/cmd/{program}@{version}", environment=settings)
    (folder / "Dockerfile").write_text(
        "FROM scratch\n"
        "COPY server /toxiproxy\n"
        "COPY cli /toxiproxy-cli\n"
        'ENTRYPOINT ["/toxiproxy"]\n'
        'CMD ["-host=0.0.0.0"]\n'
    )
    _run("docker", "build", "--quiet", f"--tag={name}", str(folder), environment=environment)


# Compose


class Compose:
    """`docker compose`, or the older docker-compose, in a project of our own."""

    def __init__(self, environment: Environment) -> None:
        self.environment = {**environment, "COMPOSE_PROJECT_NAME": "squall-test"}
        if _ok("docker", "compose", "version", environment=environment):
            self._words = ["docker", "compose"]
        elif shutil.which("docker-compose"):
            self._words = ["docker-compose"]
        else:
            raise Skipped("there is no docker compose")

    def __call__(self, *words: str, **environment: str) -> int:
        """Run a command of it; its exit status."""
        return subprocess.run(
            [*self._words, *words],
            cwd=ROOT,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
        ).returncode

    @contextlib.contextmanager
    def up(self, *words: str, **environment: str) -> Iterator[bool]:
        """Services that run meanwhile; whether they came up."""
        try:
            yield self(*words, "up", "--detach", "--no-build", **environment) == 0
        finally:
            self(*words, "logs", "--tail=20", **environment)
            self(*words, "down", "--volumes", "--remove-orphans", **environment)


def suite(compose: Compose) -> bool:
    """The catalogue through Toxiproxy."""
    try:
        return bool(compose("run", "--rm", "suite"))
    finally:
        compose("down", "--volumes", "--remove-orphans")


def storm(compose: Compose) -> bool:
    """A fleet that meets a storm, and is whole again at its end."""
    with compose.up(USERS=str(USERS)) as stands:
        if not stands:
            return True
        until(lambda: _get(f"{UI}/storm/fleet").get("ended"), "the end of the storm", PATIENCE)
        fleet = _get(f"{UI}/storm/fleet")
        print(json.dumps({key: fleet[key] for key in ("users", "why")}))
        return bool(fleet["why"])


def alerts(compose: Compose) -> bool:
    """The alert rules, by Prometheus' own test."""
    tool = ["docker", "run", "--rm", "--network=none", "--entrypoint=promtool"]
    rules = f"--volume={ROOT / 'docker'}:/etc/prometheus:ro"
    words = [*tool, rules, PROMETHEUS, "test", "rules", "/etc/prometheus/alerts_test.yml"]
    return bool(subprocess.run(words, env=compose.environment).returncode)


# What they share


def until(done: Callable[[], Any], what: str, patience: float) -> None:
    """Wait for something. Raises TimeoutError."""
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {patience:g} s")
        time.sleep(0.5)  # noqa: TID251 - a program that waits for other programs


def _get(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (OSError, urllib.error.URLError, ValueError):
        return {}


def _ok(*words: str, environment: Environment | None = None) -> bool:
    return subprocess.run(words, env=environment, capture_output=True).returncode == 0


def _run(*words: str, environment: Environment | None = None) -> None:
    subprocess.run(words, env=environment, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
