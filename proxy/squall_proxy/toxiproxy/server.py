"""The control port: Toxiproxy's API, and our own routes beside it.

It is for programs. What a browser sends is refused, by its name as Toxiproxy does and by its
Origin, so that no page that somebody looks at can drive a proxy on their machine.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import NamedTuple

from squall_proxy.timers import Timers
from squall_proxy.toxiproxy.errors import APIError
from squall_proxy.toxiproxy.events import EventLog
from squall_proxy.toxiproxy.go_json import write
from squall_proxy.toxiproxy.http import Answer, HTTPServer, Request
from squall_proxy.toxiproxy.own import Own, ReadOrder
from squall_proxy.toxiproxy.proxies import Collection
from squall_proxy.toxiproxy.routes import Toxiproxy

LIKE_VERSION = "2.12.0"
"""The Toxiproxy that this is like."""

Handler = Callable[..., Awaitable[Answer]]

_TEXT = "text/plain; charset=utf-8"
_NO_SNIFF = {"X-Content-Type-Options": "nosniff"}


class Route(NamedTuple):
    """A path, with groups for what varies in it, and what answers each method."""

    path: re.Pattern[str]
    handlers: dict[str, Handler]


class ToxiproxyServer:
    """Serves the API on a port of its own; made on the loop on which it is started.

    `read_order` reads the bodies of `POST /squall/faults`. Events go to `log`.
    """

    def __init__(self, *, rng: Random, read_order: ReadOrder, version: str = LIKE_VERSION) -> None:
        self._timers = Timers.of(asyncio.get_running_loop())
        self.log = EventLog(self._timers.now)
        self.proxies = Collection(self.log.observe, Random(rng.random()), itertools.count(1))
        self._rng = rng
        self._routes = list(_routes(self.proxies, self.log, self._timers, read_order, version))
        self._server = HTTPServer(self._handle)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self._server.address

    async def start(self, host: str = "127.0.0.1", port: int = 8474) -> None:
        """Listen. Raises OSError where the address cannot be had."""
        await self._server.start(host, port)

    async def stop(self) -> None:
        """Close the port, every proxy and every connection, within 2 s."""
        await asyncio.gather(self._server.stop(), self.proxies.stop())
        self._timers.release()

    async def _handle(self, request: Request) -> Answer:
        for route in self._routes:
            found = route.path.fullmatch(request.path)
            if found is None:
                continue
            handler = route.handlers.get(request.method) or route.handlers.get("*")
            if handler is None:
                return Answer(405)
            answer = await self._answer(request, handler, found.groupdict())
            headers = {"X-Toxiproxy-Request-Id": self._request_id(), **answer.headers}
            return Answer(answer.status, answer.body, answer.content_type, headers, answer.stream)
        return Answer(404, b"404 page not found\n", _TEXT, _NO_SNIFF)

    async def _answer(self, request: Request, handler: Handler, names: dict[str, str]) -> Answer:
        if request.headers.get("user-agent", "").startswith("Mozilla/"):
            return Answer(403, b"User agent not allowed\n", _TEXT, _NO_SNIFF)
        if "origin" in request.headers:
            return Answer(403, b"Origin not allowed\n", _TEXT, _NO_SNIFF)
        try:
            return await handler(request, **names)
        except APIError as error:
            body = f"{write(error.as_json())}\n".encode()
            return Answer(error.status, body, _TEXT, _NO_SNIFF)

    def _request_id(self) -> str:
        """20 letters and digits, as Toxiproxy's are."""
        text = base64.b32hexencode(self._rng.randbytes(12)).decode()
        return text[:20].lower()


def _routes(
    proxies: Collection, log: EventLog, timers: Timers, read_order: ReadOrder, version: str
) -> Iterator[Route]:
    toxi, own = Toxiproxy(proxies, version), Own(proxies, log, timers, read_order)
    for path, handlers in (
        ("/reset", {"POST": toxi.reset}),
        ("/proxies", {"GET": toxi.list_proxies, "POST": toxi.create_proxy}),
        ("/populate", {"POST": toxi.populate}),
        (
            "/proxies/{proxy}",
            {
                "GET": toxi.show_proxy,
                "POST": toxi.update_proxy,
                "PATCH": toxi.update_proxy,
                "DELETE": toxi.delete_proxy,
            },
        ),
        ("/proxies/{proxy}/toxics", {"GET": toxi.list_toxics, "POST": toxi.create_toxic}),
        (
            "/proxies/{proxy}/toxics/{toxic}",
            {
                "GET": toxi.show_toxic,
                "POST": toxi.update_toxic,
                "PATCH": toxi.update_toxic,
                "DELETE": toxi.delete_toxic,
            },
        ),
        ("/version", {"GET": toxi.version}),
        ("/metrics", {"*": toxi.metrics}),
        (
            "/squall/faults",
            {"GET": own.list_faults, "POST": own.create_fault, "DELETE": own.delete_faults},
        ),
        ("/squall/faults/{number}", {"DELETE": own.delete_fault}),
        ("/squall/connections", {"GET": own.list_connections}),
        ("/events", {"GET": own.events}),
    ):
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
        yield Route(re.compile(pattern), dict(handlers))
