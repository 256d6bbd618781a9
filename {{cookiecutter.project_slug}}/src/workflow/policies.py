"""How often, how many at once, how long: every policy has a name and a reason."""

from __future__ import annotations

from typing import Any

from aws_durable_execution_sdk_python.config import (
    CompletionConfig,
    Duration,
    MapConfig,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
)
from aws_durable_execution_sdk_python.retries import (
    RetryPresets,
    RetryStrategyConfig,
    create_retry_strategy,
)
from aws_durable_execution_sdk_python.serdes import JsonSerDes, SerDes
from botocore.exceptions import BotoCoreError, ClientError

from workflow.limits import MAX_ATTEMPTS
from workflow.models import TransientError, WorkItem
from workflow.settings import Settings

# Plain JSON: everything here is JSON already, and the SDK's default tags each value with its type.
_JSON: SerDes[Any] = JsonSerDes()

# The SDK's default would try a permanent error six times; here a step is tried again when it says
# so, and when an AWS call in it failed: attempts after about 2 and 4 seconds.
_RETRY_TRANSIENT = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=MAX_ATTEMPTS,
        initial_delay=Duration(seconds=2),
        retryable_error_types=[TransientError, BotoCoreError, ClientError],
    )
)

ONCE = StepConfig(retry_strategy=RetryPresets.none(), serdes=_JSON)
"""For steps without I/O: a second attempt would fail in the same way."""

RETRY_TRANSIENT = StepConfig(retry_strategy=_RETRY_TRANSIENT, serdes=_JSON)
"""For steps that may call other systems: three attempts."""

CHECKS = ParallelConfig(
    completion_config=CompletionConfig(tolerated_failure_percentage=100), item_serdes=_JSON
)
"""All branches at once, and each to its end: the workflow judges when it knows every outcome."""


def approval(settings: Settings) -> WaitForCallbackConfig:
    """Waits for one answer, and retries asking for it; timeouts of 0 would mean none."""
    return WaitForCallbackConfig(
        timeout=Duration(seconds=settings["callback_timeout"]),
        heartbeat_timeout=Duration(seconds=settings["callback_heartbeat"]),
        retry_strategy=_RETRY_TRANSIENT,
    )


def items(settings: Settings) -> MapConfig[WorkItem]:
    """Bounded concurrency; an item that fails does not stop the others until too many have.

    Every item is a context of its own (nested), so that the history shows it by its id.
    """
    return MapConfig(
        max_concurrency=settings["map_max_concurrency"],
        completion_config=CompletionConfig(
            tolerated_failure_percentage=settings["tolerated_item_failure_percentage"]
        ),
        item_serdes=_JSON,
        item_namer=lambda item, _index: item["id"],
    )
