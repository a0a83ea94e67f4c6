"""HTTP/1.1, as far as a relay must know it: heads, and how much body follows them (RFC 9112).

A reader splits one direction into its original bytes and the heads found among them. A head
comes in one piece, so that it can be rewritten; what turns out to be no HTTP is passed through
without a further look.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Generic, TypeVar

HEAD_LIMIT = 16 * 1024
HEAD_END = b"\r\n\r\n"
EXTENSIONS = "Sec-WebSocket-Extensions"

# Lengths of bodies whose end is found otherwise than by counting (RFC 9112 §6.3).
CHUNKED = -1
UNTIL_CLOSE = -2

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) (\S+) HTTP/1\.[01]")
_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-9][0-9]{2})(?: .*)?")
# No first line has a control character in it, or a first word so long that it must be no method.
_NO_FIRST_LINE = re.compile(rb"[^\r]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|[^ ]{33}")
_LINE_BREAK = re.compile(r"[\r\n]")


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request; `upgrade` tells whether it asks for WebSocket."""

    method: str
    path: str
    upgrade: bool
    body: int
    extensions: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an answer. `retry_after` is in seconds, None where it names a date."""

    status: int
    retry_after: float | None
    body: int
    extensions: str = ""

    @property
    def upgraded(self) -> bool:
        """From here on the connection speaks another protocol (RFC 9110 §15.2.2)."""
        return self.status == 101

    @property
    def interim(self) -> bool:
        """The real answer is still to come (RFC 9110 §15.2)."""
        return self.status < 200 and not self.upgraded


Head = TypeVar("Head", Request, Response)


class HeadReader(Generic[Head]):
    """Finds the heads in one direction and steps over the bodies."""

    def __init__(self, parse: Callable[[bytes], Head | None]) -> None:
        self._parse: Callable[[bytes], Head | None] = parse
        self._complete: Callable[[bytes], Head | None] = self._on_head
        self._stop = HEAD_END
        self._text = b""
        self._opaque = False
        self._body = 0

    def resume(self) -> None:
        """Expect a head next, whatever went before."""
        self._opaque = False
        self._body = 0
        self._expect(HEAD_END, self._on_head)

    @property
    def opaque(self) -> bool:
        """What follows is not HTTP."""
        return self._opaque

    def give_up(self) -> None:
        """What follows is not HTTP."""
        self._opaque = True

    @property
    def waits(self) -> bool:
        """A head has begun, and is held until the rest of it comes."""
        return self._stop == HEAD_END and bool(self._text)

    def flush(self) -> bytes:
        """What of a head has come in so far; there will be no more of it."""
        if not self.waits:
            return b""
        text, self._text = self._text, b""
        return text

    def feed(self, data: bytes) -> Iterator[tuple[bytes, Head | None]]:
        """These bytes in pieces, unchanged; with the piece that is a head, the head."""
        while data:
            if self._opaque:
                yield data, None
                return
            if self._body:
                piece, data = data[: self._body], data[self._body :]
                self._body -= len(piece)
                yield piece, None
                continue
            before = len(self._text)
            self._text += data
            in_head = self._stop == HEAD_END
            found = self._text.find(self._stop)
            if found < 0:
                if len(self._text) > HEAD_LIMIT or (in_head and self._is_odd(self._text)):
                    data = self.flush() or data
                    self.give_up()
                if self._opaque or not in_head:
                    yield data, None
                return
            size = found + len(self._stop)
            text, self._text = self._text[:size], b""
            piece, data = data[: size - before], data[size - before :]
            yield text if in_head else piece, self._complete(text)

    def _is_odd(self, text: bytes) -> bool:
        """Whether this is no beginning of a head: it says so in its first letter, word or line."""
        first, end, _ = text.partition(b"\n")
        # A head begins with a method or "HTTP"; TLS, for one, begins with no letter.
        if not text[:1].isalpha() or _NO_FIRST_LINE.match(first):
            return True
        return bool(end) and self._parse(first) is None

    def _expect(self, stop: bytes, complete: Callable[[bytes], Head | None]) -> None:
        self._text, self._stop, self._complete = b"", stop, complete

    def _on_head(self, text: bytes) -> Head | None:
        head = self._parse(text)
        if head is None or head.body == UNTIL_CLOSE:
            self.give_up()
        elif head.body == CHUNKED:
            self._expect(b"\r\n", self._on_chunk_size)
        else:
            self._body = head.body
        return head

    def _on_chunk_size(self, line: bytes) -> None:
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            return self.give_up()
        if size:
            self._body = size + len(b"\r\n")
        else:
            self._expect(b"\r\n", self._on_trailer)
        return None

    def _on_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self._expect(HEAD_END, self._on_head)


def parse_request(text: bytes) -> Request | None:
    """The head of a request, or None where the text is none."""
    first, fields = _split(text)
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        return None
    method, path = line.groups()
    upgrade = method == "GET" and "websocket" in fields.get("upgrade", "").lower()
    extensions = fields.get(EXTENSIONS.lower(), "")
    return Request(method, path, upgrade, _body_size(fields, otherwise=0), extensions)


def parse_response(text: bytes, method: str) -> Response | None:
    """The head of the answer to a request of this method, or None where the text is none."""
    first, fields = _split(text)
    line = _STATUS_LINE.fullmatch(first)
    if line is None:
        return None
    status = int(line[1])
    after = fields.get("retry-after", "")
    bodiless = method == "HEAD" or status < 200 or status in (204, 304)
    return Response(
        status,
        retry_after=float(after) if after.isascii() and after.isdigit() else None,
        body=0 if bodiless else _body_size(fields, otherwise=UNTIL_CLOSE),
        extensions=fields.get(EXTENSIONS.lower(), ""),
    )


def with_field(head: bytes, name: str, value: str) -> bytes:
    """The head with this field, in place of any others of the name; an empty value removes it."""
    first, *lines = head.removesuffix(HEAD_END).split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() != _lower(name)]
    if value:
        index = next((i for i, line in enumerate(lines) if line not in kept), len(kept))
        kept.insert(index, f"{name}: {value}".encode("latin-1"))
    return b"\r\n".join((first, *kept)) + HEAD_END


def _lower(name: str) -> bytes:
    return name.lower().encode()


def _split(text: bytes) -> tuple[str, dict[str, str]]:
    """First line, and fields by lower-case name; repeated ones joined (RFC 9110 §5.2)."""
    first, *lines = text.decode("latin-1").rstrip("\r\n").split("\r\n")
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return first, fields


def _body_size(fields: Mapping[str, str], otherwise: int) -> int:
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return CHUNKED
    length = fields.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else otherwise


def answer(status: int, headers: Mapping[str, str], body: str, reason: str | None) -> bytes:
    """A whole response after which the connection is closed.

    `headers` override the ones that are set here. Raises ValueError for what no response is.
    """
    if not 200 <= status <= 599:
        raise ValueError(f"status is {status}; the answer to a request is 200 to 599")
    if reason is None:
        reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    content = body.encode()
    fields = {"Content-Length": str(len(content)), "Connection": "close"}
    for name, value in headers.items():
        fields = {known: fields[known] for known in fields if known.lower() != name.lower()}
        fields[name] = value
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {fields[name]}" for name in fields)]
    for line in lines:
        if _LINE_BREAK.search(line):
            raise ValueError(f"a line break cannot stand in a header: {line!r}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1", "replace") + content
