"""Drivers: how the adapter under test is started, told, heard and stopped.

An adapter is a subprocess in any language, or an asyncio function in this process. Both get the
same environment, say the same JSON events and understand the same commands
(docs/adapter-protocol.md). Nothing that it says is believed here: it is written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from squall.errors import AdapterError, did_you_mean

Observe = Callable[..., None]
Secrets = Callable[[], Iterable[tuple[str, str]]]
Event = dict[str, Any]
Commands = asyncio.Queue["Event | None"]
InProcessAdapter = Callable[[Mapping[str, str], Callable[[Event], None], Commands], Awaitable[None]]

EVENTS = ("ready", "message", "state", "reply", "log")
LINE_LIMIT = 1 << 20
LOG_LIMIT_BYTES = 32 << 20
STDIN_GRACE = 2.0
GRACE = 5.0

# What runtimes print when nobody handled an error. A logged traceback of a handled one is none.
CRASH_WORDS = (
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "Exception in thread",
    "Exception ignored in",
    "was never awaited",
    "UnhandledPromiseRejection",
    "Unhandled 'error' event",
    "panic:",
    "panicked at",
    "fatal error:",
    "Unhandled exception",
)


class Driver(Protocol):
    """One adapter, started once."""

    @property
    def pid(self) -> int | None:
        """Its process, where it has one of its own."""

    @property
    def exited(self) -> bool:
        """Whether it has come to an end."""

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start it. Raises `AdapterError` where that is impossible."""

    def send(self, command: Event) -> None:
        """Send it a command; an adapter that is gone does not hear it."""

    def pause(self) -> None:
        """Freeze it, as a laptop that is shut does."""

    def resume(self) -> None:
        """Let a frozen one go on."""

    async def stop(self) -> None:
        """Ask it to stop, then insist; when this returns it has ended."""

    def last_words(self) -> str:
        """The last lines that it printed, for messages to the user."""


class Ear:
    """Understands what an adapter prints, and notes crashes and secrets in it."""

    def __init__(self, observe: Observe, secrets: Secrets, log: BinaryIO) -> None:
        self._observe = observe
        self._secrets = secrets
        self._log = log
        self._logged = 0
        self._told: set[str] = set()
        self.tail: list[str] = []

    def stdout(self, line: str) -> None:
        """A line of standard output: an event, or garbage that is reported once."""
        self._search_secrets(line, "stdout")
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and event.get("event") in EVENTS:
            self.event(event)
        elif line.strip():
            self._write(f"stdout: {line}")
            self._once("garbage", line=line[:500])

    def say(self, event: Event) -> None:
        """An event from an adapter in this process, where no line is printed."""
        self._search_secrets(json.dumps(event, default=str), "events")
        self.event(event)

    def event(self, event: Event) -> None:
        """An event of the adapter protocol, whatever way it came."""
        detail = {name: value for name, value in event.items() if name != "event"}
        self._observe(str(event["event"]), None, **detail)

    def stderr(self, line: str) -> None:
        """A line of the adapter's own log."""
        self._search_secrets(line, "stderr")
        self._write(line)
        if any(words in line for words in CRASH_WORDS):
            self._observe("crash_reported", None, line=line[:500])

    def _search_secrets(self, line: str, stream: str) -> None:
        for what, secret in self._secrets():
            if secret in line:
                self._once("secret_printed", what=what, stream=stream)

    def _once(self, kind: str, **detail: Any) -> None:
        key = kind + str(detail.get("what", ""))
        if key not in self._told:
            self._told.add(key)
            self._observe(kind, None, **detail)

    def _write(self, line: str) -> None:
        self.tail = [*self.tail[-31:], line]
        if self._log.closed:  # what the garbage collector finds may come after the run
            return
        data = line.encode("utf-8", "replace") + b"\n"
        self._logged += len(data)
        if self._logged <= LOG_LIMIT_BYTES:
            self._log.write(data)
        elif self._logged - len(data) <= LOG_LIMIT_BYTES:
            self._log.write(b"[the adapter's log is longer than 32 MiB: the rest is left out]\n")


class SubprocessDriver:
    """An adapter in a process group of its own, so that its children end with it."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path | None,
        ear: Ear,
        observe: Observe,
        grace: float = GRACE,
    ) -> None:
        self._command = list(command)
        self._folder = folder
        self._ear = ear
        self._observe = observe
        self._grace = grace
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self._ended = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid if self._process else None

    @property
    def exited(self) -> bool:
        """Whether its process has ended."""
        return self._ended.is_set()

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start the command in its folder. Raises `AdapterError`, saying what was not found."""
        pipe = asyncio.subprocess.PIPE
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=self._folder,
                env=dict(environment),
                limit=LINE_LIMIT,
                start_new_session=True,
            )
        except OSError as error:
            raise AdapterError(
                f"the adapter cannot be started: {' '.join(self._command)}: "
                f"{error.strerror or error}. Is the program installed, and is the path right "
                f"seen from {self._folder or Path.cwd()}?"
            ) from error
        self._observe("started", None, pid=self._process.pid, command=self._command)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(_lines(self._process.stdout, self._ear.stdout)),
            asyncio.create_task(_lines(self._process.stderr, self._ear.stderr)),
        ]
        self._watch = asyncio.create_task(self._wait())

    async def _wait(self) -> None:
        assert self._process is not None
        status = await self._process.wait()
        # What it printed last must be in the history before its end is. A grandchild may hold
        # the pipes open for ever, so this does not wait for ever.
        await asyncio.wait(self._readers, timeout=1.0)
        self._observe("exited", None, status=status, expected=self._stopping)
        self._ended.set()

    def send(self, command: Event) -> None:
        """Write the command as one JSON line to its standard input."""
        self._observe("command", None, **command)
        if self._process and self._process.stdin and not self.exited:
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._process.stdin.write(json.dumps(command).encode() + b"\n")

    def pause(self) -> None:
        """SIGSTOP for the whole group."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT for the whole group."""
        self._signal(signal.SIGCONT)

    async def stop(self) -> None:
        """End of standard input, then SIGTERM, then SIGKILL for the whole group."""
        if self._process is None:
            return
        try:
            if not self.exited:
                await self._ask()
        finally:
            self._stopping = True
            self._signal(signal.SIGKILL)  # whatever it started goes with it
            await self._reap()

    async def _ask(self) -> None:
        self._stopping = True
        self.resume()
        self._observe("stop_requested", None, how="stdin")
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        if await self._ends_within(min(STDIN_GRACE, self._grace)):
            return
        self._observe("stop_requested", None, how="sigterm")
        self._signal(signal.SIGTERM)
        if not await self._ends_within(self._grace):
            self._observe("stop_requested", None, how="sigkill")

    async def _ends_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _reap(self) -> None:
        if self._watch:
            await self._watch
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def _signal(self, number: int) -> None:
        # The group outlives its leader where a grandchild lives on, and bears the leader's id.
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def last_words(self) -> str:
        """The last lines that it printed."""
        return "\n".join(self._ear.tail)


async def _lines(stream: asyncio.StreamReader, hear: Callable[[str], None]) -> None:
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as end:
            if end.partial:
                hear(end.partial.decode("utf-8", "replace"))
            return
        except asyncio.LimitOverrunError as long:
            line = await stream.read(max(long.consumed, 1))
        hear(line.decode("utf-8", "replace").rstrip("\r\n"))


class InProcessDriver:
    """An asyncio adapter in this process: `async def adapter(env, emit, commands)`.

    `commands` is a queue; None in it is the end of standard input. It is the only kind of
    adapter that can live on a virtual clock.
    """

    def __init__(
        self, adapter: InProcessAdapter, name: str, ear: Ear, observe: Observe, grace: float = GRACE
    ) -> None:
        self._adapter = adapter
        self._name = name
        self._ear = ear
        self._observe = observe
        self._grace = grace
        self._commands: Commands = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """None: it has no process of its own."""
        return None

    @property
    def exited(self) -> bool:
        """Whether its task is done."""
        return self._task is not None and self._task.done()

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start its task. What asyncio reports as unhandled on this loop is its crash."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._unhandled)
        self._observe("started", None, pid=None, command=[self._name])
        self._task = asyncio.create_task(self._run(environment))

    async def _run(self, environment: Mapping[str, str]) -> None:
        status = 0
        try:
            await self._adapter(environment, self._ear.say, self._commands)
        except asyncio.CancelledError:
            status = -signal.SIGKILL
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception as error:
            status = 1
            self._ear.stderr(f"Unhandled exception in the adapter: {error!r}")
        self._observe("exited", None, status=status, expected=self._stopping)

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        said = str(context.get("message", "Unhandled exception in the event loop"))
        self._ear.stderr(f"{said}: {context.get('exception')!r}")

    def send(self, command: Event) -> None:
        """Put the command into its queue."""
        self._observe("command", None, **command)
        self._commands.put_nowait(dict(command))

    def pause(self) -> None:
        """Not possible within one process; scenarios that pause need `process`."""
        raise AdapterError("an in-process adapter cannot be paused; run it as a command")

    def resume(self) -> None:
        """Nothing to resume."""

    async def stop(self) -> None:
        """None into its queue, then cancel its task."""
        if self._task is None or self._task.done():
            return
        self._stopping = True
        self._observe("stop_requested", None, how="stdin")
        self._commands.put_nowait(None)
        done, _ = await asyncio.wait([self._task], timeout=self._grace)
        if not done:
            self._observe("stop_requested", None, how="sigkill")
            self._task.cancel()
            await asyncio.wait([self._task], timeout=self._grace)
        # A lost exception is told when its task is collected: that belongs to this run.
        gc.collect()

    def last_words(self) -> str:
        """The last lines that were logged for it."""
        return "\n".join(self._ear.tail)


def load_object(reference: str, folder: Path | None) -> InProcessAdapter:
    """The function that `module:function` names, looked for in `folder` first.

    Raises `AdapterError` where the module or the name is not there.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise AdapterError(f"object: {reference!r} is not of the form 'package.module:function'")
    if folder is not None and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise AdapterError(f"object: {reference}: cannot be imported: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        hint = did_you_mean(name, [n for n in vars(module) if not n.startswith("_")])
        raise AdapterError(f"object: {module_name} has no function {name!r}.{hint}")
    adapter: InProcessAdapter = found
    return adapter
