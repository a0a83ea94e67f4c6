"""What scenarios may count on at every venue: its channels, what it says it lacks, and that shipped
scenarios judge adapters of that venue rightly. Adapters are those of `venue_adapters`.
"""

from __future__ import annotations

import asyncio
from functools import cache
from itertools import product
from pathlib import Path

import pytest

from squall.catalogue import find
from squall.exchange import DIALECTS, dialect
from squall.manifest import Manifest
from squall.profile import load_profile
from squall.run import Result, Run, Setup
from squall.scenario import Scenario
from squall.verdict import Outcome
from squall.virtual_clock import VirtualClockLoop
from venue_world import World

# --- channels and endpoints ----------------------------------------------------------------------


@pytest.mark.parametrize("venue", DIALECTS)
def test_every_kind_has_channels_enough_for_the_catalogue(venue: str) -> None:
    for kind in ("trades", "book", "ticker"):
        channels = dialect(venue).channels(kind, 50)
        assert len(set(channels)) == 50
        assert {dialect(venue).kind(name) for name in channels} == {kind}
        assert not any(map(dialect(venue).is_private, channels))


@pytest.mark.parametrize(
    ("venue", "orders"), [("binance", "userData"), ("bybit", "order"), ("kraken", "executions")]
)
def test_one_channel_tells_of_all_orders(venue: str, orders: str) -> None:
    assert dialect(venue).channels("orders", 2) == [orders]
    assert dialect(venue).channels("orders", 0) == []
    assert dialect(venue).kind(orders) == "orders"
    assert dialect(venue).is_private(orders)


@pytest.mark.parametrize("venue", DIALECTS)
@pytest.mark.parametrize(
    ("kind", "count", "said"),
    [
        ("candles", 1, "has no channels of kind 'candles'. Known: book, orders, ticker, trades."),
        ("book", 5000, "5000 channels of kind 'book' were asked for; there are "),
        ("book", -1, "-1 channels of kind 'book' were asked for; there are "),
    ],
)
def test_channels_that_do_not_exist_are_refused(
    venue: str, kind: str, count: int, said: str
) -> None:
    with pytest.raises(ValueError, match=kind) as error:
        dialect(venue).channels(kind, count)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("venue", "path"),
    [
        *product(["binance"], ["/", "/v2", "/wsx", "/ws-api/v2"]),
        *product(["bybit"], ["/", "/v5/public", "/v5/public/nowhere", "/v5/privates"]),
        *product(["kraken"], ["/", "/v1"]),
        *product(["deribit"], ["/", "/ws/api/v1"]),
    ],
)
def test_there_is_nothing_at_other_paths(venue: str, path: str) -> None:
    refusal = World(venue).admit(path)
    assert refusal is not None
    assert refusal.status == 404


# --- what makes no sense at a venue --------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "what", "said"),
    [
        ("binance", "private/buy", "private/buy is no method of binance"),
        ("binance", "expiry_ends_subscriptions", "a logon lasts as long as its connection"),
        ("binance", "heartbeat_set", "binance pings by itself"),
        ("bybit", "private/buy", "private/buy is no method of bybit"),
        ("bybit", "test_burst", "bybit tests nobody"),
        ("bybit", "expire_token", "on bybit a login lasts"),
        ("bybit", "bad_checksum", "bybit's books have no checksum"),
        ("kraken", "private/buy", "private/buy is no method of kraken"),
        ("kraken", "test_burst", "kraken tests nobody"),
        ("kraken", "expiry_ends_subscriptions", "a token of kraken stays good"),
        ("deribit", "bad_checksum", "deribit's books have no checksum"),
        ("deribit", "ping_interval", "deribit tests its clients with messages"),
    ],
)
def test_a_dialect_says_what_it_lacks(venue: str, what: str, said: str) -> None:
    assert (dialect(venue).lacks(what) or "").startswith(said)


@pytest.mark.parametrize(
    ("venue", "what"),
    [
        *product(["binance"], ["test_burst", "gap", "order.place", "tick", "auth_succeeded"]),
        *product(["bybit"], ["restart_book", "gap", "order.create", "ban"]),
        *product(["kraken"], ["bad_checksum", "restart_book", "token_lifetime", "add_order"]),
        *product(["deribit"], ["test_burst", "credit_pool", "private/buy", "public/test"]),
    ],
)
def test_and_does_not_lack_what_it_has(venue: str, what: str) -> None:
    assert dialect(venue).lacks(what) is None


# --- the shipped catalogue -----------------------------------------------------------------------

NEUTRAL = (
    "reset",
    "half-open",
    "restore-all",
    "clean-close-1000",
    "clean-close-4000",
    "end-without-close-frame",
    "sequence-gap",
    "partial-ack",
    "lost-ack",
    "drop-during-restore",
    "reauth-order",
    "bad-credentials",
    "stalled-channel",
    "retry-after-503",
    "paced-restore",
    "no-growth",
)
"""What the adapter of every venue is to pass."""


@cache
def scenarios() -> dict[str, Scenario]:
    return {scenario.name: scenario for scenario in find(["all"])}


def run(venue: str, name: str, adapter: str) -> Result:
    """A scenario against an adapter, in virtual time."""
    manifest = Manifest(
        name=adapter,
        object=f"venue_adapters:{adapter}",
        dialect=venue,
        supports=("public", "private", "events"),
        connections=2,
        folder=Path(__file__).parent,
    )
    setup = Setup(load_profile("default"), 0, "virtual")
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(Run(scenarios()[name], manifest, setup).execute())


def verdicts(result: Result) -> str:
    """What to show of a run that came out wrong."""
    lines = (f"{j.verdict.outcome:8} {j.check.name}: {j.verdict.why}" for j in result.judged)
    return "\n".join([result.error or "", *lines, result.last_words])


@pytest.mark.parametrize(
    ("venue", "name"),
    [*product(["binance", "bybit", "kraken"], NEUTRAL), ("binance", "test-request")],
)
def test_a_correct_adapter_passes(venue: str, name: str) -> None:
    result = run(venue, name, venue.capitalize())
    assert result.outcome is Outcome.PASS, verdicts(result)


@pytest.mark.parametrize(
    ("venue", "adapter", "name", "check"),
    [
        ("binance", "TrustsAcks", "partial-ack", "subscriptions_restored"),
        ("binance", "TrustsDiffs", "sequence-gap", "resynchronises"),
        ("binance", "Impatient", "paced-restore", "paces_requests"),
        ("bybit", "TrustsDeltas", "sequence-gap", "resynchronises"),
        ("bybit", "IgnoresRefusals", "partial-ack", "subscriptions_restored"),
        ("bybit", "DoesNotWait", "reauth-order", "auth_before_private"),
        ("kraken", "TrustsUpdates", "sequence-gap", "resynchronises"),
        ("kraken", "IgnoresErrors", "partial-ack", "subscriptions_restored"),
    ],
)
def test_an_adapter_with_a_bug_does_not(venue: str, adapter: str, name: str, check: str) -> None:
    result = run(venue, name, adapter)
    failing = {j.check.name for j in result.judged if j.verdict.outcome is Outcome.FAIL}
    assert check in failing, verdicts(result)


NOWHERE_ELSE = {"pending-requests", "queued-orders", "token-expiry"}
"""Scenarios that are for Deribit alone."""


@pytest.mark.parametrize(
    ("venue", "lacking"),
    [
        ("deribit", set()),
        ("binance", NOWHERE_ELSE | {"slow-consumer"}),
        ("bybit", NOWHERE_ELSE | {"test-request"}),
        ("kraken", NOWHERE_ELSE | {"test-request"}),
    ],
)
def test_what_of_the_catalogue_makes_no_sense_here(venue: str, lacking: set[str]) -> None:
    lacks = dialect(venue).lacks
    asked = {name: each.asked_of_venue for name, each in scenarios().items()}
    assert {name for name, whats in asked.items() if any(map(lacks, whats))} == lacking
