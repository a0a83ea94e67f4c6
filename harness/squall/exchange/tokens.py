"""Access tokens: whose they are, how long they live, and on which connection they may be used.

A token of scope `connection` is valid on its own connection alone and dies with it; one of scope
`session:NAME` may be used on others
(https://docs.deribit.com/articles/connection-management-best-practices). A second login under the
same session name invalidates the refresh token of the first
(https://github.com/nautechsystems/nautilus_trader/pull/3402).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import deque

REMEMBERED = 256


def fingerprint(*parts: object) -> str:
    """A short name for something secret, from which it cannot be told."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Token:
    """An access token and the refresh token that came with it.

    `connection` is the only connection on which it is valid, None where any will do. As long as
    it has `holders`, connections that keep it alive by using it, its time does not count. A venue
    whose tokens are fetched anew has none that are `refreshable`.
    """

    def __init__(
        self,
        access: str,
        refresh: str,
        scope: str,
        connection: int | None,
        expires_at: float,
        refreshable: bool = True,
    ) -> None:
        self.access = access
        self.refresh = refresh
        self.scope = scope
        self.connection = connection
        self.expires_at = expires_at
        self.refreshable = refreshable
        self.holders: set[int] = set()
        self.expired_by_fault = False
        self.end_reported = False

    @property
    def fingerprint(self) -> str:
        """What the history calls this token."""
        return fingerprint(self.access)

    def live(self, now: float) -> bool:
        """Whether its time is not over."""
        return bool(self.holders) or now < self.expires_at


class Tokens:
    """The tokens that the venue would accept."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._by_access: dict[str, Token] = {}
        self._by_refresh: dict[str, Token] = {}
        self._by_scope: dict[str, Token] = {}
        self._bound: dict[int, list[Token]] = {}
        self._held: dict[int, list[Token]] = {}
        self._latest: deque[Token] = deque(maxlen=REMEMBERED)
        self._tidy_at = 0

    def __len__(self) -> int:
        return len(self._by_access)

    def secrets(self) -> list[tuple[str, str]]:
        """The tokens of the latest logins, each with what it is.

        Those that have died are among them: a line of output is read after it was printed.
        """
        return [
            secret
            for token in self._latest
            for secret in (("an access token", token.access), ("a refresh token", token.refresh))
        ]

    def issue(
        self,
        scope: str,
        connection: int | None,
        expires_at: float,
        now: float,
        *,
        refreshable: bool = True,
    ) -> Token:
        """A new token. It takes the place of an older one of the same session name."""
        self._forget_the_dead(now)
        token = self._make(scope, connection, expires_at, now, refreshable)
        if connection is None:
            rival = self._by_scope.get(scope)
            if rival is not None:
                self._spend(rival)
            self._by_scope[scope] = token
        else:
            self._bound.setdefault(connection, []).append(token)
        self._latest.append(token)
        self._by_access[token.access] = token
        if refreshable:
            self._by_refresh[token.refresh] = token
        return token

    def find(self, access: str) -> Token | None:
        """The token with this text."""
        return self._by_access.get(access)

    def latest(self, scope: str) -> Token | None:
        """The token that was last issued for any connection in this scope."""
        return self._by_scope.get(scope)

    def hold(self, token: Token, connection: int) -> None:
        """As long as this connection lives, so does the token."""
        token.holders.add(connection)
        self._held.setdefault(connection, []).append(token)

    def revoke_one(self, token: Token) -> None:
        """This token is valid no longer."""
        token.expires_at = float("-inf")
        token.holders.clear()
        self._spend(token)
        self._forget(token)

    def redeem(self, refresh: str) -> Token | None:
        """The token that this refresh token belongs to. A refresh token works once."""
        token = self._by_refresh.get(refresh)
        if token is not None:
            self._spend(token)
        return token

    def expire(self, now: float) -> None:
        """End the life of every access token; refresh tokens stay good."""
        for token in self._by_access.values():
            if token.live(now):
                token.expires_at = now
                token.holders.clear()
                token.expired_by_fault = True

    def revoke(self, now: float) -> None:
        """Forget them all: nothing that was issued until now is valid any more."""
        for token in list(self._by_access.values()):
            self.revoke_one(token)
        self._by_refresh.clear()

    def close(self, connection: int) -> None:
        """Forget what was bound to a connection that is gone."""
        for token in self._held.pop(connection, ()):
            token.holders.discard(connection)
        for token in self._bound.pop(connection, ()):
            self._spend(token)
            self._forget(token)

    def _forget_the_dead(self, now: float) -> None:
        # A day's soak logs in thousands of times. A dead token whose refresh token is gone
        # is of no use to anybody. Where there are many, they are looked through only when there
        # are twice as many as were left the last time.
        if len(self._by_access) < self._tidy_at:
            return
        many = len(self._by_access) > REMEMBERED
        for token in [t for t in self._by_access.values() if not t.live(now)]:
            if token.refresh not in self._by_refresh and (token.refreshable or many):
                self._forget(token)
        left = len(self._by_access)
        self._tidy_at = 2 * left if left > REMEMBERED else 0

    def _forget(self, token: Token) -> None:
        self._by_access.pop(token.access, None)
        if self._by_scope.get(token.scope) is token:
            del self._by_scope[token.scope]

    def _spend(self, token: Token) -> None:
        """The refresh token is good no longer."""
        self._by_refresh.pop(token.refresh, None)

    def _make(
        self, scope: str, connection: int | None, expires_at: float, now: float, refreshable: bool
    ) -> Token:
        access, refresh = self._secret("access"), self._secret("refresh")
        return Token(access, refresh, scope, connection, expires_at, refreshable)

    def _secret(self, kind: str) -> str:
        return f"{kind}.{self._rng.getrandbits(192):048x}"
