"""Users in locustfiles of one's own: `WebSocketUser` for tasks, `ReconnectingUser` for adapters."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gevent", reason="the extra [load] is not installed")

from load_world import Place, Process, place

NOWHERE = "ws://127.0.0.1:1/ws/api/v2"

QUOTES = """
    import json
    from locust import constant, task
    from squall.load.users import WebSocketUser

    SUBSCRIBE = {
        "jsonrpc": "2.0", "id": 1, "method": "public/subscribe",
        "params": {"channels": ["ticker.BTC-PERPETUAL.100ms"]},
    }

    class Quotes(WebSocketUser):
        wait_time = constant(0.1)

        @task
        def quote(self):
            with self.connect() as line:
                answer = line.request(
                    json.dumps(SUBSCRIBE), "subscribe", until=lambda m: '"id"' in m
                )
                assert json.loads(answer)["result"]
                line.receive("quote")
                line.send("nonsense")

    class Patient(WebSocketUser):
        wait_time = constant(0.1)

        @task
        def wait(self):
            with self.connect() as line:
                line.receive("in vain", timeout=0.2)
                raise AssertionError("a time-out ends the task")
"""

TRADER = """
    from squall.load.users import ReconnectingUser

    class Trader(ReconnectingUser):
        channels = ("ticker.BTC-PERPETUAL.100ms",)
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("place")) as found:
        yield found


def rows(folder: Path, locustfile: str, host: str) -> tuple[dict[str, Any], str]:
    """Locust's statistics of a short run by name, and all that it said."""
    file, out = folder / "locustfile.py", folder / "stats"
    file.write_text(textwrap.dedent(locustfile), encoding="utf-8")
    process = Process(
        folder / "log",
        *("-m", "locust", "-f", str(file), "--headless", "--only-summary", "--host", host),
        *("--users", "4", "--spawn-rate", "4", "--run-time", "4s", "--json-file", str(out)),
        *("--exit-code-on-error", "0"),
    )
    assert process.popen.wait(90.0) == 0, process.log.read_text()
    found = json.loads(out.with_suffix(".json").read_text())
    return {row["name"]: row for row in found}, process.log.read_text()


def test_a_user_by_hand_has_its_requests_in_the_statistics(there: Place, tmp_path: Path) -> None:
    found, said = rows(tmp_path, QUOTES, there.url)
    assert {"connect", "subscribe", "quote", "send", "in vain"} == found.keys()
    assert all(row["method"] == "WS" for row in found.values())
    for name in ("connect", "subscribe", "quote", "send"):
        assert found[name]["num_requests"] > 0
        assert found[name]["num_failures"] == 0
    assert found["quote"]["total_content_length"] > 0
    # A time-out is one failed request, and the end of the task.
    assert found["in vain"]["num_failures"] == found["in vain"]["num_requests"] > 0
    assert "AssertionError" not in said
    assert "Traceback" not in said


def test_a_dial_that_fails_is_one_failure_and_nothing_follows_from_it(tmp_path: Path) -> None:
    found, said = rows(tmp_path, QUOTES, NOWHERE)
    assert found.keys() == {"connect"}
    assert found["connect"]["num_failures"] == found["connect"]["num_requests"] > 0
    assert "AttributeError" not in said
    assert "Traceback" not in said


def test_a_user_that_is_an_adapter_has_its_stages_and_messages_in_the_statistics(
    there: Place, tmp_path: Path
) -> None:
    found, _ = rows(tmp_path, TRADER, there.url)
    for name in ("connect", "upgrade", "subscribe", "first_message"):
        assert found[name]["num_requests"] == 4
        assert found[name]["num_failures"] == 0
    # Messages have a rate and a size, but no response time.
    message = found["message"]
    assert message["num_requests"] > 4
    assert message["num_requests"] == message["num_none_requests"]
    assert message["total_content_length"] > 100 * message["num_requests"]


def test_dials_that_fail_are_shown_and_are_no_failures_of_the_adapter(tmp_path: Path) -> None:
    found, _ = rows(tmp_path, TRADER, NOWHERE)
    assert found["dial in vain"]["num_requests"] >= 4
    assert found["dial in vain"]["num_failures"] == 0


def test_an_adapter_that_gives_up_is_one_failure(tmp_path: Path) -> None:
    hasty = TRADER + '        settings = {"max_attempts": 1}\n'
    found, _ = rows(tmp_path, hasty, NOWHERE)
    assert found["adapter"]["num_failures"] == 4


@pytest.mark.parametrize(
    ("locustfile", "host", "said"),
    [
        (TRADER, "http://127.0.0.1:1", "--host must be a ws:// or wss:// URL"),
        (
            TRADER + '        settings = {"jiter": 1}\n',
            NOWHERE,
            "the reference adapter has no jiter",
        ),
    ],
)
def test_what_is_wrong_with_all_users_is_said_once(
    locustfile: str, host: str, said: str, tmp_path: Path
) -> None:
    _, log = rows(tmp_path, locustfile, host)
    assert log.count(said) == 1
