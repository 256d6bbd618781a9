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

MAX_ERROR_BYTES = 1_000
"""Bytes of JSON of an error message: it is checkpointed with the step, its item and the batch."""

MAX_FAILURES_NAMED = 1_000
"""Failed items that an output names; it has the number of all."""

STEPS_OF_AN_ITEM = 1
"""Steps in which ``items.py`` processes the items of a checkpoint."""

#% if cookiecutter.__wait_for_condition
MAX_POLLS = 8
"""Polls of a system that is not ready; each is billed as an operation."""

#% endif
#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
INVOKE_ATTEMPTS = 2
"""Attempts of an invoke, the first included; each is an operation."""

#% endif
#% if cookiecutter.fan_out == "yes"
CHUNK_OPERATIONS = {
    "the execution": (1, 1),
    "read-chunk": (1, MAX_ATTEMPTS),
    "process-items": (1, 1),
    "store-results": (1, MAX_ATTEMPTS),
}
"""Durable operations of an execution that processes a chunk; as below."""

#% endif
OPERATIONS = {
    "the execution": (1, 1),
    "prepare-work": (1, MAX_ATTEMPTS),
    "approval": (3, 2 + MAX_ATTEMPTS),  # its context, the callback and the submitter
    #% if cookiecutter.__wait
    "cool-down": (1, 1),
    #% endif
    #% if cookiecutter.__wait_for_condition
    "await-readiness": (2, 1 + MAX_POLLS),  # itself, and each poll
    #% endif
    "run-checks": (1, 1),
    "process-items": (1, 1),
    "aggregate-results": (1, 1),
    #% if cookiecutter.__invoke
    "meter-usage": (1, INVOKE_ATTEMPTS),
    #% endif
    #% if cookiecutter.__child_context
    "announce-result": (2, 1 + 2 * MAX_ATTEMPTS),  # its context, and one or two messages
    #% endif
    #% if cookiecutter.fan_out == "yes"
    "store-output": (0, MAX_ATTEMPTS),
    #% endif
}
"""Durable operations of every approved execution, without retries and with all of them.

Those of the branches and the items come on top. A retry is billed as an operation (Lambda developer
guide, "Retries for Lambda durable functions", read 2026-11-22). It does not say whether a retry
counts against the limit, so it is counted here.
"""


def operations_needed(item_count: int, branch_count: int, shape: Shape) -> int:
    """Durable operations of an approved execution without retries, itself included."""
    of_items = _checkpoints(item_count, shape) * _operations_of(STEPS_OF_AN_ITEM, shape, 1)
    return _sum(OPERATIONS, 0) + branch_count * _operations_of(1, shape, 1) + of_items


def operations_at_most(item_count: int, branch_count: int, shape: Shape) -> int:
    """Durable operations if every step that is retried needs all its attempts."""
    of_items = _checkpoints(item_count, shape) * _operations_of_items(shape)
    return _sum(OPERATIONS, 1) + branch_count * _operations_of(1, shape, MAX_ATTEMPTS) + of_items


def max_items(branch_count: int, shape: Shape) -> int:
    """The largest number of items that one execution can process, whatever has to be retried."""
    others = operations_at_most(0, branch_count, shape)
    checkpoints = (MAX_OPERATIONS - others) // _operations_of_items(shape)
    return checkpoints * shape["items_per_checkpoint"]


#% if cookiecutter.fan_out == "yes"
def chunk_size(wanted: int, branch_count: int, shape: Shape) -> int:
    """How many items one execution processes itself, or as a chunk: as many as fit."""
    return min(wanted, max_items(branch_count, shape))


def max_chunks(branch_count: int, shape: Shape) -> int:
    """The largest number of chunks that an execution can wait for, if each is tried again."""
    return (MAX_OPERATIONS - operations_at_most(0, branch_count, shape)) // INVOKE_ATTEMPTS


def chunked_operations_needed(chunk_items: list[int], branch_count: int, shape: Shape) -> int:
    """Durable operations, without retries, of an execution and those of its chunks together.

    Args:
        chunk_items: the number of items of each chunk.
        branch_count: the number of checks.
        shape: of all executions.
    """
    of_chunks = sum(
        _sum(CHUNK_OPERATIONS, 0)
        + _checkpoints(count, shape) * _operations_of(STEPS_OF_AN_ITEM, shape, 1)
        for count in chunk_items
    )
    return operations_needed(0, branch_count, shape) + len(chunk_items) + of_chunks


#% endif
def _operations_of_items(shape: Shape) -> int:
    """Those of one checkpoint of items, at most."""
    return _operations_of(STEPS_OF_AN_ITEM, shape, MAX_ATTEMPTS)


def _operations_of(steps: int, shape: Shape, attempts: int) -> int:
    """Those of a branch, or of a checkpoint of items: its steps; nested, in a context."""
    return steps * attempts + (1 if shape["nesting"] == "NESTED" else 0)


def _checkpoints(item_count: int, shape: Shape) -> int:
    return math.ceil(item_count / shape["items_per_checkpoint"])


def _sum(operations: dict[str, tuple[int, int]], column: int) -> int:
    return sum(numbers[column] for numbers in operations.values())


def require_room(count: int, branch_count: int, shape: Shape) -> None:
    """Refuse more items than can be finished within one execution.

    Raises:
        InvalidInputError: too many items.
    """
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
        raise InvalidInputError(f"the input has {count} items, {reason}: send at most {most} items")


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
            f"{what} takes {size} bytes as JSON, and may take {most}: "
            "pass references (for example S3 keys) instead of content"
        )


def fits(output: JsonObject) -> bool:
    """Whether the workflow can return it."""
    return json_size(output) <= MAX_CHECKPOINT_BYTES


def fit_output(output: JsonObject) -> JsonObject:
    """Leave the results of the items out of an output that would be too large to return.

    All the rest stays, because each part of it is kept short. The history of the execution has the
    results.
    """
    results = output["mapResults"]
    results["failedItems"] = results["failedItems"][:MAX_FAILURES_NAMED]
    if not fits(output):
        results["results"] = None
    return output


def json_size(value: Any) -> int:
    """Bytes of the value as the SDK writes it: JSON in ASCII."""
    return len(json.dumps(value))


def shorten(text: str, most: int) -> str:
    """The beginning of a text, so much of it as takes no more bytes of JSON.

    >>> shorten("too long", 6), shorten("日本", 8)
    ('too ', '日')
    """
    while (size := json_size(text)) > most:
        text = text[: min(len(text) - 1, len(text) * most // size)]
    return text


def share_of_errors(count: int) -> int:
    """Bytes of JSON of each message where so many stand together: 100,000 in all that are named."""
    named = min(max(1, count), MAX_FAILURES_NAMED)
    return min(MAX_ERROR_BYTES // 2, 100_000 // named - 50)


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
        text = shorten(str(error), MAX_ERROR_BYTES)
        if text != str(error):
            error.args = (text,)
            if str(error) != text:
                raise ItemError(f"{type(error).__name__}: {text}") from None
        raise
