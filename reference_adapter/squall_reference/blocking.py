"""The blocking shell: the same session, on threads and `websockets.sync`.

`run()` blocks and owns the session. One more thread serves a connection, from the dial to its
end, and puts what happens into the inbox of `run()`. Under gevent's monkey patching both are
greenlets, so a Locust user can run an adapter.

No HTTP proxies here: the dial needs its own socket, so that it can be aborted and so that the
library follows no redirect.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from random import Random
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from squall_reference.actions import (
    Abort,
    Action,
    Actions,
    Close,
    Dial,
    Finished,
    LineObserver,
    Loss,
    Ping,
    Send,
)
from squall_reference.endpoint import (
    DIAL_ERRORS,
    LOGGER,
    USER_AGENT,
    Endpoint,
    loss_of,
    wall_clock,
)
from squall_reference.login import Credentials
from squall_reference.session import Session
from squall_reference.settings import Settings

# Messages that a slow consumer may leave unread; then the socket is not read either.
UNREAD_MESSAGES = 1000


class SyncAdapter:
    """The reference adapter for threads and greenlets.

    `run()` blocks and calls `report` with each `Deliver`, `Reply`, `OpenOrders`, `StateChanged`
    and `Log`. The other methods may be called from any thread, also inside `report`. `observer` is
    told, in the line's thread, what happens on the line below that.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        channels: Iterable[str],
        report: Callable[[Action], None],
        *,
        credentials: Credentials | None = None,
        settings: Settings | None = None,
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        observer: LineObserver | None = None,
    ) -> None:
        self._settings = settings if settings is not None else Settings()
        self._session = Session(
            channels,
            rng=rng if rng is not None else Random(),
            credentials=credentials,
            settings=self._settings,
            epoch=wall_clock() - clock(),
        )
        self._endpoint = endpoint
        self._tls = endpoint.tls()
        self._report = report
        self._observer = observer
        self._clock = clock
        self._inbox: queue.Queue[Callable[[float], Actions]] = queue.Queue()
        self._room = threading.Semaphore(UNREAD_MESSAGES)
        self._line: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._connection: ClientConnection | None = None
        self._pong: threading.Event | None = None
        self._aborted = False
        self._status: int | None = None

    def run(self) -> int:
        """Run until stopped (0) or until it gives up (1)."""
        try:
            self._perform(self._session.start(self._clock()))
            while self._status is None:
                self._turn(self._wait())
            return self._status
        finally:
            self._cut()

    def stop(self) -> None:
        """Close the connection and end `run()`."""
        self._inbox.put(self._session.stop)

    def subscribe(self, channels: Iterable[str]) -> None:
        """Keep these channels subscribed as well."""
        self._inbox.put(partial(self._session.subscribe, list(channels)))

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Keep these channels no longer."""
        self._inbox.put(partial(self._session.unsubscribe, list(channels)))

    def request(self, tag: Any, method: str, params: Mapping[str, Any]) -> None:
        """Send a request; a `Reply` with this `tag` is reported in any case."""
        self._inbox.put(partial(self._session.request, tag, method, params))

    def disconnect(self) -> None:
        """Close the connection and stay closed; `stop` ends `run()` too."""
        self._inbox.put(self._session.disconnect)

    def _turn(self, happened: Callable[[float], Actions] | None) -> None:
        now = self._clock()
        if self._pong is not None and self._pong.is_set():
            self._pong = None
            self._perform(self._session.pong(now))
        if happened is not None:
            self._perform(happened(now))
        due = self._session.deadline
        if due is not None and due <= now:
            self._perform(self._session.tick(now))

    def _wait(self) -> Callable[[float], Actions] | None:
        due = self._session.deadline
        timeout = None if due is None else max(0.0, due - self._clock())
        try:
            return self._inbox.get(timeout=timeout)
        except queue.Empty:
            return None

    def _perform(self, actions: Actions) -> None:
        for action in actions:
            match action:
                case Dial(timeout):
                    assert self._line is None, "the old connection is gone before the next dial"
                    self._aborted = False
                    self._line = threading.Thread(target=self._serve, args=[timeout], daemon=True)
                    self._line.start()
                case Send() | Ping() | Close():
                    self._write(action)
                case Abort():
                    self._abort()
                case Finished(status):
                    self._status = status
                case _:
                    self._report(action)

    def _write(self, action: Send | Ping | Close) -> None:
        connection = self._connection
        if connection is None:
            return  # It has just ended; its thread tells why.
        with contextlib.suppress(ConnectionClosed):
            match action:
                case Send(text):
                    connection.send(text)
                case Ping():
                    self._pong = connection.ping()
                case Close():
                    connection.close()

    def _abort(self) -> None:
        # First the flag, then the look: the line's thread does it the other way round.
        self._aborted = True
        victim = self._connection.socket if self._connection is not None else self._socket
        if victim is not None:
            with contextlib.suppress(OSError):
                victim.shutdown(socket.SHUT_RDWR)

    def _cut(self) -> None:
        """Leave no connection behind where `run` ends with an error."""
        if self._line is not None:
            self._abort()
            self._room.release(UNREAD_MESSAGES)
            self._line.join(self._settings.close_timeout)

    # In the line's thread.

    def _serve(self, timeout: float) -> None:
        try:
            loss = self._converse(timeout)
        except BaseException as error:
            self._inbox.put(partial(_raise, error))
        else:
            self._inbox.put(partial(self._disconnected, loss))

    def _converse(self, timeout: float) -> Loss:
        try:
            with self._dial(timeout) as connection:
                self._connection = connection
                self._check_aborted()
                self._inbox.put(self._session.connected)
                while True:
                    message = connection.recv()
                    if self._observer is not None:
                        self._observer.received(len(message))
                    self._room.acquire()
                    self._inbox.put(partial(self._received, message))
        except DIAL_ERRORS as error:
            return loss_of(error)
        except ValueError as error:
            # How the library says that it cannot follow a redirect.
            if isinstance(error.__cause__, InvalidStatus):
                return loss_of(error)
            raise

    def _dial(self, timeout: float) -> ClientConnection:
        deadline = self._clock() + timeout
        url = urlsplit(self._endpoint.url)
        port = url.port or (443 if url.scheme == "wss" else 80)
        self._socket = socket.create_connection((url.hostname or "", port), timeout)
        try:
            self._check_aborted()
            if self._observer is not None:
                self._observer.opened()
            return connect(
                self._endpoint.url,
                sock=self._socket,
                ssl=self._tls,
                compression="deflate" if self._settings.compression else None,
                user_agent_header=USER_AGENT,
                open_timeout=max(0.0, deadline - self._clock()),
                ping_interval=None,  # The session watches the line by itself.
                close_timeout=self._settings.close_timeout,
                max_size=self._settings.max_message_bytes,
                logger=LOGGER,
            )
        except BaseException:
            self._socket.close()
            raise

    def _check_aborted(self) -> None:
        if self._aborted:
            raise ConnectionAbortedError("aborted")

    # What the line's thread has put into the inbox, in the thread of `run`.

    def _received(self, message: str | bytes, now: float) -> Actions:
        self._room.release()
        return self._session.received(message, now)

    def _disconnected(self, loss: Loss, now: float) -> Actions:
        assert self._line is not None
        self._line.join()
        self._line = self._connection = self._socket = self._pong = None
        return self._session.disconnected(loss, now)


def _raise(error: BaseException, now: float) -> Actions:
    raise error
