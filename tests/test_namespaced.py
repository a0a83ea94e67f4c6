"""`--proxy namespace`: the adapter in a network of its own, and scenarios that need one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

import squall.backends
from squall.backend import Line
from squall.backends import BACKENDS
from squall.catalogue import find
from squall.cli import main
from squall.history import History
from squall.manifest import Manifest
from squall.plan import REFERENCE, adapter_named
from squall.profile import load_profile
from squall.run import Result, Run, Setup
from squall.scenario import Scenario, Step, Wait
from squall.verdict import Outcome
from squall_proxy import FAULTS, NetworkFault, PacketBlackhole, Rst, Target
from squall_proxy.kernel import Probe, probe

ROOT = Path(__file__).resolve().parents[1]
networked = pytest.mark.skipif(bool(probe().network), reason=probe().network or "")


def reference() -> Manifest:
    path = str(ROOT / "reference_adapter")
    return replace(adapter_named(REFERENCE), object=None, env={"PYTHONPATH": path})


def execute(scenario: Scenario, manifest: Manifest, proxy: str) -> Result:
    run = Run(scenario, manifest, Setup(load_profile("default"), proxy=proxy))
    return asyncio.run(run.execute())


def told(result: Result) -> str:
    lines = (f"{j.verdict.outcome:8} {j.check.name}: {j.verdict.why}" for j in result.judged)
    return "\n".join([result.error or "", *lines, result.last_words])


@networked
@pytest.mark.parametrize("name", ["blackhole-unacked", "syn-drop", "name-not-found-nxdomain"])
def test_an_adapter_comes_back_from_a_network_that_failed(name: str) -> None:
    (scenario,) = find([name])
    result = execute(scenario, reference(), "namespace")
    assert result.outcome is Outcome.PASS, told(result)
    assert result.history.of("fault_fired")


@networked
def test_the_faults_of_the_proxy_strike_behind_the_router_as_elsewhere() -> None:
    scenario = Scenario(
        name="x",
        about="x",
        channels={"trades": 1},
        steps=(
            Step(Rst()),
            Step(Wait(), until="steady"),
            Step(PacketBlackhole(), lasting=1.5),
        ),
        expect={"data_resumes": {}},
    )
    result = execute(scenario, reference(), "namespace")
    assert result.outcome is Outcome.PASS, told(result)
    assert [e["id"] for e in result.history.of("fault_started")] == [1, 2]
    assert all(e["peer"].startswith("192.0.2.") for e in result.history.of("dialled"))


@networked
def test_an_adapter_inside_this_process_is_not_in_another_network() -> None:
    (scenario,) = find(["reset"])
    manifest = Manifest(name="inside", object="squall_reference:adapter")
    result = execute(scenario, manifest, "namespace")
    assert "give its manifest a 'command'" in (result.error or "")


def lacks(proxy: str, fault: NetworkFault, target: Target) -> str | None:
    """What a backend that was never started says of a fault."""

    async def ask() -> str | None:
        observe = History(lambda: 0.0).observer("proxy")
        backend = BACKENDS[proxy](Line(observe=observe, rng=Random(1)))
        try:
            return backend.lacks(fault, target)
        finally:
            await backend.stop()

    return asyncio.run(ask())


def network_faults() -> Mapping[str, NetworkFault]:
    settings = {"packet_loss": {"fraction": 0.1}}
    return {
        name: kind(**settings.get(name, {}))
        for name, kind in FAULTS.items()
        if issubclass(kind, NetworkFault)
    }


@pytest.mark.parametrize("name", network_faults())
@pytest.mark.parametrize("proxy", ["embedded", "namespace", "mitmproxy", "toxiproxy"])
def test_packets_are_harmed_in_a_network_of_their_own_only(proxy: str, name: str) -> None:
    why = lacks(proxy, network_faults()[name], Target())
    assert (why is None) is (proxy == "namespace"), why


def test_packets_are_harmed_whosever_they_are() -> None:
    why = lacks("namespace", PacketBlackhole(), Target("newest"))
    assert why == "it cannot tell connections apart"


def test_without_such_a_network_the_scenario_is_unsupported_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (scenario,) = find(["syn-drop"])
    monkeypatch.setattr("squall.embedded.probe", lambda: Probe(None, None, "it needs Linux"))
    result = execute(scenario, reference(), "embedded")
    assert result.outcome is Outcome.UNSUPPORTED
    assert result.why.endswith("cannot do syn_drop: it needs Linux")


def test_who_asks_for_a_network_that_cannot_be_had_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(squall.backends, "probe", lambda: Probe(None, None, "nft is missing"))
    assert main(["run", "reset", "--proxy", "namespace"]) == 3
    assert capsys.readouterr().err == "--proxy namespace: nft is missing\n"
