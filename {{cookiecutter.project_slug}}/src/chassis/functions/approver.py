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

from chassis.functions.log import log_request
from chassis.model import (
    Approval,
    Decision,
    InvalidAnswerError,
    ParseAnswer,
    TenantRefusedError,
)
from chassis.tenancy.approvals import (
    ANSWERED,
    ApprovalClosedError,
    ApprovalNotFoundError,
    Record,
)
from chassis.tenancy.credentials import tenant_client
from chassis.tenancy.guard import require_served
from chassis.tenancy.stores import table_approvals
from chassis.wire import JsonObject, problem_inside, show

MAX_ANSWER_BYTES = 32_000
"""Bytes of JSON of an answer; two texts of 1,000 characters take 24,000 at most."""

FIELDS = {"tenantId", "token", "answer", "identifiedBy"}
CLOSED = {"CallbackTimeoutException", "ResourceNotFoundException"}
"""The service takes no answer any more: the callback has expired or is closed, or is gone.

Source: Lambda API reference, SendDurableExecutionCallbackSuccess, read 2026-11-25.
"""


class AnswerNotSentError(Exception):
    """The service could not be reached, or did not take the answer."""


def approver(parse_answer: ParseAnswer) -> Callable[[Any, Any], JsonObject]:
    """Make the Lambda handler that answers approvals.

    Its event has ``tenantId``, ``token``, and ``answer`` (``{"decision": "APPROVED", ...}``);
    without an answer it is a heartbeat, which says that the approver is still there. It may say
    how it is known who answers: ``identifiedBy`` is ``service`` or ``operator``. It returns
    ``{"accepted": true}``, or ``{"accepted": false, "reason": ...}``.
    """

    def handler(event: Any, context: Any) -> JsonObject:
        del context
        try:
            answer_approval(event if isinstance(event, dict) else {}, parse_answer)
        except (
            ApprovalClosedError,
            ApprovalNotFoundError,
            InvalidAnswerError,
            TenantRefusedError,
        ) as error:
            quotes = isinstance(error, InvalidAnswerError)  # the answer, which is not logged
            log_request("answer refused", event, reason="malformed" if quotes else str(error))
            return {"accepted": False, "reason": str(error)}
        log_request("answer accepted" if "answer" in event else "heartbeat accepted", event)
        return {"accepted": True}

    return handler


def answer_approval(event: JsonObject, parse_answer: ParseAnswer) -> None:
    """Complete the callback, then close the approval: what could not be sent can be sent again.

    Raises:
        AnswerNotSentError: the service did not take it; nothing is consumed.
        TenantRefusedError: no tenant, a malformed one, or not this stack's.
        InvalidAnswerError: the answer is malformed; nothing is consumed.
        ApprovalNotFoundError: the tenant has no approval with this token.
        ApprovalClosedError: it has been answered, or its time is up.
    """
    tenant_id = require_served(event.get("tenantId"), os.environ["TENANT_ID"])
    if unknown := event.keys() - FIELDS:  # a misspelt answer, perhaps
        raise InvalidAnswerError(
            f"the event has the field {show(min(unknown))}, expected {', '.join(sorted(FIELDS))}"
        )
    token = event.get("token")
    if not isinstance(token, str):
        raise ApprovalNotFoundError("there is no such approval")
    identified_by = event.get("identifiedBy", "service")
    if identified_by not in {"operator", "service"}:  # claims are for an API to verify
        raise InvalidAnswerError("identifiedBy is not one of operator and service")
    approval = read_answer(event["answer"], parse_answer) if "answer" in event else None
    record = table_approvals(tenant_id).find(token)
    complete(tenant_id, record, approval, identified_by)


def complete(tenant_id: str, record: Record, approval: Approval | None, identified_by: str) -> None:
    """Complete the callback of an approval, then close it; without an answer, send a heartbeat.

    Args:
        tenant_id: whose approval it is.
        record: of the approval.
        approval: the answer.
        identified_by: how it is known who answers.

    Raises:
        ApprovalClosedError: it has been answered, or its time is up.
        AnswerNotSentError: the service did not take it; nothing is consumed.
    """
    now = time.time()
    record.require_open(now)
    try:
        client = tenant_client("lambda", tenant_id)
        send(client, str(record.callback_id), approval, identified_by)
    except (BotoCoreError, ClientError) as error:
        # Only the kind of error: its text may quote the callback id.
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if code in CLOSED:
            raise ApprovalClosedError(f"{ANSWERED}, or its time is up") from None
        reason = code or type(error).__name__
        raise AnswerNotSentError(f"not sent, send it again: {reason}") from None
    if approval:
        table_approvals(tenant_id).close(record.asked.id, approval, identified_by, now)


def read_answer(answer: Any, parse_answer: ParseAnswer) -> Approval:
    """Parse an answer as the workflow will.

    Raises:
        InvalidAnswerError: it is malformed, too deep or too large.
    """
    if problem := problem_inside(answer):
        raise InvalidAnswerError(f"the answer {problem}")
    text = json.dumps(answer)
    if len(text) > MAX_ANSWER_BYTES:
        raise InvalidAnswerError(
            f"the answer takes {len(text)} bytes as JSON, and may take {MAX_ANSWER_BYTES}"
        )
    return parse_answer(text)


def send(client: Any, callback_id: str, approval: Approval | None, identified_by: str) -> None:
    """Complete the callback, which the service does once; without an answer, send a heartbeat.

    What is sent is what was parsed, in one form, and nothing else of the answer.
    """
    if approval is None:
        client.send_durable_execution_callback_heartbeat(CallbackId=callback_id)
        return
    given = {name: value for name, value in approval.to_wire().items() if value is not None}
    answer = json.dumps({**given, "identifiedBy": identified_by}, sort_keys=True)
    if approval.decision is Decision.APPROVED:
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
