"""The life of one connection of the adapter, from the dial to its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from squall.history import Event
from squall.service import CUTS


@dataclass(eq=False)
class Connection:
    """One connection of the adapter, from the dial to its end."""

    number: int
    dialled: Event | None = None
    requested: Event | None = None
    upgraded: Event | None = None
    refused: Event | None = None
    client_closed: Event | None = None
    closed: Event | None = None
    dropped: Event | None = None
    ended: Event | None = None
    struck: list[Event] = field(default_factory=list)

    @property
    def websocket(self) -> bool:
        """Whether it is, or was meant to become, a WebSocket connection; else it is plain HTTP."""
        if self.requested is not None:
            return bool(self.requested.get("upgrade", True))
        return self.dialled is None or self.dialled.get("listener") != "rest"

    @property
    def cut(self) -> Event | None:
        """The fault that ended it, where one did."""
        return next((event for event in self.struck if event["fault"] in CUTS), None)

    @property
    def left(self) -> Event | None:
        """When the adapter's side was gone: it closed, or the proxy took the connection away."""
        return self.client_closed or self.closed

    @property
    def lost(self) -> Event | None:
        """What ended it, where that was not the adapter's own doing."""
        if self.upgraded is None or self.ended is None:
            return None
        flapped = any(event["fault"] == "flap" for event in self.struck)
        sent_away = self.dropped is not None and self.dropped.get("by") == "exchange"
        own_doing = self.ended.kind == "client_closed" or self.ended.get("by") == "client"
        return self.ended if flapped or sent_away or not own_doing else None


def dialled(connection: Connection) -> Event:
    """The dial of a connection that is known to have one."""
    assert connection.dialled is not None
    return connection.dialled
