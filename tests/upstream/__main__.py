"""Toxiproxy's own tests against `squall proxy`, and our scenarios through a real Toxiproxy.

    python tests/upstream

What is other people's is fetched into .peers/, which git ignores, and run as it is. Of Toxiproxy's
`api_test.go` only `WithServer` is another, since it starts a server inside the test; here it
empties the one that runs. What cannot be had is skipped, with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from subprocess import DEVNULL

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / ".peers"
MODULE, VERSION = "github.com/Shopify/toxiproxy/v2", "v2.12.0"
TOXIPROXY = f"{MODULE}@{VERSION}"
PYTHON_CLIENT = "https://github.com/douglas/toxiproxy-python"

SQUALL = {
    "PYTHONPATH": os.pathsep.join(
        str(ROOT / each) for each in ("harness", "proxy", "reference_adapter")
    )
}

# What the tests of both are written for.
GO_PORT, PYTHON_PORT = 8475, 8474
PORTS = (3310, 3311, 7070, 7373, 7575, 22222, 22223, 43215)


class Skipped(Exception):
    """Why a suite cannot be run here."""


def main() -> int:
    """Run all of it; 1 where something fails."""
    code = 0
    for name, run in (
        ("api_test.go", go_tests),
        ("toxiproxy-python", python_tests),
        ("scenarios", scenarios),
    ):
        try:
            failed = run()
        except Skipped as why:
            print(f"{name}: skipped: {why}")
            continue
        print(f"{name}: {'FAILED' if failed else 'passed'}")
        code |= failed
    return code


def go_tests() -> bool:
    """Toxiproxy's own tests of its API."""
    folder = PEERS / "api_test"
    source = Path(_fetched_module()["Dir"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "api_test.go").write_text(_against_a_server((source / "api_test.go").read_text()))
    (folder / "up_test.go").write_text(_UP)
    _go("mod", "init", "squall/api_test", folder=folder)
    _go("mod", "edit", f"-require={TOXIPROXY}", folder=folder)
    with serving(GO_PORT):
        return _fails([_go_binary(), "test", "-count=1", "./..."], folder, {"GOFLAGS": "-mod=mod"})


def _against_a_server(text: str) -> str:
    """The tests, with another `WithServer`."""
    begin, end = text.index("func WithServer("), text.index("func TestRequestId(")
    text = text[:begin] + _WITH_SERVER + text[end:]
    unused = (
        r"flag|os|time|github\.com/prometheus/client_golang/prometheus|github\.com/rs/zerolog"
        r"|github\.com/Shopify/toxiproxy/v2"
    )
    text = re.sub(rf'^\t"(?:{unused})"\n', "", text, flags=re.MULTILINE)
    return re.sub(r"^var testServer .*\n", "", text, flags=re.MULTILINE)


_WITH_SERVER = """func WithServer(t *testing.T, f func(string)) {
	defer func() {
		proxies, err := client.Proxies()
		if err != nil {
			t.Error("Failed to list proxies", err)
		}
		for _, proxy := range proxies {
			if err := proxy.Delete(); err != nil {
				t.Error("Failed to delete a proxy", err)
			}
		}
	}()

	f("http://localhost:8475")
}

"""

_UP = """package toxiproxy_test

import (
	"net"
	"testing"
)

func AssertProxyUp(t *testing.T, addr string, up bool) {
	conn, err := net.Dial("tcp", addr)
	if (err == nil) != up {
		t.Errorf("Expected up: %v at %s, got %v", up, addr, err)
	}
	if err == nil {
		conn.Close()
	}
}
"""


def python_tests() -> bool:
    """The tests of toxiproxy-python, which PyPI does not have."""
    folder = PEERS / "toxiproxy-python"
    if not (folder / "test").is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _run("git", "clone", "--quiet", "--depth=1", PYTHON_CLIENT, str(folder))
        except (OSError, subprocess.SubprocessError):
            raise Skipped(f"{PYTHON_CLIENT} cannot be fetched") from None
    with serving(PYTHON_PORT):
        # Its own configuration is for a Python of long ago.
        options = ["-q", "-c", os.devnull, f"--rootdir={folder}", "-p", "no:cacheprovider"]
        files = sorted(str(path) for path in (folder / "test").glob("*_test.py"))
        return _fails([sys.executable, "-m", "pytest", *options, *files], folder, {})


def scenarios() -> bool:
    """The catalogue through a real Toxiproxy: what it can do passes, the rest is unsupported."""
    server = PEERS / "bin" / "server"
    if not server.exists():
        try:
            _go("install", f"{MODULE}/cmd/server@{VERSION}", folder=PEERS, GOBIN=str(server.parent))
        except (OSError, subprocess.SubprocessError):
            raise Skipped("a real Toxiproxy cannot be built") from None
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    toxiproxy = subprocess.Popen([server, "-host=127.0.0.1", f"-port={port}"], stdout=DEVNULL)
    try:
        words = ["run", "--proxy=toxiproxy", "--quiet", f"--out={PEERS / 'toxiproxy-report'}"]
        url = {"TOXIPROXY_URL": f"http://127.0.0.1:{port}"}
        return _fails([sys.executable, "-m", "squall", *words], ROOT, {**SQUALL, **url})
    finally:
        toxiproxy.terminate()
        toxiproxy.wait()


@contextlib.contextmanager
def serving(port: int) -> Iterator[None]:
    """`squall proxy` on the port that the tests are written for."""
    taken = [each for each in (port, *PORTS) if not _free(each)]
    if taken:
        raise Skipped(f"something listens on {', '.join(map(str, taken))}")
    server = subprocess.Popen(
        [sys.executable, "-m", "squall", "proxy", "--toxiproxy-version=git", f"--api-port={port}"],
        stdout=subprocess.PIPE,
        env={**os.environ, **SQUALL},
    )
    try:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["kind"] == "listening"
        yield
        assert server.poll() is None, "squall proxy has ended"
    finally:
        server.terminate()
        server.communicate(timeout=10)


def _free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _fetched_module() -> dict[str, str]:
    try:
        said = _go("mod", "download", "-json", TOXIPROXY, folder=PEERS)
    except (OSError, subprocess.SubprocessError):
        raise Skipped(f"{TOXIPROXY} cannot be fetched") from None
    found: dict[str, str] = json.loads(said)
    return found


def _go(*words: str, folder: Path, **environment: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return _run(_go_binary(), *words, folder=folder, **environment)


def _go_binary() -> str:
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found is None:
        raise Skipped("there is no Go")
    return found


def _run(*words: str, folder: Path | None = None, **environment: str) -> str:
    return subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    ).stdout


def _fails(words: list[str], folder: Path, environment: Mapping[str, str]) -> bool:
    return bool(subprocess.run(words, cwd=folder, env={**os.environ, **environment}).returncode)


if __name__ == "__main__":
    raise SystemExit(main())
