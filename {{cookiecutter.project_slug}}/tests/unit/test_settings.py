"""The environment: the template's defaults are valid, and what is not is named."""

from __future__ import annotations

import pytest

from ops.local import environment
from workflow.settings import SettingsError, load


def test_the_template_gives_valid_settings() -> None:
    settings = load(environment())

    assert settings["callback_timeout"] == int(environment()["CALLBACK_TIMEOUT"][:-1]) * 60
    assert settings["callback_heartbeat"] == int(environment()["CALLBACK_HEARTBEAT"][:-1]) * 60


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAP_MAX_CONCURRENCY", ""),
        ("MAP_MAX_CONCURRENCY", "1e3"),
        ("MAP_MAX_CONCURRENCY", "0"),
        ("TOLERATED_ITEM_FAILURE_PERCENTAGE", "101"),
        ("TOLERATED_CHECK_FAILURES", "-1"),
        ("TOLERATED_ITEM_FAILURE_PERCENTAGE", "5%"),
        ("CALLBACK_TIMEOUT", "60"),
        ("CALLBACK_TIMEOUT", "0m"),
        ("CALLBACK_HEARTBEAT", "1h"),
        ("CALLBACK_HEARTBEAT", "999999999m"),
        ("CALLBACK_TIMEOUT_ACTION", "approve"),
        ("NESTING", "flat"),
        ("ITEMS_PER_CHECKPOINT", "0"),
        ("ITEMS_PER_CHECKPOINT", "101"),
    ],
)
def test_names_the_variable_and_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^environment variable {name} is '{value[:1]}"):
        load(environment() | {name: value})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="MAP_MAX_CONCURRENCY"):
        load({k: v for k, v in environment().items() if k != "MAP_MAX_CONCURRENCY"})
