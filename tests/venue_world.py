"""A venue without a socket, in virtual time, and the same on sockets: for tests of dialects."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from squall.exchange import (
    EXCHANGE_FAULTS,
    ExchangeServer,
    Injection,
    Membership,
    Settings,
    dialect,
)
from squall.exchange.actions import Abort, Action, Answer, Close, Ping, Send
from squall.exchange.core import Exchange
from squall.exchange.protocol import HttpAnswer, HttpRequest
from squall.virtual_clock import VirtualClockLoop

Json = dict[str, Any]
Event = tuple[str, int | None, Json]
C = TypeVar("C", bound="Client")


class World:
    """An exchange, its clock and its clients. What the exchange does on the wire lands here."""

    def __init__(
        self,
        venue: str,
        membership: Membership | None = None,
        *,
        observed: bool = True,
        **settings: Any,
    ) -> None:
        self.now = 100.0
        self.events: list[Event] = []
        self.actions: list[Action] = []
        self.clients: dict[int, Client] = {}
        self.answers: dict[int, HttpAnswer] = {}
        self.exchange = Exchange(
            dialect(venue),
            Settings(**settings),
            observe=self._observe if observed else None,
            act=self._act,
            rng=random.Random(7),
            membership=membership,
        )
        self.exchange.begin(membership.origin if membership else self.now)
        self.key, self.secret = self.exchange.account.key, self.exchange.account.secret
        self._numbers = 0

    def _observe(self, kind: str, connection: int | None = None, /, **detail: Any) -> None:
        self.events.append((kind, connection, detail))

    def _act(self, action: Action) -> None:
        self.actions.append(action)
        match action:
            case Send(connections, text):
                for number in connections:
                    self.clients[number].inbox.append(json.loads(text))
            case Ping(number, payload):
                self.clients[number].pings.append(payload)
            case Close(number, code, _):
                self.clients[number].closed_with = code
            case Abort(number):
                self.clients[number].aborted = True
            case Answer(number, answer):
                self.answers[number] = answer

    @property
    def wall_ms(self) -> int:
        """The venue's clock in milliseconds."""
        return int((self.exchange.settings.epoch + self.now - 100.0) * 1000)

    def advance(self, seconds: float) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.now + seconds
        while (deadline := self.exchange.deadline) is not None and deadline <= end:
            assert deadline >= self.now - 1e-9, "a deadline was missed"
            self.now = max(self.now, deadline)
            self.exchange.tick(self.now)
        self.now = end

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def admit(self, path: str) -> HttpAnswer | None:
        return self.exchange.admit(self._number(), path, "127.0.0.1", self.now)

    def connect(self, path: str) -> Client:
        assert self.admit(path) is None
        return self.join(path)

    def join(self, path: str) -> Client:
        """A client that has been admitted."""
        return self.seat(Client(self, self._numbers, path))

    def seat(self, client: C) -> C:
        self.clients[client.number] = client
        self.exchange.connected(client.number, client.path, "127.0.0.1", self.now)
        return client

    def http(self, method: str, target: str, body: str = "", **headers: str) -> tuple[int, Any]:
        """Status and JSON of an HTTP answer that comes at once."""
        number = self.ask_http(method, target, body, **headers)
        answer = self.answers[number]
        return answer.status, json.loads(answer.body)

    def ask_http(self, method: str, target: str, body: str = "", **headers: str) -> int:
        number = self._number()
        spelt = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HttpRequest(method, target, spelt, body.encode())
        self.exchange.http(number, request, self.now)
        return number

    def inject(self, name: str, **settings: Any) -> Injection:
        return self.exchange.inject(EXCHANGE_FAULTS[name](**settings), self.now)

    def heal(self) -> None:
        self.exchange.heal(None, self.now)

    def of(self, kind: str) -> list[Json]:
        return [detail for each, _, detail in self.events if each == kind]


class Client:
    """One connection."""

    def __init__(self, world: World, number: int, path: str) -> None:
        self.world = world
        self.number = number
        self.path = path
        self.inbox: list[Any] = []
        self.pings: list[bytes] = []
        self.closed_with: int | None = None
        self.aborted = False

    @property
    def open(self) -> bool:
        return self.closed_with is None and not self.aborted

    def say(self, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        self.world.exchange.received(self.number, text, self.world.now)

    def ask(self, message: Any, /) -> list[Any]:
        """Say it; what came until the venue's usual answering time was over."""
        before = len(self.inbox)
        self.say(message)
        self.world.advance(self.world.exchange.settings.ack_latency)
        return self.inbox[before:]

    def pong(self, payload: bytes) -> None:
        self.world.exchange.ponged(self.number, payload, self.world.now)

    def leave(self) -> None:
        self.world.exchange.disconnected(self.number, 1006, "", "network", self.world.now)


class Stage:
    """A venue on a real socket, on a loop of virtual time."""

    def __init__(self, server: ExchangeServer, events: list[Event]) -> None:
        self.server = server
        self.events = events

    def url(self, path: str = "", scheme: str = "ws") -> str:
        host, port = self.server.address
        return f"{scheme}://{host}:{port}{path}"

    def of(self, kind: str) -> list[Json]:
        return [detail for each, _, detail in self.events if each == kind]


def play(venue: str, test: Callable[[Stage], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """Run a test against a venue on a socket."""

    async def main() -> None:
        events: list[Event] = []

        def observe(kind: str, connection: int | None = None, /, **detail: Any) -> None:
            events.append((kind, connection, detail))

        server = ExchangeServer(
            dialect(venue), Settings(**settings), observe=observe, rng=random.Random(3)
        )
        await server.start()
        try:
            async with asyncio.timeout(200_000):
                await test(Stage(server, events))
        finally:
            await server.stop()

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())
