"""The control port of an exchange: faults at an instant, metrics, and whether it is well.

    POST   /squall/faults        {"do": "expire_token", "in": "1.25s", "lasting": "5s"}
    GET    /squall/faults        those that are to come, and those in force
    DELETE /squall/faults[/ID]   one less, or none any more
    GET    /health, /metrics

It is for programs, as the proxy's is: what a browser sends is refused.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from squall.errors import did_you_mean
from squall.exchange import EXCHANGE_FAULTS, Dialect, ExchangeFault
from squall.hosting import metrics
from squall.hosting.member import Report
from squall.prometheus import CONTENT_TYPE
from squall.serve import Timing
from squall.typed_yaml import build, keys
from squall.yaml_source import Invalid, compose
from squall_proxy.toxiproxy.http import Answer, HTTPServer, Request

JSON = "application/json"

T = TypeVar("T")


class Refusal(Exception):
    """Why a request is not carried out, and the HTTP status that goes with it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Crew(Protocol):
    """The processes, as the control port sees them."""

    dialect: Dialect

    def now(self) -> float:
        """Seconds on the clock that the processes share."""

    def inject(self, id: int, order: Order) -> None:
        """All of them have this fault at `order.at`."""

    def heal(self, id: int) -> None:
        """None of them has this fault any more, or will have it."""

    async def reports(self) -> list[Report]:
        """How each of them is. Raises TimeoutError where one does not say."""


@dataclass(frozen=True)
class Order:
    """A fault, when it begins on the shared clock, and for how many seconds it is in force."""

    said: Mapping[str, Any]
    fault: ExchangeFault
    at: float
    lasting: float | None


def read_fault(said: Mapping[str, Any]) -> ExchangeFault:
    """`{"do": "stall_channel", "channels": 2}` as a scenario's step has it. Raises ValueError."""
    name = said.get("do")
    if not isinstance(name, str):
        raise ValueError('name the fault, as a scenario does: {"do": "expire_token"}')
    if name not in EXCHANGE_FAULTS:
        raise ValueError(
            f"unknown fault of the exchange '{name}'.{did_you_mean(name, EXCHANGE_FAULTS)}"
        )
    settings = {key: value for key, value in said.items() if key != "do"}
    return _built(EXCHANGE_FAULTS[name], settings, name)


def _built(cls: type[T], settings: Mapping[str, Any], what: str) -> T:
    try:
        return build(cls, compose(json.dumps(settings, ensure_ascii=False), "is empty"), what)
    except Invalid as invalid:
        raise ValueError("; ".join(sorted({each.text for each in invalid.problems}))) from None


class Control:
    """Answers the control port's requests."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._ids = itertools.count(1)
        self._orders: dict[int, Order] = {}
        self._server = HTTPServer(self._handle)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._server.address

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the address cannot be had."""
        await self._server.start(host, port)

    async def stop(self) -> None:
        """Close the port."""
        await self._server.stop()

    async def _handle(self, request: Request) -> Answer:
        if request.headers.get("user-agent", "").startswith("Mozilla/"):
            return _answer({"error": "User agent not allowed"}, 403)
        if "origin" in request.headers:
            return _answer({"error": "Origin not allowed"}, 403)
        for path, handlers in _ROUTES.items():
            found = re.fullmatch(path, request.path)
            if found is None:
                continue
            handler = handlers.get(request.method)
            if handler is None:
                return Answer(405, headers={"Allow": ", ".join(handlers)})
            try:
                return await handler(self, request, **found.groupdict())
            except Refusal as refusal:
                return _answer({"error": str(refusal)}, refusal.status)
            except TimeoutError:
                return _answer({"error": "a process of the exchange does not answer"}, 503)
        return _answer({"error": f"there is no {request.path} here"}, 404)

    async def health(self, request: Request) -> Answer:
        """200 as long as every process answers."""
        reports = await self._crew.reports()
        processes = [{"process": each.process, "pid": each.pid} for each in reports]
        return _answer({"status": "ok", "processes": processes})

    async def metrics(self, request: Request) -> Answer:
        """The numbers of every process."""
        text = metrics.page(await self._crew.reports())
        return Answer(200, text.encode(), CONTENT_TYPE)

    async def create_fault(self, request: Request) -> Answer:
        """A fault more, now or later."""
        order = self._read(request.body)
        id = next(self._ids)
        self._orders[id] = order
        self._crew.inject(id, order)
        return _answer(self._told(id, order, await self._crew.reports()), 201)

    async def list_faults(self, request: Request) -> Answer:
        """Those to come and those in force; what is over is forgotten."""
        reports = await self._crew.reports()
        told = {id: self._told(id, order, reports) for id, order in self._orders.items()}
        for id, each in told.items():
            if not each["active"] and "in" not in each:
                self._crew.heal(id)
                del self._orders[id]
        return _answer([told[id] for id in self._orders])

    async def delete_fault(self, request: Request, id: str) -> Answer:
        """A fault less."""
        number = int(id)
        if self._orders.pop(number, None) is None:
            raise Refusal("fault not found", 404)
        self._crew.heal(number)
        return Answer(204)

    async def delete_faults(self, request: Request) -> Answer:
        """None of them any more."""
        for id in self._orders:
            self._crew.heal(id)
        self._orders.clear()
        return Answer(204)

    def _read(self, body: bytes) -> Order:
        try:
            said = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refusal(f"bad request body: {error}") from None
        if not isinstance(said, dict):
            raise Refusal('an object is wanted, such as {"do": "expire_token"}')
        timed = {key: said.pop(key) for key in keys(Timing) if key in said}
        try:
            fault = read_fault(said)
            timing = _built(Timing, timed, fault.name)
        except ValueError as error:
            raise Refusal(str(error)) from None
        if lack := self._crew.dialect.lacks(fault.name):
            raise Refusal(f"{fault.name}: {lack}")
        return Order(said, fault, self._crew.now() + timing.delay, timing.lasting)

    def _told(self, id: int, order: Order, reports: list[Report]) -> dict[str, Any]:
        states = [each.faults[str(id)] for each in reports if str(id) in each.faults]
        told = {
            "id": id,
            "do": order.fault.name,
            "settings": asdict(order.fault),
            "active": any(in_force for in_force, _ in states),
            "fired": any(fired for _, fired in states),
        }
        if len(states) < len(reports):
            told["in"] = round(max(0.0, order.at - self._crew.now()), 6)
        return told


Handler = Callable[..., Awaitable[Answer]]
_ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/health": {"GET": Control.health},
    "/metrics": {"GET": Control.metrics},
    "/squall/faults": {
        "GET": Control.list_faults,
        "POST": Control.create_fault,
        "DELETE": Control.delete_faults,
    },
    "/squall/faults/(?P<id>[0-9]{1,9})": {"DELETE": Control.delete_fault},
}


def _answer(value: object, status: int = 200) -> Answer:
    return Answer(status, f"{json.dumps(value)}\n".encode(), JSON)
