"""Deribit's logins: grants, scopes and signatures (https://docs.deribit.com/#public-auth)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from squall.exchange.core import Exchange
from squall.exchange.deribit import params
from squall.exchange.deribit.params import Params
from squall.exchange.deribit.wire import failure
from squall.exchange.protocol import Request
from squall.exchange.session import Session
from squall.exchange.tokens import Token, fingerprint

GRANTS = ("client_credentials", "client_signature", "refresh_token")
_MATERIAL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "client_signature": ("timestamp", "nonce", "data", "signature"),
        "refresh_token": ("refresh_token",),
    }
)
_GRANTED = "account:read_write block_trade:read_write trade:read_write wallet:read_write"
_SESSION = re.compile(r"(?:^|\s)(session:\S+)")
_EXPIRES = re.compile(r"(?:^|\s)expires:(\d{1,9})(?:\s|$)")


def material(found: Params) -> str:
    """A fingerprint of what makes a login fresh: a replay has the same one."""
    fresh = _MATERIAL.get(str(found.get("grant_type")), ("client_id", "client_secret"))
    return fingerprint(*(found.get(name) for name in fresh))


def signature(secret: str, timestamp: object, nonce: str, data: str) -> str:
    """HMAC-SHA256 over timestamp, nonce and data, a line each."""
    signed = f"{timestamp}\n{nonce}\n{data}".encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def auth(exchange: Exchange, session: Session, request: Request) -> dict[str, Any]:
    """public/auth: a token for this connection, or for every one that names the session."""
    found = request.params
    grant = params.choice(found, "grant_type", *GRANTS)
    if grant == "refresh_token":
        scope = _redeem(exchange, session, found)
    else:
        _check_credentials(exchange, found, grant)
        scope = params.text(found, "scope", "")
    named = _SESSION.search(scope)
    lifetime = _lifetime(exchange, scope)
    token = exchange.account.login(
        session,
        grant,
        named[1] if named else "connection",
        reusable=named is not None,
        lifetime=lifetime,
    )
    return _granted(token, lifetime, session)


def _check_credentials(exchange: Exchange, found: Params, grant: str) -> None:
    account = exchange.account
    right = params.text(found, "client_id") == account.key
    if grant == "client_credentials":
        given = params.text(found, "client_secret")
        expected = account.secret
    else:
        # That a signature is at most a minute old is not enforced: the mock has no wall clock
        # in common with the client. A replay shows in the history, as repeated material.
        timestamp = found.get("timestamp")
        if isinstance(timestamp, bool) or not isinstance(timestamp, int | str):
            raise failure(-32602, param="timestamp", reason="must be milliseconds since 1970")
        given = params.text(found, "signature").lower()
        nonce, data = params.text(found, "nonce", ""), params.text(found, "data", "")
        expected = signature(account.secret, timestamp, nonce, data)
    if not (right and given == expected):
        raise failure(13004)


def _redeem(exchange: Exchange, session: Session, found: Params) -> str:
    token = exchange.account.tokens.redeem(params.text(found, "refresh_token"))
    if token is None:
        raise failure(-32602, param="refresh_token", reason="is not valid")
    if token.connection not in (None, session.number):
        raise failure(13009, reason="'connection' scope can't be reused for other connections")
    return token.scope


def _lifetime(exchange: Exchange, scope: str) -> float:
    asked = _EXPIRES.search(scope)
    lifetime = exchange.settings.token_lifetime
    return min(lifetime, float(asked[1])) if asked else lifetime


def _granted(token: Token, lifetime: float, session: Session) -> dict[str, Any]:
    return {
        "access_token": token.access,
        "refresh_token": token.refresh,
        # Deribit gives whole seconds; a scenario may want tokens that live for less than one.
        "expires_in": int(lifetime) if lifetime >= 1 else lifetime,
        "scope": f"{token.scope} {_GRANTED}",
        "token_type": "bearer",
        "sid": fingerprint(session.number, token.scope),
        "enabled_features": [],
    }
