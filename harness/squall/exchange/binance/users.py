"""Who a Binance client is: signatures, logons and listenKeys.

A request is signed with HMAC-SHA256 over its parameters and bears a timestamp that may lie at most
`recvWindow` behind the venue's clock (web-socket-api.md, "SIGNED request security"). A listenKey
lives for 60 minutes from its last keepalive (user-data-stream.md, as margin and futures still have
it). The venue itself takes Ed25519 alone for `session.logon`; this mock has one HMAC key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from squall.exchange.binance.wire import failure
from squall.exchange.core import Exchange
from squall.exchange.protocol import HttpRequest, Request
from squall.exchange.session import Session
from squall.exchange.tokens import Token, fingerprint

LISTEN_KEY = "listenKey"
GRANT = "client_signature"
_KEY_GRANT = "api_key"
_AHEAD_MS = 1000
_LONGEST_WINDOW_MS = 60_000


def signature(secret: str, payload: str) -> str:
    """HMAC-SHA256 over the payload, in hexadecimal."""
    signed = payload.encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def payload(params: Mapping[str, Any]) -> str:
    """What a request of the WebSocket API signs: its parameters in alphabetical order."""
    signed = sorted((name, _text(value)) for name, value in params.items() if name != "signature")
    return "&".join(f"{name}={value}" for name, value in signed)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def material(params: Mapping[str, Any]) -> str:
    """A fingerprint of what makes a signature fresh; empty where there is none."""
    if "signature" not in params:
        return ""
    return fingerprint(params.get("timestamp"), params.get("signature"))


def check(exchange: Exchange, params: Mapping[str, Any], signed: str) -> None:
    """Raise the venue's error unless the parameters are signed, and not stale."""
    account = exchange.account
    if account.withdrawn or params.get("apiKey") != account.key:
        raise failure(-2015)
    timestamp = _number(params.get("timestamp"))
    if timestamp is None:
        raise failure(-1102, "Mandatory parameter 'timestamp' was not sent or is malformed.")
    window = _number(params.get("recvWindow", exchange.settings.receive_window * 1000))
    now = exchange.wall_clock * 1000
    allowed = min(window or 0.0, _LONGEST_WINDOW_MS)
    if not now - allowed <= timestamp < now + _AHEAD_MS:
        raise failure(-1021)
    if params.get("signature") != signature(account.secret, signed):
        raise failure(-1022)


def _number(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        return float(found)
    except (ValueError, OverflowError):
        return None


def logon(exchange: Exchange, session: Session, request: Request) -> None:
    """Log the connection in, for as long as it lives."""
    check(exchange, request.params, payload(request.params))
    exchange.account.login(session, GRANT, "connection", reusable=False, lifetime=None)


# --- listenKeys ----------------------------------------------------------------------------------


def live_key(exchange: Exchange, key: str | None) -> Token | None:
    """The listenKey with this text, where it is good."""
    token = exchange.account.tokens.find(key) if key else None
    good = token is not None and token.scope == LISTEN_KEY and token.live(exchange.now)
    return token if good else None


def create_key(exchange: Exchange, number: int, request: HttpRequest) -> dict[str, str]:
    """POST: a new listenKey, or the one that there is with its life begun anew."""
    _check_key_of(exchange, request)
    lifetime = exchange.settings.listen_key_lifetime
    token = exchange.account.tokens.latest(LISTEN_KEY)
    if token is not None and token.live(exchange.now):
        exchange.account.renew(number, _KEY_GRANT, token, lifetime)
    else:
        token = exchange.account.grant(number, _KEY_GRANT, LISTEN_KEY, lifetime)
    return {"listenKey": token.access}


def keep_key(exchange: Exchange, request: HttpRequest, key: str) -> dict[str, str]:
    """PUT: another 60 minutes."""
    _check_key_of(exchange, request)
    token = live_key(exchange, key)
    if token is None:
        raise failure(-1125)
    token.expires_at = exchange.now + exchange.settings.listen_key_lifetime
    return {}


def close_key(exchange: Exchange, request: HttpRequest, key: str) -> dict[str, str]:
    """DELETE: the key is good no longer, and its streams end."""
    _check_key_of(exchange, request)
    token = live_key(exchange, key)
    if token is None:
        raise failure(-1125)
    exchange.account.tokens.revoke_one(token)
    token.end_reported = True
    for session in exchange.live_sessions():
        if session.token is token:
            exchange.broadcast.unsubscribe_private(session)
    return {}


def _check_key_of(exchange: Exchange, request: HttpRequest) -> None:
    account = exchange.account
    if account.withdrawn or request.headers.get("x-mbx-apikey") != account.key:
        raise failure(-2015)
