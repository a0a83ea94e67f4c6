"""The lower half of the correct adapter: one connection at a time, and requests over it.

One task dials for as long as the adapter lives (`stay_connected`). While a connection is up, a
handful of jobs share it (`jobs`); the first that ends takes the connection with it, and nothing
that was true of it is believed of the next one (`forget`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, fields
from random import Random
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from gallery.deribit import UNAUTHORIZED, Json, Refusal

Job = Callable[[], Coroutine[Any, Any, None]]

LOST = (OSError, TimeoutError, EOFError, WebSocketException, Refusal)
"""How a connection ends, or fails to begin."""


@dataclass(frozen=True)
class Settings:
    """All in seconds, but for the counts, the fraction `token_refresh_at` and the last."""

    connect_timeout: float = 5.0
    request_timeout: float = 5.0
    ping_interval: float = 5.0
    pong_timeout: float = 5.0
    heartbeat_interval: float = 10.0
    channel_silence: float = 10.0
    first_delay_max: float = 5.0  # RFC 6455, section 7.2.3
    backoff_base: float = 1.0
    backoff_max: float = 20.0
    stable_after: float = 10.0
    close_timeout: float = 1.0
    token_refresh_at: float = 0.8
    auth_attempts: int = 3
    subscribe_batch: int = 50
    compression: bool = False

    @classmethod
    def from_json(cls, text: str) -> Self:
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


class Line:
    """A connection that comes back when it is lost."""

    def __init__(
        self,
        url: str,
        settings: Settings,
        rng: Random,
        emit: Callable[[Json], None],
        ca_file: str | None = None,
        http_proxy: str | None = None,
    ) -> None:
        self.url = url
        self.ca_file = ca_file
        self.http_proxy = http_proxy
        self.settings = settings
        self.rng = rng
        self.emit = emit
        self.now = asyncio.get_running_loop().time
        self.ws: ClientConnection | None = None
        self.ids = itertools.count(1)
        self.pending: dict[int, asyncio.Future[Any]] = {}
        self.live_since: float | None = None
        self.failures = 0
        self.token_doubted = asyncio.Event()
        self.stopping = False

    def state(self, state: str, reason: str | None = None) -> None:
        self.emit({"event": "state", "state": state, "reason": reason})

    def log(self, message: str) -> None:
        self.emit({"event": "log", "message": message})

    # -- dialling ----------------------------------------------------------------------------

    async def stay_connected(self) -> None:
        while True:
            try:
                await self.session()
            except LOST as error:
                self.state("disconnected", f"{type(error).__name__}: {error}")
                await self.after(error)

    async def after(self, error: Exception) -> None:
        """What a lost connection calls for."""
        await asyncio.sleep(self.delay(error))

    def delay(self, error: Exception) -> float:
        """How long to wait: what the exchange asks for, and exponential backoff with jitter."""
        self.failures += 1
        if self.failures == 1:
            return self.retry_after(error) + self.rng.uniform(0, self.settings.first_delay_max)
        ceiling = self.settings.backoff_base * 2.0 ** min(self.failures - 1, 32)
        ceiling = min(self.settings.backoff_max, ceiling)
        return self.retry_after(error) + self.rng.uniform(ceiling / 2, ceiling)

    def retry_after(self, error: Exception) -> float:
        if isinstance(error, InvalidStatus):
            with contextlib.suppress(ValueError):
                return float(error.response.headers.get("Retry-After", "0"))
        return 0.0

    def tls(self) -> ssl.SSLContext | None:
        """Whom to trust, for wss://."""
        if not self.url.startswith("wss:"):
            return None
        return ssl.create_default_context(cafile=self.ca_file)

    def options(self) -> dict[str, Any]:
        """What the library is told of a dial."""
        return {
            "open_timeout": self.settings.connect_timeout,
            "ping_interval": None,
            "close_timeout": self.settings.close_timeout,
            "compression": "deflate" if self.settings.compression else None,
            "proxy": self.http_proxy,
            "ssl": self.tls(),
        }

    async def tcp(self) -> socket.socket | None:
        """The TCP connection to dial over; None leaves it to the library, within its time-out."""
        return None

    async def dial(self) -> ClientConnection:
        dialling = connect(self.url, sock=await self.tcp(), **self.options())
        # A redirect would lead past the endpoint that was configured.
        dialling.process_redirect = lambda exc: exc  # type: ignore[method-assign]
        return await dialling

    async def session(self) -> None:
        """One connection, from the dial to its end. Always raises what ended it."""
        self.state("connecting")
        self.ws = await self.dial()
        self.state("connected")
        running = [asyncio.create_task(job()) for job in self.jobs()]
        try:
            await first_of(*running)
        finally:
            await end(*running)
            self.forget()
            await self.hang_up()

    def jobs(self) -> list[Job]:
        return [self.receive, self.watch_line]

    async def watch_line(self) -> None:
        """A ping that finds no answer shows a line that is dead in either direction."""
        assert self.ws is not None
        while True:
            await asyncio.sleep(self.settings.ping_interval)
            async with asyncio.timeout(self.settings.pong_timeout):
                await (await self.ws.ping())

    def forget(self) -> None:
        """Nothing that was true of this connection is true of the next one."""
        # A connection that opens and falls at once has mended nothing.
        up = self.now() - self.live_since if self.live_since is not None else 0.0
        if up >= self.settings.stable_after:
            self.failures = 0
        self.live_since = None
        self.fail_requests()

    def fail_requests(self) -> None:
        for future in self.pending.values():
            if not future.done():
                future.set_exception(ConnectionError("the connection was lost"))
        self.pending.clear()

    async def hang_up(self) -> None:
        """Close politely where that was asked for; a line given up as dead hears nothing."""
        ws, self.ws = self.ws, None
        assert ws is not None
        if self.stopping:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ws.close(), self.settings.close_timeout)
        ws.transport.abort()

    # -- talking -----------------------------------------------------------------------------

    async def call(self, method: str, **params: Any) -> Any:
        """A request and its answer. Raises `Refusal`, TimeoutError, or what the line died of."""
        number = next(self.ids)
        future = self.pending[number] = asyncio.get_running_loop().create_future()
        try:
            await self.send(number, method, params)
            return await asyncio.wait_for(future, self.patience(method))
        finally:
            self.pending.pop(number, None)

    def patience(self, method: str) -> float | None:
        return self.settings.request_timeout

    async def send(self, number: int, method: str, params: Json) -> None:
        if self.ws is None:
            raise ConnectionError("not connected")
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        await self.ws.send(json.dumps(message))

    async def receive(self) -> None:
        assert self.ws is not None
        while True:
            message = self.parsed(await self.next_text())
            match message:
                case {"method": "subscription", "params": {"channel": channel, "data": data}}:
                    self.deliver(channel, data)
                case {"method": "heartbeat", "params": {"type": "test_request"}}:
                    await self.answer_test()
                case {"id": int(number)} if number in self.pending:
                    self.answered(self.pending.pop(number), message)

    async def next_text(self) -> str | bytes:
        assert self.ws is not None
        return await self.ws.recv()

    def parsed(self, text: str | bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            self.log("the exchange sent something that is not JSON")
            return None

    def answered(self, future: asyncio.Future[Any], message: Json) -> None:
        if future.done():
            return
        if "error" not in message:
            future.set_result(message.get("result"))
            return
        code = message["error"]["code"]
        if code == UNAUTHORIZED:
            self.token_doubted.set()
        future.set_exception(Refusal(code, message["error"]["message"]))

    async def answer_test(self) -> None:
        await self.send(next(self.ids), "public/test", {})

    def deliver(self, channel: str, data: Any) -> None:
        """What becomes of a data message."""
        raise NotImplementedError


async def first_of(*tasks: asyncio.Task[None]) -> None:
    """Wait until one of them ends, and end as it did."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
