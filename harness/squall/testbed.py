"""The world of one run: a mock exchange, and the proxy through which the adapter reaches it.

    adapter ──▶ proxy "ws"   ──▶ ┐
            ──▶ proxy "rest" ──▶ ┴ exchange

Both listeners lead to the same port of the exchange, and number their connections together.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from random import Random

from squall.errors import NetworkError
from squall.exchange import Dialect, ExchangeFault, ExchangeServer, Settings
from squall.exchange import Injection as ExchangeInjection
from squall.history import History
from squall_proxy import Fault, Injection, Proxy, Target

HOST = "127.0.0.1"


class Testbed:
    """Exchange and proxy, started together and stopped together."""

    def __init__(self, dialect: Dialect, settings: Settings, history: History, rng: Random) -> None:
        self.dialect = dialect
        self._settings = settings
        self._history = history
        self._rng = rng
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._proxies: dict[str, Proxy] = {}
        self.exchange = ExchangeServer(
            dialect,
            settings,
            observe=history.observer("exchange"),
            rng=Random(rng.random()),
            identify=self._identify,
        )

    def _identify(self, address: tuple[str, int]) -> int | None:
        found = (proxy.connection_from(address) for proxy in self._proxies.values())
        return next((number for number in found if number is not None), None)

    async def start(self) -> None:
        """Listen on free ports of 127.0.0.1. Raises `NetworkError`."""
        try:
            await self.exchange.start(HOST, 0)
            for listener in ("ws", "rest"):
                proxy = Proxy(
                    self.exchange.address,
                    observe=self._history.observer("proxy"),
                    rng=Random(self._rng.random()),
                    listener=listener,
                    numbers=self._numbers,
                    ids=self._ids,
                )
                self._proxies[listener] = proxy
                await proxy.start(HOST, 0)
        except OSError as error:
            await self.stop()
            raise NetworkError(f"cannot listen on {HOST}: {error.strerror or error}") from error

    async def stop(self) -> None:
        """Close every listener and connection."""
        for proxy in self._proxies.values():
            await proxy.stop()
        await self.exchange.stop()

    @property
    def ports(self) -> frozenset[int]:
        """The ports at which the adapter meets the proxy."""
        return frozenset(proxy.address[1] for proxy in self._proxies.values())

    def inject(self, fault: Fault | ExchangeFault, target: Target) -> Injection | ExchangeInjection:
        """Put a fault in force: on the line to the WebSocket endpoint, or in the exchange."""
        if isinstance(fault, Fault):
            return self._proxies["ws"].inject(fault, target)
        return self.exchange.inject(fault)

    def heal(self) -> None:
        """Remove every fault."""
        for proxy in self._proxies.values():
            proxy.heal()
        self.exchange.heal()

    def environment(
        self, channels: Sequence[str], *, private: bool, extra: Mapping[str, str]
    ) -> dict[str, str]:
        """What the adapter is told: the variables of the adapter protocol.

        Proxy variables that this process inherited are left out: they would lead the adapter
        past the run, or out of this machine.
        """
        ws = self._proxies["ws"].address
        rest = self._proxies["rest"].address
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith("SQUALL_")
        }
        told = {
            "SQUALL_URL": f"ws://{ws[0]}:{ws[1]}{self.dialect.path}",
            "SQUALL_REST_URL": f"http://{rest[0]}:{rest[1]}",
            "SQUALL_DIALECT": self.dialect.name,
            "SQUALL_CHANNELS": json.dumps(list(channels)),
        }
        if private:
            key, secret = self.exchange.credentials
            told |= {"SQUALL_API_KEY": key, "SQUALL_API_SECRET": secret}
        return inherited | told | dict(extra)
