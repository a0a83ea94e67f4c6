"""The requests of a connection and their answers: told, and answered in the server's stead."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from squall_proxy.faults import Flap, Http
from squall_proxy.faults.base import How
from squall_proxy.harm import Harm
from squall_proxy.http1 import HEAD_END, Request, Response, answer, parse_response
from squall_proxy.injection import Injection, Observe
from squall_proxy.relay import Relay
from squall_proxy.timers import Timers


class Host(Protocol):
    """A connection, as far as its upgrade is concerned."""

    number: int
    over: bool
    observe: Observe
    timers: Timers
    up: Relay
    down: Relay

    @property
    def met(self) -> Injection | None:
        """The listener's fault that it came up under."""

    @property
    def harm(self) -> Harm:
        """What faults do to it."""

    def finish(self) -> None:
        """End it by FIN, behind what is in flight."""


class Upgrade:
    """Listens to the conversation of one connection."""

    __slots__ = ("_host", "timers")

    def __init__(self, host: Host) -> None:
        self._host = host
        self.timers = host.timers

    def requested(self, request: Request) -> None:
        """The head of a request came, and is about to be passed on."""
        host = self._host
        host.observe(
            "upgrade_requested",
            host.number,
            method=request.method,
            path=request.path,
            upgrade=request.upgrade,
        )
        injection = host.met
        match injection.fault if injection else None:
            case Http(status, headers, body, reason) if injection and not host.over:
                injection.bite(host.number)
                self._reply(request, answer(status, headers, body, reason))

    def _reply(self, request: Request, reply: bytes) -> None:
        """Answer in the server's stead, and end the connection."""
        host = self._host
        host.up.close_input()
        host.down.insert(reply)
        response = parse_response(reply.partition(HEAD_END)[0], request.method)
        if request.upgrade and response is not None:
            host.down.mark(partial(self._refused, response, "proxy"))
        host.finish()

    def answered(self, response: Response) -> None:
        """The head of the answer was passed on."""
        host = self._host
        if not response.upgraded:
            self._refused(response, "exchange")
            return
        host.observe("upgraded", host.number)
        match host.met.fault if host.met else None:
            case Flap(after=after):
                host.harm.flap_in(after)

    def _refused(self, response: Response, by: str) -> None:
        self._host.observe(
            "upgrade_refused",
            self._host.number,
            status=response.status,
            retry_after=response.retry_after,
            by=by,
        )

    def bitten(self, number: int) -> None:
        """A rule has changed something."""
        self._host.harm.bitten(number)

    def cut_by(self, number: int, how: How) -> None:
        """A rule ends the connection."""
        self._host.harm.cut_by(number, how)
