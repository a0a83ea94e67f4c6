"""The harness's end: starts the process, answers its questions, stops it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from squall_proxy.sockets import Address

_STARTS_WITHIN = 30.0  # Python and mitmproxy are imported, on a machine that may be busy
_STOPS_WITHIN = 1.5
_LINE_LIMIT = 1024 * 1024
_ROOT = str(Path(__file__).resolve().parents[2])

Ask = Callable[[dict[str, Any]], dict[str, Any]]


class MitmproxyError(Exception):
    """mitmproxy cannot be started; the message says why."""


def available() -> bool:
    """Whether mitmproxy is installed beside this program."""
    return importlib.util.find_spec("mitmproxy") is not None


class Mitmproxy:
    """One mitmproxy in a subprocess. `ask` answers its questions, and hears what it tells."""

    def __init__(self, ask: Ask) -> None:
        self.address: Address = ("127.0.0.1", 0)
        self._ask = ask
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._errors: asyncio.Task[None] | None = None
        self._last_words: list[str] = []

    async def start(self, upstream: Address, authority: bytes, *, tunnel: bool) -> None:
        """Start it, in front of `upstream`; it certifies in the name of `authority` (PEM: key and
        certificate). Raises `MitmproxyError`.

        It listens at `address`: with `tunnel` as an HTTP proxy that leads any host to `upstream`,
        otherwise as a server that is dialled in the upstream's stead.
        """
        if not available():
            raise MitmproxyError("mitmproxy is not installed: pip install 'squall[mitm]'")
        self._folder = tempfile.TemporaryDirectory(prefix="squall-mitm-")
        confdir = Path(self._folder.name)
        (confdir / "mitmproxy-ca.pem").write_bytes(authority)
        paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "squall_proxy.mitm",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is for the harness, which then stops this in good order.
            start_new_session=True,
            limit=_LINE_LIMIT,
        )
        self._errors = asyncio.create_task(self._listen_to_errors())
        self._say({"upstream": list(upstream), "confdir": str(confdir), "tunnel": tunnel})
        try:
            told = await asyncio.wait_for(self._line(), _STARTS_WITHIN)
        except TimeoutError:
            told = None
        if told is None or "port" not in told:
            await self.stop()
            raise MitmproxyError(f"mitmproxy did not start: {self._why(told)}")
        self.address = ("127.0.0.1", told["port"])
        self._listening = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """End it, within 2 s: its standard input ends, and if that does not help it is killed."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), _STOPS_WITHIN)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        for task in (self._listening, self._errors):
            if task is not None:
                await asyncio.wait([task], timeout=_STOPS_WITHIN)
                task.cancel()
        self._listening = self._errors = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    async def _listen(self) -> None:
        while (told := await self._line()) is not None:
            answer = self._ask(told)
            if "ask" in told:
                self._say({"answer": told["ask"], **answer})

    async def _listen_to_errors(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._last_words = [*self._last_words[-9:], line.decode("utf-8", "replace").rstrip()]

    async def _line(self) -> dict[str, Any] | None:
        if self._process is None:
            return None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        told: dict[str, Any] | None = json.loads(line) if line else None
        return told

    def _say(self, what: dict[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(what).encode() + b"\n")

    def _why(self, told: dict[str, Any] | None) -> str:
        if told and "error" in told:
            return str(told["error"])
        return self._last_words[-1] if self._last_words else "it said nothing"
