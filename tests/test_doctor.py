"""doctor.py and diagnosis.py: what an adapter can do, what is missing, and what to do next."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from squall.cli import main
from squall.diagnosis import Finding, State, examine
from squall.doctor import consult, examination
from squall.errors import AdapterError
from squall.events_schema import EVENTS_SCHEMA
from squall.history import Event, History
from squall.manifest import Manifest
from squall.plan import adapter_named
from squall.profile import load_profile
from squall.report import Terminal
from squall.virtual_clock import VirtualClockLoop

PROFILE = load_profile("default")
REFERENCE = replace(adapter_named("reference"), command=None)

TRADES = "trades.BTC-PERPETUAL.100ms"
BOOK = "book.BTC-PERPETUAL.100ms"


Told = tuple[str, str, Mapping[str, Any]]


def story(*told: Told, private: bool = False) -> History:
    """A history of these events, a tenth of a second apart, behind a usual beginning."""
    beginning: tuple[Told, ...] = (
        ("scenario", "run_started", {"adapter": {"supports": ["public"]}}),
        ("scenario", "wanted", {"channels": [TRADES, BOOK], "private": [BOOK] * private}),
        ("adapter", "started", {"pid": 1, "command": ["./my-bot"]}),
        *told,
    )
    return History(
        events=[
            Event(
                number / 10, source, kind, 1 if source in ("proxy", "exchange") else None, dict(d)
            )
            for number, (source, kind, d) in enumerate(beginning)
        ]
    )


UP: tuple[Told, ...] = (
    ("proxy", "dialled", {"listener": "ws"}),
    ("proxy", "upgrade_requested", {"path": "/ws/api/v2", "upgrade": True}),
    ("proxy", "upgraded", {}),
    ("exchange", "opened", {"path": "/ws/api/v2"}),
)
SERVED: tuple[Told, ...] = (
    *UP,
    ("exchange", "subscribe_requested", {"channels": [TRADES, BOOK]}),
    ("exchange", "subscribed", {"channels": [TRADES, BOOK]}),
    ("exchange", "sent", {"channel": TRADES, "seq": 7}),
    ("exchange", "sent", {"channel": BOOK, "seq": 3}),
    ("scenario", "steady", {"after": 1.0}),
)


def found(history: History, supports: tuple[Any, ...] = ()) -> dict[str, Finding]:
    manifest = Manifest(name="my-bot", command=("./my-bot",), supports=supports)
    return {finding.title: finding for finding in examine(history, manifest, ())}


def said(*events: Mapping[str, Any]) -> tuple[Told, ...]:
    return tuple(
        ("adapter", str(e["event"]), {k: v for k, v in e.items() if k != "event"}) for e in events
    )


READY = {"event": "ready", "commands": []}


# -- level 0 -------------------------------------------------------------------------------------


def test_an_adapter_that_never_dials_is_told_where_its_url_is() -> None:
    finding = found(story())["dialled"]
    assert finding.state is State.WRONG
    assert "SQUALL_URL" in finding.todo
    assert "url_env" in finding.todo


def test_an_adapter_that_ends_before_it_dials_is_told_its_status() -> None:
    history = story(("adapter", "exited", {"status": 3, "expected": False}))
    assert found(history)["dialled"].said == "it ended with status 3 instead"


def test_a_wrong_path_is_shown() -> None:
    history = story(
        UP[0],
        ("proxy", "upgrade_requested", {"path": "/ws", "upgrade": True}),
        ("proxy", "upgrade_refused", {"status": 404, "retry_after": None, "by": "exchange"}),
    )
    finding = found(history)["upgraded"]
    assert finding.said == "/ws: the answer was 404"


def test_a_login_that_was_never_tried_is_missed_where_there_are_private_channels() -> None:
    assert found(story(*UP, private=True))["logged in"].said == "it never tried"
    assert "logged in" not in found(story(*UP))


def test_a_refused_login_says_why() -> None:
    history = story(*UP, ("exchange", "auth_failed", {"code": 13004}), private=True)
    assert found(history)["logged in"].said == "refused: 13004"


def test_a_channel_that_was_not_asked_for_differs_from_one_that_was_refused() -> None:
    history = story(
        *UP,
        ("exchange", "subscribe_requested", {"channels": [BOOK]}),
        ("exchange", "error", {"code": 13009, "message": "unauthorized"}),
    )
    served = [f for f in examine(history, REFERENCE, ()) if f.title == "served"]
    assert [finding.said for finding in served] == [
        f"{TRADES}: it did not ask for it",
        f"{BOOK}: refused: unauthorized",
    ]


def test_what_it_subscribes_to_beyond_the_wanted_is_wrong() -> None:
    history = story(*SERVED, ("exchange", "subscribed", {"channels": ["ticker.X.100ms"]}))
    assert found(history)["served more"].said == "ticker.X.100ms"


def test_served_everything_but_never_steady_says_what_was_in_the_way() -> None:
    without_data = [told for told in SERVED if told[1] not in ("sent", "steady")]
    assert found(story(*without_data))["steady"].said == "never: data did not come on every channel"
    left = (*without_data, ("proxy", "client_closed", {"how": "fin"}))
    assert f"{BOOK} is not served" in found(story(*left))["steady"].said


def test_what_it_asks_over_http_is_no_upgrade() -> None:
    rest: tuple[Told, ...] = (
        ("proxy", "dialled", {"listener": "rest"}),
        ("proxy", "upgrade_requested", {"path": "/api/v3/ping", "upgrade": False}),
    )
    assert found(story(*rest))["upgraded"].said == "it never asked for WebSocket"
    assert found(story(*rest, *SERVED))["upgraded"].said == "/ws/api/v2"


# -- level 1 -------------------------------------------------------------------------------------


def test_an_adapter_that_prints_nothing_is_at_level_0_and_nothing_is_wrong() -> None:
    findings = found(story(*SERVED))
    assert findings["ready"].state is State.MISSING
    assert not [f for f in findings.values() if f.state is State.WRONG]


def test_a_stray_line_is_asked_about_standard_error() -> None:
    finding = found(story(("adapter", "garbage", {"line": "connected!"})))["clean output"]
    assert finding.state is State.WRONG
    assert "standard error" in finding.todo


def test_a_misspelt_event_is_recognised() -> None:
    finding = found(story(("adapter", "garbage", {"line": '{"event": "mesage"}'})))["clean output"]
    assert "Did you mean 'message'?" in finding.said


def test_events_in_front_of_ready_are_wrong() -> None:
    history = story(*said({"event": "state", "state": "connected"}, READY))
    assert "`state` came before" in found(history)["ready"].said


def test_a_mistake_that_is_made_often_is_told_once() -> None:
    history = story(*SERVED, *said(READY, *[{"event": "message"}] * 5))
    finding = found(history)["well-formed"]
    assert finding.said == "message: 'channel' is missing (5 times)"


def test_numbers_that_the_exchange_never_sent_are_wrong() -> None:
    own_count = [{"event": "message", "channel": name, "seq": 1} for name in (TRADES, BOOK)]
    finding = found(story(*SERVED, *said(READY, *own_count)))["seq"]
    assert finding.state is State.WRONG
    assert f"never sent number 1 on {TRADES}" in finding.said


def test_messages_without_numbers_leave_something_out() -> None:
    bare = [{"event": "message", "channel": name} for name in (TRADES, BOOK)]
    assert found(story(*SERVED, *said(READY, *bare)))["seq"].state is State.MISSING


def test_a_channel_of_which_nothing_is_delivered_is_named() -> None:
    history = story(*SERVED, *said(READY, {"event": "message", "channel": TRADES, "seq": 7}))
    assert found(history)["message"].said == f"nothing was delivered of {BOOK}"


# -- level 2 -------------------------------------------------------------------------------------

COMMANDER = {"event": "ready", "commands": ["subscribe", "health"]}
MORE = "trades.ETH-PERPETUAL.100ms"
SUBSCRIBE: Told = ("adapter", "command", {"id": 1, "do": "subscribe", "channels": [MORE]})


def test_a_command_without_an_answer_is_wrong() -> None:
    finding = found(story(*SERVED, *said(COMMANDER), SUBSCRIBE))["subscribe"]
    assert (finding.state, finding.said) == (State.WRONG, "never answered")


def test_a_command_that_was_answered_and_not_carried_out_is_wrong() -> None:
    reply = said({"event": "reply", "id": 1, "ok": True})
    finding = found(story(*SERVED, *said(COMMANDER), SUBSCRIBE, *reply))["subscribe"]
    assert f"the exchange saw nothing of it: {MORE}" in finding.said


def test_a_command_that_was_carried_out_is_fine() -> None:
    done: Told = ("exchange", "subscribed", {"channels": [MORE]})
    reply = said({"event": "reply", "id": 1, "ok": True})
    finding = found(story(*SERVED, *said(COMMANDER), SUBSCRIBE, done, *reply))["subscribe"]
    assert finding.state is State.FINE


def test_what_the_manifest_offers_must_be_announced() -> None:
    finding = found(story(*SERVED, *said(READY)), supports=("public", "request"))["request"]
    assert finding.state is State.WRONG
    assert "does not announce" in finding.said


# -- the whole -----------------------------------------------------------------------------------


def test_nothing_is_wrong_with_the_reference_adapter() -> None:
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        result = runner.run(consult(REFERENCE, PROFILE))
    findings = examine(result.history, REFERENCE, result.judged)
    assert not [finding for finding in findings if finding.state is State.WRONG]
    tried = {f.title for f in findings if f.level == 2 and f.state is State.FINE}
    assert tried == {"subscribe", "unsubscribe", "request", "health"}


def examined(manifest: Manifest) -> tuple[int, str]:
    out = io.StringIO()
    code = examination(manifest, PROFILE, Terminal(out))
    return code, out.getvalue()


SILENT = "import sys; print('connected!', flush=True); sys.exit(3)"


def test_a_program_that_ends_at_once_is_told_what_to_do_next(tmp_path: Path) -> None:
    program = tmp_path / "bot.py"
    program.write_text(SILENT)
    code, text = examined(Manifest.of_command([sys.executable, str(program)]))
    assert code == 1
    assert "WRONG    dialled" in text
    assert "this line is no event: connected!" in text
    assert text.splitlines()[-2].startswith("Next: dialled: ")


def test_a_program_that_is_not_there_cannot_be_examined(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="cannot be started"):
        examined(Manifest(name="nobody", command=("./no-such-program",), folder=tmp_path))


PUBLIC = """
import asyncio, json, os, sys
from websockets.asyncio.client import connect

async def main():
    stdin = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    async with connect(os.environ["SQUALL_URL"]) as websocket:
        params = {"channels": json.loads(os.environ["SQUALL_CHANNELS"])}
        request = {"jsonrpc": "2.0", "id": 1, "method": "public/subscribe", "params": params}
        await websocket.send(json.dumps(request))
        await stdin.read()

asyncio.run(main())
"""


def test_a_public_adapter_at_level_0_is_told_what_it_can_be_put_through(tmp_path: Path) -> None:
    program = tmp_path / "bot.py"
    program.write_text(PUBLIC)
    command = (sys.executable, str(program))
    code, text = examined(Manifest(name="bot", command=command, supports=("public",)))
    assert code == 0, text
    assert "Nothing is wrong. At level 0" in text
    assert "the rest needs events" in " ".join(text.split())


def test_the_exit_code_is_0_1_or_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "bot.py"
    program.write_text(SILENT)
    assert main(["doctor", "--", sys.executable, str(program)]) == 1
    assert main(["doctor", "--", str(tmp_path / "nothing")]) == 3
    assert "cannot be started" in capsys.readouterr().err


def test_the_schema_of_events_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "events"]) == 0
    assert json.loads(capsys.readouterr().out) == EVENTS_SCHEMA
