"""Wrong ways to dial: not again, not for long, too often, all at once, or to just anybody."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import replace
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedOK, InvalidStatus

from gallery.good import Adapter
from gallery.specimen import specimen


async def for_ever() -> None:
    """Wait for something that never comes, alive and of no use."""
    await asyncio.Event().wait()


@specimen(
    bug="https://github.com/hyperliquid-dex/hyperliquid-python-sdk/issues/191",
    caught={"reset": "reconnects"},
)
class NeverReconnects(Adapter):
    """It never dials again once its connection is lost."""

    async def after(self, error: Exception) -> None:
        await for_ever()


@specimen(
    bug="https://github.com/sammchardy/python-binance/issues/1008",
    caught={"refused-60s": "data_resumes"},
)
class GivesUpAfterFive(Adapter):
    """It dials five times during an outage, then no more."""

    async def after(self, error: Exception) -> None:
        if self.failures >= 5:
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/partykit/partykit/issues/252",
    caught={"no-growth": "data_resumes"},
)
class CountsForLife(Adapter):
    """It never resets its count of attempts, so the eleventh drop of its life is its last."""

    drops = 0

    async def after(self, error: Exception) -> None:
        self.drops += 1
        if self.drops > 10:
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/jaggedsoft/node-binance-api/issues/9",
    caught={"two-layers": "data_resumes"},
)
class ReconnectsOnce(Adapter):
    """It reconnects after the first drop and ignores the second."""

    drops = 0

    async def after(self, error: Exception) -> None:
        self.drops += 1
        if self.drops > 1:
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/sammchardy/python-binance/issues/1608",
    caught={"clean-close-1001": "reconnects"},
)
class EndsOnCleanClose(Adapter):
    """It takes a Close frame with 1000 or 1001 for the end of its work."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, ConnectionClosedOK):
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/howdyai/botkit/pull/274",
    caught={"refused-60s": "data_resumes"},
)
class TakesRefusalForFinal(Adapter):
    """It makes no further attempt once a dial is refused."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, ConnectionRefusedError):
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/oliver-zehentleitner/unicorn-binance-websocket-api/issues/238",
    caught={"reset": "stays_alive"},
)
class DiesOfReset(Adapter):
    """It handles a closed connection but not one that is reset, and crashes."""

    async def after(self, error: Exception) -> None:
        if isinstance(error.__cause__, ConnectionResetError):
            raise RuntimeError("the connection was reset") from error
        await super().after(error)


@specimen(
    bug="https://github.com/pladaria/reconnecting-websocket/issues/183",
    caught={"http-error-502": "stays_alive"},
)
class DiesOfHtml(Adapter):
    """It reads every refusal of the upgrade as JSON, and crashes on a page of HTML."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, InvalidStatus):
            self.log(json.loads(error.response.body or b"")["error"]["message"])
        await super().after(error)


@specimen(
    bug="https://github.com/Polymarket/polymarket-us-python/pull/3",
    caught={"retry-after-429": "data_resumes"},
)
class TakesTooManyForNever(Adapter):
    """It takes 429 Too Many Requests for a permanent refusal."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, InvalidStatus) and error.response.status_code == 429:
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/TakahikoKawasaki/nv-websocket-client/issues/64",
    caught={"handshake-blackhole-upgrade": "detects_silence"},
)
class WaitsForUpgradeForEver(Adapter):
    """It has no time-out for the answer to its upgrade request."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.settings = replace(self.settings, connect_timeout=1e9)


@specimen(
    bug="https://github.com/jaggedsoft/node-binance-api/issues/199",
    caught={"backoff-shape": "no_storm"},
)
class RedialsAtOnce(Adapter):
    """It dials again 10 ms after every failure."""

    def delay(self, error: Exception) -> float:
        return 0.01


@specimen(
    bug="https://github.com/marketcalls/openalgo/pull/1707",
    caught={"accept-then-close-close": "no_storm"},
)
class ForgivesOnOpen(Adapter):
    """It resets its backoff as soon as a connection opens, not when it has proved stable."""

    async def dial(self) -> ClientConnection:
        ws = await super().dial()
        self.failures = 1  # where its pauses begin, at one or two seconds
        return ws


@specimen(
    bug="https://github.com/uilibs/uiprotect/issues/1093",
    caught={"backoff-shape": "backoff_grows"},
)
class WaitsTheSameEachTime(Adapter):
    """It waits one second after every failure, however many there were."""

    def delay(self, error: Exception) -> float:
        return self.retry_after(error) + self.rng.uniform(0.9, 1.1)


@specimen(
    bug="https://github.com/bitrich-info/xchange-stream/issues/119",
    caught={"retry-after-503": "honours_retry_after"},
)
class IgnoresRetryAfter(Adapter):
    """It does not read the Retry-After header of a refusal."""

    def retry_after(self, error: Exception) -> float:
        return 0.0


@specimen(
    bug="https://github.com/django/channels/issues/568",
    caught={"herd": "spread"},
)
class HasNoJitter(Adapter):
    """It waits exactly as long as every other adapter that was cut off in the same moment."""

    def delay(self, error: Exception) -> float:
        self.failures += 1
        ceiling = self.settings.backoff_base * 2.0 ** min(self.failures - 1, 32)
        return self.retry_after(error) + min(self.settings.backoff_max, ceiling)


@specimen(
    bug="https://github.com/Kucoin/kumex-level3-sdk/pull/6",
    caught={
        "bad-certificate-untrusted": "verifies_certificates",
        "bad-certificate-expired": "verifies_certificates",
        "bad-certificate-wrong-host": "verifies_certificates",
    },
)
class TrustsAnybody(Adapter):
    """It takes whatever certificate it is shown."""

    def tls(self) -> ssl.SSLContext | None:
        context = super().tls()
        if context is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@specimen(
    bug="https://github.com/robtaussig/react-use-websocket/issues/65",
    caught={"no-growth": "one_connection"},
)
class ReconnectsInTwoLayers(Adapter):
    """Its library reconnects after a drop, and so does the application on top of it."""

    library: asyncio.Task[None] | None = None

    async def after(self, error: Exception) -> None:
        if self.library is None:
            other = Adapter(self.env, self.emit, asyncio.Queue())
            self.library = asyncio.create_task(other.stay_connected())
        await super().after(error)

    async def stop(self, *tasks: asyncio.Task[None]) -> None:
        await super().stop(*tasks, *filter(None, [self.library]))
