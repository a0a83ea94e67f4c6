"""Locust users on WebSockets: `WebSocketUser` for tasks by hand, `ReconnectingUser` for adapters.

    class Trader(ReconnectingUser):
        host = "ws://127.0.0.1:9000/ws/api/v2"
        channels = ("trades.BTC-PERPETUAL.100ms",)
        settings = {"first_delay_max": 5.0}

is a locustfile: each user is one reference adapter, which dials, logs in where it has credentials,
subscribes, and comes back after every loss. Put in an adapter of your own by overriding `adapter`.

Faults that are injected are no failures to Locust: a lost line is what a storm is about. An adapter
that gives up or crashes is one.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, ClassVar

from gevent.event import Event
from locust import User, task
from locust.exception import RescheduleTask, StopUser
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from squall.load.adapters import AsyncAdapter, BlockingAdapter, Reference
from squall.load.worker import EngineName, Worker
from squall_reference import Credentials, Endpoint, Settings

LOGGER = logging.getLogger("squall.load")
LINE_ERRORS = (OSError, EOFError, WebSocketException)

Message = str | bytes


def anything(message: Message) -> bool:
    """Every message is an answer."""
    return True


class Line:
    """An open WebSocket. What is done on it becomes requests of the type WS.

    What goes wrong is one failed request, and ends the task: Locust goes on with the next one.
    """

    def __init__(self, environment: Any, connection: ClientConnection) -> None:
        self._environment = environment
        self._connection = connection

    def send(self, message: Message, name: str = "send") -> None:
        """Send a message."""
        with measured(self._environment, name) as done:
            self._connection.send(message)
            done(len(message))

    def receive(
        self,
        name: str = "receive",
        *,
        timeout: float = 10.0,
        until: Callable[[Message], bool] = anything,
    ) -> Message:
        """The next message that `until` is true of, with the seconds waited for it."""
        with measured(self._environment, name) as done:
            message = self._await(timeout, until)
            done(len(message))
        return message

    def request(
        self,
        message: Message,
        name: str,
        *,
        timeout: float = 10.0,
        until: Callable[[Message], bool] = anything,
    ) -> Message:
        """Send a message; the answer that `until` is true of, with the seconds in between."""
        with measured(self._environment, name) as done:
            self._connection.send(message)
            answer = self._await(timeout, until)
            done(len(answer))
        return answer

    def _await(self, timeout: float, until: Callable[[Message], bool]) -> Message:
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no answer within {timeout:g} s")
            try:
                message: Message = self._connection.recv(timeout=left)
            except TimeoutError:
                continue
            if until(message):
                return message


@contextmanager
def measured(environment: Any, name: str) -> Iterator[Callable[[int], None]]:
    """One request of the type WS, from here to the call that tells its length.

    What goes wrong on the line makes it a failed one, and ends the task by `RescheduleTask`.
    """
    began = time.perf_counter()
    length = 0

    def fire(exception: Exception | None) -> None:
        environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=(time.perf_counter() - began) * 1000,
            response_length=length,
            exception=exception,
            context={},
        )

    def done(size: int) -> None:
        nonlocal length
        length = size
        fire(None)

    try:
        yield done
    except LINE_ERRORS as error:
        fire(error)
        raise RescheduleTask from error


class WebSocketUser(User):
    """A user whose tasks open WebSockets:

    class Quotes(WebSocketUser):
        host = "ws://127.0.0.1:9000"

        @task
        def quote(self):
            with self.connect("/ws/api/v2") as line:
                line.request(SUBSCRIBE, "subscribe")
                line.receive("first quote", timeout=5)

    A dial that fails is one failed request named `connect`, and the end of the task.
    """

    abstract = True
    connect_timeout: float = 10.0
    """Seconds for TCP, TLS and the upgrade together."""

    @contextmanager
    def connect(self, path: str = "", *, name: str = "connect", **options: Any) -> Iterator[Line]:
        """A line to `host` and `path`, closed at the end.

        `options` are those of `websockets.sync.client.connect`.
        """
        options = {"open_timeout": self.connect_timeout, "compression": None, **options}
        with ExitStack() as ending:
            with measured(self.environment, name) as done:
                connection = ending.enter_context(connect(f"{self.host}{path}", **options))
                done(0)
            yield Line(self.environment, connection)


class ReconnectingUser(User):
    """A user that is one adapter, from its first dial to the end of the test.

    An adapter that fails by itself is not started again: it stays down, as it would in production.
    """

    abstract = True
    engine: EngineName = "asyncio"
    """Where the adapter runs: on an event loop in a thread beside gevent, or under `gevent`."""
    channels: Sequence[str] = ()
    """What it subscribes to, as the venue spells it."""
    credentials: tuple[str, str] | None = None
    """Key and secret; without them it does not log in."""
    settings: Mapping[str, Any] = {}
    """Settings of the reference adapter (`squall_reference.Settings`)."""
    ca_file: str | None = None
    """A PEM file to trust for `wss://`."""
    seed: int = 0
    """The same seed gives each user of a worker the same jitter again."""
    lag: bool = False
    """Whether the exchange's clock is this machine's, or in step with it, so that the lag of
    messages can be told."""

    _numbers: ClassVar[Iterator[int]] = itertools.count()
    _told: ClassVar[set[str]] = set()

    def adapter(self, rng: Random) -> AsyncAdapter | BlockingAdapter:
        """The adapter of this user: for the engine `asyncio` one with a coroutine `run(life)`."""
        wanted = self.reference()
        return wanted.on_asyncio(rng) if self.engine == "asyncio" else wanted.in_greenlet(rng)

    def reference(self) -> Reference:
        """How the reference adapter is made for this user.

        Raises ValueError: it must have an address, and channels that Deribit has.
        """
        if not self.host or not self.host.startswith(("ws://", "wss://")):
            raise ValueError(f"--host must be a ws:// or wss:// URL, not {self.host!r}")
        settings, unknown = Settings.from_mapping(self.settings)
        if unknown:
            raise ValueError(f"settings: the reference adapter has no {', '.join(unknown)}")
        return Reference(
            Endpoint(self.host, self.ca_file),
            tuple(self.channels),
            Credentials(*self.credentials) if self.credentials is not None else None,
            settings,
            lag=self.lag,
        )

    @task
    def live(self) -> None:
        """Run the adapter until Locust takes the user down."""
        engine = Worker.of(self.environment).engine(self.engine)
        rng = Random(f"{self.seed}/{self.environment.runner.worker_index}/{next(self._numbers)}")
        try:
            user = engine.enter(self.adapter(rng))
        except ValueError as error:
            self._report(error)
            raise StopUser from error
        try:
            Event().wait()
        finally:
            engine.leave(user)

    def _report(self, error: ValueError) -> None:
        """Say once what is wrong with all users of a kind; Locust counts how often."""
        if str(error) not in self._told:
            self._told.add(str(error))
            LOGGER.error("%s: %s", type(self).__name__, error)
        self.environment.events.user_error.fire(
            user_instance=self, exception=error, tb=error.__traceback__
        )
