"""Routes beside Toxiproxy's: every fault of this proxy, the connections, and the history."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from squall_proxy.faults import Fault
from squall_proxy.injection import Injection, Target
from squall_proxy.toxiproxy.errors import bad_body, bad_request, missing, not_found
from squall_proxy.toxiproxy.events import EventLog, plain
from squall_proxy.toxiproxy.http import Answer, Request
from squall_proxy.toxiproxy.proxies import Collection, Served

ReadFault = Callable[[Mapping[str, Any]], tuple[Fault, Target]]
"""Makes a fault and its target of what stands in a body. Raises ValueError."""


class Own:
    """What Toxiproxy's API has no word for."""

    def __init__(self, proxies: Collection, log: EventLog, read_fault: ReadFault) -> None:
        self._proxies = proxies
        self._log = log
        self._read_fault = read_fault

    async def list_faults(self, request: Request) -> Answer:
        """The faults in force that are no toxics."""
        return _ok([_fault(proxy, each) for proxy in self._proxies for each in proxy.faults])

    async def create_fault(self, request: Request) -> Answer:
        """A fault more; one that cuts is over when it has cut."""
        body = _object(request.body)
        proxy = self._the_proxy(body.pop("proxy", None))
        try:
            fault, target = self._read_fault(body)
            injection = proxy.inject(fault, target)
        except ValueError as error:
            raise bad_request(str(error)) from None
        return _ok(_fault(proxy, injection), 201)

    async def delete_fault(self, request: Request, number: str) -> Answer:
        """A fault less; what it held flows on."""
        for proxy in self._proxies:
            for injection in proxy.faults:
                if str(injection.id) == number:
                    injection.heal()
                    return Answer(204)
        raise not_found("fault not found")

    async def delete_faults(self, request: Request) -> Answer:
        """None of them any more."""
        for proxy in self._proxies:
            for injection in proxy.faults:
                injection.heal()
        return Answer(204)

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
        "id": injection.id,
        "proxy": proxy.wish.name,
        "do": injection.fault.name,
        "settings": injection.fault.settings(),
        "target": injection.target.as_json(),
        "active": injection.active,
        "fired": injection.fired,
    }


def _ok(value: object, status: int = 200) -> Answer:
    return Answer(status, f"{json.dumps(value, default=plain)}\n".encode(), "application/json")
