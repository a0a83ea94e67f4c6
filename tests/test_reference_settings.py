import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from squall_reference import Settings, SettingsError

README = Path(__file__).parent.parent / "reference_adapter" / "README.md"


def test_numbers_of_a_scenario_replace_the_defaults() -> None:
    settings, unknown = Settings.from_mapping({"backoff_max": 5, "ping_interval": None})
    assert (settings.backoff_max, settings.ping_interval) == (5, None)
    assert settings.connect_timeout == Settings().connect_timeout
    assert unknown == []


def test_settings_of_other_adapters_are_named_and_otherwise_ignored() -> None:
    settings, unknown = Settings.from_mapping({"keepAlive": 180, "backoff_max": 5})
    assert settings == Settings(backoff_max=5)
    assert unknown == ["keepAlive"]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"backoff_max": "30s"}, "backoff_max must be a number, not '30s'"),
        ({"backoff_max": True}, "backoff_max must be a number, not True"),
        ({"backoff_max": None}, "backoff_max must be a number, not None"),
        ({"connect_timeout": 0}, "connect_timeout must be above 0, not 0"),
        ({"silence_timeout": -1}, "silence_timeout must be above 0, not -1"),
        ({"silence_timeout": float("nan")}, "silence_timeout must be a number, not nan"),
        ({"subscribe_batch": 2.5}, "subscribe_batch must be a whole number above 0, not 2.5"),
        ({"subscribe_batch": True}, "subscribe_batch must be a whole number above 0, not True"),
        ({"max_attempts": 0}, "max_attempts must be a whole number above 0, not 0"),
        ({"reconnect_on_error": 1}, "reconnect_on_error must be true or false, not 1"),
        ({"token_refresh_at": 80}, "token_refresh_at must be a fraction between 0 and 1, not 80"),
        (
            {"auth_grant": "password"},
            "auth_grant must be 'client_signature' or 'client_credentials', not 'password'",
        ),
        ({"backoff_max": 0.5}, "backoff_max (0.5) must be at least backoff_base (1.0)"),
    ],
)
def test_a_wrong_value_is_one_clear_error(mapping: dict[str, Any], message: Any) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_mapping(mapping)
    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["max_attempts", "breaker_failures", "stale_after"])
def test_what_can_be_switched_off_takes_none(name: str) -> None:
    assert getattr(Settings.from_mapping({name: None})[0], name) is None


def test_waits_may_be_zero() -> None:
    assert Settings(first_delay_max=0, subscribe_pause=0).first_delay_max == 0


def test_the_readme_lists_every_setting_with_its_default() -> None:
    listed = README.read_text(encoding="utf-8")
    for field in fields(Settings):
        assert f"| `{field.name}` | `{json.dumps(field.default)}` |" in listed
