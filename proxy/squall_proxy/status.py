"""What a connection, and all of a proxy's together, have carried so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Traffic:
    """Bytes that came from either side, and bytes that were passed on."""

    from_client: int = 0
    to_server: int = 0
    from_server: int = 0
    to_client: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.from_client + other.from_client,
            self.to_server + other.to_server,
            self.from_server + other.from_server,
            self.to_client + other.to_client,
        )


@dataclass(frozen=True)
class Status:
    """A live connection: its number, where its client is, its age, and the faults on it."""

    number: int
    peer: str
    seconds: float
    traffic: Traffic
    faults: tuple[int, ...] = ()
