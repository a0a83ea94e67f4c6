"""Wrong ways to dial: not again, not for long, too often, all at once, or to just anybody."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedOK, InvalidStatus, ProxyError

from gallery.good import Adapter
from gallery.specimen import specimen


async def for_ever() -> None:
    """Wait for something that never comes, alive and of no use."""
    await asyncio.Event().wait()


@specimen(
    bug="https://github.com/hyperliquid-dex/hyperliquid-python-sdk/issues/191",
    caught={
        "reset": "reconnects",
        "suspend": "subscriptions_restored",
        "slow-consumer": "subscriptions_restored",
        "clean-close-1008": "reconnects",
        "clean-close-1011": "reconnects",
        "clean-close-1012": "reconnects",
        "clean-close-1013": "reconnects",
        "clean-close-4000": "reconnects",
        "end-without-close-frame": "reconnects",
        "truncated-frame": "reconnects",
    },
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
    caught={
        "two-layers": "data_resumes",
        "planned-lifetime": "data_resumes",
        "drop-per-phase-dialled": "data_resumes",
        "drop-per-phase-upgrade-requested": "data_resumes",
        "drop-per-phase-upgraded": "data_resumes",
        "drop-per-phase-auth-requested": "data_resumes",
        "drop-per-phase-auth-succeeded": "data_resumes",
        "tls-cut-rst": "data_resumes",
        "tls-cut-fin": "data_resumes",
        "compressed-line-as-offered": "data_resumes",
        "compressed-line-independent": "data_resumes",
    },
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
    caught={
        "clean-close-1001": "reconnects",
        "clean-close-1000": "reconnects",
    },
)
class EndsOnCleanClose(Adapter):
    """It takes a Close frame with 1000 or 1001 for the end of its work."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, ConnectionClosedOK):
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/howdyai/botkit/pull/274",
    caught={
        "refused-60s": "data_resumes",
        "refused-6s": "data_resumes",
        "dead-then-refused": "data_resumes",
    },
)
class TakesRefusalForFinal(Adapter):
    """It makes no further attempt once a dial is refused."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, ConnectionRefusedError):
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/ccxt/ccxt/issues/20911",
    caught={"no-route": "data_resumes"},
)
class TakesProxyRefusalForFinal(Adapter):
    """It makes no further attempt once its HTTP proxy refuses to lead it to the exchange."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, ProxyError):
            await for_ever()
        await super().after(error)


@specimen(
    bug="https://github.com/firezone/firezone/pull/10817",
    caught={"name-not-found-nxdomain": "data_resumes", "name-not-found-silence": "data_resumes"},
)
class TakesUnknownNameForFinal(Adapter):
    """It makes no further attempt once the exchange's name is not found."""

    async def after(self, error: Exception) -> None:
        if isinstance(error, socket.gaierror):
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
    caught={
        "http-error-502": "stays_alive",
        "http-error-200": "stays_alive",
        "http-error-301": "stays_alive",
        "http-error-404": "stays_alive",
    },
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
    caught={
        "handshake-blackhole-upgrade": "detects_silence",
        "handshake-blackhole-tcp": "detects_silence",
    },
)
class WaitsForUpgradeForEver(Adapter):
    """It has no time-out for the answer to its upgrade request."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.settings = replace(self.settings, connect_timeout=1e9)


@specimen(
    bug="https://github.com/gorilla/websocket/issues/179",
    caught={"tls-hang": "detects_silence"},
)
class WaitsForTlsForEver(Adapter):
    """It has no time-out for the TLS handshake."""

    def options(self) -> dict[str, Any]:
        options = super().options()
        if options["ssl"] is not None:
            options |= {"open_timeout": None, "ssl_handshake_timeout": 1e9}
        return options


@specimen(
    bug="https://github.com/bybit-exchange/pybit/issues/62",
    caught={"syn-drop": "data_resumes"},
)
class TakesTimeoutForFinal(Adapter):
    """It makes no further attempt once a dial has timed out."""

    async def dial(self) -> ClientConnection:
        try:
            return await super().dial()
        except TimeoutError:
            await for_ever()
            raise


@specimen(
    bug="https://github.com/trypsynth/fedra/pull/59",
    caught={"accept-queue-full": "data_resumes"},
)
class DialsWithoutTimeout(Adapter):
    """It leaves it to the kernel to give up a dial that nobody answers, which takes minutes."""

    def options(self) -> dict[str, Any]:
        options = super().options()
        if options["ssl"] is not None and self.http_proxy is None:
            options["server_hostname"] = urlsplit(self.url).hostname
        return options

    async def tcp(self) -> socket.socket | None:
        if self.http_proxy is not None:
            return None
        # asyncio switches Nagle's algorithm off for sockets that say that they are TCP.
        to, sock = urlsplit(self.url), socket.socket(proto=socket.IPPROTO_TCP)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (to.hostname, to.port))
        except BaseException:
            sock.close()
            raise
        return sock


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
    caught={
        "accept-then-close-close": "no_storm",
        "accept-then-close-rst": "no_storm",
    },
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
