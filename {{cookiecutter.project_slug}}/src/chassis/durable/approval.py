"""Waits for an approval, and turns what comes back into a decision."""

from __future__ import annotations

from aws_durable_execution_sdk_python import (
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    DurableContext,
)

from chassis.durable import policies
from chassis.model import (
    Approval,
    ApprovalNotRequestedError,
    ApprovalTimedOutError,
    Decision,
    InvalidAnswerError,
    ParseAnswer,
)
from chassis.settings import Settings
from chassis.steps import work
from chassis.tenancy.stores import Stores
from chassis.wire import MAX_TEXT_LENGTH, JsonObject


def await_approval(
    context: DurableContext,
    stores: Stores,
    settings: Settings,
    message: JsonObject,
    parse_answer: ParseAnswer,
) -> Approval:
    """Ask for the approval, and suspend the execution until there is an answer.

    Raises:
        ApprovalNotRequestedError: the request could not be sent, even after retries.
        ApprovalTimedOutError: nobody answered, and ``callback_timeout_action`` is ``fail``.
        InvalidAnswerError: the answer is malformed.
    """
    submitter = work.request_approval(
        stores, settings["callback_timeout"], settings["approval_topic_arn"], message
    )
    try:
        answer = context.wait_for_callback(
            submitter, name=message["approval"], config=policies.approval(settings)
        )
    except CallbackTimeoutError as error:
        return _unanswered(error, settings)
    except CallbackExternalError as error:
        return read_rejection(error.message, error.data, parse_answer)
    except CallbackSubmitterError as error:
        raise ApprovalNotRequestedError(
            f"the approval could not be requested: {error.message}"
        ) from error
    return parse_answer(answer)


def read_rejection(message: str | None, data: str | None, parse_answer: ParseAnswer) -> Approval:
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
