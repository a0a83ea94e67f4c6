"""Wrong ways to log in: too late, not again, with what is stale, or without end."""

from __future__ import annotations

import asyncio
import sys

from gallery.deribit import Json
from gallery.dialling import for_ever
from gallery.good import Adapter
from gallery.specimen import Counting, specimen


@specimen(
    bug="https://github.com/nautechsystems/nautilus_trader/pull/2097",
    caught={"reauth-order": "auth_before_private"},
)
class SubscribesBeforeAuthAck(Counting):
    """It sends its login and its private subscriptions at once when it reconnects."""

    login: asyncio.Task[None] | None = None

    async def log_in(self) -> None:
        if not self.reconnected or self.login is not None:
            await super().log_in()
        else:
            self.login = asyncio.create_task(super().log_in())
            self.login.add_done_callback(lambda login: login.cancelled() or login.exception())
            await asyncio.sleep(0)

    def forget(self) -> None:
        super().forget()
        if self.login is not None:
            self.login.cancel()
            self.login = None


@specimen(
    bug="https://github.com/thrasher-corp/gocryptotrader/pull/1334",
    caught={"reset": "subscriptions_restored"},
)
class LogsInOnce(Counting):
    """It logs in on its first connection and on no other."""

    async def log_in(self) -> None:
        if self.reconnected:
            self.token_doubted.clear()
        else:
            await super().log_in()


@specimen(
    bug="https://github.com/fugle-dev/fugle-marketdata-python/pull/7",
    caught={"lost-answer-public-auth": "subscriptions_restored"},
)
class WaitsForLoginForEver(Adapter):
    """It has no time-out for the answer to its login."""

    def patience(self, method: str) -> float | None:
        return None if method == "public/auth" else super().patience(method)


@specimen(
    bug="https://github.com/f0cii/deribit-api/issues/5",
    caught={"token-expiry": "subscriptions_restored"},
)
class NeverRefreshes(Adapter):
    """It lets its access token expire."""

    async def keep_logged_in(self) -> None:
        await for_ever()


@specimen(
    bug="https://github.com/okxapi/python-okx/issues/16",
    caught={
        "reauth-order": "fresh_credentials",
        "soak-24h": "fresh_credentials",
    },
)
class ReplaysSignedLogin(Adapter):
    """It stores its first signed login and sends it again on every connection."""

    stored: Json | None = None

    def credentials(self) -> Json:
        self.stored = self.stored or super().credentials()
        return self.stored


@specimen(
    bug="https://github.com/tiagosiebler/okx-api/issues/83",
    caught={"bad-credentials": "gives_up_on_bad_credentials"},
)
class HammersOnBadCredentials(Adapter):
    """It goes on for ever with credentials that the exchange rejects."""

    async def after(self, error: Exception) -> None:
        self.auth_failures = 0
        await super().after(error)


@specimen(
    bug="https://github.com/binance/binance-connector-python/issues/509",
    caught={"reset": "keeps_secrets"},
    process=True,
)
class PrintsItsToken(Adapter):
    """It logs the answer to its login, token and all."""

    def logged_in(self, grant: Json) -> None:
        super().logged_in(grant)
        sys.stderr.write(f"logged in: {grant}\n")
