"""How an adapter is led to this run and to nowhere else: whom it trusts, which proxy it uses.

Clients read all kinds of variables, so all are set. For `wss://` aiohttp looks at `wss_proxy`
alone and websocket-client at `https_proxy` alone.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from squall.backend import Address
from squall_proxy import Authority

_PREFIX, _SUFFIX = "squall-ca-", ".pem"

ELSEWHERE = "exchange.invalid"
"""The venue's host, for adapters that have none of their own. It exists nowhere (RFC 6761 §6.4):
who gets there got there through the proxy."""

_TRUSTED = (
    "SQUALL_CA_FILE",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "WEBSOCKET_CLIENT_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
)
_SCHEMES = ("http", "https", "ws", "wss", "all")


class Trust:
    """The certificate authority of one run, and the file by which an adapter trusts it."""

    def __init__(self) -> None:
        self.authority = Authority()
        self._file: IO[bytes] | None = None

    def publish(self) -> None:
        """Write the file, and remove those that killed runs have left behind."""
        _sweep()
        file = tempfile.NamedTemporaryFile(prefix=_PREFIX, suffix=_SUFFIX)  # noqa: SIM115
        fcntl.flock(file, fcntl.LOCK_SH)
        file.write(self.authority.certificate)
        file.flush()
        self._file = file

    @property
    def variables(self) -> Mapping[str, str]:
        """What makes clients trust it."""
        assert self._file is not None, "nothing was published"
        return dict.fromkeys(_TRUSTED, self._file.name)

    def withdraw(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _sweep() -> None:
    """Remove the files of runs that ended without a chance to: a live one holds a lock on its own.

    One that is not locked may have been made a moment ago; an empty one is left to be filled.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.read(1):
                left.unlink()


def proxy_variables(address: Address) -> dict[str, str]:
    """What makes clients use the HTTP proxy at this address, for this machine's own hosts too."""
    url = f"http://{address[0]}:{address[1]}"
    names = [f"{scheme}_proxy" for scheme in _SCHEMES]
    told = {"SQUALL_HTTP_PROXY": url, "no_proxy": "", "NO_PROXY": ""}
    return told | dict.fromkeys([*names, *(name.upper() for name in names)], url)


def elsewhere() -> tuple[str, str]:
    """The beginnings of WebSocket and HTTP URLs that lead nowhere but through the proxy."""
    return f"wss://{ELSEWHERE}", f"https://{ELSEWHERE}"
