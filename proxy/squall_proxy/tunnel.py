"""The beginning of a connection to an HTTP proxy: CONNECT, and its answer (RFC 9110 §9.3.6).

Adapters whose host is hard-coded are led here by `https_proxy`. Whatever host they name, the
tunnel leads to the proxy's own upstream. There is no I/O here.
"""

from __future__ import annotations

from http import HTTPStatus

from squall_proxy.http1 import HEAD_END, HEAD_LIMIT, parse_request

_TLS_HANDSHAKE = 0x16  # the type of a TLS record that holds a ClientHello (RFC 8446 §5.1)
_ONLY_CONNECT = b"This proxy makes tunnels: use CONNECT, as clients do for https and wss.\n"


class TunnelRequest:
    """Reads what comes before the tunnel, and says what to answer."""

    def __init__(self) -> None:
        self.answered = False
        self.target: tuple[str, int] | None = None
        self._head = b""
        self._complete = False

    def feed(self, data: bytes) -> bytes | None:
        """What follows the request's head; None while that is not complete."""
        if self._complete:
            return data
        self._head += data
        head, end, rest = self._head.partition(HEAD_END)
        if not end and len(self._head) <= HEAD_LIMIT:
            return None
        self._complete = True
        request = parse_request(head + HEAD_END) if end else None
        if request is not None and request.method == "CONNECT":
            self.target = _authority(request.path)
        return rest

    def answer(self, refused: int | None) -> bytes:
        """The answer to the request: a tunnel, `refused`, or 501 for what is no CONNECT."""
        self.answered = True
        if refused is None and self.target is not None:
            return b"HTTP/1.1 200 Connection established\r\n\r\n"
        status = HTTPStatus.NOT_IMPLEMENTED if refused is None else refused
        known = status in HTTPStatus._value2member_map_
        reason = HTTPStatus(status).phrase if known else "Refused"
        body = _ONLY_CONNECT if refused is None else b""
        head = (
            f"HTTP/1.1 {int(status)} {reason}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body

    @staticmethod
    def speaks_tls(data: bytes) -> bool:
        """Whether the client begins with a ClientHello."""
        return data[0] == _TLS_HANDSHAKE


def _authority(text: str) -> tuple[str, int] | None:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 0xFFFF:
        return None
    return host.strip("[]"), int(port)
