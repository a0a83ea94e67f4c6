"""Addresses as Go reads them. The words are those that a real Toxiproxy 2.12 used."""

from __future__ import annotations

import asyncio
import errno

import pytest

from squall_proxy.toxiproxy.addresses import GoNetError, Resolved, cannot_bind, resolve


@pytest.mark.parametrize(
    ("address", "numeric"),
    [
        ("localhost:3310", "127.0.0.1:3310"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("localhost:", "127.0.0.1:0"),
        ("localhost:+80", "127.0.0.1:80"),
        (":8080", ":8080"),
        ("", ":0"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:5", "[::1]:5"),
    ],
)
def test_an_address_becomes_numeric(address: str, numeric: str) -> None:
    assert str(asyncio.run(resolve(address))) == numeric


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("local373", "address local373: missing port in address"),
        ("[a", "address [a: missing port in address"),
        ("[a:1", "address [a:1: missing ']' in address"),
        ("[::1]1", "address [::1]1: missing port in address"),
        ("[::1]:1:2", "address [::1]:1:2: too many colons in address"),
        ("a:b:c", "address a:b:c: too many colons in address"),
        ("a]:1", "address a]:1: unexpected ']' in address"),
        ("a[:1", "address a[:1: unexpected '[' in address"),
        ("localhost:99999", "address 99999: invalid port"),
        ("localhost:-1", "address -1: invalid port"),
        ("localhost:nosuch", "lookup tcp/nosuch: unknown port"),
        (f"{'x' * 70}:1", f"lookup {'x' * 70}: no such host"),
    ],
)
def test_what_is_no_address_is_refused_in_gos_words(address: str, message: str) -> None:
    with pytest.raises(GoNetError) as caught:
        asyncio.run(resolve(address))
    assert str(caught.value) == message


def test_a_port_in_use_is_named_as_go_names_it() -> None:
    error = cannot_bind(Resolved("127.0.0.1", 3310), OSError(errno.EADDRINUSE, "x"))
    assert str(error) == "listen tcp 127.0.0.1:3310: bind: address already in use"
