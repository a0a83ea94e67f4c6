"""Standard input and output as JSON lines on the event loop: no threads, and no write that blocks.

A reader of standard output that stops reading must not stop the heartbeats. So lines wait in a
buffer; where that is full, `message` events are dropped, and the next one of their channel says
`gap`. Events of other kinds are rare, and are never dropped.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import IO, Any

from squall_reference.protocol import Commands, Emit

BUFFER_BYTES = 1024 * 1024
LINE_BYTES = 1024 * 1024


class Output:
    """Writes one JSON object a line to a pipe, or straight to a file."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._pipe: asyncio.WriteTransport | None = None
        self._closed = asyncio.get_running_loop().create_future()
        self._incomplete: set[str] = set()

    async def open(self) -> None:
        """Find out whether the stream is a pipe."""
        loop = asyncio.get_running_loop()
        copy = os.fdopen(os.dup(self._stream.fileno()), "wb", buffering=0)
        try:
            self._pipe, _ = await loop.connect_write_pipe(lambda: _Closing(self._closed), copy)
        except (ValueError, OSError):
            copy.close()  # A file: it takes what it is given at once.

    def emit(self, event: Mapping[str, Any]) -> None:
        """Write an event."""
        if event["event"] == "message":
            channel = event["channel"]
            if self._full:
                self._incomplete.add(channel)
                return
            if channel in self._incomplete:
                self._incomplete.discard(channel)
                event = {**event, "gap": True}
        line = json.dumps(event, separators=(",", ":"), default=str) + "\n"
        if self._pipe is None:
            self._stream.write(line)
            self._stream.flush()
        elif not self._pipe.is_closing():
            self._pipe.write(line.encode())

    @property
    def _full(self) -> bool:
        return self._pipe is not None and self._pipe.get_write_buffer_size() > BUFFER_BYTES

    async def close(self, within: float) -> None:
        """Write what is left, as far as somebody reads it."""
        if self._pipe is not None:
            self._pipe.close()
            _, unread = await asyncio.wait([self._closed], timeout=within)
            if unread:
                self._pipe.abort()


class _Closing(asyncio.BaseProtocol):
    """Tells when a pipe is closed."""

    def __init__(self, closed: asyncio.Future[None]) -> None:
        self._closed = closed

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed.done():
            self._closed.set_result(None)


async def read_commands(stream: IO[str], commands: Commands, emit: Emit) -> None:
    """Put each line's command into the queue, and None at the end of the stream."""
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    pipe = await _connect(stream, reader)
    try:
        while line := await _next_line(reader, emit):
            if line.strip():
                _take(line, commands, emit)
        commands.put_nowait(None)
    finally:
        if pipe is not None:
            pipe.close()


async def _connect(stream: IO[str], reader: asyncio.StreamReader) -> asyncio.ReadTransport | None:
    loop = asyncio.get_running_loop()
    copy = os.fdopen(os.dup(stream.fileno()), "rb", buffering=0)
    try:
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), copy)
    except (ValueError, OSError):
        reader.feed_data(copy.read())  # A file: it has all there will be.
        reader.feed_eof()
        copy.close()
        return None
    return pipe


async def _next_line(reader: asyncio.StreamReader, emit: Emit) -> bytes:
    while True:
        try:
            return await reader.readline()
        except ValueError:
            emit({"event": "log", "message": f"a command of more than {LINE_BYTES} bytes"})


def _take(line: bytes, commands: Commands, emit: Emit) -> None:
    try:
        command = json.loads(line)
    except ValueError:
        command = None
    if isinstance(command, dict):
        commands.put_nowait(command)
    else:
        emit({"event": "log", "message": "a line on standard input that is no JSON object"})
