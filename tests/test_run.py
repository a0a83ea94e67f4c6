"""run.py and play.py: what happens in a run, in which order, and what comes of what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gallery.good import Adapter
from squall.catalogue import find
from squall.driver import Commands
from squall.exchange.faults import DelayAck
from squall.history import History
from squall.manifest import Manifest, Support
from squall.profile import load_profile
from squall.run import Result, Run, Setup
from squall.scenario import Request, Scenario, Seen, Step, Subscribe, Unsubscribe, Wait
from squall.verdict import Outcome
from squall.virtual_clock import VirtualClockLoop
from squall_proxy import Blackhole, Refuse, Rst, Target

PLAIN = Scenario(
    name="plain",
    about="One reset.",
    channels={"trades": 1, "book": 1},
    steps=(Step(Rst()),),
    expect={"data_resumes": {}},
)
EVERYTHING = ("public", "private", "events", "subscribe", "unsubscribe", "request", "health")


def adapter(object_: str = "gallery.good:Adapter", **more: Any) -> Manifest:
    return Manifest(name="mine", object=object_, **{"supports": EVERYTHING, **more})


def run(scenario: Scenario, manifest: Manifest | None = None, folder: Path | None = None) -> Result:
    setup = Setup(load_profile("default"), clock="virtual", folder=folder)
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(Run(scenario, manifest or adapter(), setup).execute())


def kinds(result: Result, source: str = "scenario") -> list[str]:
    return [event.kind for event in result.history if event.source == source]


def moment(result: Result, kind: str, nth: int = 0) -> float:
    return result.history.of(kind)[nth].at


# Adapters that misbehave, named by `object: test_run:...`.


async def silent(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
    """Never dials."""
    await commands.get()


async def stillborn(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
    """Ends before it dials."""
    raise SystemExit(4)


async def frantic(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
    """Connects, and again, as fast as it can."""
    port = int(env["SQUALL_URL"].split(":")[2].split("/")[0])
    while commands.empty():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.abort()


async def modest(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
    """Understands no commands."""

    def tell(event: dict[str, Any]) -> None:
        emit({**event, "commands": []} if event["event"] == "ready" else event)

    await Adapter(env, tell, commands)


async def mute(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
    """Restores everything, but delivers nothing after the first cut."""
    cut = False

    def tell(event: dict[str, Any]) -> None:
        nonlocal cut
        cut = cut or event.get("state") == "disconnected"
        if event["event"] != "message" or not cut:
            emit(event)

    await Adapter(env, tell, commands)


async def quitter(env: Mapping[str, str], emit: Any, commands: Commands) -> None:
    """Works for five seconds, then ends."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(Adapter(env, emit, commands), 5)
    raise SystemExit(7)


def test_a_run_goes_through_its_phases_in_order() -> None:
    result = run(PLAIN)
    assert result.outcome is Outcome.PASS
    assert kinds(result) == [
        "run_started",
        "wanted",
        "steady",
        "step",
        "step_ended",
        "healed",
        "settled",
        "calm",
        "stopping",
        "run_ended",
    ]


def test_the_first_event_explains_the_run() -> None:
    started = next(iter(run(PLAIN).history))
    assert started["scenario"]["name"] == "plain"
    assert started["expect"]["data_resumes"]["within"] == 30
    assert "one_connection" in started["expect"]
    assert started["adapter"]["name"] == "mine"


def test_history_and_log_are_saved(tmp_path: Path) -> None:
    result = run(PLAIN, folder=tmp_path / "plain")
    saved = History.load(tmp_path / "plain" / "history.jsonl")
    assert [event.kind for event in saved] == [event.kind for event in result.history]
    assert (tmp_path / "plain" / "adapter.log").exists()


def test_the_same_seed_gives_the_same_history() -> None:
    first, second = run(PLAIN), run(PLAIN)
    assert [(e.kind, round(e.at, 4)) for e in first.history] == [
        (e.kind, round(e.at, 4)) for e in second.history
    ]


def test_a_fault_for_a_time_is_healed_when_its_step_is_over() -> None:
    steps = (Step(Refuse(), lasting=3.0), Step(Rst()))
    result = run(replace(PLAIN, steps=steps))
    assert moment(result, "fault_ended") - moment(result, "fault_started") == pytest.approx(3)
    assert [e["reason"] for e in result.history.of("step_ended")] == ["elapsed", "done"]


def test_a_fault_until_a_condition_is_healed_when_it_holds() -> None:
    result = run(replace(PLAIN, steps=(Step(Blackhole(), until="abandoned", at_most=60.0),)))
    left = result.history.first("client_closed")
    assert left is not None
    assert moment(result, "fault_ended") == pytest.approx(left.at, abs=0.01)
    assert result.history.of("step_ended")[0]["reason"] == "condition"


def test_a_condition_that_never_comes_ends_the_step_and_is_said() -> None:
    result = run(replace(PLAIN, steps=(Step(Wait(), until="exited", at_most=5.0), Step(Rst()))))
    assert result.history.of("step_ended")[0]["reason"] == "at_most"


def test_a_step_whose_moment_never_comes_is_left_out() -> None:
    steps = (Step(Rst(), when=Seen("limit_exceeded"), at_most=5.0),)
    result = run(replace(PLAIN, steps=steps))
    assert not result.history.of("step")
    assert result.outcome is Outcome.UNKNOWN


def test_a_step_at_a_time_counts_from_the_steady_state() -> None:
    result = run(replace(PLAIN, steps=(Step(Rst(), at=7.0),)))
    assert moment(result, "step") - moment(result, "steady") == pytest.approx(7, abs=0.01)


def test_a_cut_at_an_event_comes_before_the_exchange_has_answered() -> None:
    steps = (
        Step(Rst()),
        Step(Rst(), when=Seen("subscribe_requested"), target=Target("newest")),
    )
    result = run(replace(PLAIN, steps=steps))
    cut = result.history.of("fault_fired")[1]
    served = [e.connection for e in result.history.of("subscribed")]
    assert cut.connection == 2
    assert served == [1, 3]


def test_commands_change_what_is_wanted_and_reach_the_adapter() -> None:
    steps = (
        Step(Subscribe({"ticker": 1})),
        Step(Unsubscribe(("book/1",))),
        Step(Wait(), until="steady"),
        Step(Rst()),
    )
    result = run(replace(PLAIN, steps=steps, expect={"subscriptions_restored": {}}))
    assert result.outcome is Outcome.PASS
    last = result.history.of("wanted")[-1]["channels"]
    assert [name.split(".")[0] for name in last] == ["trades", "ticker"]


def test_each_order_bears_a_label_of_its_own() -> None:
    order = {"instrument_name": "BTC-PERPETUAL", "amount": 10, "type": "limit", "price": 100}
    scenario = replace(
        PLAIN,
        channels={"trades": 1, "orders": 1},
        steps=(Step(Request("private/buy", order, count=3)), Step(Wait(), lasting=1.0)),
    )
    labels = [event["label"] for event in run(scenario).history.of("order_placed")]
    assert len(set(labels)) == 3


def test_who_is_served_but_delivers_nothing_is_watched_for_as_long_as_data_may_take() -> None:
    result = run(PLAIN, adapter("test_run:mute"))
    assert kinds(result)[-4:] == ["not_settled", "calm", "stopping", "run_ended"]
    assert result.outcome is Outcome.FAIL
    assert "within 30 s of the heal" in result.why


def test_an_adapter_that_never_dials_leaves_everything_unknown() -> None:
    result = run(PLAIN, adapter("test_run:silent"))
    assert result.outcome is Outcome.UNKNOWN
    assert result.why == "never steady: the adapter did not dial"


def test_an_adapter_that_ends_before_it_dials_could_not_be_started() -> None:
    result = run(PLAIN, adapter("test_run:stillborn"))
    assert result.error is not None
    assert "ended by itself with status 4, before it dialled" in result.error
    assert kinds(result)[-2:] == ["not_run", "run_ended"]


def test_an_adapter_that_ends_in_mid_run_is_judged_at_once() -> None:
    scenario = replace(PLAIN, steps=(Step(Wait(), lasting=1000.0),))
    result = run(scenario, adapter("test_run:quitter"))
    assert result.outcome is Outcome.FAIL
    assert result.history.of("aborted")[0]["why"] == "the adapter ended by itself with status 7"
    assert result.seconds < 20


def test_a_storm_ends_the_run_and_is_judged() -> None:
    result = run(PLAIN, adapter("test_run:frantic"))
    assert "dialled 501 times within" in result.history.of("aborted")[0]["why"]
    assert result.history.of("healed")


def test_what_the_manifest_does_not_offer_is_unsupported_before_anything_starts() -> None:
    scenario = replace(PLAIN, steps=(Step(Unsubscribe(("book/1",))), Step(Rst())))
    result = run(scenario, adapter(supports=("public",)))
    assert result.outcome is Outcome.UNSUPPORTED
    assert "does not offer unsubscribe" in result.why
    assert not result.history.of("started")


def test_what_the_adapter_does_not_offer_when_ready_is_unsupported() -> None:
    scenario = replace(PLAIN, steps=(Step(Unsubscribe(("book/1",))), Step(Rst())))
    result = run(scenario, adapter("test_run:silent", supports=()))
    assert result.outcome is Outcome.UNKNOWN  # it was never up, so nothing can be said of it
    result = run(scenario, adapter("test_run:modest", supports=()))
    assert result.outcome is Outcome.UNSUPPORTED
    assert result.history.of("started")


def test_an_adapter_that_declares_nothing_gets_private_channels() -> None:
    scenario = replace(PLAIN, channels={"trades": 1, "orders": 1})
    wanted = run(scenario, adapter(supports=())).history.of("wanted")[0]
    assert len(wanted["channels"]) == 2


def test_an_adapter_that_declares_public_only_gets_no_private_channels() -> None:
    scenario = replace(PLAIN, channels={"trades": 1, "orders": 1})
    wanted = run(scenario, adapter(supports=("public",))).history.of("wanted")[0]
    assert wanted["private"] == []


@pytest.mark.parametrize("supports", [(), ("public", "private")])
def test_an_adapter_without_tls_meets_no_scenario_over_tls(supports: tuple[Support, ...]) -> None:
    without = adapter(supports=supports, tls=False)
    result = run(replace(PLAIN, tls=True), without)
    assert result.outcome is Outcome.UNSUPPORTED
    assert result.why == "the adapter does not offer tls, which this run needs"
    assert not result.history.of("started")
    assert run(PLAIN, without).outcome is not Outcome.UNSUPPORTED
    assert run(replace(PLAIN, tls=True), adapter(supports=supports)).history.of("started")


def test_an_adapter_for_public_channels_meets_no_lost_answer_to_a_login() -> None:
    (scenario,) = find(["lost-answer-public-auth"])
    result = run(scenario, adapter(supports=("public",)))
    assert result.outcome is Outcome.UNSUPPORTED
    assert result.why == "the adapter does not offer private, which this run needs"


def test_an_adapter_with_long_pauses_is_given_time_to_settle() -> None:
    patient = Run(PLAIN, adapter(settings={"backoff_max": 90}), Setup(load_profile("default")))

    async def ask() -> float:
        patient.history = History(asyncio.get_running_loop().time)
        patient._build()
        return patient._patience

    assert asyncio.run(ask()) == 100


def test_a_run_that_is_cancelled_stops_the_adapter_and_saves(tmp_path: Path) -> None:
    scenario = replace(PLAIN, steps=(Step(DelayAck(delay=1.0)), Step(Wait(), lasting=1000.0)))
    setup = Setup(load_profile("default"), clock="virtual", folder=tmp_path)

    async def main() -> Run:
        cancelled = Run(scenario, adapter(), setup)
        task = asyncio.create_task(cancelled.execute())
        await asyncio.sleep(20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return cancelled

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        cancelled = runner.run(main())
    assert cancelled.history.of("exited")
    saved = [event.kind for event in History.load(tmp_path / "history.jsonl")]
    assert "interrupted" in saved
    assert saved[-1] == "run_ended"
