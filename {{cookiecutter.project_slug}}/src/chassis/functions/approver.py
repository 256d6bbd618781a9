"""Answers approvals for the tenant they belong to; trusted services call it.

An approval is looked up under the tenant that answers, so another tenant's token is simply not
found; and the answer is sent with credentials that may answer executions of that tenant only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chassis.model import (
    Approval,
    Decision,
    InvalidAnswerError,
    ParseAnswer,
    TenantRefusedError,
)
from chassis.tenancy.credentials import tenant_client
from chassis.tenancy.guard import require_served
from chassis.tenancy.registry import ApprovalNotFoundError
from chassis.tenancy.stores import table_partition
from chassis.wire import JsonObject, problem_inside


class AnswerNotSentError(Exception):
    """The service could not be reached, or did not take the answer."""


def approver(parse_answer: ParseAnswer) -> Callable[[Any, Any], JsonObject]:
    """Make the Lambda handler that answers approvals.

    Its event has ``tenantId``, ``token``, and ``answer`` (``{"decision": "APPROVED", ...}``);
    without an answer it is a heartbeat, which says that the approver is still there. It returns
    ``{"accepted": true}``, or ``{"accepted": false, "reason": ...}``.
    """

    def handler(event: Any, context: Any) -> JsonObject:
        del context
        try:
            answer_approval(event if isinstance(event, dict) else {}, parse_answer)
        except (ApprovalNotFoundError, InvalidAnswerError, TenantRefusedError) as error:
            return {"accepted": False, "reason": str(error)}
        return {"accepted": True}

    return handler


def answer_approval(event: JsonObject, parse_answer: ParseAnswer) -> None:
    """Complete the callback, then close the approval: what could not be sent can be sent again.

    Raises:
        AnswerNotSentError: the service did not take it; nothing is consumed.
        TenantRefusedError: no tenant, a malformed one, or not this stack's.
        InvalidAnswerError: the answer is malformed; nothing is consumed.
        ApprovalNotFoundError: nothing is pending for this tenant under this token.
    """
    tenant_id = require_served(event.get("tenantId"), os.environ["TENANT_ID"])
    token = event.get("token")
    if not isinstance(token, str):
        raise ApprovalNotFoundError("there is no such pending approval")
    if problem := problem_inside(event.get("answer")):
        raise InvalidAnswerError(f"the answer {problem}")
    answer = json.dumps(event["answer"]) if "answer" in event else None
    approval = parse_answer(answer) if answer else None
    registry = table_partition(tenant_id)
    callback_id = registry.find_approval(token, int(time.time()))
    try:
        send(tenant_client("lambda", tenant_id), callback_id, approval, answer or "")
    except (BotoCoreError, ClientError) as error:
        # Only the kind of error: its text may quote the callback id.
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if code == "CallbackTimeoutException":
            raise ApprovalNotFoundError("there is no such pending approval") from None
        reason = code or type(error).__name__
        raise AnswerNotSentError(f"not sent, send it again: {reason}") from None
    if approval:
        registry.close_approval(token)


def send(client: Any, callback_id: str, approval: Approval | None, answer: str) -> None:
    """Complete the callback, which the service does once; without an answer, send a heartbeat."""
    if approval is None:
        client.send_durable_execution_callback_heartbeat(CallbackId=callback_id)
    elif approval.decision is Decision.APPROVED:
        client.send_durable_execution_callback_success(
            CallbackId=callback_id, Result=answer.encode()
        )
    else:
        error = {
            "ErrorType": "Rejected",
            "ErrorMessage": approval.comment or "rejected",
            "ErrorData": answer,
        }
        client.send_durable_execution_callback_failure(CallbackId=callback_id, Error=error)
