"""Authentication: made afresh on each connection, refreshed before the token expires.

Deribit's default `connection` scope binds a token to its connection, so nothing is kept across
a loss but the count of rejections: credentials that are wrong do not become right by trying, and
`auth_attempts` rejections in a row end it (okx-api#83 went on for ever).

Three answers that say no are not the same: bad credentials are counted, a limit on logins is
waited out, anything else (maintenance, say) is retried.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from squall_reference import jsonrpc
from squall_reference.redial import full_jitter
from squall_reference.settings import Settings

_REJECTED = {
    jsonrpc.INVALID_CREDENTIALS,
    jsonrpc.UNAUTHORIZED,
    jsonrpc.SECURITY_KEY_ERROR,
}
_OVER_LIMIT = {jsonrpc.LOGIN_OVER_LIMIT, jsonrpc.SECURITY_KEY_OVER_LIMIT}


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key and its secret, which never shows in a repr."""

    key: str
    secret: str = field(repr=False)


class Login:
    """Where authentication stands, and when to ask for it next.

    `epoch` is the Unix time at which the clock that gives `now` read zero: a signature carries
    the time of day.
    """

    def __init__(
        self, credentials: Credentials, settings: Settings, rng: Random, epoch: float
    ) -> None:
        self.authenticated = False
        self.deadline: float | None = None
        self._credentials = credentials
        self._settings = settings
        self._rng = rng
        self._epoch = epoch
        self._refresh_token: str | None = None
        self._asking = False
        self._rejections = 0
        self._setbacks = 0

    def connected(self, now: float) -> None:
        """A new connection knows nothing of us."""
        self.disconnected()
        self.deadline = now

    def disconnected(self) -> None:
        """The token died with its connection."""
        self.authenticated = False
        self._refresh_token = None
        self._asking = False
        self.deadline = None

    def expired(self, now: float) -> None:
        """The exchange no longer takes our token."""
        self.authenticated = False
        self._refresh_token = None
        if not self._asking:
            self.deadline = now

    def ask(self, now: float) -> tuple[str, Mapping[str, Any]] | None:
        """The grant and the parameters of `public/auth`, if it is time to ask."""
        if self.deadline is None or self.deadline > now:
            return None
        self.deadline = None
        self._asking = True
        if self._refresh_token is not None:
            grant = "refresh_token"
            return grant, {"grant_type": grant, "refresh_token": self._refresh_token}
        grant = self._settings.auth_grant
        key, secret = self._credentials.key, self._credentials.secret
        if grant == "client_credentials":
            return grant, {"grant_type": grant, "client_id": key, "client_secret": secret}
        return grant, {"grant_type": grant, "client_id": key, **self._sign(secret, now)}

    def _sign(self, secret: str, now: float) -> dict[str, Any]:
        """Timestamp, nonce and signature, new each time: an old signature is refused.

        https://docs.deribit.com/#authentication: HMAC-SHA256 over the three lines timestamp,
        nonce, data.
        """
        timestamp = round((self._epoch + now) * 1000)
        nonce = f"{self._rng.getrandbits(64):016x}"
        signed = f"{timestamp}\n{nonce}\n".encode()
        signature = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        return {"timestamp": timestamp, "nonce": nonce, "data": "", "signature": signature}

    def granted(self, result: Any, now: float) -> bool:
        """Take the token; False where the answer holds none."""
        self._asking = False
        if not isinstance(result, dict):
            return False
        life, token = result.get("expires_in"), result.get("refresh_token")
        self.authenticated = True
        self._rejections = self._setbacks = 0
        self._refresh_token = token if isinstance(token, str) else None
        self.deadline = None
        if isinstance(life, int | float) and life > 0:
            self.deadline = now + life * self._settings.token_refresh_at
        return True

    def refused(self, grant: str, error: jsonrpc.Error, now: float) -> str | None:
        """Take a refusal; the reason for giving up for good, if it was one too many."""
        self._asking = False
        self._refresh_token = None
        if grant == "refresh_token":
            # The old token still lives for a while; full authentication follows at once.
            self.deadline = now
            return None
        if error.code in _REJECTED:
            self._rejections += 1
            if self._rejections >= self._settings.auth_attempts:
                return f"credentials rejected {self._rejections} times in a row: {error}"
            self.deadline = now + self._pause(self._rejections - 1)
        elif error.code in _OVER_LIMIT:
            self.deadline = now + _told_to_wait(error) + self._pause(0)
        else:
            self.deadline = now + self._pause(self._setbacks)
            self._setbacks += 1
        return None

    def unanswered(self, grant: str, now: float) -> bool:
        """The answer is overdue; False where only a new connection can help."""
        self._asking = False
        self._refresh_token = None
        self.deadline = now
        return grant == "refresh_token"

    def _pause(self, attempt: int) -> float:
        settings = self._settings
        return full_jitter(attempt, settings.auth_retry, settings.backoff_max, self._rng)


def _told_to_wait(error: jsonrpc.Error) -> float:
    """The seconds that a limit on logins asks for; ten where it does not say."""
    wait = error.data.get("wait") if isinstance(error.data, dict) else None
    return float(wait) if isinstance(wait, int | float) and wait >= 0 else 10.0
