"""The approval: asks for it, waits, and turns what comes back into a decision.

The callback id is the right to answer, so it leaves this module for the tenant's registry only.
What the approvers get is a token, which finds it there for the same tenant and for nobody else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aws_durable_execution_sdk_python import (
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    DurableContext,
    durable_wait_for_callback,
)
from aws_durable_execution_sdk_python.types import WaitForCallbackContext

from workflow import policies, steps
from workflow.models import JsonObject, Plan, WorkflowRequest, item_count
from workflow.settings import Settings

CALLBACK_NAME = "approval"
MAX_TEXT_LENGTH = 1_000


class InvalidAnswerError(Exception):
    """The answer to the approval is malformed: it approves nothing."""


class ApprovalNotRequestedError(Exception):
    """Nobody could be asked, so nobody can have approved."""


class ApprovalTimedOutError(Exception):
    """Nobody answered in time, and the stack is set to fail then."""


class Decision(StrEnum):
    """What came of asking."""

    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    TIMED_OUT = "TIMED_OUT"
    HEARTBEAT_LOST = "HEARTBEAT_LOST"


@dataclass(frozen=True)
class Approval:
    """A decision, who made it, and whether the workflow goes on."""

    decision: Decision
    goes_on: bool
    decided_by: str | None = None
    comment: str | None = None

    def to_wire(self) -> JsonObject:
        """The ``callbackResult`` of the workflow's output."""
        return {
            "decision": self.decision.value,
            "decidedBy": self.decided_by,
            "comment": self.comment,
        }


def await_approval(context: DurableContext, request: WorkflowRequest, plan: Plan) -> Approval:
    """Ask for the approval, and suspend the execution until there is an answer.

    Raises:
        ApprovalNotRequestedError: the request could not be sent, also not when tried again.
        ApprovalTimedOutError: nobody answered, and ``callback_timeout_action`` is ``fail``.
        InvalidAnswerError: the answer is malformed.
    """
    settings = plan["settings"]
    submitter = request_approval(
        request, context.execution_context.durable_execution_arn, item_count(plan), settings
    )
    try:
        answer = context.wait_for_callback(
            submitter, name=CALLBACK_NAME, config=policies.approval(settings)
        )
    except CallbackTimeoutError as error:
        return _unanswered(error, settings)
    except CallbackExternalError as error:
        return parse_rejection(error.message, error.data)
    except CallbackSubmitterError as error:
        raise ApprovalNotRequestedError(
            f"the approval could not be requested: {error.message}"
        ) from error
    return parse_answer(answer)


@durable_wait_for_callback
def request_approval(
    callback_id: str,
    context: WaitForCallbackContext,
    request: WorkflowRequest,
    execution_arn: str,
    items: int,
    settings: Settings,
) -> None:
    """Tell the approvers that an execution waits for them."""
    token = steps.store_approval(request, callback_id, execution_arn, settings["callback_timeout"])
    if settings["approval_topic_arn"]:
        message = {
            "workflowId": request.workflow_id,
            "tenantId": request.tenant_id,
            "items": items,
            "executionArn": execution_arn,
            "token": token,
            "answerWith": f"make approve TENANT={request.tenant_id} TOKEN={token}",
        }
        subject = f"Approval wanted: {request.workflow_id}"
        steps.notify(settings["approval_topic_arn"], subject, message)
    context.logger.info("approval requested", extra={"items": items})


def parse_answer(answer: str | None) -> Approval:
    """Read an answer; anything that is not clearly a decision is refused.

    >>> parse_answer('{"decision": "APPROVED", "decidedBy": "ada"}').decision
    <Decision.APPROVED: 'APPROVED'>

    Raises:
        InvalidAnswerError: the message says what is wrong and what would be right.
    """
    try:
        fields = json.loads(answer or "", object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswerError(f"the answer is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidAnswerError('the answer is not an object, expected {"decision": "APPROVED"}')
    decision = fields.get("decision")
    if decision not in (Decision.APPROVED.value, Decision.REJECTED.value):
        raise InvalidAnswerError(
            f"decision is {json.dumps(decision)[:80]}, expected APPROVED or REJECTED"
        )
    return Approval(
        decision=Decision(decision),
        goes_on=decision == Decision.APPROVED,
        decided_by=_text(fields, "decidedBy"),
        comment=_text(fields, "comment"),
    )


def parse_rejection(message: str | None, data: str | None) -> Approval:
    """Read a callback failure: it rejects, whatever it says; well-formed data says who and why."""
    try:
        approval = parse_answer(data)
    except InvalidAnswerError:
        approval = Approval(Decision.REJECTED, goes_on=False)
    comment = approval.comment or (message or "")[:MAX_TEXT_LENGTH] or None
    return Approval(Decision.REJECTED, False, approval.decided_by, comment)


def _unanswered(error: CallbackTimeoutError, settings: Settings) -> Approval:
    # The two timeouts differ by their message alone; both mean that nobody has answered.
    lost = "heartbeat" in (error.message or "").lower()
    decision = Decision.HEARTBEAT_LOST if lost else Decision.TIMED_OUT
    if settings["callback_timeout_action"] == "fail":
        limit = settings["callback_heartbeat" if lost else "callback_timeout"]
        raise ApprovalTimedOutError(f"{decision.value}: no sign of the approver for {limit} s")
    return Approval(decision, goes_on=settings["callback_timeout_action"] == "continue")


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidAnswerError(f"{name} is not a string")
    if value is not None and len(value) > MAX_TEXT_LENGTH:
        raise InvalidAnswerError(
            f"{name} has {len(value)} characters, expected at most {MAX_TEXT_LENGTH}"
        )
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a key is given twice")
    return fields
