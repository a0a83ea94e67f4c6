"""serve.py: the proxy on its own, with faults that it cannot have, and with TLS."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from squall.cli import main

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        str(ROOT / folder) for folder in ("harness", "proxy", "reference_adapter")
    ),
}
TIMEOUT = 60.0


@contextmanager
def proxy(*words: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "squall", "proxy", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def told(running: subprocess.Popen[str]) -> dict[str, Any]:
    assert running.stdout is not None
    event: dict[str, Any] = json.loads(running.stdout.readline())
    return event


@contextmanager
def echo() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT)
        yield server


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("syn_drop", "syn_drop acts on packets; a proxy has none"),
        ("tls_hang", "tls_hang needs TLS"),
        ("tunnel_refused", "tunnel_refused needs an HTTP proxy"),
    ],
)
def test_a_fault_that_cannot_be_had_is_wrong_use(
    fault: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proxy", "--upstream", "127.0.0.1:1", "--fault", fault]) == 3
    assert f"--fault: {why}" in capsys.readouterr().err


def test_a_file_for_the_certificate_that_cannot_be_written_is_wrong_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "missing" / "ca.pem"
    assert main(["proxy", "--upstream", "127.0.0.1:1", "--tls", str(nowhere)]) == 3
    assert f"--tls: cannot write {nowhere}: No such file" in capsys.readouterr().err


def test_tls_without_an_upstream_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["proxy", "--tls", "ca.pem"]) == 3
    assert "--upstream" in capsys.readouterr().err


def test_with_tls_clients_who_trust_the_file_reach_the_upstream(tmp_path: Path) -> None:
    trust = tmp_path / "ca.pem"
    with (
        echo() as server,
        proxy("--upstream", f"127.0.0.1:{server.getsockname()[1]}", "--tls", str(trust)) as running,
    ):
        port = told(running)["port"]
        context = ssl.create_default_context(cafile=trust)
        with (
            socket.create_connection(("127.0.0.1", port), TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
            closing(server.accept()[0]) as upstream,
        ):
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert upstream.recv(100) == b"GET / HTTP/1.1\r\n\r\n"
        seen = [told(running)["kind"] for _ in range(3)]
        assert seen == ["dialled", "tls_established", "upgrade_requested"]
        running.send_signal(signal.SIGINT)
        assert running.wait(TIMEOUT) == 0
