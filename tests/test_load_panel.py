"""The page /storm of Locust's web UI, and what stands on it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from load_world import Process
from squall.load.results import Fleet
from squall.load.storm import Storm
from squall.load.storm_page import document, numbers, said, view
from squall.load.tally import Tally
from squall.load.thresholds import Threshold
from squall.load.timeline import Phase

STORM = Storm(
    name="test",
    about="A test.",
    users=60,
    duration=20.0,
    thresholds=(Threshold.parse("restored == 100%"),),
)


def tally() -> Tally:
    """Sixty users gather, are cut at 2 s, and half of them have come back by 6 s."""
    made = Tally()
    for user in range(60):
        made.began(-3.0)
        made.dialled(-3.0)
        made.restored(-2.5)
        made.lost(2.0)
        if user < 30:
            at = 2.0 + user / 10
            made.dialled(at)
            made.restored(at + 0.5)
            made.measured("recovery", user / 10 + 0.5, at)
    return made


FIN = Phase(2.0, 2.0, "fin", "proxy", "fin")
REFUSE = Phase(2.0, 12.0, "refuse", "proxy", "refuse")


def fleet(**told: object) -> Fleet:
    known = {"tally": tally(), "at": 6.0, "began": True, "users": 60, "phases": (FIN, REFUSE)}
    return Fleet(**{**known, **told})  # type: ignore[arg-type]


def test_a_sentence_says_what_is_going_on() -> None:
    assert said(STORM, fleet()) == "6 s of 20 s: refuse; 30 of 60 users are whole."
    assert said(STORM, fleet(phases=())) == (
        "6 s of 20 s: nothing in force; 30 of 60 users are whole."
    )
    assert said(STORM, fleet(began=False)) == "The fleet gathers: 30 of 60 users are whole."
    assert said(STORM, Fleet()) == "Nobody is there yet."
    assert said(STORM, fleet(ended=True)) == "Over after 6 s: 30 of 60 users are whole."


def test_the_numbers_are_those_of_the_thresholds() -> None:
    found = dict(numbers(STORM, fleet()))
    assert found["Restored"] == "50%"
    assert found["Recovery, longest"].startswith("3.4")
    assert found["Peak dials/s"] == "10"


def test_the_page_shows_both_plots_the_phases_and_the_workers() -> None:
    page = view(STORM, fleet(workers={"w1": {"users": 60, "rss_bytes": 7e7, "state": "running"}}))
    assert page.count("<svg") == 2
    assert "Dials per second" in page
    assert '<th scope="row">refuse</th><td>proxy</td><td>2 s</td><td>12 s</td>' in page
    assert "at once" in page
    assert "70 MB" in page


def test_a_page_of_nothing_is_drawn_too() -> None:
    assert "Nobody is there yet." in view(STORM, Fleet())


def test_what_somebody_said_is_text_on_the_page() -> None:
    page = document(STORM, view(STORM, fleet(why="<script>alert(1)</script>")))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_the_page_needs_no_network() -> None:
    page = document(STORM, view(STORM, fleet()))
    assert "http:" not in page.replace("http://www.w3.org", "")
    assert "https:" not in page


SCRIPT = """
    import json
    from locust.env import Environment
    from locust.argument_parser import parse_options
    import locust
    from squall.load import panel
    from squall.load.line import Line
    from squall.load.master import Master
    from squall.load.shape import StormShape
    from squall.load.storm_file import find
    from squall.load.users import ReconnectingUser

    class User(ReconnectingUser):
        host = "ws://127.0.0.1:1"

    options = parse_options(["--headless"])
    options.num_users = options.spawn_rate = None
    environment = Environment(
        user_classes=[User], shape_class=StormShape(), events=locust.events, parsed_options=options
    )
    runner = environment.create_local_runner()
    locust.events.init.fire(environment=environment, runner=runner, web_ui=None)
    ui = environment.create_web_ui(delayed_start=True)
    master = Master(environment, find("steady"), Line(None, None), None)
    master.start()
    panel.add(ui, master)
    client = ui.app.test_client()
    found = {}
    for path in ("/storm", "/storm/now", "/storm/metrics", "/storm/fleet", "/stats/requests", "/"):
        answer = client.get(path)
        found[path] = [answer.status_code, answer.content_type, answer.get_data(as_text=True)]
    print(json.dumps(found))
"""


def test_locusts_web_page_has_the_storm_in_it(tmp_path: Path) -> None:
    pytest.importorskip("gevent", reason="the extra [load] is not installed")
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    process = Process(tmp_path / "log", str(tmp_path / "script.py"))
    assert process.popen.wait(90.0) == 0, process.log.read_text()
    found = json.loads(process.log.read_text().splitlines()[-1])
    assert all(status == 200 for status, *_ in found.values()), found
    assert found["/storm"][2].startswith("<!doctype html>")
    assert "Nobody is there yet." in found["/storm/now"][2]
    assert "squall_users_whole 0" in found["/storm/metrics"][2]
    assert json.loads(found["/storm/fleet"][2])["storm"]["storm"] == "steady"
    extended = json.loads(found["/stats/requests"][2])["extended_stats"]
    assert extended[0]["key"] == "storm"
    assert "Storm" in found["/"][2]
