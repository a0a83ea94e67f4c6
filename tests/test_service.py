"""service.py: the steady state, read off the events."""

from __future__ import annotations

import pytest

from squall.history import Event
from squall.service import Service

CHANNELS = ["book.A", "trades.A"]


def event(source: str, kind: str, connection: int | None = None, **detail: object) -> Event:
    return Event(0.0, source, kind, connection, detail)


def serving(*connections: int, channels: list[str] | None = None) -> Service:
    service = Service([event("scenario", "wanted", channels=CHANNELS)])
    for connection in connections:
        service.apply(event("exchange", "opened", connection))
        service.apply(event("exchange", "subscribed", connection, channels=channels or CHANNELS))
        for channel in channels or CHANNELS:
            service.apply(event("exchange", "sent", connection, channel=channel, seq=1))
    return service


def test_every_channel_served_once_with_data_is_steady() -> None:
    assert serving(1).steady


def test_nothing_wanted_is_not_steady() -> None:
    assert not Service().steady


def test_a_missing_channel_is_a_problem() -> None:
    assert serving(1, channels=["book.A"]).problems() == ["trades.A is not served"]


def test_served_on_two_live_connections_is_a_problem() -> None:
    assert serving(1, 2).problems() == ["book.A is served 2 times", "trades.A is served 2 times"]


def test_a_half_open_connection_that_the_adapter_left_does_not_count() -> None:
    service = serving(1, 2)
    service.apply(event("proxy", "client_closed", 1, how="fin"))
    assert service.steady


@pytest.mark.parametrize("fault", ["rst", "truncate", "cut", "limit_data", "cut_message"])
def test_a_connection_that_a_fault_has_cut_does_not_count_from_that_instant(fault: str) -> None:
    service = serving(1)
    service.apply(event("proxy", "fault_fired", 1, fault=fault, id=1))
    assert not service.steady
    assert "book.A is not served" in service.problems()


@pytest.mark.parametrize("fault", ["timeout", "reset_peer"])
def test_a_fault_that_is_yet_to_end_the_connection_has_not_cut_it(fault: str) -> None:
    service = serving(1)
    service.apply(event("proxy", "fault_fired", 1, fault=fault, id=1))
    assert service.steady
    service.apply(event("proxy", "closed", 1, by="proxy", how="fin"))
    assert "book.A is not served" in service.problems()


def test_a_connection_that_was_left_before_the_exchange_saw_it_open_never_counts() -> None:
    service = Service([event("scenario", "wanted", channels=CHANNELS)])
    service.apply(event("proxy", "client_closed", 1, how="rst"))
    service.apply(event("exchange", "opened", 1))
    service.apply(event("exchange", "subscribed", 1, channels=CHANNELS))
    assert service.counts() == {}


def test_subscribed_without_data_is_not_steady_yet() -> None:
    service = Service([event("scenario", "wanted", channels=["book.A"])])
    service.apply(event("exchange", "opened", 1))
    service.apply(event("exchange", "subscribed", 1, channels=["book.A"]))
    assert service.problems() == []
    assert not service.steady


def test_a_channel_that_is_no_longer_wanted_is_a_problem() -> None:
    service = serving(1)
    service.apply(event("scenario", "wanted", channels=["book.A"]))
    assert service.problems() == ["trades.A is served but no longer wanted"]


def test_a_fleet_is_steady_when_each_member_is_served_once() -> None:
    service = serving(1, 2)
    service.apply(event("scenario", "wanted", channels=CHANNELS, adapters=2))
    assert service.steady
    service.apply(event("scenario", "wanted", channels=CHANNELS, adapters=3))
    assert "book.A is served 2 times, not 3" in service.problems()


def test_what_the_exchange_gave_up_is_not_left_by_the_adapter() -> None:
    service = serving(1)
    service.apply(event("exchange", "closed", 1, code=1006))
    assert not service.steady
    assert service.left == set()
