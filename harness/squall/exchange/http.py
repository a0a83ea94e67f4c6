"""The little HTTP that a venue's REST API needs: one request a connection, one answer.

The WebSocket library reads GET alone (and before its version 17 does not say so), while tokens are
fetched with POST.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from http import HTTPStatus

from squall.exchange.protocol import HttpAnswer, HttpRequest

_REQUEST_LINE = re.compile(r"([A-Z]+) (\S+) HTTP/1\.[01]")
_HEADER = re.compile(r"([^\s:]+):[ \t]*(.*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def upgrades(self) -> bool:
        """Whether it asks for a WebSocket."""
        return "upgrade" in self.headers

    @property
    def length(self) -> int | None:
        """How many bytes of body follow; None where that cannot be told."""
        if "transfer-encoding" in self.headers:
            return None
        length = self.headers.get("content-length", "0")
        return int(length) if _LENGTH.fullmatch(length) else None

    def request(self, body: bytes) -> HttpRequest:
        """The request, now that its body has come."""
        return HttpRequest(self.method, self.target, self.headers, body)


def head(data: bytes) -> Head | None:
    """The head in these bytes; None where they are no HTTP."""
    first, *lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    matches = [_HEADER.fullmatch(line) for line in lines]
    headers = {match[1].lower(): match[2] for match in matches if match}
    line = _REQUEST_LINE.fullmatch(first)
    if line is None or None in matches:
        return None
    return Head(line[1], line[2], headers)


def serialize(answer: HttpAnswer) -> bytes:
    """The answer as it goes over the wire."""
    body = answer.body.encode()
    phrase = HTTPStatus(answer.status).phrase
    lines = [f"HTTP/1.1 {answer.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in headers(answer, body).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def headers(answer: HttpAnswer, body: bytes) -> dict[str, str]:
    """The headers of an answer with this body."""
    found = {
        "Content-Type": answer.content_type,
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    if answer.retry_after is not None:
        found["Retry-After"] = str(math.ceil(answer.retry_after))
    return found
