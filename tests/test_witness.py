"""witness.py: what /proc says of a process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from squall import witness

pytestmark = pytest.mark.skipif(not witness.available(), reason="needs a Linux /proc")


def test_an_open_socket_is_an_fd_and_a_state() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        before = witness.sample(os.getpid(), {port})
        with socket.create_connection(("127.0.0.1", port)):
            during = witness.sample(os.getpid(), {port})
    assert before is not None
    assert during is not None
    assert "ESTABLISHED" not in before["sockets"]
    assert during["sockets"]["ESTABLISHED"] == 1
    assert during["fds"] == before["fds"] + 1
    assert during["rss_bytes"] > 1_000_000


def test_a_socket_that_belongs_to_no_process_any_more_is_still_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        client.close()
        with accepted:
            accepted.recv(1)
            assert witness.sockets({port}).keys() & {"FIN_WAIT1", "FIN_WAIT2"}


def test_children_are_counted() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = witness.sample(os.getpid(), set())
        assert found is not None
        assert found["children"] >= 1
        child.communicate(b"\n")


def test_a_process_that_is_gone_gives_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert witness.sample(child.pid, set()) is None
