"""The chassis: what this workflow shares with every other workflow of its kind.

This is all that a workflow imports of it, together with ``chassis.durable``, which needs the
durable SDK; this module does not.
"""

from chassis.model import (
    Approval,
    Attempt,
    Check,
    CheckResult,
    Decision,
    Definition,
    InvalidAnswerError,
    InvalidInputError,
    ItemError,
    ItemOutcomes,
    ItemStep,
    Plan,
    Request,
    TransientError,
    input_fields,
    request_fields,
)
from chassis.wire import Fields, JsonObject, canonical_json, json_type

__all__ = [
    "Approval",
    "Attempt",
    "Check",
    "CheckResult",
    "Decision",
    "Definition",
    "Fields",
    "InvalidAnswerError",
    "InvalidInputError",
    "ItemError",
    "ItemOutcomes",
    "ItemStep",
    "JsonObject",
    "Plan",
    "Request",
    "TransientError",
    "canonical_json",
    "input_fields",
    "json_type",
    "request_fields",
]
