"""docs/toxiproxy.md: its examples work as printed, and its tables tell of everything there is."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from squall_proxy.toxiproxy.toxics import TOXICS
from toxiproxy_witness import ENVIRONMENT, ROOT

PAGE = (ROOT / "docs" / "toxiproxy.md").read_text(encoding="utf-8")
EXAMPLES = [
    tuple(each.split("\n", 1))
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.S)
    for each in re.split(r"^\$ ", block, flags=re.M)
    if each
]
PORTS = (8474, 19000, 19001)


def taken() -> list[int]:
    found = []
    for port in PORTS:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            found.append(port)
    return found


def timeless(text: str) -> str:
    return re.sub(r'"at": [0-9.]+', '"at": 0', text)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_the_examples_work_as_printed() -> None:
    if busy := taken():
        pytest.skip(f"ports in use: {busy}")
    with subprocess.Popen(
        [sys.executable, "-m", "squall", "proxy"],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as server:
        try:
            assert server.stdout is not None
            assert json.loads(server.stdout.readline())["port"] == PORTS[0]
            for command, printed in EXAMPLES:
                said = subprocess.run(
                    command, shell=True, capture_output=True, text=True, timeout=20, check=True
                ).stdout
                ended = said if said.endswith("\n") or not said else f"{said}\n"
                assert timeless(ended) == timeless(printed), command
        finally:
            server.send_signal(signal.SIGINT)


def test_every_toxic_stands_in_the_table_with_its_attributes() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*?)\|", PAGE.partition("## The toxics")[2], re.M))
    for name, toxic in TOXICS.items():
        assert all(f"`{attribute}`" in rows[name] for attribute in toxic.attributes), name
