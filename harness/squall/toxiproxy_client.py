"""One proxy in a Toxiproxy server, driven through toxiproxy-python.

All that is peculiar about that client stays in this file: it keeps one address for the whole
process, knows no time-outs, and takes an error 500 for a success.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import requests
from toxiproxy import Toxiproxy as Client  # type: ignore[import-untyped]
from toxiproxy import api, exceptions

from squall.backend import HOST, Address
from squall.errors import NetworkError

URL_VARIABLE = "TOXIPROXY_URL"
DEFAULT_URL = "http://127.0.0.1:8474"

TIME_OUT = 5.0
"""Seconds that a call may take. Removing a toxic can hang there for ever
(https://github.com/Shopify/toxiproxy/issues/558)."""


@dataclass(frozen=True)
class Toxic:
    """One toxic, without its direction."""

    type: str
    attributes: Mapping[str, int] = field(default_factory=dict)


class Remote:
    """One proxy in a Toxiproxy server."""

    def __init__(self, host: str, port: int) -> None:
        self._server_address = (host, port)
        self._proxy: Any = None

    @classmethod
    def at(cls, url: str) -> Remote:
        """The server of this address. Raises `NetworkError` where there is none."""
        parts = urlsplit(url if "//" in url else f"http://{url}")
        remote = cls(parts.hostname or HOST, parts.port or 8474)
        with remote._calling():
            if Client().version() is None:
                raise NetworkError(
                    f"there is no Toxiproxy at {url}; start one, or name it in {URL_VARIABLE}"
                )
        return remote

    def create(self, name: str, upstream: Address) -> Address:
        """Make the proxy; where it listens."""
        with self._calling():
            self._proxy = Client().create(
                name=name, upstream=f"{upstream[0]}:{upstream[1]}", listen=f"{HOST}:0"
            )
        host, _, port = self._proxy.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def add(self, name: str, toxic: Toxic, stream: str, toxicity: float) -> None:
        """Put a toxic in force."""
        with self._calling():
            self._proxy.add_toxic(
                name=name,
                type=toxic.type,
                stream=stream,
                toxicity=toxicity,
                attributes=dict(toxic.attributes),
            )

    def remove(self, name: str) -> None:
        """Remove a toxic."""
        with self._calling():
            self._proxy.destroy_toxic(name)

    def down_and_up(self) -> None:
        """End all connections."""
        with self._calling():
            self._proxy.disable()
            self._proxy.enable()

    def delete(self) -> None:
        """Remove the proxy."""
        if self._proxy is not None:
            with self._calling():
                self._proxy.destroy()

    @contextlib.contextmanager
    def _calling(self) -> Iterator[None]:
        """Let the client's calls go to this server. Raises `NetworkError`."""
        Client().update_api_consumer(*self._server_address)
        with _Session() as session:
            api.requests = session
            try:
                yield
            except (requests.RequestException, *_REFUSALS) as error:
                host, port = self._server_address
                raise NetworkError(f"Toxiproxy at {host}:{port}: {error}") from error
            finally:
                api.requests = requests


_REFUSALS = (exceptions.ProxyExists, exceptions.NotFound, exceptions.InvalidToxic)


class _Session(requests.Session):
    """What the client takes for the module `requests`: its calls end in time, or by an error."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # a proxy of the environment leads away from this machine

    def request(self, *words: Any, **settings: Any) -> requests.Response:
        """Make one call."""
        answer = super().request(*words, **{"timeout": TIME_OUT, **settings})
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise requests.HTTPError(answer.text.strip(), response=answer)
        return answer
