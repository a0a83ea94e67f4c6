"""Faults that new connections meet: refused, ended soon after they came up, answered with HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from squall_proxy.faults.base import ListenerFault, Seconds, check_not_negative
from squall_proxy.frames import close_frame
from squall_proxy.http1 import answer


@dataclass(frozen=True)
class Refuse(ListenerFault):
    """New connections are refused by the kernel, or accepted and then reset or closed at once."""

    name: ClassVar[str] = "refuse"
    how: Literal["refused", "reset", "closed"] = "refused"


@dataclass(frozen=True)
class Flap(ListenerFault):
    """New connections work, and are ended `after` they came up.

    With `upgrade` that is when the exchange's 101 was passed on; without, it is when the
    connection was accepted, and the exchange is not dialled at all.
    """

    name: ClassVar[str] = "flap"
    after: Seconds = 0.0
    how: Literal["close", "fin", "rst"] = "close"
    code: int = 1000
    upgrade: bool = True

    def __post_init__(self) -> None:
        check_not_negative(self, "after")
        if self.how == "close":
            close_frame(self.code)
            if not self.upgrade:
                raise ValueError("flap: a Close frame needs an upgrade; set `how` to fin or rst")

    @property
    def needs_websocket(self) -> bool:
        """Only where it waits for the upgrade."""
        return self.upgrade

    @property
    def dials(self) -> bool:
        """Only where there is to be an upgrade."""
        return self.upgrade


@dataclass(frozen=True)
class Http(ListenerFault):
    """Requests on new connections are answered with `status`; the exchange is not dialled."""

    name: ClassVar[str] = "http"
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    reason: str | None = None

    def __post_init__(self) -> None:
        answer(self.status, self.headers, self.body, self.reason)

    @property
    def needs_websocket(self) -> bool:
        """It answers HTTP requests, so it must read them."""
        return True
