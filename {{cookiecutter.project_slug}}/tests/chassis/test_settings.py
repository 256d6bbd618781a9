"""The environment: every setting is read, and what is wrong is named."""

from __future__ import annotations

import pytest

from chassis.settings import SettingsError, load, load_shape
from tests.chassis.sample import SETTINGS


def test_reads_every_setting() -> None:
    assert load(SETTINGS) == {
        "nesting": "FLAT",
        "items_per_checkpoint": 1,
        "callback_timeout": 660,
        "callback_heartbeat": 0,
        "callback_timeout_action": "reject",
        "map_max_concurrency": 7,
        "tolerated_check_failures": 0,
        "tolerated_item_failure_percentage": 100,
        #% if cookiecutter.__child_context
        "operator_topic_arn": "",
        #% endif
        #% if cookiecutter.__wait
        "cool_down": 5,
        #% endif
        #% if cookiecutter.__invoke
        "meter_function_arn": "meter",
        #% endif
        #% if cookiecutter.fan_out == "yes"
        "chunk_size": 750,
        "fan_out_width": 13,
        #% endif
        "approval_topic_arn": "",
        "decision_retention_days": 400,
        #% if cookiecutter.front_door == "http_api"
        "page_url": "",
        #% endif
    }
    assert load_shape(SETTINGS) == {"nesting": "FLAT", "items_per_checkpoint": 1}


@pytest.mark.parametrize(
    ("value", "seconds"), [("90s", 90), ("60m", 3_600), ("1.5m", 90), ("0m", 0), ("1.9s", 1)]
)
def test_durations_are_seconds_or_minutes(value: str, seconds: int) -> None:
    assert load(SETTINGS | {"CALLBACK_HEARTBEAT": value})["callback_heartbeat"] == seconds


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
        ("CALLBACK_TIMEOUT", "0.4s"),
        ("CALLBACK_HEARTBEAT", "1h"),
        ("CALLBACK_HEARTBEAT", "999999999m"),
        ("CALLBACK_TIMEOUT_ACTION", "approve"),
        ("NESTING", "flat"),
        ("ITEMS_PER_CHECKPOINT", "0"),
        ("ITEMS_PER_CHECKPOINT", "101"),
        #% if cookiecutter.__wait
        ("COOL_DOWN", "0s"),
        ("COOL_DOWN", "soon"),
        #% endif
        #% if cookiecutter.fan_out == "yes"
        ("CHUNK_SIZE", "0"),
        ("FAN_OUT_WIDTH", "101"),
        #% endif
    ],
)
def test_names_the_variable_and_its_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^environment variable {name} is '{value}'"):
        load(SETTINGS | {name: value})


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="MAP_MAX_CONCURRENCY"):
        load({k: v for k, v in SETTINGS.items() if k != "MAP_MAX_CONCURRENCY"})
