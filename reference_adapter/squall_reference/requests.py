"""Requests that wait for their answer. Each ends: by answer, by time-out, or by a lost connection.

Ids are never used twice, not even on another connection, so that a late answer cannot be taken
for that of another request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from squall_reference import jsonrpc
from squall_reference.subscriptions import Ask


@dataclass(frozen=True, slots=True)
class SetHeartbeat:
    """Asks for the exchange's heartbeat."""


@dataclass(frozen=True, slots=True)
class AnswerTestRequest:
    """Answers the exchange's test_request."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Asks for a token, by `grant`."""

    grant: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """Asks to serve channels, or to serve them no longer."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class CancelOnDisconnect:
    """Asks to cancel open orders when the connection is lost."""


@dataclass(frozen=True, slots=True)
class QueryOrders:
    """Asks for the open orders."""


@dataclass(frozen=True, slots=True)
class Command:
    """A request of the user, an order say; `tag` is how the user knows it."""

    tag: Any
    private: bool


Purpose = (
    SetHeartbeat
    | AnswerTestRequest
    | Authenticate
    | Subscription
    | CancelOnDisconnect
    | QueryOrders
    | Command
)


class Requests:
    """The requests in flight."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._pending: dict[int | str | None, tuple[Purpose, float]] = {}

    def issue(self, purpose: Purpose, method: str, params: Mapping[str, Any], due: float) -> str:
        """The message to send for a new request, whose answer is due at `due`."""
        id = next(self._ids)
        self._pending[id] = (purpose, due)
        return jsonrpc.encode(id, method, params)

    def remind(self, purpose: Purpose, due: float) -> None:
        """Treat `purpose` as unanswered at `due`: it was refused, and is to be tried again."""
        self._pending[next(self._ids)] = (purpose, due)

    def answered(self, id: int | str | None) -> Purpose | None:
        """What the answer with this id is about; None for a late or unknown one."""
        purpose, _ = self._pending.pop(id, (None, 0.0))
        return purpose

    def overdue(self, now: float) -> list[Purpose]:
        """Requests whose time is over; they wait no longer."""
        late = [id for id, (_, due) in self._pending.items() if due <= now]
        return [self._pending.pop(id)[0] for id in late]

    def lost(self) -> list[Purpose]:
        """The connection is gone: no request of it will ever be answered."""
        purposes = [purpose for purpose, _ in self._pending.values()]
        self._pending.clear()
        return purposes

    @property
    def deadline(self) -> float | None:
        """When the next request is overdue."""
        return min((due for _, due in self._pending.values()), default=None)
