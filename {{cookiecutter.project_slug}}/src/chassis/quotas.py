"""What one durable execution may hold, and the refusal of anything larger.

The service would stop an execution that grows too large in the middle of its work, and the local
runner would not notice: so it is checked here, before anything happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chassis.model import Definition, InvalidInputError, ItemError, Request
from chassis.settings import Shape
from chassis.wire import JsonObject, json_size, shorten

MAX_OPERATIONS = 3_000
"""Durable operations in one execution; a hard limit.

Source: Lambda developer guide, "Monitoring durable functions" (DurableExecutionOperations,
maximum 3,000), read 2026-11-22.
"""

RESERVED_OPERATIONS = 300
"""Durable operations of an execution beside those of its items: approvals, checks, other steps.

All of their retries are counted, and those of invocations. A workflow measures itself against this
in ``tests/workflow/test_workflow.py``.
"""

MAX_ATTEMPTS = 3
"""Attempts of a step that is retried, the first included.

A retry is billed as an operation (Lambda developer guide, "Retries for Lambda durable functions",
read 2026-11-22). It does not say whether a retry counts against the limit, so it is counted here.
"""

INVOCATION_ATTEMPTS = 9
"""Attempts of an invocation that crashes or times out before its execution fails.

The service makes them, and bills each retry as an operation (the same page). How many they are is
not documented: a user counted about 9 (github.com/jogold/cloudstructs/issues/362, 2026-07-08).
"""

MAX_CHECKPOINT_BYTES = 250_000
"""Bytes of JSON that a step, or the workflow itself, may return.

The service takes 262,144 bytes (Lambda API reference, GetDurableExecution and
SendDurableExecutionCallbackSuccess, 256 KB, read 2026-11-22; newer service models say 1 MB, the
smaller number is safe with both). The difference leaves room for what is written around the value.
"""

MAX_EVIDENCE_BYTES = 10_000
"""Bytes of JSON of what the approvers are shown: it is in the plan, a row, an e-mail and a page."""

MAX_ERROR_BYTES = 1_000
"""Bytes of JSON of an error message: it is checkpointed with the step, its item and the batch."""

MAX_FAILURES_NAMED = 1_000
"""Failed items that an output names; it has the number of all."""


#% if cookiecutter.__invoke or cookiecutter.fan_out == "yes"
INVOKE_ATTEMPTS = 2
"""Attempts of an invoke, the first included; each is an operation."""


#% endif
def max_items(steps: int, shape: Shape) -> int:
    """The largest number of items that one execution can process, whatever has to be retried.

    Args:
        steps: of an item.
        shape: nested, the items of a checkpoint have a context, too.
    """
    context = 1 if shape["nesting"] == "NESTED" else 0
    checkpoints = (MAX_OPERATIONS - RESERVED_OPERATIONS) // (steps * MAX_ATTEMPTS + context)
    return checkpoints * shape["items_per_checkpoint"]


#% if cookiecutter.fan_out == "yes"
MAX_CHUNKS = (MAX_OPERATIONS - RESERVED_OPERATIONS) // INVOKE_ATTEMPTS
"""Chunks that one execution can wait for, if each of them is tried again."""

MAX_INPUT_BYTES = MAX_CHUNKS * MAX_CHECKPOINT_BYTES
"""Bytes of a stored input: what so many chunks hold, each of which fits into a checkpoint."""


#% endif
def require_items(count: int, most: int, reason: str) -> None:
    """Refuse more items than may be processed.

    Raises:
        InvalidInputError: with the reason for the limit.
    """
    if count > most:
        raise InvalidInputError(f"the input has {count} items, {reason}: send at most {most} items")


#% if cookiecutter.fan_out == "no"
def require_room(count: int, steps: int, shape: Shape) -> None:
    """Refuse more items than can be finished within one execution.

    Raises:
        InvalidInputError: too many items.
    """
    most = max_items(steps, shape)
    require_items(count, most, f"more than fit into {MAX_OPERATIONS} durable operations")


#% endif
def require_fit(request: Request, definition: Definition[Any]) -> list[Any]:
    """Return the work items of a request.

    Raises:
        InvalidInputError: they are too large for one checkpoint.
    """
    items = [definition.work_item(*numbered) for numbered in request.numbered()]
    require_size(items, "inputData.items", InvalidInputError)
    return items


def require_size(
    value: Any, what: str, error: type[Exception], most: int = MAX_CHECKPOINT_BYTES
) -> None:
    """Refuse a value that takes more bytes of JSON than there are for it.

    Args:
        value: JSON-serialisable, as the step is about to return it.
        what: the value's name in the message, for example ``"inputData.items"``.
        error: the exception to raise; it decides whether a step is retried.
        most: bytes.
    """
    size = json_size(value)
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
    if items := output.get("mapResults"):
        items["failedItems"] = items["failedItems"][:MAX_FAILURES_NAMED]
        if not fits(output):
            items["results"] = None
    return output


def share_of_errors(count: int) -> int:
    """Bytes of JSON of each message where so many stand together: 100,000 in all that are named."""
    named = min(max(1, count), MAX_FAILURES_NAMED)
    return min(MAX_ERROR_BYTES // 2, 100_000 // named - 50)


@contextmanager
def short_errors() -> Iterator[None]:
    """Cut the message of whatever is raised; its type, and with it the retries, stay.

    An error that no checkpoint can hold would fail the execution instead of its item.

    Raises:
        ItemError: instead of an error whose message cannot be cut.
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
