"""Installs the adapters in examples/adapters and holds a few runs against what their manifests say.

    python tests/examples_run.py [NAME ...]

Everything goes into folders that git ignores. What is not on this machine (Go, Node, Rust), or
cannot be fetched because the network fails, is left out and named. The exit code is 1 where an
example cannot be built, or where a run came to something else than its manifest announces.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from squall.catalogue import find
from squall.manifest import Manifest
from squall.plan import DEFAULT_PROFILE, Plan, jobs, same_again
from squall.pool import Pool, Task, interruptions
from squall.profile import load_profile
from squall.results import Case, near
from squall.verdict import Outcome

ADAPTERS = Path(__file__).resolve().parents[1] / "examples" / "adapters"
TOOLS: Mapping[str, tuple[str, ...]] = {
    "gorilla": ("go",),
    "perl": ("perl",),
    "reconnecting-websocket": ("node", "npm"),
    "tokio-tungstenite": ("cargo",),
}
BUILT_WITHIN = 240.0

# What docs/results.md says of each at a glance, as far as it takes no more than a minute or so.
SCENARIOS = ("reset", "half-open", "accept-then-close-close", "retry-after-503")
ALSO: Mapping[str, tuple[str, ...]] = {
    "python-binance": ("refused-60s",),
    "reconnecting-websocket": ("handshake-blackhole-upgrade",),
    "tokio-tungstenite": ("handshake-blackhole-upgrade",),
    "websocket-client": ("handshake-blackhole-upgrade",),
}

# What pip, npm, go and cargo say when the network fails, and not what they were asked to build.
_NETWORK = re.compile(
    r"Connection ?(refused|reset|aborted|broken|timed out)|Temporary failure in name resolution"
    r"|NewConnectionError|ConnectTimeout|ReadTimeout|Read timed out|ProxyError"
    r"|Network is unreachable"
    r"|E(TIMEDOUT|CONNRESET|CONNREFUSED|NOTFOUND|AI_AGAIN|SOCKETTIMEDOUT)|ERR_SOCKET_TIMEOUT"
    r"|i/o timeout|no such host|TLS handshake timeout|unexpected EOF"
    r"|[Ss]purious network error|Could(n't| not) resolve host|Timeout was reached"
    r"|\b(429 Too Many Requests|50[234] (Bad Gateway|Service Unavailable|Gateway Time-?out))",
)


@dataclass(frozen=True)
class Build:
    """What came of installing an example: nothing but its name where all went well."""

    name: str
    skipped: str = ""
    failed: str = ""


def say(line: str) -> None:
    """A line, at once: what runs here takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def lacking(name: str) -> str | None:
    """What this machine lacks to build the example."""
    missing = [tool for tool in TOOLS.get(name, ()) if shutil.which(tool) is None]
    return f"there is no {' and no '.join(missing)} on this machine" if missing else None


def network_failed(said: str) -> str | None:
    """The line that blames the network for a failed installation, or None."""
    return next((line.strip() for line in said.splitlines() if _NETWORK.search(line)), None)


def build(name: str) -> Build:
    """`make` in the folder of the example."""
    if why := lacking(name):
        return Build(name, skipped=why)
    try:
        made = subprocess.run(
            ["make", "-C", str(ADAPTERS / name)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILT_WITHIN,
        )
    except subprocess.TimeoutExpired:
        return Build(name, skipped=f"not installed within {BUILT_WITHIN:.0f} s")
    if made.returncode == 0:
        return Build(name)
    if too_old := re.search(r"Perl v\S+ required--this is only v[\d.]+", made.stdout):
        return Build(name, skipped=too_old[0])
    if why := network_failed(made.stdout):
        return Build(name, skipped=f"the network failed: {why}")
    return Build(name, failed=made.stdout)


def tasks(names: Sequence[str], out: Path) -> Iterator[Task]:
    """The runs of these examples."""
    profile = load_profile(DEFAULT_PROFILE)
    for path in sorted(path for name in names for path in (ADAPTERS / name).glob("*.yaml")):
        plan = Plan(
            scenarios=tuple(find([*SCENARIOS, *ALSO.get(path.parent.name, ())])),
            manifest=Manifest.load(path),
            profile=profile,
            out=out / path.stem,
            options=same_again(str(near(path)), DEFAULT_PROFILE, "real"),
        )
        yield from (Task(plan, job, path.stem) for job in jobs(plan))


def as_announced(case: Case) -> bool:
    """Whether it came to what the manifest says, which is a pass where it says nothing."""
    if case.known is None:
        return case.outcome in (Outcome.PASS, Outcome.UNSUPPORTED)
    by_chance = case.known.sometimes and case.outcome is Outcome.PASS
    return case.expected or by_chance or case.outcome is Outcome.UNSUPPORTED


def run(names: Sequence[str]) -> list[tuple[Task, Case]]:
    """Run what is built; what could not be told on a machine so busy is run once more."""
    surprises: list[tuple[Task, Case]] = []

    def ended(task: Task, case: Case) -> None:
        good = as_announced(case)
        word = "known" if case.expected else case.outcome.value
        say(f"{word:<12} {task.key}/{case.name}" + (f"  {case.why}" * (not good)))
        if not good:
            surprises.append((task, case))

    with tempfile.TemporaryDirectory() as out:
        pool = Pool(Path(out), lambda task: None, ended)
        with interruptions(pool.interrupt):
            pool.run(list(tasks(names, Path(out))), "real")
            doubtful = [task for task, case in surprises if case.outcome is Outcome.UNKNOWN]
            surprises[:] = [each for each in surprises if each[0] not in doubtful]
            if not pool.interrupted:
                pool.run(doubtful, "real")
    return surprises


def main(names: Sequence[str]) -> int:
    """Build, run, tell."""
    wanted = names or sorted(path.parent.name for path in ADAPTERS.glob("*/Makefile"))
    with ThreadPoolExecutor(2) as builders:
        builds = list(builders.map(build, wanted))
    for each in builds:
        if each.skipped or each.failed:
            say(f"{each.name}: {'skipped: ' + each.skipped if each.skipped else each.failed}")
    built = [each.name for each in builds if not (each.skipped or each.failed)]
    surprises = run(built)
    for task, case in surprises:
        announced = (
            "a pass" if case.known is None else f"{case.known.outcome} ({case.known.reason})"
        )
        say(f"\n{task.key}: {case.name} came to {case.outcome}, its manifest announces {announced}")
        say(f"  {case.why}\n  {case.reproduce}")
    return int(bool(surprises) or any(each.failed for each in builds))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
