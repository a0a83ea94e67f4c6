"""The processes of a storm: started, watched, and ended, whatever happens.

    exchange ◀── proxy ◀── Locust: users, and the shape that leads the storm
                   ▲───────────┘ control API

Each is a process in a session of its own, so that Ctrl-C reaches Squall alone, which then ends them
in good order; and where Squall is killed, Linux tells them. What they say goes to files in the
folder of the results. What the storm came to is in `fleet.json`, which Locust's side rewrites each
second: if anything dies, the rest is ended and judged by what was kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squall.errors import NetworkError, SquallError
from squall.load import preflight, storm_file
from squall.load.results import Fleet, Result
from squall.load.storm import Storm
from squall.load.witness import Served, channels_served

STORM = "storm.yaml"
LOCUST_REPORT = "locust.html"
LOCUST = (
    sys.executable,
    "-P",
    "-m",
    "locust",
    "-f",
    str(Path(__file__).with_name("locustfile.py")),
)

READY_WITHIN = 20.0
"""Seconds until the exchange and the proxy must have said where they are."""

GRACE = 15.0
"""Seconds that Locust has to end in good order; the others are told when it has."""

LOOK_EVERY = 0.5
OVERTIME = 60.0
"""Seconds after which a storm that should be over is ended."""

WRONG_USE = 3
MOST_WORDS = 3
_PR_SET_PDEATHSIG = 1

Tell = Callable[[Fleet], None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """What is to be played, where, and through what.

    `url` is the gateway that is stormed; None for the mock exchange. `proxy_api` is a proxy that
    runs already and that `url` leads through; None for one of our own, in front of the gateway.
    `web` is the port of Locust's web page; None for no page.
    """

    storm: Storm
    out: Path
    workers: int = 1
    url: str | None = None
    proxy_api: str | None = None
    web: int | None = None
    locust: Sequence[str] = LOCUST


class Died(Exception):
    """A process of the storm is no more."""


class Part:
    """One process. Its output is in `NAME.log` and `NAME.err` of the folder."""

    def __init__(self, name: str, folder: Path, title: str | None = None) -> None:
        self.name = name
        self.title = title or f"the {name}"
        self.said = folder / f"{name}.log"
        self.complained = folder / f"{name}.err"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it."""
        with self.said.open("wb") as out, self.complained.open("wb") as err:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.said.parent,
                env={**os.environ, **environment},
                start_new_session=True,
                preexec_fn=_end_with(os.getpid()),
            )

    async def wait(self) -> int:
        """Its exit status, when it has ended."""
        assert self._process is not None
        return await self._process.wait()

    @property
    def pid(self) -> int | None:
        """Its number; None before it was started."""
        return None if self._process is None else self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None as long as it runs."""
        return None if self._process is None else self._process.returncode

    async def stop(self, grace: float) -> None:
        """Ask it to end, with all that it has started; then let it end."""
        if self._process is None:
            return
        if self.status is None:
            self.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace)
        # What it has started may have outlived it.
        self.signal(signal.SIGKILL)
        await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it, and all that it has started, a signal."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def last_words(self) -> str:
        """The last that it complained of."""
        if not self.complained.exists():
            return ""
        lines = self.complained.read_text(errors="replace").strip().splitlines()
        return "\n".join(lines[-MOST_WORDS:])

    def died(self) -> str:
        """How it ended, in a sentence."""
        status = self.status
        how = f"killed by signal {-status}" if status is not None and status < 0 else ""
        words = self.last_words()
        return f"{self.title} ended in mid-storm ({how or f'status {status}'})" + (
            f": {words}" if words else ""
        )


def _end_with(parent: int) -> Callable[[], None] | None:
    """On Linux: be told to end when the parent dies, however it dies (prctl(2))."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # it died before it could be asked

    return ask


class Stage:
    """Plays one storm. `tell` gets each new state of the fleet, `say` what a reader should know."""

    def __init__(self, setup: Setup, tell: Tell, say: Say) -> None:
        self._setup = setup
        self._tell = tell
        self._say = say
        self._stop = asyncio.Event()
        self._interrupted = False
        self.parts: list[Part] = []
        self.locust = Part("locust", setup.out, "Locust")
        self._fleet: Fleet | None = None
        self._exchange_api: str | None = None
        self._served: Served | None = None

    def interrupt(self) -> None:
        """End the storm early; what was measured is kept. A second time, do not wait."""
        if self._interrupted:
            for part in (self.locust, *self.parts):
                part.signal(signal.SIGKILL)
        self._interrupted = True
        self._stop.set()

    async def play(self) -> Result:
        """Play the storm to its end. Raises `SquallError` for what keeps it from beginning."""
        setup = self._setup
        setup.out.mkdir(parents=True, exist_ok=True)
        for old in ("fleet.json", LOCUST_REPORT):
            (setup.out / old).unlink(missing_ok=True)
        (setup.out / STORM).write_text(storm_file.dump(setup.storm), encoding="utf-8")
        why = ""
        async with self._ended():
            try:
                await self._start()
                why = await self._watch()
            except Died as died:
                why = str(died)
            if self.locust.status is None:
                await self.locust.stop(GRACE)
        return self._result(why)

    def _result(self, why: str) -> Result:
        storm, fleet = self._setup.storm, Fleet.read(self._setup.out) or self._fleet
        if fleet is None:
            self._explain(why)
            fleet = Fleet()
        over = fleet.ended and fleet.at >= storm.duration and not fleet.why
        # Who leaves the web page when the storm is over has interrupted nothing.
        interrupted = self._interrupted and not over
        if not over:
            asked = "it was interrupted" if interrupted else ""
            why = why or asked or fleet.why or "Locust ended before its time"
        return Result(
            storm,
            fleet,
            "" if over else why,
            interrupted=interrupted,
            remarks=tuple(self._remarks()),
            served=self._served,
        )

    def _explain(self, why: str) -> None:
        """Raise `SquallError`: there was no storm, and the user can mend it."""
        if self._interrupted:
            return
        words = self.locust.last_words()
        if self.locust.status == WRONG_USE:
            raise SquallError(words)
        raise SquallError(why or f"Locust did not begin: {words or 'it said nothing'}")

    def _remarks(self) -> list[str]:
        """What the exchange and the proxy complained of: out of files, say."""
        remarks = []
        for part in self.parts:
            if part.complained.exists() and (
                lines := part.complained.read_text("utf-8", "replace")
            ):
                first = lines.strip().splitlines()[:MOST_WORDS]
                remarks += [f"the {part.name} said: {line}" for line in first]
        return remarks

    # -- the parts ---------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _ended(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await self.locust.stop(GRACE)
            await asyncio.gather(*(part.stop(GRACE / 3) for part in self.parts))

    async def _start(self) -> None:
        setup = self._setup
        url, environment, exchange_api = setup.url, {}, None
        if url is None:
            said = await self._exchange()
            url, exchange_api = said["url"], said["api"]
            self._exchange_api = exchange_api
            environment = {"SQUALL_API_KEY": said["key"], "SQUALL_API_SECRET": said["secret"]}
        proxy_api = setup.proxy_api
        if proxy_api is None and url.startswith("ws://"):
            url, proxy_api = await self._proxy(url)
        command = [
            *setup.locust,
            *("--storm", str((setup.out / STORM).resolve()), "--host", url),
            *("--out", str(setup.out.resolve()), "--html", LOCUST_REPORT),
        ]
        if proxy_api is not None:
            command += ["--proxy-api", proxy_api]
        if exchange_api is not None:
            command += ["--exchange-api", exchange_api, "--lag"]
        if setup.workers > 1:
            command += ["--processes", str(setup.workers), *_meeting_point()]
        if setup.web is None:
            command += ["--headless", "--only-summary"]
        else:
            command += ["--autostart", "--web-host", "127.0.0.1", "--web-port", str(setup.web)]
            self._say(f"web page: http://127.0.0.1:{setup.web}")
        # Its options are ours to give: Locust would take them from the environment, too.
        taken = {name: "" for name in os.environ if name.startswith("LOCUST_")}
        await self.locust.start(command, {**taken, **environment})

    async def _exchange(self) -> Mapping[str, str]:
        storm = self._setup.storm
        # The users stand for as many hosts: a venue's limit for one address is not for them.
        settings = {
            "connections_per_address": 2 * storm.most_users,
            **storm_file.spelled(storm.exchange),
        }
        part = Part("exchange", self._setup.out)
        words = ["exchange", "--dialect", storm.dialect, "--api-port", "0", "--wire", "thin"]
        words += ["--wall-clock"]
        for key, value in settings.items():
            words += ["--set", f"{key}={_word(value)}"]
        await self._begin(part, words)
        found: Mapping[str, str] = await self._ready(part, _addresses)
        return found

    async def _proxy(self, url: str) -> tuple[str, str]:
        part = Part("proxy", self._setup.out)
        words = ["proxy", "--upstream", preflight.upstream(url), "--api-port", "0"]
        await self._begin(part, [*words, "--seed", str(self._setup.storm.seed)])
        ports = await self._ready(part, _listeners)
        host, port = ports["proxy"]
        api = "http://{}:{}".format(*ports["api"])
        return preflight.through(url, host, port), api

    async def _begin(self, part: Part, words: Sequence[str]) -> None:
        self.parts.append(part)
        await part.start([sys.executable, "-P", "-m", "squall", *words], {})

    async def _ready(self, part: Part, read: Callable[[str], Any]) -> Any:
        """What `read` finds in its output. Raises `NetworkError` where it ends or says nothing."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN
        while (found := read(part.said.read_text(errors="replace"))) is None:
            if self._interrupted:
                raise Died("it was interrupted")
            if part.status is not None or loop.time() > deadline:
                raise NetworkError(f"the {part.name} did not start: {part.last_words()}")
            await asyncio.sleep(0.05)
        return found

    # -- watching ----------------------------------------------------------------------------

    async def _watch(self) -> str:
        """Until it is over; why, where that is too early."""
        setup, loop = self._setup, asyncio.get_running_loop()
        stop = asyncio.create_task(self._stop.wait())
        ends = {asyncio.create_task(part.wait()): part for part in (*self.parts, self.locust)}
        deadline = loop.time() + setup.storm.build_up + setup.storm.duration + OVERTIME
        try:
            while not stop.done():
                await asyncio.wait(
                    (stop, *ends), timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED
                )
                self._look()
                await self._witness()
                over = self._fleet is not None and self._fleet.ended
                for end in [end for end in ends if end.done()]:
                    part = ends.pop(end)
                    if part is self.locust and (over or self._fleet is None):
                        return ""
                    if not over and not stop.done():
                        return part.died()
                if setup.web is None and loop.time() > deadline:
                    return f"Locust was still busy {OVERTIME:g} s after the storm should be over"
            return ""
        finally:
            for task in (stop, *ends):
                task.cancel()
            await asyncio.gather(stop, *ends, return_exceptions=True)

    def _look(self) -> None:
        fleet = Fleet.read(self._setup.out)
        if fleet is not None:
            self._fleet = fleet
            self._tell(fleet)

    async def _witness(self) -> None:
        """Hear the exchange, as long as the storm lasts, whenever there is news of the fleet."""
        api, fleet = self._exchange_api, self._fleet
        if api is None or fleet is None or fleet.ended or not fleet.began:
            return
        if self._served is not None and self._served.at == fleet.at:
            return
        if 0 <= fleet.at < self._setup.storm.duration:
            channels = await asyncio.to_thread(channels_served, api)
            if channels is not None:
                self._served = Served(fleet.at, channels)


def _meeting_point() -> list[str]:
    """Where master and workers find each other: a port that no other storm has, on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    bound = ["--master-bind-host", "127.0.0.1", "--master-bind-port", port]
    return [*bound, "--master-port", port]


def _addresses(said: str) -> dict[str, str] | None:
    """What `squall exchange` prints: a word and what it stands for, a line each."""
    lines = [line.split(None, 1) for line in said.splitlines() if len(line.split(None, 1)) == 2]
    found = {word: value.strip() for word, value in lines}
    return found if {"url", "api", "key", "secret"} <= found.keys() else None


def _listeners(said: str) -> dict[str, tuple[str, int]] | None:
    """What `squall proxy` prints: events as JSON lines."""
    found: dict[str, tuple[str, int]] = {}
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if event.get("kind") == "listening":
                found[event["listener"]] = (event["host"], event["port"])
    return found if {"proxy", "api"} <= found.keys() else None


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
