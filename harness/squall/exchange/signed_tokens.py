"""Tokens of a venue that runs as several processes: any of them knows the tokens of all.

The text of a token says what it is good for and is signed with the key that the processes share,
so that a client may log in with one process and come back to another. What has become of a token
since it was issued is known only where that happened: a refresh token works once in each process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import random

from squall.exchange.membership import Membership
from squall.exchange.tokens import Token, Tokens

ACCESS, REFRESH = "access", "refresh"
MOST_SPENT = 65_536
_TAG_BYTES = 15


class SignedTokens(Tokens):
    """Tokens that other processes accept, and that accepts theirs."""

    def __init__(self, rng: random.Random, member: Membership) -> None:
        super().__init__(rng)
        self._member = member
        self._serials = itertools.count(1)
        self._expired_until = self._revoked_until = float("-inf")
        # In the order in which they were spent; the oldest are forgotten.
        self._spent: dict[str, None] = {}

    def find(self, access: str) -> Token | None:
        """The token with this text, whoever has issued it."""
        known = super().find(access)
        return known or (None if access in self._spent else self._adopt(ACCESS, access))

    def revoke_one(self, token: Token) -> None:
        """This token is valid no longer in this process."""
        super().revoke_one(token)
        self._remember(token.access)

    def redeem(self, refresh: str) -> Token | None:
        """The token that this refresh token belongs to. It works once in each process."""
        if refresh not in self._by_refresh and refresh not in self._spent:
            self._adopt(REFRESH, refresh)
        return super().redeem(refresh)

    def expire(self, now: float) -> None:
        """End the life of every access token, those of other processes too."""
        super().expire(now)
        self._expired_until = now

    def revoke(self, now: float) -> None:
        """Forget them all, those of other processes too."""
        super().revoke(now)
        self._revoked_until = now

    def _spend(self, token: Token) -> None:
        super()._spend(token)
        self._remember(token.refresh)

    def _remember(self, text: str) -> None:
        self._spent[text] = None
        if len(self._spent) > MOST_SPENT:
            del self._spent[next(iter(self._spent))]

    def _make(
        self, scope: str, connection: int | None, expires_at: float, now: float, refreshable: bool
    ) -> Token:
        serial = f"{self._member.number}-{next(self._serials)}"
        said = json.dumps([serial, scope, connection, expires_at, now, refreshable])
        body = base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")
        access, refresh = self._sign(ACCESS, body), self._sign(REFRESH, body)
        return Token(access, refresh, scope, connection, expires_at, refreshable)

    def _adopt(self, kind: str, text: str) -> Token | None:
        """The token that another process has issued, as far as it is still good."""
        prefix, _, rest = text.partition(".")
        body, _, _ = rest.partition(".")
        if prefix != kind or not hmac.compare_digest(
            self._sign(kind, body).encode(), text.encode("utf-8", "surrogatepass")
        ):
            return None
        said = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        _, scope, connection, expires_at, issued_at, refreshable = json.loads(said)
        access, refresh = self._sign(ACCESS, body), self._sign(REFRESH, body)
        if issued_at <= self._revoked_until:
            return None
        self._forget_the_dead(issued_at)
        token = Token(access, refresh, scope, connection, expires_at, refreshable)
        if issued_at <= self._expired_until < expires_at:
            token.expires_at = self._expired_until
            token.expired_by_fault = True
        self._by_access[access] = token
        if refreshable and refresh not in self._spent:
            self._by_refresh[refresh] = token
        return token

    def _sign(self, kind: str, body: str) -> str:
        tag = hmac.digest(self._member.key, f"{kind}.{body}".encode(), hashlib.sha256)
        return f"{kind}.{body}.{base64.urlsafe_b64encode(tag[:_TAG_BYTES]).decode()}"
