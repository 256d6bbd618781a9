"""How often, how many at once, how long: every policy has a name and a reason."""

from __future__ import annotations

import json
from typing import Any

from aws_durable_execution_sdk_python import BatchResult
from aws_durable_execution_sdk_python.config import (
    CompletionConfig,
    Duration,
    MapConfig,
    NestingType,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
)
from aws_durable_execution_sdk_python.retries import (
    RetryPresets,
    RetryStrategyConfig,
    create_retry_strategy,
)
from aws_durable_execution_sdk_python.serdes import JsonSerDes, SerDes, SerDesContext

#% if cookiecutter.fan_out == "yes"
from chassis.model import Chunk
#% endif
from chassis.quotas import MAX_ATTEMPTS
from chassis.settings import Settings, Shape
from chassis.steps.work import RETRYABLE


class BatchSerDes(SerDes[BatchResult[Any]]):
    """All results of a map or a parallel, as plain JSON without what is null or SUCCEEDED.

    Small, because the SDK runs the code of every item again at each resume when they pass 256 KB.
    """

    def serialize(self, value: BatchResult[Any], _context: SerDesContext) -> str:
        """Write what ``deserialize`` reads."""
        results = value.to_dict()
        results["all"] = [
            {
                name: field
                for name, field in item.items()
                if field is not None and (name, field) != ("status", "SUCCEEDED")
            }
            for item in results["all"]
        ]
        return json.dumps(results, separators=(",", ":"))

    def deserialize(self, data: str, _context: SerDesContext) -> BatchResult[Any]:
        """Read what ``serialize`` has written."""
        results = json.loads(data)
        results["all"] = [{"status": "SUCCEEDED", **item} for item in results["all"]]
        return BatchResult.from_dict(results)


# Plain JSON: everything here is JSON already, and the SDK's default tags each value with its type.
JSON: SerDes[Any] = JsonSerDes()
_BATCH = BatchSerDes()

# The SDK's default would try a permanent error six times; here a step is tried again for what is
# RETRYABLE only: attempts after about 2 and 4 seconds.
_RETRY_TRANSIENT = create_retry_strategy(
    RetryStrategyConfig(
        max_attempts=MAX_ATTEMPTS,
        initial_delay=Duration(seconds=2),
        retryable_error_types=list(RETRYABLE),
    )
)

ONCE = StepConfig(retry_strategy=RetryPresets.none(), serdes=JSON)
"""For steps without I/O: a second attempt would fail in the same way."""

RETRY_TRANSIENT = StepConfig(retry_strategy=_RETRY_TRANSIENT, serdes=JSON)
"""For steps that may call other systems: three attempts."""


def checks(shape: Shape) -> ParallelConfig:
    """All branches at once, each to its end: the workflow judges when it knows every outcome."""
    return ParallelConfig(
        completion_config=CompletionConfig(tolerated_failure_percentage=100),
        serdes=_BATCH,
        item_serdes=JSON,
        nesting_type=NestingType(shape["nesting"]),
    )


def approval(settings: Settings) -> WaitForCallbackConfig:
    """Waits for one answer, and retries asking for it; timeouts of 0 would mean none."""
    return WaitForCallbackConfig(
        timeout=Duration(seconds=settings["callback_timeout"]),
        heartbeat_timeout=Duration(seconds=settings["callback_heartbeat"]),
        retry_strategy=_RETRY_TRANSIENT,
    )


#% if cookiecutter.fan_out == "yes"
def chunks(settings: Settings) -> MapConfig[Chunk]:
    """Bounded concurrency, and each chunk to its end: the workflow judges by the items of all."""
    return MapConfig(
        max_concurrency=settings["fan_out_width"],
        completion_config=CompletionConfig(tolerated_failure_percentage=100),
        serdes=_BATCH,
        item_serdes=JSON,
        item_namer=lambda chunk, _index: f"chunk-{chunk['number']}",
        nesting_type=NestingType.FLAT,
    )


#% endif
def items(settings: Settings, names: list[str]) -> MapConfig[list[Any]]:
    """Bounded concurrency; an item that fails does not stop the others until too many have.

    Where items share a checkpoint, the SDK cannot count those that fail: the workflow does, at the
    end. Flat, an item is one operation for each of its steps; nested, it is a context, too, under
    which the history shows them.
    """
    alone = settings["items_per_checkpoint"] == 1
    return MapConfig(
        max_concurrency=settings["map_max_concurrency"],
        completion_config=CompletionConfig(
            tolerated_failure_percentage=settings["tolerated_item_failure_percentage"]
            if alone
            else 100
        ),
        serdes=_BATCH,
        item_serdes=JSON,
        item_namer=lambda _, index: names[index],
        nesting_type=NestingType(settings["nesting"]),
    )
