"""The messages of the workflow: what its input and its output consist of.

JSON on the wire is camelCase, Python inside is snake_case, and each field is named here once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from chassis import (
    Approval,
    CheckResult,
    Decision,
    ItemOutcomes,
    JsonObject,
    Request,
    input_fields,
    request_fields,
)


class Status(StrEnum):
    """How a workflow that ran to its end has ended; the chassis says when it was REFUSED."""

    COMPLETED = "COMPLETED"
    COMPLETED_WITH_FAILURES = "COMPLETED_WITH_FAILURES"
    REJECTED = "REJECTED"
    TIMED_OUT = "TIMED_OUT"
    REFUSED = "REFUSED"


def parse_request(event: Any) -> Request:
    """Validate the input; fields that are not read here are ignored.

    >>> event = {"workflowId": "wf-1", "tenantId": "acme", "inputData": {"items": ["a"]}}
    >>> parse_request(event).items
    ['a']

    Raises:
        InvalidInputError: one line that names every problem of the event.
    """
    fields = input_fields(event)
    return Request(**request_fields(fields))


def build_output(
    identity: JsonObject,
    approval: Approval,
    checks: list[CheckResult],
    items: ItemOutcomes,
    metrics: JsonObject,
) -> JsonObject:
    """Put together the result of the workflow, as its caller reads it."""
    return {
        **identity,
        "status": status_of(approval, checks, items).value,
        "callbackResult": approval.to_wire(),
        "parallelResults": checks,
        "mapResults": items.to_wire(),
        "metrics": metrics,
    }


def status_of(approval: Approval, checks: list[CheckResult], items: ItemOutcomes) -> Status:
    """How the workflow has ended."""
    if approval.decision is Decision.NOT_NEEDED:
        return Status.COMPLETED
    if not approval.goes_on:
        return Status.REJECTED if approval.decision is Decision.REJECTED else Status.TIMED_OUT
    if items.failed or any("error" in check for check in checks):
        return Status.COMPLETED_WITH_FAILURES
    return Status.COMPLETED
