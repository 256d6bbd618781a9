"""The messages of the workflow, and the one place that validates them.

JSON on the wire is camelCase, Python inside is snake_case: this module is the border.
What a step returns is checkpointed as JSON, so it is described by a ``TypedDict``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NotRequired, TypeAlias, TypedDict

from workflow.settings import Settings

JsonObject: TypeAlias = dict[str, Any]

#% if cookiecutter.fan_out == "yes"
# No "..", nothing hidden, at most 200 characters.
INPUT_REF = re.compile(r"(?!.{201})[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)
#% endif
WORKFLOW_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TENANT_ID = re.compile(r"[a-z0-9]{3,24}")
MAX_DEPTH = 100
"""Levels of nesting of an item; Python's own JSON stops at about 1,000."""


class InvalidInputError(Exception):
    """The event cannot be processed; the message says what is wrong, and where."""


class ItemError(Exception):
    """This item cannot be processed, and trying again would not help."""


class TransientError(Exception):
    """Something is not available just now: the step that raises it is retried."""


class ChecksFailedError(Exception):
    """More checks failed than the stack tolerates; no item has been processed."""


class TooManyItemsFailedError(Exception):
    """A larger share of the items failed than the stack tolerates."""


class Status(StrEnum):
    """How a workflow that ran to its end has ended."""

    COMPLETED = "COMPLETED"
    COMPLETED_WITH_FAILURES = "COMPLETED_WITH_FAILURES"
    REJECTED = "REJECTED"
    TIMED_OUT = "TIMED_OUT"


class WorkItem(TypedDict):
    """One unit of work, as the initial step checkpoints it."""

    id: str
    data: Any
    priority: int
    status: str


#% if cookiecutter.fan_out == "yes"
class Chunk(TypedDict):
    """Some lines of a large input: the bytes from ``start`` up to ``end``."""

    number: int
    first: int
    count: int
    start: int
    end: int


class StoredInput(TypedDict):
    """A large input as it was when it was cut: another version of it is never read."""

    ref: str
    version: str
    chunks: list[Chunk]


#% endif
class Plan(TypedDict):
    """What the initial step fixes for the rest of the execution."""

    started_at: str
    tier: str
    #% if cookiecutter.fan_out == "yes"
    stored: StoredInput | None
    #% endif
    settings: Settings
    items: list[WorkItem]


def item_count(plan: Plan) -> int:
    """How many items the execution has to process."""
    #% if cookiecutter.fan_out == "yes"
    if plan["stored"]:
        return sum(chunk["count"] for chunk in plan["stored"]["chunks"])
    #% endif
    return len(plan["items"])


class ItemResult(TypedDict):
    """What is kept of a processed item; small, because every result is checkpointed."""

    kind: str
    bytes: int
    digest: str


class ItemOutcome(TypedDict):
    """What a checkpoint holds of one item: ``result``, or ``error`` if it failed."""

    result: NotRequired[ItemResult]
    error: NotRequired[str]


class ProcessedItem(ItemResult):
    """An item's result, as the output of the workflow names it."""

    id: str


class FailedItem(TypedDict):
    """An item that could not be processed, and why."""

    id: str
    error: str


class CheckResult(TypedDict):
    """The outcome of one parallel check: ``result``, or ``error`` if it failed."""

    name: str
    result: NotRequired[JsonObject]
    error: NotRequired[str]


class Metrics(TypedDict):
    """Counted and measured by the final step; the keys are the wire's."""

    itemsProcessed: int
    itemsFailed: int
    successRate: float | None
    checksRun: int
    startedAt: str
    finishedAt: str
    durationSeconds: float


@dataclass(frozen=True)
class WorkflowRequest:
    """A valid input event."""

    workflow_id: str
    tenant_id: str
    #% if cookiecutter.fan_out == "yes"
    input_ref: str
    #% endif
    items: list[Any]

    def to_event(self) -> JsonObject:
        """The event that it was read from, without what is ignored."""
        input_data: JsonObject = {"items": self.items}
        #% if cookiecutter.fan_out == "yes"
        if self.input_ref:
            input_data = {"inputRef": self.input_ref}
        #% endif
        return {
            "workflowId": self.workflow_id,
            "tenantId": self.tenant_id,
            "inputData": input_data,
        }


@dataclass(frozen=True, kw_only=True)
class ItemOutcomes:
    """What the map over the items came to."""

    succeeded: int
    failed: int
    #% if cookiecutter.fan_out == "yes"
    results_ref: str | None = None
    #% endif
    results: list[ProcessedItem] | None
    failed_items: list[FailedItem]


def parse_request(event: Any) -> WorkflowRequest:
    """Validate the input event; keys that are not known are ignored.

    >>> parse_request({"workflowId": "wf-1", "tenantId": "acme", "inputData": {"items": ["a"]}})
    #% if cookiecutter.fan_out == "yes"
    WorkflowRequest(workflow_id='wf-1', tenant_id='acme', input_ref='', items=['a'])

    #% else
    WorkflowRequest(workflow_id='wf-1', tenant_id='acme', items=['a'])

    #% endif
    Raises:
        InvalidInputError: one line that names every problem of the event.
    """
    if not isinstance(event, dict):
        raise InvalidInputError(f"the event is {_show(event)}, expected a JSON object")
    problems: list[str] = []
    workflow_id = event.get("workflowId")
    if not isinstance(workflow_id, str) or not WORKFLOW_ID.fullmatch(workflow_id):
        problems.append(
            f"workflowId is {_show(workflow_id)}, expected 1 to 64 of A-Z, a-z, 0-9, '_' and '-'"
        )
    tenant_id = event.get("tenantId")
    if not isinstance(tenant_id, str) or not TENANT_ID.fullmatch(tenant_id):
        problems.append(f"tenantId is {_show(tenant_id)}, expected 3 to 24 of a-z and 0-9")
    input_data = event.get("inputData")
    items = input_data.get("items") if isinstance(input_data, dict) else None
    #% if cookiecutter.fan_out == "yes"
    input_ref = input_data.get("inputRef") if isinstance(input_data, dict) else None
    #% endif
    if not isinstance(input_data, dict):
        problems.append(f"inputData is {_show(input_data)}, expected an object with a list 'items'")
    #% if cookiecutter.fan_out == "yes"
    elif input_ref is not None and items is not None:
        problems.append("inputData has both items and inputRef, expected one of them")
    elif input_ref is not None:
        if not isinstance(input_ref, str) or not INPUT_REF.fullmatch(input_ref):
            problems.append(
                f"inputData.inputRef is {_show(input_ref)}, expected a key below the tenant's "
                "prefix, of names of A-Z, a-z, 0-9, '_', '-' and '.' with '/' between them"
            )
    #% endif
    elif not isinstance(items, list):
        problems.append(f"inputData.items is {_show(items)}, expected a list")
    else:
        problems += [
            f"inputData.items[{index}] {problem}"
            for index, item in enumerate(items)
            if (problem := problem_inside(item))
        ][:1]
    if problems:
        raise InvalidInputError("; ".join(problems))
    return WorkflowRequest(
        workflow_id=str(workflow_id),
        tenant_id=str(tenant_id),
        #% if cookiecutter.fan_out == "yes"
        input_ref=input_ref or "",
        #% endif
        items=items or [],
    )


def problem_inside(item: Any) -> str | None:
    """Find what json.loads lets pass and not every JSON reader does; without recursion."""
    pending = [(item, 1)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                return f"is nested more than {MAX_DEPTH} levels deep"
            children = value.values() if isinstance(value, dict) else value
            pending += [(child, depth + 1) for child in children]
        elif json_type(value) == "number" and not _is_double(value):
            return "has a number that does not fit into a double"
    return None


def _is_double(number: int | float) -> bool:
    try:
        return math.isfinite(float(number))
    except OverflowError:
        return False


def build_output(
    request: WorkflowRequest,
    execution_arn: str,
    status: Status,
    callback_result: JsonObject,
    checks: list[CheckResult],
    items: ItemOutcomes,
    metrics: Metrics,
) -> JsonObject:
    """Put together the workflow's result, as its caller reads it."""
    return {
        "workflowId": request.workflow_id,
        "executionArn": execution_arn,
        "tenantId": request.tenant_id,
        "status": status.value,
        "callbackResult": callback_result,
        "parallelResults": checks,
        "mapResults": {
            "succeeded": items.succeeded,
            "failed": items.failed,
            "results": items.results,
            "failedItems": items.failed_items,
            #% if cookiecutter.fan_out == "yes"
            "resultsRef": items.results_ref,
            #% endif
        },
        "metrics": metrics,
    }


def json_type(value: Any) -> str:
    """The JSON name of a value's type.

    >>> json_type(True), json_type(2.5), json_type([])
    ('boolean', 'number', 'array')
    """
    names = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _show(value: Any) -> str:
    """A short, one-line rendering of a refused value; only strings are quoted, and cut."""
    if value is None:
        return "missing or null"
    return repr(value[:80]) if isinstance(value, str) else f"of type {json_type(value)}"
