"""Runs on a compressed line: that it was compressed is seen, and where it was not a run says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from gallery import Adapter, Specimen
from gallery.matrix import GOOD, failing, run
from squall.catalogue import find
from squall.exchange.wires import FaithfulWire
from squall.scenario import AdapterNeeds, Scenario, Step, Wait
from squall.verdict import Outcome
from squall_proxy import Compression, DropMessage

SCENARIOS = {each.name: each for each in find(["compressed-line", "compressed-messages"])}
LINE, MESSAGES = SCENARIOS["compressed-line-as-offered"], SCENARIOS["compressed-messages"]
Read = Callable[..., Frame]
DEFLATED = 0x40  # RSV1 (RFC 7692, section 6)

every_scenario = pytest.mark.parametrize(
    "scenario", [pytest.param(each, id=name) for name, each in SCENARIOS.items()]
)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The frames of the texts that the exchange sends, where it may compress them."""
    frames: list[bytes] = []
    text = FaithfulWire.text

    def noted(wire: FaithfulWire, payload: bytes) -> bytes:
        frames.append(text(wire, payload))
        return frames[-1]

    monkeypatch.setattr(FaithfulWire, "text", noted)
    return frames


@every_scenario
def test_the_good_adapter_passes_and_what_it_gets_is_compressed(
    scenario: Scenario, sent: list[bytes]
) -> None:
    result = run(GOOD, scenario)
    assert result.outcome is Outcome.PASS, result.why
    assert len(sent) > 30
    assert all(frame[0] & DEFLATED for frame in sent)
    granted = [event["extensions"] for event in result.history.of("opened")]
    assert len(granted) >= 2
    independent = scenario.compression == "independent"
    assert all(("server_no_context_takeover" in each) is independent for each in granted)


def never_granted(scenario: Scenario) -> Scenario:
    return replace(scenario, exchange=replace(scenario.exchange, permessage_deflate=False))


def never_offered(scenario: Scenario) -> Scenario:
    return replace(scenario, adapter=replace(scenario.adapter, settings={}))


def taken_out(scenario: Scenario) -> Scenario:
    return replace(scenario, compression="off")


@every_scenario
@pytest.mark.parametrize("spoil", [never_granted, never_offered, taken_out])
def test_where_nothing_is_compressed_the_run_is_unsupported(
    scenario: Scenario, spoil: Callable[[Scenario], Scenario], sent: list[bytes]
) -> None:
    result = run(GOOD, spoil(scenario))
    assert result.outcome is Outcome.UNSUPPORTED, result.why
    assert "does not offer permessage-deflate" in result.why
    assert not any(frame[0] & DEFLATED for frame in sent)
    assert [event.get("extensions") for event in result.history.of("opened")] == [None]


def test_where_it_is_not_needed_an_adapter_may_do_without() -> None:
    result = run(GOOD, replace(LINE, adapter=AdapterNeeds()))
    assert result.outcome is Outcome.PASS, result.why


@pytest.mark.parametrize(
    ("compression", "outcome"),
    [("independent", Outcome.PASS), ("as_offered", Outcome.UNKNOWN), ("off", Outcome.PASS)],
)
def test_a_rule_reads_what_stands_for_itself_and_nothing_else(
    compression: Compression, outcome: Outcome
) -> None:
    lost = DropMessage(where={"params.data.type": "change"}, times=1)
    result = run(
        GOOD,
        replace(
            MESSAGES,
            compression=compression,
            adapter=replace(MESSAGES.adapter, needs=()),
            steps=(Step(lost), Step(Wait(), lasting=5.0)),
            expect={"resynchronises": {}, "no_silent_loss": {}},
        ),
    )
    assert result.outcome is outcome, result.why
    fired = len(result.history.of("fault_fired"))
    assert fired == (1 if outcome is Outcome.PASS else 0)
    assert ("never took effect: drop_message" in result.why) is (not fired)


class KeepsItsDictionary(Adapter):
    """It goes on compressing on a new connection as if that were the old one."""

    encoder: Any = None

    async def dial(self) -> ClientConnection:
        ws = await super().dial()
        for each in ws.protocol.extensions:
            assert isinstance(each, PerMessageDeflate)
            if not each.local_no_context_takeover:
                self.encoder = each.encoder = self.encoder or each.encoder
        return ws


class TakesAllForCompressed(Adapter):
    """It inflates every message, whether that is marked as compressed or not."""

    async def dial(self) -> ClientConnection:
        ws = await super().dial()
        for each in ws.protocol.extensions:
            read = each.decode

            def inflate(frame: Frame, *, max_size: int | None = None, read: Read = read) -> Frame:
                marked = frame.opcode is Opcode.TEXT
                return read(replace(frame, rsv1=marked), max_size=max_size)

            each.decode = inflate  # type: ignore[method-assign]
        return ws


@pytest.mark.parametrize(
    ("adapter", "scenario", "outcome", "why"),
    [
        (KeepsItsDictionary, LINE, Outcome.FAIL, "data_resumes"),
        (TakesAllForCompressed, MESSAGES, Outcome.UNKNOWN, "never came to fragment_message"),
    ],
)
def test_an_adapter_that_compresses_wrong_does_not_pass(
    adapter: type[Adapter], scenario: Scenario, outcome: Outcome, why: str
) -> None:
    result = run(Specimen("wrong", "", "", {}, adapter), scenario)
    assert result.outcome is outcome, result.why
    assert any(why in said for said in (*failing(result), result.why))
