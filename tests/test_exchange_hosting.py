"""`squall exchange` as a program: several processes on one port, its control port, its limits."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from squall.errors import NetworkError
from squall.exchange.counts import Counts
from squall.hosting import metrics
from squall.hosting.control import read_fault
from squall.hosting.fleet import bind
from squall.hosting.member import Report
from test_cli import ENVIRONMENT

TIMEOUT = 60.0

linux = pytest.mark.skipif(sys.platform != "linux", reason="SO_REUSEPORT balances on Linux alone")


class Hosted:
    """A running `squall exchange`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: dict[str, str] = {}
        assert process.stdout is not None
        while "secret" not in self.said:
            line = process.stdout.readline()
            assert line, process.communicate()
            word, value = line.split()
            self.said[word] = value

    @property
    def port(self) -> int:
        return int(self.said["rest"].rpartition(":")[2])

    def client(self) -> ClientConnection:
        return connect(self.said["url"], proxy=None, open_timeout=TIMEOUT, ping_interval=None)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON (or text) of an answer of the control port."""
        request = urllib.request.Request(
            f"{self.said['api']}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        return status, json.loads(text) if text.startswith(("{", "[")) else text

    def metric(self, name: str) -> dict[str, float]:
        """A family of metrics by process."""
        text = self.call("GET", "/metrics")[1]
        found = re.findall(rf'^{name}\{{process="(\d+)"\}} (\S+)$', text, re.MULTILINE)
        return {process: float(value) for process, value in found}

    def end(self) -> tuple[str, str]:
        out, err = self.process.communicate(timeout=TIMEOUT)
        return out, err


@contextmanager
def hosted(*words: str, limit: int | None = None) -> Iterator[Hosted]:
    def lower() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    process = subprocess.Popen(
        [sys.executable, "-m", "squall", "exchange", *words],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lower,
    )
    try:
        yield Hosted(process)
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=TIMEOUT)


def ask(client: ClientConnection, method: str, **params: Any) -> Any:
    client.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    while "id" not in (message := json.loads(client.recv(TIMEOUT))):
        pass
    return message.get("result", message.get("error"))


def login(hosted: Hosted, client: ClientConnection, scope: str = "") -> Any:
    return ask(
        client,
        "public/auth",
        grant_type="client_credentials",
        client_id=hosted.said["key"],
        client_secret=hosted.said["secret"],
        scope=scope,
    )


def eventually(what: Callable[[], bool]) -> None:
    """Ask the control port until this is so; each question takes its time."""
    for _ in range(20_000):
        if what():
            return
    raise AssertionError("it never was so")


# --- several processes ----------------------------------------------------------------------------


@linux
def test_several_processes_are_one_exchange() -> None:
    with hosted("--processes", "2", "--api-port", "0") as exchange, ExitStack() as stack:
        clients = [stack.enter_context(exchange.client()) for _ in range(24)]
        shares = exchange.metric("squall_exchange_connections")
        assert set(shares) == {"1", "2"}
        assert sum(shares.values()) == 24
        # By chance, but all on one side happens once in eight million times.
        assert min(shares.values()) > 0

        granted = [login(exchange, client, f"session:{n}") for n, client in enumerate(clients)]
        assert len({each["access_token"] for each in granted}) == 24
        for client in clients[:12]:
            client.close()
        # Whoever comes back may come back to the other process.
        for each in granted[:12]:
            with exchange.client() as client:
                again = ask(
                    client,
                    "public/auth",
                    grant_type="refresh_token",
                    refresh_token=each["refresh_token"],
                )
                assert again["scope"].split()[0] == each["scope"].split()[0]
        assert sum(exchange.metric("squall_exchange_logins_total").values()) == 36
        assert sum(exchange.metric("squall_exchange_logins_failed_total").values()) == 0
        exchange.process.send_signal(signal.SIGINT)
        out, err = exchange.end()
        assert (exchange.process.returncode, out, err) == (0, "", "")


@linux
def test_a_fault_begins_and_ends_in_every_process() -> None:
    words = ["--processes", "2", "--api-port", "0", "--set", "ack_latency=1ms"]
    with hosted(*words) as exchange, ExitStack() as stack:
        clients = [stack.enter_context(exchange.client()) for _ in range(12)]
        assert all("access_token" in login(exchange, client) for client in clients)
        status, made = exchange.call("POST", "/squall/faults", {"do": "reject_auth"})
        assert (status, made["active"], made["do"]) == (201, True, "reject_auth")
        assert all(login(exchange, client)["code"] == 13004 for client in clients)
        (listed,) = exchange.call("GET", "/squall/faults")[1]
        assert listed == {**made, "fired": True}
        assert exchange.call("DELETE", f"/squall/faults/{made['id']}")[0] == 204
        assert exchange.call("GET", "/squall/faults")[1] == []
        assert all("access_token" in login(exchange, client) for client in clients)


@linux
@pytest.mark.parametrize("events", [False, True])
def test_a_process_that_dies_is_named_and_ends_the_exchange(events: bool) -> None:
    words = ["--events"] if events else []
    with hosted("--processes", "3", "--api-port", "0", *words) as exchange:
        processes = exchange.call("GET", "/health")[1]["processes"]
        with exchange.client() as client:
            os.kill(processes[1]["pid"], signal.SIGKILL)
            out, err = exchange.end()
            with pytest.raises(Exception, match=r"close|reset"):
                client.recv(TIMEOUT)
    assert exchange.process.returncode == 3
    pid = processes[1]["pid"]
    said = f"process 2 of the exchange (pid {pid}) was killed by SIGKILL: the exchange ends\n"
    assert err == said
    assert ("opened" in out) == events
    for each in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(each["pid"], 0)


@linux
def test_processes_end_when_their_parent_is_killed() -> None:
    with hosted("--processes", "2", "--api-port", "0") as exchange:
        processes = exchange.call("GET", "/health")[1]["processes"]
        handles = [os.pidfd_open(each["pid"]) for each in processes]
        exchange.process.kill()
        for each in handles:
            # The handle of a process can be read when the process has ended.
            assert select.select([each], [], [], TIMEOUT)[0]
            os.close(each)


@linux
def test_a_port_in_use_is_not_shared() -> None:
    with (
        closing(socket.create_server(("127.0.0.1", 0), reuse_port=True)) as other,
        pytest.raises(NetworkError, match="Port 0 takes any free one"),
    ):
        bind("127.0.0.1", other.getsockname()[1], 2)


def test_several_processes_need_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(NetworkError, match="need Linux; use --processes 1"):
        bind("127.0.0.1", 0, 2)


# --- the control port -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alone() -> Iterator[Hosted]:
    with hosted("--api-port", "0", "--set", "ack_latency=1ms") as exchange:
        yield exchange


def test_a_fault_is_ordered_for_an_instant_and_for_a_while(alone: Hosted) -> None:
    with alone.client() as client:
        order = {"do": "reject_auth", "in": "200ms", "lasting": "1s"}
        status, made = alone.call("POST", "/squall/faults", order)
        assert status == 201
        assert not made["active"]
        assert 0 < made["in"] <= 0.2
        eventually(lambda: any(each["active"] for each in alone.call("GET", "/squall/faults")[1]))
        eventually(lambda: alone.call("GET", "/squall/faults")[1] == [])
        assert "access_token" in login(alone, client)


def test_what_is_to_come_can_be_taken_back(alone: Hosted) -> None:
    made = alone.call("POST", "/squall/faults", {"do": "maintenance", "in": "24h"})[1]
    assert [each["id"] for each in alone.call("GET", "/squall/faults")[1]] == [made["id"]]
    assert alone.call("DELETE", "/squall/faults")[0] == 204
    assert alone.call("GET", "/squall/faults")[1] == []
    assert alone.call("DELETE", f"/squall/faults/{made['id']}")[0] == 404


def test_tokens_expire_at_the_instant_that_was_ordered(alone: Hosted) -> None:
    with alone.client() as client:
        token = login(alone, client)["access_token"]
        alone.call("POST", "/squall/faults", {"do": "expire_token"})
        asked = ask(client, "private/get_open_orders", access_token=token)
        assert asked["code"] == 13009


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"do": "expire_tokens"}, "unknown fault of the exchange 'expire_tokens'. Did you mean"),
        ({}, "name the fault"),
        ({"do": "ban", "status": "x"}, "status"),
        ({"do": "ban", "in": 3}, "in: durations carry a unit: 3s or 3ms"),
        ({"do": "ban", "nonsense": 1}, "nonsense"),
        ({"do": "bad_checksum"}, "deribit's books have no checksum"),
        ([], "an object is wanted"),
    ],
)
def test_a_wrong_order_is_explained(alone: Hosted, body: Any, said: str) -> None:
    status, answer = alone.call("POST", "/squall/faults", body)
    assert status == 400
    assert said in answer["error"]


def test_the_control_port_is_for_programs(alone: Hosted) -> None:
    assert alone.call("GET", "/health", **{"User-Agent": "Mozilla/5.0"})[0] == 403
    assert alone.call("POST", "/squall/faults", {"do": "ban"}, Origin="http://x")[0] == 403
    assert alone.call("GET", "/nothing")[0] == 404
    assert alone.call("POST", "/health", {})[0] == 405
    assert alone.call("GET", "/health")[1]["status"] == "ok"


def test_metrics_count_what_clients_do(alone: Hosted) -> None:
    def read(name: str) -> float:
        return alone.metric(f"squall_exchange_{name}")["1"]

    before = {name: read(f"{name}_total") for name in ("upgrades", "logins", "messages_in")}
    with alone.client() as client:
        login(alone, client)
        ask(client, "public/subscribe", channels=["trades.BTC-PERPETUAL.100ms"])
        client.recv(TIMEOUT)
        assert read("connections") == 1
        assert read("subscriptions") == 1
        for name, had in before.items():
            assert read(f"{name}_total") == had + (2 if name == "messages_in" else 1)
    eventually(lambda: read("connections") == 0)
    assert read("subscriptions") == 0
    assert alone.metric("process_resident_memory_bytes")["1"] > 1e6


def test_a_page_of_metrics_has_one_head_a_family_and_one_line_a_process() -> None:
    counts = dict.fromkeys(asdict(Counts()), 7)
    reports = [
        Report(n, 100 + n, 5, 6, 0.25, 1 << 20, 1.5, counts, {"1": (True, False)}) for n in (1, 2)
    ]
    lines = metrics.page(reports).splitlines()
    assert 'squall_exchange_bytes_out_total{process="2"} 7' in lines
    assert 'squall_exchange_loop_lag_seconds{process="1"} 0.25' in lines
    assert 'squall_exchange_faults_in_force{process="1"} 1' in lines
    heads = [line for line in lines if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    assert len(lines) == 4 * len(heads)


def test_a_fault_is_read_as_a_scenario_has_it() -> None:
    assert read_fault({"do": "ban", "status": 418, "retry_after": "2s"}).name == "ban"
    with pytest.raises(ValueError, match="unknown fault"):
        read_fault({"do": "rst"})


# --- file descriptors -----------------------------------------------------------------------------


def upgraded(client: socket.socket) -> bool:
    """Whether the exchange lets this client in."""
    client.settimeout(TIMEOUT)
    client.sendall(
        b"GET /ws/api/v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    try:
        return client.recv(4096).startswith(b"HTTP/1.1 101")
    except ConnectionError:
        return False


def dial(exchange: Hosted) -> tuple[socket.socket, bool]:
    client = socket.create_connection(("127.0.0.1", exchange.port), TIMEOUT)
    try:
        return client, upgraded(client)
    except BrokenPipeError:
        return client, False


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=linux)])
def test_an_exchange_out_of_descriptors_says_so_once_and_goes_on(processes: int) -> None:
    words = ["--set", "connections_per_address=1000", "--processes", str(processes)]
    with hosted(*words, "--api-port", "0", "--set", "tick=50ms", limit=80) as exchange:
        with ExitStack() as stack:
            kept, refused = [], 0
            for _ in range(80 * processes):
                client, allowed = dial(exchange)
                if allowed:
                    kept.append(stack.enter_context(closing(client)))
                else:
                    client.close()
                    refused += 1
            assert len(kept) > 20
            assert refused > 5
            dropped = exchange.metric("squall_exchange_dials_refused_total")
            assert sum(dropped.values()) == refused
            # Those that it has are served.
            subscribe = json.dumps(
                {"id": 1, "method": "public/subscribe", "params": {"channels": [], "pad": "x" * 99}}
            ).encode()
            frame = b"\x81\xfe" + len(subscribe).to_bytes(2, "big") + bytes(4) + subscribe
            kept[0].sendall(frame)
            assert b'"result": []' in kept[0].recv(4096)
        # They have left: there is room again, and for as many as before.
        eventually(lambda: sum(exchange.metric("squall_exchange_connections").values()) == 0)
        with ExitStack() as stack:
            allowed_again = 0
            for _ in range(10):
                client, allowed = dial(exchange)
                stack.enter_context(closing(client))
                allowed_again += allowed
            assert allowed_again == 10
        exchange.process.send_signal(signal.SIGINT)
        _, err = exchange.end()
        assert exchange.process.returncode == 0
        assert err.count("out of file descriptors") == processes
        assert err.count("takes connections") == processes
        assert len(err.splitlines()) == 2 * processes


def test_an_exchange_at_its_limit_does_not_spin() -> None:
    words = ["--api-port", "0", "--set", "connections_per_address=1000"]
    with hosted(*words, limit=64) as exchange, ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(closing(dial(exchange)[0]))
        before = exchange.metric("process_cpu_seconds_total")["1"]
        with pytest.raises(subprocess.TimeoutExpired):
            exchange.process.wait(timeout=1.0)
        # A loop that spins takes all that it can get.
        assert exchange.metric("process_cpu_seconds_total")["1"] - before < 0.5
