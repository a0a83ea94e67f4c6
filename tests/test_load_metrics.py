from typing import Any

import pytest

from squall.load.metrics import exposition
from squall.load.tally import Tally

WORKER = {"rss_bytes": 90_000_000, "threads": 8, "users": 2, "state": "running"}


def fleet(tally: Tally, **workers: Any) -> dict[str, Any]:
    return {"tally": tally.as_json(), "workers": workers}


def samples(text: str) -> dict[str, float]:
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_counts_and_durations_bear_the_names_that_the_alerts_look_for() -> None:
    tally = Tally()
    for at in (1.0, 2.0, 3.0):
        tally.dialled(at)
    tally.upgraded(3.1)
    tally.restored(3.2)
    tally.measured("recovery", 40.0, 3.2)
    said = samples(exposition(fleet(tally, a=WORKER)))
    assert said["squall_dials_total"] == 3
    assert said["squall_upgrades_total"] == 1
    assert said["squall_users_whole"] == 1
    assert said["squall_recovery_seconds_sum"] == 40.0
    assert said["squall_recovery_seconds_count"] == 1
    assert said['squall_recovery_seconds{quantile="0.99"}'] == pytest.approx(40.0, rel=0.01)
    assert said['squall_worker_threads{worker="a"}'] == 8
    assert said['squall_worker_resident_bytes{worker="a"}'] == 90_000_000


def test_nothing_measured_is_no_quantile_but_a_count_of_none() -> None:
    said = samples(exposition(fleet(Tally())))
    assert said["squall_recovery_seconds_count"] == 0
    assert not any("quantile" in name for name in said)


def test_a_name_cannot_break_out_of_its_label() -> None:
    text = exposition(fleet(Tally(), **{'a"} 1\n': WORKER}))
    assert 'squall_worker_threads{worker="a\\"} 1\\n"} 8' in text


def test_every_family_is_announced_once_with_its_type() -> None:
    lines = exposition(fleet(Tally(), a=WORKER)).splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))
    assert {line.split()[2] for line in lines if line.startswith("# HELP ")} == set(types)
