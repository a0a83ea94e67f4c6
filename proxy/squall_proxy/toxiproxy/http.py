"""HTTP/1.1 as a control port needs it: whole requests in, whole answers or a stream out (RFC 9112).

Heads, bodies and waiting are bounded, so that no client can keep more than a little of anything.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

HEAD_LIMIT = 16 * 1024
BODY_LIMIT = 1024 * 1024

READ_WITHIN = 15.0
"""Seconds in which a request must have come, from its first byte on."""

IDLE_WITHIN = 60.0
"""Seconds for which a connection waits for the next request."""


@dataclass(frozen=True)
class Request:
    """One request. Names of headers are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.target.partition("?")[0])

    @property
    def query(self) -> dict[str, str]:
        """What stands behind the path; the last of several of one name."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    """One answer; `stream` is for those whose length nobody knows."""

    status: int
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None


Handle = Callable[[Request], Awaitable[Answer]]


class BadRequest(Exception):
    """What is no request, or too much of one; the connection ends with the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HTTPServer:
    """Gives requests to `handle`, and takes its answers back to the clients."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None, "the server has not been started"
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the address cannot be had."""
        self._server = await asyncio.start_server(self._client, host, port, limit=HEAD_LIMIT)

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        self._server.close()
        for client in tuple(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        self._server = None

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.CancelledError):
                while await self._serve(reader, writer):
                    pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            request = await _read(reader, writer)
        except BadRequest as bad:
            await _write(writer, _refusal(bad.status), last=True)
            return False
        if request is None:
            return False
        answer = await self._handle(request)
        last = "close" in request.headers.get("connection", "").lower()
        await _write(writer, answer, last=last)
        if answer.stream is None:
            return not last
        await _pour(reader, writer, answer.stream)
        return False


def _refusal(status: int) -> Answer:
    said = f"{status} {HTTPStatus(status).phrase}"
    return Answer(status, said.encode(), "text/plain; charset=utf-8")


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request, or None where there is none. Raises `BadRequest`."""
    first = await _first_byte(reader)
    if not first:
        return None
    async with asyncio.timeout(READ_WITHIN):
        try:
            head = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise BadRequest(431) from None
        except asyncio.IncompleteReadError:
            raise BadRequest(400) from None
        request = _head(head)
        if request.headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = await _body(reader, request.headers)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise BadRequest(400) from None
    return Request(request.method, request.target, request.headers, body)


async def _first_byte(reader: asyncio.StreamReader) -> bytes:
    """The first byte of a request; empty lines before it are skipped (RFC 9112 §2.2)."""
    async with asyncio.timeout(IDLE_WITHIN):
        while True:
            byte = await reader.read(1)
            if byte not in (b"\r", b"\n"):
                return byte


def _head(head: bytes) -> Request:
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0") or not parts[0].isalpha():
        raise BadRequest(400)
    headers: dict[str, str] = {}
    for each in fields:
        name, colon, value = each.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(400)
        headers[name.lower()] = value.strip()
    if parts[2] == "HTTP/1.0" and "keep-alive" not in headers.get("connection", "").lower():
        headers["connection"] = "close"
    return Request(parts[0], parts[1], headers)


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise BadRequest(501)
        return await _chunks(reader)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequest(400)
    if len(length) > 12 or int(length) > BODY_LIMIT:
        raise BadRequest(413)
    return await reader.readexactly(int(length))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        digits = line.split(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            raise BadRequest(400) from None
        if size < 0 or len(body) + size > BODY_LIMIT:
            raise BadRequest(413)
        if not size:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
            return body
        body += (await reader.readexactly(size + 2))[:-2]


async def _write(writer: asyncio.StreamWriter, answer: Answer, *, last: bool) -> None:
    headers = dict(answer.headers)
    if answer.content_type is not None:
        headers["Content-Type"] = answer.content_type
    if answer.stream is not None:
        headers["Transfer-Encoding"] = "chunked"
    elif answer.status != HTTPStatus.NO_CONTENT:
        headers["Content-Length"] = str(len(answer.body))
    if last or answer.stream is not None:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + answer.body)
    await writer.drain()


async def _pour(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: AsyncIterator[bytes]
) -> None:
    """Write the stream to its end, or until the client leaves."""

    async def write() -> None:
        async for piece in stream:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    tasks = {asyncio.ensure_future(write()), asyncio.ensure_future(reader.read(1))}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
