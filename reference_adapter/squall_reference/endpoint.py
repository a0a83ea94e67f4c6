"""Where the exchange is, and what a failed dial or an ended connection means."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from squall_reference.actions import Loss

VERSION = "0.1.0"
USER_AGENT = f"squall-reference/{VERSION}"

# Frames carry credentials and tokens, and the library logs frames at DEBUG: not here, whatever
# level the program around it has chosen.
LOGGER = logging.getLogger("squall_reference.websockets")
LOGGER.setLevel(logging.INFO)

# What a dial raises when it is the network's or the exchange's fault.
DIAL_ERRORS = (OSError, EOFError, WebSocketException)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A WebSocket URL, a PEM file to trust for `wss://`, and an HTTP CONNECT proxy."""

    url: str
    ca_file: str | None = None
    http_proxy: str | None = None

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context for `wss://`: certificate and host name are always verified."""
        if not self.url.startswith("wss:"):
            return None
        return ssl.create_default_context(cafile=self.ca_file)


def wall_clock() -> float:
    """Unix time in seconds: for signatures and Retry-After dates, never for a time-out."""
    return datetime.now(UTC).timestamp()


def loss_of(error: BaseException, wall: Callable[[], float] = wall_clock) -> Loss:
    """What a failed dial or an ended connection tells about the next dial."""
    if isinstance(error.__cause__, InvalidStatus):
        error = error.__cause__  # A redirect that was not followed.
    if isinstance(error, InvalidStatus):
        response = error.response
        told = retry_after(response.headers.get("Retry-After"), wall)
        return Loss(
            f"the upgrade was refused with HTTP {response.status_code}", response.status_code, told
        )
    if isinstance(error, ConnectionClosed):
        if error.rcvd is None:
            return Loss("the connection ended without a Close frame")
        return Loss(f"closed by the exchange: {error.rcvd.code} {error.rcvd.reason}".rstrip())
    return Loss(str(error) or type(error).__name__)


def retry_after(header: str | None, wall: Callable[[], float] = wall_clock) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date (RFC 9110, 10.2.3)."""
    if header is None:
        return None
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - wall())
