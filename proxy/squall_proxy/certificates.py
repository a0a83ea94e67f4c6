"""A certificate authority for one run, and what it certifies: rightly, or wrongly on purpose.

It lives in memory. What a client needs to trust it is the PEM of its certificate, and no key ever
leaves it, but for a proxy of another make that is to certify in its name (`private_key`).
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from squall_proxy.faults.tls import Defect

WRONG_HOST = "wrong.host.invalid"


class Authority:
    """Certifies whatever host it is asked for."""

    def __init__(self) -> None:
        import trustme  # its import takes long, and most runs do without TLS

        self._trustme = trustme
        self._own = trustme.CA(organization_name="Squall, for one run")
        self._strange = trustme.CA(organization_name="Squall, trusted by nobody")
        self._contexts: dict[tuple[str, Defect | None], ssl.SSLContext] = {}
        # What judges certificates asks the operating system for the time: whoever leads this
        # process's clock elsewhere makes the authority before.
        self._made = datetime.now(UTC)

    @property
    def certificate(self) -> bytes:
        """The PEM of what a client has to trust."""
        return self._own.cert_pem.bytes()

    @property
    def private_key(self) -> bytes:
        """The PEM of its key."""
        return self._own.private_key_pem.bytes()

    def leaf(self, host: str, defect: Defect | None = None) -> bytes:
        """The PEM of a key, and of the chain that certifies it for `host`, or does so badly."""
        now = self._made
        good = (now - timedelta(days=1), now + timedelta(days=30))
        over = (now - timedelta(days=30), now - timedelta(days=1))
        begins, ends = over if defect == "expired" else good
        authority = self._strange if defect == "untrusted" else self._own
        names = (WRONG_HOST,) if defect == "wrong_host" else _names(host)
        leaf = authority.issue_cert(*names, not_before=begins, not_after=ends)
        return leaf.private_key_and_cert_chain_pem.bytes()

    def context(self, host: str, defect: Defect | None = None) -> ssl.SSLContext:
        """A server's context for `host`, or for the name that a client asks for in its stead."""
        known = self._contexts.get((host, defect))
        if known is None:
            known = self._contexts[host, defect] = self._make(host, defect)
        return known

    def _make(self, host: str, defect: Defect | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        blob = self._trustme.Blob(self.leaf(host, defect))
        with blob.tempfile() as path:
            context.load_cert_chain(path)
        # Tickets that a client has not read when it leaves make its kernel send a RST, not a FIN.
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])

        def named(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
            if name is not None and name != host:
                tls.context = self.context(name, defect)

        context.sni_callback = named
        return context


def _names(host: str) -> tuple[str, ...]:
    """An address of this machine is also called localhost."""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    return (host, "localhost") if loopback else (host,)
