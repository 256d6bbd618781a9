"""What one durable execution may hold, and the refusal of anything larger.

The service would stop an execution that grows too large in the middle of its work, and the local
runner would not notice: so they are checked here, before anything happens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from workflow.data_processor import generate_work_items
from workflow.models import InvalidInputError, ItemError, JsonObject, WorkflowRequest
from workflow.settings import Shape

MAX_OPERATIONS = 3_000
"""Durable operations in one execution; a hard limit.

Source: Lambda developer guide, "Monitoring durable functions" (DurableExecutionOperations,
maximum 3,000), read 2026-11-22.
"""

MAX_ATTEMPTS = 3
"""Attempts of a step that is retried, the first included."""

MAX_CHECKPOINT_BYTES = 250_000
"""Bytes of JSON that a step, or the workflow itself, may return.

The service takes 262,144 bytes (Lambda API reference, GetDurableExecution and
SendDurableExecutionCallbackSuccess, 256 KB, read 2026-11-22; newer service models say 1 MB, the
smaller number is safe with both). The difference leaves room for what is written around the value.
"""

MAX_ERROR_CHARACTERS = 1_000
"""Characters of an error message: it is checkpointed with the step, its item and the batch."""


OPERATIONS = {
    "the execution": 1,
    "prepare-work": 1,
    "approval": 3,  # its context, the callback and the submitter
    "run-checks": 1,
    "process-items": 1,
    "aggregate-results": 1,
}
"""Durable operations of every approved execution, beside those of the branches and the items."""


def operations_needed(item_count: int, branch_count: int, shape: Shape) -> int:
    """Durable operations of an approved execution without retries, the execution itself included.

    Each branch, and each checkpoint of items, is a step; nested, it is a step in a context.
    """
    steps = branch_count + _checkpoints(item_count, shape)
    return sum(OPERATIONS.values()) + steps * (2 if shape["nesting"] == "NESTED" else 1)


def operations_at_most(item_count: int, branch_count: int, shape: Shape) -> int:
    """Durable operations if every step that is retried needs all its attempts.

    The service bills a retry as an operation (Lambda developer guide, "Retries for Lambda durable
    functions", read 2026-11-22). It does not say whether a retry counts against the limit, so it
    is counted here.
    """
    retried_steps = 2 + branch_count + _checkpoints(item_count, shape)  # two: first step, submitter
    needed = operations_needed(item_count, branch_count, shape)
    return needed + (MAX_ATTEMPTS - 1) * retried_steps


def max_items(branch_count: int, shape: Shape) -> int:
    """The largest number of items that one execution can process, whatever has to be retried."""
    without = operations_at_most(0, branch_count, shape)
    for_each_checkpoint = operations_at_most(1, branch_count, shape) - without
    checkpoints = (MAX_OPERATIONS - without) // for_each_checkpoint
    return checkpoints * shape["items_per_checkpoint"]


def _checkpoints(item_count: int, shape: Shape) -> int:
    return math.ceil(item_count / shape["items_per_checkpoint"])


def require_room(request: WorkflowRequest, branch_count: int, shape: Shape) -> None:
    """Refuse a request that cannot finish within one execution.

    Raises:
        InvalidInputError: too many items.
    """
    count = len(request.items)
    operations = operations_at_most(count, branch_count, shape)
    require_items(
        count,
        max_items(branch_count, shape),
        f"which with their retries may need {operations} durable operations; "
        f"one execution may have {MAX_OPERATIONS}",
    )


def require_fit(request: WorkflowRequest) -> None:
    """Refuse items that are too large for one checkpoint.

    Raises:
        InvalidInputError: with their size.
    """
    work_items = generate_work_items(request.items)
    require_checkpoint_size(work_items, "inputData.items", InvalidInputError)


def require_items(count: int, most: int, reason: str) -> None:
    """Refuse more items than may be processed.

    Raises:
        InvalidInputError: with the reason for the limit.
    """
    if count > most:
        raise InvalidInputError(
            f"inputData.items has {count} items, {reason}: send at most {most} items"
        )


def require_checkpoint_size(
    value: Any, what: str, error: type[Exception], sharing: int = 1
) -> None:
    """Refuse a value that does not fit into one checkpoint, or into its share of one.

    Args:
        value: JSON-serialisable, as the step is about to return it.
        what: the value's name in the message, for example ``"inputData.items"``.
        error: the exception to raise; it decides whether a step is retried.
        sharing: how many values the checkpoint has to hold.
    """
    size, most = json_size(value), MAX_CHECKPOINT_BYTES // sharing
    if size > most:
        raise error(
            f"{what} takes {size} bytes as JSON; a checkpoint holds {most}: "
            "pass references (for example S3 keys) instead of content"
        )


def fit_output(output: JsonObject) -> JsonObject:
    """Leave the results of the items out of an output that would be too large to return.

    Counts, failed items and metrics stay; the history of the execution has the results.
    """
    if json_size(output) > MAX_CHECKPOINT_BYTES:
        output["mapResults"]["results"] = None
    return output


def json_size(value: Any) -> int:
    """Bytes of the value as the SDK writes it: JSON in ASCII."""
    return len(json.dumps(value))


@contextmanager
def short_errors() -> Iterator[None]:
    """Cut the message of whatever is raised; its type, and with it the retries, stay.

    An error that no checkpoint can hold would fail the execution instead of its item.

    Raises:
        ItemError: in the place of an error whose message cannot be cut.
    """
    try:
        yield
    except Exception as error:
        text = str(error)
        if len(text) > MAX_ERROR_CHARACTERS:
            error.args = (text[:MAX_ERROR_CHARACTERS],)
            if len(str(error)) > MAX_ERROR_CHARACTERS:
                name = type(error).__name__
                raise ItemError(f"{name}: {text[:MAX_ERROR_CHARACTERS]}") from None
        raise
