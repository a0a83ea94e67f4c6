"""Storms on Locust, from its command line to fleet.json: some end as planned, some do not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gevent", reason="the extra [load] is not installed")

from load_world import LOCUSTFILE, Place, Process, Storming, lived, on_free_port, place
from squall.load.thresholds import herd_factor

CUT = """
    storm: test
    about: Every line is cut.
    users: 20
    spawn_rate: 20
    duration: 6s
    engine: {engine}
    channels: {{ticker: 1, orders: 1}}
    private: true
    adapter: {{first_delay_max: 1, stable_after: 0.1}}
    steps: [{{at: 1.25s, do: fin}}]
    thresholds: [restored == 100%]
"""
LONG = CUT.replace("duration: 6s", "duration: 60s").format(engine="asyncio")


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("place")) as found:
        yield found


@pytest.mark.parametrize("workers", [[], ["--processes", "2"]], ids=["alone", "two workers"])
@pytest.mark.parametrize("engine", ["asyncio", "gevent"])
def test_a_fleet_that_is_cut_off_is_whole_again_and_nobody_has_failed(
    there: Place, tmp_path: Path, engine: str, workers: list[str]
) -> None:
    words = [*workers, *on_free_port()] if workers else []
    with Storming(there, tmp_path, CUT.format(engine=engine), *words) as storming:
        assert storming.wait() == 0, storming.process.log.read_text()
        fleet = storming.fleet()
    tally = fleet.tally
    assert (fleet.began, fleet.ended, fleet.why) == (True, True, "")
    assert lived(tally) == (20, 20, 20)
    assert tally.measures["recovery"].count == 20
    assert tally.measures["authenticate"].count == 40
    assert tally.measures["first_message"].count >= 20
    assert not tally.reasons
    assert fleet.at >= 6.0
    assert len(fleet.workers) == max(1, len(workers))
    assert sum(each["users"] for each in fleet.workers.values()) == 20
    # The proxy kept the instant, to the tenth in which users noticed, or later ones.
    assert [(phase.do, phase.at) for phase in fleet.phases] == [("fin", 1.25)]
    assert min(tenth for tenth in tally.counts["lost"] if tenth >= 0) >= 12
    rows = storming.process.log.read_text()
    assert "recovery" in rows
    assert "message " in rows


def test_a_worker_that_is_killed_ends_the_storm_and_what_was_measured_is_kept(
    there: Place, tmp_path: Path
) -> None:
    with Storming(there, tmp_path, LONG, "--processes", "2", *on_free_port()) as storming:
        told = storming.until(lambda told: told["began"] and len(told["workers"]) == 2)
        victim = next(iter(told["workers"].values()))["pid"]
        os.kill(victim, signal.SIGKILL)
        storming.wait()
        fleet = storming.fleet()
    assert fleet.ended
    assert "a worker is gone in mid-storm" in fleet.why
    assert f"pid {victim}" in fleet.why
    assert fleet.at < 60.0
    assert fleet.tally.total("began") == 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_storm_that_is_interrupted_keeps_what_was_measured(
    there: Place, tmp_path: Path, number: signal.Signals
) -> None:
    with Storming(there, tmp_path, LONG) as storming:
        storming.until(lambda told: told["began"] and told["at"] > 0)
        storming.process.popen.send_signal(number)
        storming.wait()
        fleet = storming.fleet()
    assert fleet.ended
    assert fleet.why == "it was stopped before its time"
    assert fleet.tally.total("began") == 20


def test_a_fleet_that_is_never_whole_ends_the_storm(there: Place, tmp_path: Path) -> None:
    nobody = Place("ws://127.0.0.1:1/ws/api/v2", there.proxy_api, there.credentials)
    storm = LONG.replace("duration: 60s", "duration: 60s\n    patience: 1s")
    with Storming(nobody, tmp_path, storm) as storming:
        storming.wait()
        fleet = storming.fleet()
    assert not fleet.began
    assert "the storm never began" in fleet.why
    assert "0 of 20 users" in fleet.why
    assert fleet.tally.total("dialled") >= 20
    assert not fleet.tally.reasons


NO_JITTER = """
    import asyncio
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException
    from squall.load import locustfile

    StormShape = locustfile.StormShape
    SUBSCRIBE = (
        '{"jsonrpc": "2.0", "id": 1, "method": "public/subscribe",'
        ' "params": {"channels": ["ticker.BTC-PERPETUAL.100ms"]}}'
    )

    class Mine:
        def __init__(self, url):
            self.url = url

        async def run(self, life):
            while True:
                life.dialled()
                try:
                    async with connect(self.url, proxy=None) as line:
                        life.upgraded()
                        await line.send(SUBSCRIBE)
                        await line.recv()
                        life.restored()
                        async for message in line:
                            life.received(len(message))
                            life.data()
                except (OSError, WebSocketException):
                    pass
                life.lost()
                await asyncio.sleep(1.0)

    class Herd(locustfile.StormUser):
        def adapter(self, rng):
            return Mine(self.host)
"""


@pytest.mark.parametrize(
    ("locustfile", "crowded"), [("", False), (NO_JITTER, True)], ids=["reference", "no jitter"]
)
def test_a_fleet_without_jitter_is_a_herd_and_the_reference_fleet_is_none(
    there: Place, tmp_path: Path, locustfile: str, crowded: bool
) -> None:
    storm = """
        storm: test
        about: Every line is cut; a good fleet comes back over five seconds.
        users: 200
        spawn_rate: 200
        duration: 12s
        channels: {ticker: 1}
        adapter: {first_delay_max: 5, stable_after: 0.1}
        steps: [{at: 1s, do: fin}]
        thresholds: [herd_factor < 3]
    """
    with Storming(there, tmp_path, storm, locustfile=locustfile) as storming:
        storming.wait()
        fleet = storming.fleet()
    assert fleet.why == ""
    assert lived(fleet.tally) == (200, 200, 200)
    factor = herd_factor(fleet.tally, 12.0)
    assert factor is not None
    assert (factor >= 3) == crowded, factor


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--storm", "thundering-hrd"], "Did you mean 'thundering-herd'?"),
        (["--storm", "flap"], "there is none in this storm"),
        (["--storm", "steady", "--users", "-1"], "users is -1; it must be 1 or more"),
        (["--storm", "token-expiry"], "set SQUALL_API_KEY and SQUALL_API_SECRET"),
    ],
)
def test_wrong_use_is_said_before_anything_begins(
    words: list[str], said: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    process = Process(log, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", *words)
    assert process.popen.wait(90.0) == 3, log.read_text()
    assert said in log.read_text()
    assert "Traceback" not in log.read_text()
