"""The settings of the stack, read from the environment and checked in one place.

The initial step checkpoints them, so that an execution goes on with the numbers it started with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, cast, get_args

TimeoutAction = Literal["reject", "continue", "fail"]
Nesting = Literal["FLAT", "NESTED"]

_DURATION = re.compile(r"(\d{1,8}(?:\.\d+)?)([sm])")
_WHOLE_NUMBER = re.compile(r"\d{1,8}")


class SettingsError(Exception):
    """An environment variable is missing or malformed."""


class Shape(TypedDict):
    """What the number of durable operations of an item depends on."""

    nesting: Nesting
    items_per_checkpoint: int


class Settings(Shape):
    """Durations are in seconds; a heartbeat of 0 means that none is expected."""

    callback_timeout: int
    callback_heartbeat: int
    callback_timeout_action: TimeoutAction
    map_max_concurrency: int
    tolerated_check_failures: int
    tolerated_item_failure_percentage: int
    #% if cookiecutter.__child_context
    operator_topic_arn: str
    #% endif
    #% if cookiecutter.__wait
    cool_down: int
    #% endif
    #% if cookiecutter.__invoke
    meter_function_arn: str
    #% endif
    #% if cookiecutter.fan_out == "yes"
    chunk_size: int
    fan_out_width: int
    #% endif
    #% if cookiecutter.front_door == "http_api"
    page_url: str
    #% endif
    approval_topic_arn: str
    decision_retention_days: int


def load(environment: Mapping[str, str]) -> Settings:
    """Read the settings; ``template.yaml`` says what each variable means.

    Raises:
        SettingsError: the message names the variable, its value, and what would be right.
    """
    settings = Settings(
        **load_shape(environment),
        callback_timeout=_duration(environment, "CALLBACK_TIMEOUT"),
        callback_heartbeat=_duration(environment, "CALLBACK_HEARTBEAT"),
        callback_timeout_action=cast(
            "TimeoutAction", _choice(environment, "CALLBACK_TIMEOUT_ACTION", TimeoutAction)
        ),
        map_max_concurrency=_whole_number(environment, "MAP_MAX_CONCURRENCY", 1, 100),
        tolerated_check_failures=_whole_number(environment, "TOLERATED_CHECK_FAILURES", 0, 100),
        tolerated_item_failure_percentage=_whole_number(
            environment, "TOLERATED_ITEM_FAILURE_PERCENTAGE", 0, 100
        ),
        approval_topic_arn=environment.get("APPROVAL_TOPIC_ARN", ""),
        decision_retention_days=_whole_number(environment, "DECISION_RETENTION_DAYS", 1, 3_650),
        #% if cookiecutter.front_door == "http_api"
        page_url=environment.get("PAGE_URL", ""),
        #% endif
        #% if cookiecutter.__child_context
        operator_topic_arn=environment.get("OPERATOR_TOPIC_ARN", ""),
        #% endif
        #% if cookiecutter.__wait
        cool_down=_duration(environment, "COOL_DOWN"),
        #% endif
        #% if cookiecutter.__invoke
        meter_function_arn=environment.get("METER_FUNCTION_ARN", ""),
        #% endif
        #% if cookiecutter.fan_out == "yes"
        chunk_size=_whole_number(environment, "CHUNK_SIZE", 1, 100_000),
        fan_out_width=_whole_number(environment, "FAN_OUT_WIDTH", 1, 100),
        #% endif
    )
    if settings["callback_timeout"] == 0:  # the service would wait for ever
        raise _error("CALLBACK_TIMEOUT", environment["CALLBACK_TIMEOUT"], "at least 1s")
    #% if cookiecutter.__wait
    if settings["cool_down"] == 0:
        raise _error("COOL_DOWN", environment["COOL_DOWN"], "at least 1s")
    #% endif
    return settings


def load_shape(environment: Mapping[str, str]) -> Shape:
    """Read what both the starter and the workflow need to know.

    Raises:
        SettingsError: as ``load``.
    """
    return Shape(
        nesting=cast("Nesting", _choice(environment, "NESTING", Nesting)),
        items_per_checkpoint=_whole_number(environment, "ITEMS_PER_CHECKPOINT", 1, 100),
    )


def _choice(environment: Mapping[str, str], name: str, choices: Any) -> str:
    value, known = environment.get(name, ""), get_args(choices)
    if value not in known:
        raise _error(name, value, " or ".join(known))
    return value


def _duration(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    match = _DURATION.fullmatch(value)
    if not match:
        raise _error(name, value, "seconds or minutes, such as 90s or 60m")
    return int(float(match[1]) * (60 if match[2] == "m" else 1))


def _whole_number(environment: Mapping[str, str], name: str, least: int, most: int) -> int:
    value = environment.get(name, "")
    if not _WHOLE_NUMBER.fullmatch(value) or not least <= int(value) <= most:
        raise _error(name, value, f"a whole number from {least} to {most}")
    return int(value)


def _error(name: str, value: str, expected: str) -> SettingsError:
    return SettingsError(f"environment variable {name} is {value!r}, expected {expected}")
