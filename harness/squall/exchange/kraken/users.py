"""Kraken's tokens: fetched over signed HTTP, sent with every private request.

A token must be used within 15 minutes; from then on it is good for as long as a private
subscription uses it (docs.kraken.com, GetWebSocketsToken). The signature is HMAC-SHA512 over the
path and SHA256 of nonce and body, and a nonce must be more than the one before it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qsl

from squall.exchange.core import Exchange
from squall.exchange.kraken import wire
from squall.exchange.kraken.wire import failure
from squall.exchange.protocol import HttpRequest
from squall.exchange.session import Session
from squall.exchange.tokens import Token, fingerprint

TOKEN_PATH = "/0/private/GetWebSocketsToken"
GRANT = "client_signature"
_SCOPE = "websockets"


def signature(secret: str, path: str, nonce: str, body: str) -> str:
    """The header API-Sign; the secret is Base64."""
    digest = hashlib.sha256((nonce + body).encode()).digest()
    key = base64.b64decode(secret)
    return base64.b64encode(hmac.new(key, path.encode() + digest, hashlib.sha512).digest()).decode()


def material(request: HttpRequest) -> str:
    """A fingerprint of what makes a request for a token fresh."""
    return fingerprint(_nonce(request), request.headers.get("api-sign"))


def check(exchange: Exchange, request: HttpRequest) -> None:
    """Raise unless the request is signed, with a nonce that is new."""
    account, nonce = exchange.account, _nonce(request)
    if account.withdrawn or request.headers.get("api-key") != account.key:
        raise failure(wire.BAD_KEY)
    body = request.body.decode("latin-1")
    if request.headers.get("api-sign") != signature(account.secret, request.path, nonce, body):
        raise failure(wire.BAD_SIGNATURE)
    if not (nonce.isascii() and nonce.isdigit()) or not account.last_nonce < int(nonce):
        raise failure(wire.BAD_NONCE)
    account.last_nonce = int(nonce)


def _nonce(request: HttpRequest) -> str:
    body = request.body.decode("latin-1")
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        found = dict(parse_qsl(body))
    return str(found.get("nonce", "")) if isinstance(found, dict) else ""


def fetch(exchange: Exchange, number: int) -> dict[str, Any]:
    """GetWebSocketsToken: each call gives a new one, and those before it stay good."""
    lifetime = exchange.settings.token_lifetime
    token = exchange.account.grant(number, GRANT, f"{_SCOPE}-{number}", lifetime)
    return {"token": token.access, "expires": int(lifetime)}


def live(exchange: Exchange, access: str | None) -> Token | None:
    """The token with this text, where it is good."""
    token = exchange.account.tokens.find(access) if access else None
    return token if token is not None and token.live(exchange.now) else None


def hold(exchange: Exchange, session: Session, access: str | None) -> None:
    """A private subscription of this connection keeps the token alive."""
    token = live(exchange, access)
    assert token is not None, "the request was authorised"
    exchange.account.tokens.hold(token, session.number)
    exchange.account.bind(session, token)


def release(exchange: Exchange, session: Session) -> None:
    """No private subscription of this connection uses its token any more."""
    if session.token is not None:
        session.token.holders.discard(session.number)
