"""toxiproxy-python drives `squall proxy` unchanged: what its own tests ask for, and its quirks."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from toxiproxy import Toxiproxy  # type: ignore[import-untyped]
from toxiproxy.api import APIConsumer  # type: ignore[import-untyped]
from toxiproxy.exceptions import (  # type: ignore[import-untyped]
    InvalidToxic,
    NotFound,
    ProxyExists,
)
from toxiproxy.utils import can_connect_to  # type: ignore[import-untyped]

from toxiproxy_witness import ENVIRONMENT


@pytest.fixture(scope="module")
def server() -> Iterator[Toxiproxy]:
    """The client, at a `squall proxy` of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "squall", "proxy", "--api-port=0", "--toxiproxy-version=git"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    listening = json.loads(process.stdout.readline())
    before = APIConsumer.host, APIConsumer.port
    client = Toxiproxy()
    client.update_api_consumer(listening["host"], listening["port"])
    try:
        yield client
    finally:
        client.update_api_consumer(*before)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, b"")


@pytest.fixture
def toxiproxy(server: Toxiproxy) -> Iterator[Toxiproxy]:
    """The client, with no proxies in its server."""
    yield server
    server.destroy_all()


def up(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    return bool(can_connect_to(host, int(port)))


def free_listen() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def test_the_server_runs_and_has_a_version(toxiproxy: Toxiproxy) -> None:
    assert toxiproxy.running() is True
    assert toxiproxy.version() == b'{"version": "git"}\n'


def test_a_proxy_is_made_as_asked(toxiproxy: Toxiproxy) -> None:
    listen = free_listen()
    made = toxiproxy.create(upstream="localhost:3306", name="db", enabled=False, listen=listen)
    assert (made.upstream, made.name, made.enabled, made.listen) == (
        "localhost:3306",
        "db",
        False,
        listen,
    )
    found = toxiproxy.get_proxy("db")
    assert (found.upstream, found.name) == ("localhost:3306", "db")
    assert toxiproxy.get_proxy("other") is None


def test_a_name_is_taken_once(toxiproxy: Toxiproxy) -> None:
    toxiproxy.create(upstream="localhost:3306", name="db")
    with pytest.raises(ProxyExists):
        toxiproxy.create(upstream="localhost:3306", name="db")
    with pytest.raises(ProxyExists, match="proxy already exists"):
        APIConsumer.post("/proxies", json={"upstream": "localhost:3306", "name": "db"})


def test_proxies_are_destroyed(toxiproxy: Toxiproxy) -> None:
    made = toxiproxy.create(upstream="localhost:3306", name="db")
    assert up(made.listen)
    assert toxiproxy.destroy(made) is True
    assert (up(made.listen), toxiproxy.proxies()) == (False, {})
    assert toxiproxy.destroy("db") is False
    with pytest.raises(NotFound, match="proxy not found"):
        made.destroy()
    with pytest.raises(NotFound, match="404 page not found"):
        APIConsumer.get("/nope")


def test_proxies_go_down_and_up(toxiproxy: Toxiproxy) -> None:
    made = toxiproxy.create(upstream="localhost:3306", name="db")
    with made.down():
        assert (made.enabled, up(made.listen)) == (False, False)
    assert (made.enabled, up(made.listen)) == (True, True)


def test_toxics_survive_going_down(toxiproxy: Toxiproxy) -> None:
    made = toxiproxy.create(upstream="localhost:3306", name="db")
    made.add_toxic(type="latency", attributes={"latency": 123})
    made.disable()
    made.enable()
    toxic = made.get_toxic("latency_downstream")
    assert (toxic.attributes["latency"], toxic.stream, toxic.toxicity) == (123, "downstream", 1)
    assert made.get_toxic("other") is None


def test_toxics_are_removed_by_name_and_by_reset(toxiproxy: Toxiproxy) -> None:
    made = toxiproxy.create(upstream="localhost:3306", name="db")
    made.add_toxic(type="latency", attributes={"latency": 123})
    assert made.destroy_toxic("latency_downstream") is True
    assert made.toxics() == {}
    made.add_toxic(type="latency", name="mine", stream="upstream", toxicity=0.5)
    made.disable()
    assert toxiproxy.reset() is True
    assert (made.toxics(), up(made.listen)) == ({}, True)


def test_an_unknown_toxic_is_an_invalid_one(toxiproxy: Toxiproxy) -> None:
    made = toxiproxy.create(upstream="localhost:3306", name="db")
    with pytest.raises(InvalidToxic, match="invalid toxic type"):
        made.add_toxic(type="nope")
    with pytest.raises(InvalidToxic, match="stream was invalid"):
        made.add_toxic(type="latency", stream="sideways")


def test_populate_makes_and_replaces(toxiproxy: Toxiproxy) -> None:
    first, second, third = free_listen(), free_listen(), free_listen()
    wishes = [
        {"name": "one", "upstream": "localhost:3306", "listen": first},
        {"name": "two", "upstream": "localhost:3306", "listen": second},
    ]
    assert [up(each.listen) for each in toxiproxy.populate(wishes)] == [True, True]
    (moved,) = toxiproxy.populate([{**wishes[0], "listen": third}])
    assert (moved.listen, up(first), up(third)) == (third, False, True)
