"""What the exchange wants done on the wire."""

from __future__ import annotations

from dataclasses import dataclass

from squall.exchange.protocol import HttpAnswer


@dataclass(frozen=True, slots=True)
class Send:
    """Send a text message on each of these connections."""

    connections: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Close:
    """Begin the closing handshake, or answer the one that was left unanswered."""

    connection: int
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Drop the TCP connection without a Close frame."""

    connection: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a WebSocket ping with this payload."""

    connection: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the HTTP request of this connection."""

    connection: int
    answer: HttpAnswer


Action = Send | Close | Abort | Ping | Answer
