"""What Deribit's protocol says, as far as the gallery speaks it (docs.deribit.com)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

UNAUTHORIZED = 13009
PERMANENT = (13004, 13021)
"""Errors that no further attempt can mend: invalid_credentials, forbidden."""


class Refusal(Exception):
    """The exchange answered a request with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code


def signed_login(key: str, secret: str, timestamp: int, nonce: str) -> Json:
    """The parameters of public/auth with a signature over the time and a nonce."""
    text = f"{timestamp}\n{nonce}\n"
    return {
        "grant_type": "client_signature",
        "client_id": key,
        "timestamp": timestamp,
        "nonce": nonce,
        "data": "",
        "signature": hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest(),
    }


def is_private(channel: str) -> bool:
    """Whether only a connection that has logged in may subscribe to it."""
    return channel.startswith("user.") or channel.endswith(".raw")


@dataclass(frozen=True)
class Numbers:
    """The number of a data message, and of the one that it follows."""

    seq: int
    follows: int
    snapshot: bool = False


def numbers(channel: str, data: Any) -> Numbers | None:
    """Books count their changes, trades each trade; other channels have no numbers."""
    match channel.partition(".")[0], data:
        case "book", {"prev_change_id": int(follows), "change_id": int(seq)}:
            return Numbers(seq, follows)
        case "book", {"change_id": int(seq)}:
            return Numbers(seq, seq - 1, snapshot=True)
        case "trades", [{"trade_seq": int(first)}, *_]:
            return Numbers(data[-1]["trade_seq"], first - 1)
    return None
