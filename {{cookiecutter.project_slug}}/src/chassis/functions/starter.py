"""The only way to start an execution: checks the tenant, counts, names, and invokes.

Trusted services call it, and authenticate their callers themselves: it believes the tenant id that
they send.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError

from chassis import quotas
from chassis.functions.log import log_request
from chassis.model import Definition, InvalidInputError, TenantRefusedError
#% if cookiecutter.fan_out == "no"
from chassis.settings import load_shape
#% endif
from chassis.tenancy.credentials import CONFIG
from chassis.tenancy.guard import execution_name, execution_name_of, require_served
from chassis.tenancy.profile import LimitReachedError, read_tiers, require_allowed
from chassis.tenancy.registry import NewRun, RequestProcessedError, RequestUsedError
#% if cookiecutter.fan_out == "yes"
from chassis.tenancy.stores import bucket_objects, table_partition
#% else
from chassis.tenancy.stores import table_partition
#% endif
from chassis.wire import JsonObject, canonical_json

MAX_KEY_LENGTH = 256


def starter(definition: Definition[Any]) -> Callable[[Any, Any], JsonObject]:
    """Make the Lambda handler that starts executions of a workflow.

    Its event is the workflow's own, and may have a ``requestKey``: requests with the same key, or
    else with the same content, are one execution. It returns
    ``{"started": true, "executionName": ..., "executionArn": ...}``, or
    ``{"started": false, "reason": ...}``. Where a limit has been reached for now, the reply has
    ``"retryAfter"``, too: whole seconds, 1 to 60.
    """

    def handler(event: Any, context: Any) -> JsonObject:
        del context
        try:
            name, arn = start(definition, event)
        except (InvalidInputError, TenantRefusedError) as error:
            log_request("start refused", event, reason=str(error))
            refusal: JsonObject = {"started": False, "reason": str(error)}
            if isinstance(error, LimitReachedError):
                refusal["retryAfter"] = error.retry_after
            return refusal
        log_request("start accepted", event, executionName=name)
        return {"started": True, "executionName": name, "executionArn": arn}

    return handler


def start(
    definition: Definition[Any], event: Any, started_by: str | None = None
) -> tuple[str, str]:
    """Count the execution and invoke the workflow; return its name and ARN.

    A start that fails stays counted until the reconciler has looked, because another request of
    the same name may have succeeded; the same request can be sent again at once.

    Args:
        definition: of the workflow.
        event: the workflow's own, and perhaps a ``requestKey``.
        started_by: who starts it, if that is known.

    Raises:
        LimitReachedError: the tenant may not start another execution just now.
        TenantRefusedError: the tenant is unknown or suspended, or the request has been used up.
        InvalidInputError: the event is malformed, too large or has more items than the tenant may
            have processed; there is no such input; or it is a redrive of an execution that the
            tenant has not had.
    """
    request = definition.parse_request(event)
    quotas.require_fit(request, definition)
    #% if cookiecutter.fan_out == "no"
    shape = load_shape(os.environ)
    quotas.require_room(len(request.items), len(definition.item_steps), shape)
    #% endif
    require_served(request.tenant_id, os.environ["TENANT_ID"])
    registry = table_partition(request.tenant_id)
    profile = registry.profile()
    limits = profile.limits(read_tiers(definition.tiers))
    require_allowed(len(request.items), limits)
    payload = canonical_json(request.event)
    request_key = read_request_key(event)
    key = f"key|{request_key}" if request_key else f"content|{payload.hex()}"
    #% if cookiecutter.fan_out == "yes"
    if request.input_ref and not request_key:
        raise InvalidInputError(
            "a request with inputRef needs a requestKey, because its content is not in the request"
        )
    if request.input_ref:
        bucket_objects(request.tenant_id).require_input(request.input_ref)
    #% endif
    first = request.redrive_of
    if first and registry.arn_of(execution_name_of(first) or "") != first:
        raise InvalidInputError("redriveOf.executionArn names no execution that the tenant has had")
    workflow = os.environ["WORKFLOW_ALIAS_ARN"]
    name = execution_name(request.tenant_id, workflow, key)
    run = NewRun(
        name=name,
        workflow_id=request.workflow_id,
        content=hashlib.sha256(payload).hexdigest(),
        started_by=started_by,
    )
    registry.admit(run, profile, limits, int(time.time()))
    arn = invoke(request.tenant_id, name, payload)
    try:
        registry.note_arn(arn)
    except TenantRefusedError:
        if registry.arn_of(name) != arn:  # its first step is refused, too
            raise RequestProcessedError(name, "by another execution") from None
    return name, arn


def read_request_key(event: JsonObject) -> str | None:
    """The caller's key for the request, if it has one.

    Raises:
        InvalidInputError: it is not a string of 1 to 256 characters.
    """
    key = event.get("requestKey")
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= MAX_KEY_LENGTH):
        raise InvalidInputError(f"requestKey must be a string of 1 to {MAX_KEY_LENGTH} characters")
    return key


def invoke(tenant_id: str, name: str, payload: bytes) -> str:
    """Invoke the workflow's alias asynchronously; the same name and payload start one execution.

    Source: Lambda developer guide, durable-execution-idempotency, read 2026-11-22.

    Raises:
        RequestUsedError: there is an execution of this name with another payload.
    """
    isolated = {"TenantId": tenant_id} if os.environ["TENANCY"] == "isolated" else {}
    try:
        response = _lambda().invoke(
            FunctionName=os.environ["WORKFLOW_ALIAS_ARN"],
            InvocationType="Event",
            DurableExecutionName=name,
            Payload=payload,
            **isolated,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "DurableExecutionAlreadyStartedException":
            raise
        raise RequestUsedError("this requestKey has been used with other content") from None
    return str(response["DurableExecutionArn"])


@cache
def _lambda() -> Any:
    return boto3.client("lambda", config=CONFIG)
