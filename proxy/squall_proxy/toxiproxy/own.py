"""Routes beside Toxiproxy's: every fault of this proxy, the connections, and the history."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from squall_proxy.faults import Fault
from squall_proxy.injection import ALL, Injection, Target
from squall_proxy.timers import Timer, Timers
from squall_proxy.toxiproxy.errors import APIError, bad_body, bad_request, missing, not_found
from squall_proxy.toxiproxy.events import EventLog, plain
from squall_proxy.toxiproxy.http import Answer, Request
from squall_proxy.toxiproxy.proxies import Collection, Served


@dataclass(frozen=True)
class Order:
    """A fault that somebody asks for, whom it is meant for, and when it begins and ends."""

    fault: Fault
    target: Target = ALL
    delay: float = 0.0
    """Seconds until it begins."""

    lasting: float | None = None
    """Seconds until it is healed, from its beginning; None leaves it in force."""


ReadOrder = Callable[[Mapping[str, Any]], Order]
"""Makes an order of what stands in a body. Raises ValueError."""


class _Waiting:
    """An order whose time has not come, or could not be carried out when it came."""

    def __init__(self, id: int, proxy: Served, order: Order) -> None:
        self.id = id
        self.proxy = proxy
        self.order = order
        self.timer: Timer | None = None
        self.why: str | None = None


class Own:
    """What Toxiproxy's API has no word for."""

    def __init__(
        self, proxies: Collection, log: EventLog, timers: Timers, read_order: ReadOrder
    ) -> None:
        self._proxies = proxies
        self._log = log
        self._timers = timers
        self._read_order = read_order
        self._waiting: dict[int, _Waiting] = {}
        self._ends: dict[int, Timer] = {}

    async def list_faults(self, request: Request) -> Answer:
        """The faults in force that are no toxics, and those that are still to come."""
        in_force = [_fault(proxy, each) for proxy in self._proxies for each in proxy.faults]
        return _ok(in_force + [self._planned(each) for each in self._waiting.values()])

    async def create_fault(self, request: Request) -> Answer:
        """A fault more, now or later; one that cuts is over when it has cut."""
        body = _object(request.body)
        proxy = self._the_proxy(body.pop("proxy", None))
        try:
            order = self._read_order(body)
            proxy.check(order.fault, order.target)
        except ValueError as error:
            raise bad_request(str(error)) from None
        id = self._proxies.next_id()
        if not order.delay:
            return _ok(_fault(proxy, self._begin(id, proxy, order)), 201)
        waiting = self._waiting[id] = _Waiting(id, proxy, order)
        waiting.timer = self._timers.after(order.delay, lambda: self._come(waiting))
        return _ok(self._planned(waiting), 201)

    async def delete_fault(self, request: Request, number: str) -> Answer:
        """A fault less; what it held flows on, and what was to come does not."""
        for waiting in tuple(self._waiting.values()):
            if str(waiting.id) == number:
                self._forget(waiting)
                return Answer(204)
        for proxy in self._proxies:
            for injection in proxy.faults:
                if str(injection.id) == number:
                    self._heal(injection)
                    return Answer(204)
        raise not_found("fault not found")

    async def delete_faults(self, request: Request) -> Answer:
        """None of them any more."""
        for waiting in tuple(self._waiting.values()):
            self._forget(waiting)
        for proxy in self._proxies:
            for injection in proxy.faults:
                self._heal(injection)
        return Answer(204)

    def _come(self, waiting: _Waiting) -> None:
        try:
            self._begin(waiting.id, waiting.proxy, waiting.order)
        except (APIError, ValueError) as error:
            # Nobody is there to be told any more: it stays in the list, with the reason.
            waiting.why = str(error)
        else:
            del self._waiting[waiting.id]

    def _begin(self, id: int, proxy: Served, order: Order) -> Injection:
        injection = proxy.inject(order.fault, order.target, id)
        if order.lasting is not None and injection.active:
            self._ends[id] = self._timers.after(order.lasting, lambda: self._heal(injection))
        return injection

    def _heal(self, injection: Injection) -> None:
        if end := self._ends.pop(injection.id, None):
            end.cancel()
        injection.heal()

    def _forget(self, waiting: _Waiting) -> None:
        if waiting.timer is not None:
            waiting.timer.cancel()
        del self._waiting[waiting.id]

    def _planned(self, waiting: _Waiting) -> dict[str, object]:
        order, timer = waiting.order, waiting.timer
        left = 0.0 if timer is None or timer.over else timer.when - self._timers.now()
        return {
            **_words(waiting.id, waiting.proxy, order.fault, order.target),
            "active": False,
            "fired": False,
            "in": round(left, 6),
            **({"why": waiting.why} if waiting.why else {}),
        }

    async def list_connections(self, request: Request) -> Answer:
        """The live connections of all proxies, the oldest of each first."""
        return _ok(
            [
                {
                    "proxy": proxy.wish.name,
                    "connection": each.number,
                    "peer": each.peer,
                    "seconds": round(each.seconds, 6),
                    "bytes": asdict(each.traffic),
                    "faults": list(each.faults),
                }
                for proxy in self._proxies
                for each in proxy.connections
            ]
        )

    async def events(self, request: Request) -> Answer:
        """The history, one event a line, from `since` on; `follow=false` ends it with the last."""
        try:
            since = float(request.query.get("since", "-1"))
        except ValueError:
            raise bad_request("since is the `at` of an event, such as 3.0412") from None
        follow = request.query.get("follow", "true") not in ("false", "0", "no")
        stream = self._log.lines(since, follow=follow)
        return Answer(200, content_type="application/jsonl", stream=stream)

    def _the_proxy(self, name: object) -> Served:
        if isinstance(name, str):
            return self._proxies[name]
        if name is not None:
            raise bad_request('proxy is a name, such as "redis"')
        there = list(self._proxies)
        if len(there) != 1:
            raise missing(f"proxy: there are {len(there)}" if there else "proxy: there is none yet")
        return there[0]


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_body(str(error)) from None
    if not isinstance(found, dict):
        raise bad_body('an object is wanted, such as {"do": "rst"}')
    return found


def _fault(proxy: Served, injection: Injection) -> dict[str, object]:
    return {
        **_words(injection.id, proxy, injection.fault, injection.target),
        "active": injection.active,
        "fired": injection.fired,
    }


def _words(id: int, proxy: Served, fault: Fault, target: Target) -> dict[str, object]:
    return {
        "id": id,
        "proxy": proxy.wish.name,
        "do": fault.name,
        "settings": fault.settings(),
        "target": target.as_json(),
    }


def _ok(value: object, status: int = 200) -> Answer:
    return Answer(status, f"{json.dumps(value, default=plain)}\n".encode(), "application/json")
