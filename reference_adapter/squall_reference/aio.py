"""The asyncio shell: carries out what a core asks, and tells it what happened.

It decides nothing. One task serves a connection, from the dial to its end; one timer wakes the
core. The core is told that a connection has ended only when its socket is gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from random import Random
from typing import Any, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from squall_reference.actions import (
    Abort,
    Action,
    Actions,
    Close,
    Core,
    Dial,
    Finished,
    LineObserver,
    Loss,
    Ping,
    Send,
)
from squall_reference.endpoint import DIAL_ERRORS, LOGGER, USER_AGENT, Endpoint, loss_of, wall_clock
from squall_reference.login import Credentials
from squall_reference.session import Health, Session
from squall_reference.settings import Settings

Report = Callable[[Action], None]


class _Connect(connect):
    """The library's dial, which stays where it was sent: a redirect is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Connection(ClientConnection):
    """The library's connection, which tells when TCP, and TLS, are there."""

    def __init__(self, observer: LineObserver, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._observer = observer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._observer.opened()


class Shell:
    """Runs a core on the event loop. `report` hears what the core tells its owner."""

    def __init__(
        self,
        core: Core,
        endpoint: Endpoint,
        settings: Settings,
        report: Report,
        *,
        observer: LineObserver | None = None,
    ) -> None:
        self._core = core
        self._endpoint = endpoint
        self._settings = settings
        self._report = report
        self._observer = observer
        self._tls = endpoint.tls()
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._todo: deque[Action] = deque()
        self._acting = False
        self._timer: asyncio.Handle | None = None
        # uvloop gives no TimerHandle, so no `when()`, for what is due already.
        self._timer_due = 0.0
        self._line: asyncio.Task[Loss] | None = None
        self._connection: ClientConnection | None = None
        self._outbox: asyncio.Queue[Send | Ping | Close] = asyncio.Queue()

    @property
    def now(self) -> float:
        """The event loop's time."""
        return self._loop.time()

    async def run(self) -> int:
        """Run the core until it is finished; its exit status."""
        self.act(self._core.start(self.now))
        try:
            return await self._ended
        finally:
            self._ended.cancel()
            if self._timer is not None:
                self._timer.cancel()
            if self._line is not None:
                self._line.cancel()
                await asyncio.wait([self._line])

    def act(self, actions: Actions) -> None:
        """Carry out a core's actions in order, also those that a `report` causes meanwhile."""
        self._todo.extend(actions)
        if self._acting:
            return
        self._acting = True
        try:
            while self._todo:
                self._perform(self._todo.popleft())
        except Exception as error:
            self._todo.clear()
            self._fail(error)
        finally:
            self._acting = False
        self._arm()

    def _perform(self, action: Action) -> None:
        match action:
            case Dial(timeout):
                assert self._line is None, "the old connection is gone before the next dial"
                self._outbox = asyncio.Queue()
                self._line = asyncio.create_task(self._serve(timeout))
                self._line.add_done_callback(self._line_ended)
            case Send() | Ping() | Close():
                self._outbox.put_nowait(action)
            case Abort():
                self._abort()
            case Finished(status):
                self._ended.set_result(status)
            case _:
                self._report(action)

    def _abort(self) -> None:
        if self._connection is not None:
            self._connection.transport.abort()
        elif self._line is not None:
            self._line.cancel()

    def _fail(self, error: BaseException) -> None:
        if not self._ended.done():
            self._ended.set_exception(error)

    def _arm(self) -> None:
        due = self._core.deadline
        if due is None or self._ended.done():
            return
        if self._timer is not None:
            # Each message moves the deadline back. A timer that fires early costs less than one
            # that is set anew for each message.
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        due = self._core.deadline
        if due is not None and due <= self.now:
            self._tell(self._core.tick)
        else:
            self._arm()

    def _tell(self, what: Callable[[float], Actions]) -> None:
        if self._ended.done():
            return
        try:
            actions = what(self.now)
        except Exception as error:
            self._fail(error)
        else:
            self.act(actions)

    async def _serve(self, timeout: float) -> Loss:
        try:
            connection = await self._dial(timeout)
        except DIAL_ERRORS as error:
            return loss_of(error)
        self._connection = connection
        writer = asyncio.create_task(self._write(connection, self._outbox))
        try:
            self._tell(self._core.connected)
            while True:
                message = await connection.recv()
                if self._observer is not None:
                    self._observer.received(len(message))
                self._tell(partial(self._core.received, message))
        except ConnectionClosed as error:
            return loss_of(error)
        finally:
            self._connection = None
            connection.transport.abort()
            writer.cancel()
            await asyncio.wait([writer, asyncio.ensure_future(connection.wait_closed())])
            if not writer.cancelled():
                writer.result()

    def _dial(self, timeout: float) -> Awaitable[ClientConnection]:
        return _Connect(
            self._endpoint.url,
            ssl=self._tls,
            proxy=self._endpoint.http_proxy,
            compression="deflate" if self._settings.compression else None,
            user_agent_header=USER_AGENT,
            open_timeout=timeout,
            ping_interval=None,  # The core watches the line by itself.
            close_timeout=self._settings.close_timeout,
            max_size=self._settings.max_message_bytes,
            logger=LOGGER,
            create_connection=self._connection_class(),
        )

    def _connection_class(self) -> type[ClientConnection] | None:
        if self._observer is None:
            return None
        # The library calls it with the arguments of a `ClientConnection`, and needs no class.
        return cast(type[ClientConnection], partial(_Connection, self._observer))

    async def _write(
        self, connection: ClientConnection, outbox: asyncio.Queue[Send | Ping | Close]
    ) -> None:
        # A task of its own: where the peer no longer reads, a send may wait for ever.
        try:
            while True:
                match await outbox.get():
                    case Send(text):
                        await connection.send(text)
                    case Ping():
                        pong = asyncio.ensure_future(await connection.ping())
                        pong.add_done_callback(self._pong)
                    case Close():
                        await connection.close()
        except ConnectionClosed:
            pass  # The reader tells why.

    def _pong(self, pong: asyncio.Future[float]) -> None:
        if not pong.cancelled() and pong.exception() is None:
            self._tell(self._core.pong)

    def _line_ended(self, line: asyncio.Task[Loss]) -> None:
        self._line = None
        if line.cancelled():
            self._tell(partial(self._core.disconnected, Loss("aborted")))
        elif error := line.exception():
            self._fail(error)
        else:
            self._tell(partial(self._core.disconnected, line.result()))


class Adapter:
    """The reference adapter on asyncio. Make it inside a coroutine, then await `run()`.

    `report` is called with each `Deliver`, `Reply`, `OpenOrders`, `StateChanged` and `Log`; it
    may call the adapter's methods. `observer` is told what happens on the line below that.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        channels: Iterable[str],
        report: Report,
        *,
        credentials: Credentials | None = None,
        settings: Settings | None = None,
        rng: Random | None = None,
        observer: LineObserver | None = None,
    ) -> None:
        settings = settings if settings is not None else Settings()
        self._session = Session(
            channels,
            rng=rng if rng is not None else Random(),
            credentials=credentials,
            settings=settings,
            epoch=wall_clock() - asyncio.get_running_loop().time(),
        )
        self._shell = Shell(self._session, endpoint, settings, report, observer=observer)

    async def run(self) -> int:
        """Run until stopped (0) or until it gives up (1)."""
        return await self._shell.run()

    def stop(self) -> None:
        """Close the connection and end `run()`."""
        self._shell.act(self._session.stop(self._shell.now))

    def subscribe(self, channels: Iterable[str]) -> None:
        """Keep these channels subscribed as well. Raises ValueError without credentials."""
        self._shell.act(self._session.subscribe(channels, self._shell.now))

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Keep these channels no longer."""
        self._shell.act(self._session.unsubscribe(channels, self._shell.now))

    def request(self, tag: Any, method: str, params: Mapping[str, Any]) -> None:
        """Send a request; a `Reply` with this `tag` is reported in any case."""
        self._shell.act(self._session.request(tag, method, params, self._shell.now))

    def disconnect(self) -> None:
        """Close the connection and stay closed; `stop` ends `run()` too."""
        self._shell.act(self._session.disconnect(self._shell.now))

    def health(self) -> Health:
        """Whether the data can be trusted right now."""
        return self._session.health(self._shell.now)
