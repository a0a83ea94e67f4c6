"""permessage-deflate (RFC 7692), kept in such a state that one message can be lost.

With context takeover each message is compressed with the ones before it as its dictionary: after
a message that was dropped or changed, the next ones inflate to an error or, worse, to something
else that looks right. So the proxy negotiates the extension without it: `independent` rewrites
offer and answer, `off` takes the offer out. `as_offered` leaves all as it is; messages that are
compressed with a context are then left alone by every rule.
"""

from __future__ import annotations

import zlib
from typing import Literal, NamedTuple

Compression = Literal["independent", "off", "as_offered"]

EXTENSION = "permessage-deflate"
SERVER_INDEPENDENT = "server_no_context_takeover"
CLIENT_INDEPENDENT = "client_no_context_takeover"

# What a sender left off the end of each message (RFC 7692 §7.2.1).
_TAIL = b"\x00\x00\xff\xff"


class Agreement(NamedTuple):
    """What of each direction can be inflated message by message."""

    client_to_server: bool = True
    server_to_client: bool = True


INDEPENDENT = Agreement()


def offered(extensions: str, compression: Compression) -> str:
    """The client's Sec-WebSocket-Extensions as the server gets it; empty for none."""
    if compression == "as_offered":
        return extensions
    offers = _listed(extensions)
    if compression == "off":
        return ", ".join(each for each in offers if not _is_deflate(each))
    return ", ".join(
        _with(each, SERVER_INDEPENDENT, CLIENT_INDEPENDENT) if _is_deflate(each) else each
        for each in offers
    )


def answered(extensions: str, compression: Compression) -> str:
    """The server's Sec-WebSocket-Extensions as the client gets it.

    The client's part may be asked of it here, offered or not (RFC 7692 §7.1.1.2); the server's
    part is a promise that only the server can give.
    """
    if compression != "independent":
        return extensions
    return ", ".join(
        _with(each, CLIENT_INDEPENDENT) if _is_deflate(each) else each
        for each in _listed(extensions)
    )


def agreed(extensions: str) -> Agreement:
    """What follows from the answer that the client gets."""
    for each in _listed(extensions):
        if _is_deflate(each):
            names = _parameters(each)
            return Agreement(CLIENT_INDEPENDENT in names, SERVER_INDEPENDENT in names)
    return Agreement()


def inflated(payload: bytes, limit: int) -> bytes | None:
    """A message that was compressed by itself; None where it is broken, or larger than that."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        message = inflater.decompress(payload + _TAIL, limit)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else message


def _listed(extensions: str) -> list[str]:
    return [each for each in (part.strip() for part in extensions.split(",")) if each]


def _is_deflate(extension: str) -> bool:
    return extension.partition(";")[0].strip().lower() == EXTENSION


def _parameters(extension: str) -> list[str]:
    _, *parameters = extension.split(";")
    return [each.partition("=")[0].strip().lower() for each in parameters]


def _with(extension: str, *names: str) -> str:
    missing = [name for name in names if name not in _parameters(extension)]
    return "; ".join((extension, *missing))
