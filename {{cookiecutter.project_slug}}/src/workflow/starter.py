"""The only way to start an execution: checks the tenant, counts, names, and invokes.

Trusted services call it, and authenticate their callers themselves: it believes the tenant id that
they send.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import ClientError

from workflow import limits, tenants
#% if cookiecutter.fan_out == "no"
from workflow.checks import CHECKS
#% endif
from workflow.credentials import CONFIG, tenant_client
from workflow.data_processor import canonical_json
from workflow.models import InvalidInputError, JsonObject, WorkflowRequest, parse_request
from workflow.registry import TablePartition
#% if cookiecutter.fan_out == "no"
from workflow.settings import load_shape
#% endif
from workflow.tenants import TenantRefusedError

MAX_KEY_LENGTH = 256


def handler(event: Any, context: Any) -> JsonObject:
    """Start an execution, or say why not.

    The event is the workflow's own, and may have a ``requestKey``: requests with the same key, or
    else with the same content, are one execution.

    Returns:
        ``{"started": true, "executionName": ..., "executionArn": ...}``, or
        ``{"started": false, "reason": ...}``.
    """
    del context
    try:
        request = parse_request(event)
        limits.require_fit(request)
        #% if cookiecutter.fan_out == "no"
        limits.require_room(len(request.items), len(CHECKS), load_shape(os.environ))
        #% endif
        return start(request, event)
    except (InvalidInputError, TenantRefusedError) as error:
        return {"started": False, "reason": str(error)}


def start(request: WorkflowRequest, event: JsonObject) -> JsonObject:
    """Count the execution and invoke the workflow.

    A start that fails stays counted until the reconciler has looked, because another request of
    the same name may have succeeded; the same request can be sent again at once.

    Raises:
        TenantRefusedError: the tenant is unknown or suspended, or may not run another execution.
        InvalidInputError: more items than the tenant may have processed.
    """
    tenants.require_served(request.tenant_id, os.environ["TENANT_ID"])
    registry = TablePartition(request.tenant_id, tenant_client("dynamodb", request.tenant_id))
    allowed = registry.profile().require_active().limits()
    tenants.require_items(len(request.items), allowed)
    payload = canonical_json(request.to_event())
    key = request_key(event) or payload.hex()
    #% if cookiecutter.fan_out == "yes"
    if request.input_ref and "requestKey" not in event:
        raise InvalidInputError(
            "a request with inputRef needs a requestKey, because its content is not in the request"
        )
    #% endif
    name = tenants.execution_name(
        request.tenant_id, os.environ["WORKFLOW_ALIAS_ARN"], f"{request.workflow_id}|{key}"
    )
    registry.admit(name, allowed["running_executions"], int(time.time()))
    arn = invoke(request.tenant_id, name, payload)
    with suppress(TenantRefusedError):  # it is over already
        registry.note_arn(arn)
    return {"started": True, "executionName": name, "executionArn": arn}


def request_key(event: JsonObject) -> str | None:
    """The caller's key for the request, if it has one.

    Raises:
        InvalidInputError: it is no text of 1 to 256 characters.
    """
    key = event.get("requestKey")
    if key is not None and not (isinstance(key, str) and 1 <= len(key) <= MAX_KEY_LENGTH):
        raise InvalidInputError(f"requestKey is no text of 1 to {MAX_KEY_LENGTH} characters")
    return key


def invoke(tenant_id: str, name: str, payload: bytes) -> str:
    """Invoke the workflow's alias asynchronously; the same name and payload start one execution.

    Raises:
        TenantRefusedError: there is an execution of this name with another payload.
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
        raise TenantRefusedError("this requestKey has been used with another content") from None
    return str(response["DurableExecutionArn"])


@cache
def _lambda() -> Any:
    return boto3.client("lambda", config=CONFIG)
