"""A venue of a hundred lines, that the shells of the reference adapter are tested against.

It speaks just enough Deribit, and every method of it can be told to misbehave.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event

T = TypeVar("T")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def run(
    scene: Coroutine[Any, Any, T],
    loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    *,
    within: float = 20.0,
) -> T:
    """Run a scene on a loop of its own; no task may be left over."""

    async def bounded() -> T:
        result = await asyncio.wait_for(scene, within)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(bounded())


_waiting: set[asyncio.Event] = set()


def stir(*_: object) -> None:
    """Something has happened that a test may be waiting for."""
    for event in _waiting:
        event.set()


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, looking whenever something has happened."""
    event = asyncio.Event()
    _waiting.add(event)
    try:
        while not condition():
            await event.wait()
            event.clear()
    finally:
        _waiting.discard(event)


class Line(ServerConnection):
    """A connection that counts the pings of its client."""

    pings = 0

    def process_event(self, event: Event) -> None:
        if isinstance(event, Frame) and event.opcode is Opcode.PING:
            self.pings += 1
            stir()
        super().process_event(event)


class Venue:
    """A WebSocket server with a port of its own, also while it refuses everything."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.open: set[Line] = set()
        self.opened = 0
        self.refused = 0
        self.requests: list[dict[str, Any]] = []
        self.refusal: tuple[int, dict[str, str]] | None = None
        self.mute: set[str] = set()
        self.close_at_once: int | None = None
        self._tls = tls
        self._server: Server | None = None

    @property
    def url(self) -> str:
        scheme = "ws" if self._tls is None else "wss"
        return f"{scheme}://127.0.0.1:{self.port}/ws/api/v2?token=a%20b"

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._converse,
            "127.0.0.1",
            0,
            ssl=self._tls,
            process_request=self._receive_upgrade,
            create_connection=Line,
            ping_interval=None,
            close_timeout=0.5,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self.drop()
        self._server.close()
        await self._server.wait_closed()

    def drop(self) -> None:
        """Cut every connection."""
        for connection in self.open:
            connection.transport.abort()

    async def close(self, code: int) -> None:
        """Close every connection cleanly."""
        for connection in list(self.open):
            await connection.close(code)

    def freeze(self) -> None:
        """Read nothing more: no pong, no answer, no Close."""
        for connection in self.open:
            connection.transport.pause_reading()

    async def push(self, channel: str, data: Any) -> None:
        """Send data to every connection."""
        params = {"channel": channel, "data": data}
        message = {"jsonrpc": "2.0", "method": "subscription", "params": params}
        for connection in list(self.open):
            with contextlib.suppress(ConnectionClosed):
                await connection.send(json.dumps(message))

    def methods(self) -> list[str]:
        return [request["method"] for request in self.requests]

    def _receive_upgrade(self, connection: ServerConnection, _: Request) -> Response | None:
        if self.refusal is None:
            return None
        self.refused += 1
        stir()
        status, headers = self.refusal
        response = connection.respond(status, "no")
        response.headers.update(headers)
        return response

    async def _converse(self, connection: ServerConnection) -> None:
        self.opened += 1
        if self.close_at_once is not None:
            await connection.close(self.close_at_once)
            return
        assert isinstance(connection, Line)
        self.open.add(connection)
        stir()
        try:
            async for message in connection:
                request = json.loads(message)
                self.requests.append(request)
                stir()
                if request["method"] not in self.mute:
                    answer = {"jsonrpc": "2.0", "id": request["id"], **self._answer(request)}
                    await connection.send(json.dumps(answer))
        except ConnectionClosed:
            pass
        finally:
            self.open.discard(connection)
            stir()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["method"]:
            case "public/auth" if request["params"].get("client_id") == "wrong":
                return {"error": {"code": 13004, "message": "invalid_credentials"}}
            case "public/auth":
                token = {"access_token": "A-token", "refresh_token": "R-token", "expires_in": 900}
                return {"result": token}
            case "public/subscribe" | "private/subscribe":
                return {"result": request["params"]["channels"]}
            case "private/get_open_orders":
                return {"result": []}
            case _:
                return {"result": "ok"}


@contextlib.asynccontextmanager
async def silent_port() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """A URL where TCP is accepted and nothing is ever answered; and who has connected."""
    accepted: list[asyncio.StreamWriter] = []

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        stir()
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        stir()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", accepted
    finally:
        server.close()
        await until(lambda: all(writer.is_closing() for writer in accepted))


async def ask(venue: Venue, **request: Any) -> Any:
    async with connect(venue.url, proxy=None) as client:
        await client.send(json.dumps(request))
        return json.loads(await client.recv())


def test_the_venue_answers_what_it_is_asked() -> None:
    async def scene() -> None:
        async with Venue() as venue:
            channels = {"channels": ["a"]}
            answer = await ask(venue, id=7, method="public/subscribe", params=channels)
            assert answer == {"jsonrpc": "2.0", "id": 7, "result": ["a"]}

    run(scene())


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS.keys())
def test_the_venue_is_gone_when_it_is_left(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scene() -> None:
        async with Venue() as venue:
            url = venue.url
            dial: Awaitable[Any] = connect(url, proxy=None, open_timeout=5)
            client = await dial
            await until(lambda: venue.open)
        await client.wait_closed()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await connect(url, proxy=None)

    run(scene(), loop)
