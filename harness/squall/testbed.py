"""The world of one run: a mock exchange, and the proxy through which the adapter reaches it.

    adapter ──▶ backend ──▶ exchange

What the backend is, `squall.backend` says; as a rule it is the proxy in this process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from random import Random

from squall.backend import HOST, Backend
from squall.errors import NetworkError
from squall.exchange import Dialect, ExchangeFault, ExchangeServer, Settings
from squall.exchange import Injection as ExchangeInjection
from squall.history import History
from squall_proxy import Fault, Injection, Target


class Testbed:
    """Exchange and backend, started together and stopped together."""

    def __init__(
        self,
        dialect: Dialect,
        settings: Settings,
        history: History,
        rng: Random,
        backend: Backend,
    ) -> None:
        self.dialect = dialect
        self._backend = backend
        self.exchange = ExchangeServer(
            dialect,
            settings,
            observe=history.observer("exchange"),
            rng=Random(rng.random()),
            identify=backend.connection_from,
        )

    async def start(self) -> None:
        """Listen on free ports of 127.0.0.1. Raises `NetworkError`."""
        try:
            await self.exchange.start(HOST, 0)
            await self._backend.start(self.exchange.address)
        except OSError as error:
            await self.stop()
            raise NetworkError(f"cannot listen on {HOST}: {error.strerror or error}") from error

    async def stop(self) -> None:
        """Close every listener and connection."""
        await self._backend.stop()
        await self.exchange.stop()

    @property
    def ports(self) -> frozenset[int]:
        """The ports at which the adapter meets the backend."""
        return self._backend.ports

    def inject(self, fault: Fault | ExchangeFault, target: Target) -> Injection | ExchangeInjection:
        """Put a fault in force: on the line to the WebSocket endpoint, or in the exchange."""
        if isinstance(fault, Fault):
            return self._backend.inject(fault, target)
        return self.exchange.inject(fault)

    def heal(self) -> None:
        """Remove every fault."""
        self._backend.heal()
        self.exchange.heal()

    def environment(
        self, channels: Sequence[str], *, private: bool, extra: Mapping[str, str]
    ) -> dict[str, str]:
        """What the adapter is told: the variables of the adapter protocol.

        Proxy variables that this process inherited are left out: they would lead the adapter
        past the run, or out of this machine.
        """
        reach = self._backend.reach
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith("_proxy") and not name.startswith("SQUALL_")
        }
        told = {
            "SQUALL_URL": reach.ws + self.dialect.path,
            "SQUALL_REST_URL": reach.rest,
            "SQUALL_DIALECT": self.dialect.name,
            "SQUALL_CHANNELS": json.dumps(list(channels)),
            **reach.variables,
        }
        if self.dialect.private_path is not None:
            told["SQUALL_PRIVATE_URL"] = reach.ws + self.dialect.private_path
        if private:
            key, secret = self.exchange.credentials
            told |= {"SQUALL_API_KEY": key, "SQUALL_API_SECRET": secret}
        return inherited | told | dict(extra)
