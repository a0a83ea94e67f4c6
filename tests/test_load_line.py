"""load/line.py: steps put in force through control APIs, at their instants."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import threading
from random import Random
from typing import Any

import pytest

from squall.errors import NetworkError, ScenarioError
from squall.load import line as line_module
from squall.load import storm_file
from squall.load.line import Line, ToxiproxyControl, control
from squall.load.storm import Storm, StormStep
from squall.serve import fault_order
from squall_proxy import Fin, Latency, Refuse, Rst, Target
from squall_proxy.toxiproxy import ToxiproxyServer, Wish

PATIENCE = 30.0


def storm(*steps: str) -> Storm:
    lines = "".join(f"  - {step}\n" for step in steps)
    return storm_file.parse(
        f"storm: s\nabout: a\nduration: 30s\nthresholds: [users > 0]\nsteps:\n{lines}"
    )


class Served:
    """A proxy with a control port, on a loop in a thread of its own."""

    def __init__(self, *names: str, websocket: bool = True) -> None:
        self._names, self._websocket = names, websocket
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self.url = ""
        self.ports: dict[str, int] = {}
        self._events: list[str] = []
        self._seen = threading.Condition()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self.server = ToxiproxyServer(rng=Random(0), read_order=fault_order)
        self.server.log.listen = self._heard
        await self.server.start(port=0)
        for name in self._names:
            wish = Wish(name, "127.0.0.1:0", "127.0.0.1:9", websocket=self._websocket)
            made = await self.server.proxies.create(wish)
            self.ports[name] = int(made.wish.listen.rpartition(":")[2])
        self.url = "http://{}:{}".format(*self.server.address)
        self._ready.set()
        await self._stop.wait()
        await self.server.stop()

    def _heard(self, text: str) -> None:
        with self._seen:
            self._events.append(text)
            self._seen.notify_all()

    def await_event(self, *words: str, count: int = 1) -> None:
        """Until so many events hold these words."""

        def there() -> bool:
            found = [text for text in self._events if all(word in text for word in words)]
            return len(found) >= count

        with self._seen:
            assert self._seen.wait_for(there, PATIENCE), self._events

    def __enter__(self) -> Served:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)


def faults(url: str) -> Any:
    return line_module._call("GET", f"{url}/squall/faults")


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


# -- our own -------------------------------------------------------------------------------------


def test_a_step_begins_and_ends_by_the_proxys_own_clock() -> None:
    wanted = storm("{at: 1s, do: latency, delay: 50ms, for: 200ms}")
    with Served("p") as proxy:
        line = Line(proxy.url, None)
        line.prepare(wanted)
        assert faults(proxy.url) == []
        line.strike(wanted.steps[0], 0.2)
        (planned,) = faults(proxy.url)
        assert planned["active"] is False
        assert 0 <= planned["in"] <= 0.2
        proxy.await_event("fault_started", "latency")
        proxy.await_event("fault_ended", "latency")
        assert faults(proxy.url) == []


def test_what_is_late_happens_at_once() -> None:
    wanted = storm("{at: 1s, do: fin}")
    with Served("p") as proxy:
        line = Line(proxy.url, None)
        line.prepare(wanted)
        line.strike(wanted.steps[0], -0.5)
        proxy.await_event("fault_started", "fin")


def test_healing_takes_back_what_is_to_come_and_what_is_in_force() -> None:
    wanted = storm("{at: 1s, do: refuse}", "{at: 20s, do: rst}")
    with Served("p") as proxy:
        line = Line(proxy.url, None)
        line.prepare(wanted)
        line.strike(wanted.steps[0], 0)
        line.strike(wanted.steps[1], 19)
        proxy.await_event("fault_started", "refuse")
        assert len(faults(proxy.url)) == 2
        line.heal()
        assert faults(proxy.url) == []
        assert accepts(proxy.ports["p"])


def test_healing_leaves_alone_what_others_ordered() -> None:
    wanted = storm("{at: 1s, do: refuse}")
    with Served("p") as proxy:
        line_module._call("POST", f"{proxy.url}/squall/faults", {"do": "latency", "delay": "1s"})
        line = Line(proxy.url, None)
        line.prepare(wanted)
        line.strike(wanted.steps[0], 0)
        line.heal()
        assert [each["do"] for each in faults(proxy.url)] == ["latency"]


def test_what_a_proxy_cannot_do_is_told_before_the_start() -> None:
    with Served("p", websocket=False) as proxy, pytest.raises(ScenarioError, match="WebSocket"):
        Line(proxy.url, None).prepare(storm("{at: 1s, do: close, code: 1012}"))


def test_which_of_several_proxies_is_meant_stands_in_the_address() -> None:
    wanted = storm("{at: 1s, do: refuse}")
    with Served("one", "two") as proxy:
        with pytest.raises(ScenarioError, match="there are 2"):
            Line(proxy.url, None).prepare(wanted)
        line = Line(f"{proxy.url}/proxies/two", None)
        line.prepare(wanted)
        line.strike(wanted.steps[0], 0)
        proxy.await_event("fault_started", "refuse")
        assert [accepts(proxy.ports[name]) for name in ("one", "two")] == [True, False]


def test_a_storm_without_a_proxy_or_an_exchange_says_what_is_missing() -> None:
    with pytest.raises(ScenarioError, match="fin is done by a proxy, and there is none"):
        Line(None, None).prepare(storm("{at: 1s, do: fin}"))
    with pytest.raises(ScenarioError, match="expire_token is done by the mock exchange"):
        Line("http://127.0.0.1:1", None).prepare(storm("{at: 1s, do: expire_token}"))
    Line(None, None).prepare(storm("{at: 1s, do: load, users: 5}"))


def test_nobody_who_answers_is_an_error_that_says_where() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NetworkError, match=f"127.0.0.1:{port}"):
        Line(f"127.0.0.1:{port}", None).prepare(storm("{at: 1s, do: fin}"))


@pytest.mark.parametrize("api", ["ftp://127.0.0.1:1", "http://", "http://127.0.0.1:1/metrics"])
def test_what_is_no_address_of_an_api_is_refused(api: str) -> None:
    with pytest.raises(NetworkError, match="write http://HOST:PORT"):
        control(api, "proxy")


def test_a_proxy_that_dies_in_between_is_told() -> None:
    wanted = storm("{at: 1s, do: fin}")
    with Served("p") as proxy:
        line = Line(proxy.url, None)
        line.prepare(wanted)
    with pytest.raises(NetworkError, match="nobody answers"):
        line.strike(wanted.steps[0], 0)


def test_the_exchange_is_driven_in_the_same_words() -> None:
    wanted = storm("{at: 1s, do: expire_token}", "{at: 2s, do: maintenance, for: 1s}")
    command = [sys.executable, "-m", "squall", "exchange", "--api-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = dict(process.stdout.readline().split(None, 1) for _ in range(5))
            line = Line(None, said["api"].strip())
            line.prepare(wanted)
            for step in wanted.steps:
                line.strike(step, 20.0)
            found = faults(said["api"].strip())
            assert [each["do"] for each in found] == ["expire_token", "maintenance"]
            line.heal()
            assert faults(said["api"].strip()) == []
        finally:
            process.terminate()


# -- Toxiproxy -----------------------------------------------------------------------------------


def test_toxiproxy_is_told_when_the_time_has_come() -> None:
    with Served("p", websocket=False) as proxy:
        toxi = ToxiproxyControl(proxy.url, None)
        step = StormStep(Latency(delay=0.2), at=1.0, lasting=0.2, target=Target(fraction=0.5))
        toxi.rehearse(step)
        toxi.strike(step, 0.05)
        proxy.await_event("fault_started", "latency", count=2)
        proxy.await_event("fault_ended", "latency", count=2)


def test_a_fin_during_an_outage_does_not_end_it() -> None:
    with Served("p", websocket=False) as proxy:
        toxi = ToxiproxyControl(proxy.url, None)
        toxi.strike(StormStep(Refuse(), at=1.0), 0.0)
        toxi.strike(StormStep(Fin(), at=1.0), 0.05)
        for timer in toxi._timers:
            timer.join(PATIENCE)
        assert not accepts(proxy.ports["p"])
        toxi.heal()
        assert accepts(proxy.ports["p"])


def test_healing_toxiproxy_cancels_what_is_to_come() -> None:
    with Served("p", websocket=False) as proxy:
        toxi = ToxiproxyControl(proxy.url, None)
        toxi.strike(StormStep(Refuse(), at=1.0), 60.0)
        toxi.heal()
        for timer in toxi._timers:
            timer.join(PATIENCE)
        assert accepts(proxy.ports["p"])


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (StormStep(Rst(), at=1.0), "Toxiproxy cannot do it"),
        (StormStep(Fin(), at=1.0, target=Target(fraction=0.5)), "to all connections only"),
        (StormStep(Refuse("reset"), at=1.0), "can only refuse"),
        (StormStep(Latency(0.1), at=1.0, target=Target("newest")), "tell connections apart"),
    ],
)
def test_what_toxiproxy_cannot_do_is_told_before_the_start(step: StormStep, why: str) -> None:
    with Served("p", websocket=False) as proxy, pytest.raises(ScenarioError, match=why):
        ToxiproxyControl(proxy.url, None).rehearse(step)


def test_a_toxiproxy_without_the_proxy_that_is_meant_says_which_there_are() -> None:
    with Served("one", "two") as proxy:
        with pytest.raises(NetworkError, match=r"has 2 proxies \(one, two\)"):
            ToxiproxyControl(proxy.url, None)
        with pytest.raises(NetworkError, match="no proxy 'three'"):
            ToxiproxyControl(proxy.url, "three")


def test_what_went_wrong_in_a_timer_is_told_with_the_next_call() -> None:
    with Served("p", websocket=False) as proxy:
        toxi = ToxiproxyControl(proxy.url, None)
        line_module._call("DELETE", f"{proxy.url}/proxies/p")
        toxi.strike(StormStep(Fin(), at=1.0), 0.0)
        for timer in toxi._timers:
            timer.join(PATIENCE)
        with pytest.raises(NetworkError, match="proxy not found"):
            toxi.strike(StormStep(Fin(), at=1.0), 0.0)
