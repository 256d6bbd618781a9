"""Waits for an approval, and turns what comes back into a decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from aws_durable_execution_sdk_python import (
    CallbackExternalError,
    CallbackSubmitterError,
    CallbackTimeoutError,
    DurableContext,
)
from aws_durable_execution_sdk_python.types import WaitForCallbackContext

from chassis.durable import policies
from chassis.model import (
    Approval,
    ApprovalNotRequestedError,
    ApprovalTimedOutError,
    Decision,
    InvalidAnswerError,
    ParseAnswer,
    identified_by,
)
from chassis.settings import Settings
from chassis.wire import MAX_TEXT_LENGTH

UNANSWERED = {Decision.TIMED_OUT, Decision.HEARTBEAT_LOST}


class Answered(NamedTuple):
    """What came back, and how it is known who has decided."""

    approval: Approval
    identified_by: str | None

    def approval_or_error(self, settings: Settings) -> Approval:
        """Return the approval.

        Raises:
            ApprovalTimedOutError: nobody answered, and ``callback_timeout_action`` is ``fail``.
        """
        decision = self.approval.decision
        if decision in UNANSWERED and settings["callback_timeout_action"] == "fail":
            is_lost = decision is Decision.HEARTBEAT_LOST
            limit = settings["callback_heartbeat" if is_lost else "callback_timeout"]
            raise ApprovalTimedOutError(f"{decision.value}: no sign of the approver for {limit} s")
        return self.approval


def await_approval(
    context: DurableContext,
    submitter: Callable[[str, WaitForCallbackContext], None],
    name: str,
    settings: Settings,
    parse_answer: ParseAnswer,
) -> Answered:
    """Ask for the approval, and suspend the execution until there is an answer.

    Raises:
        ApprovalNotRequestedError: the request could not be sent, even after retries.
        InvalidAnswerError: the answer is malformed.
    """
    try:
        answer = context.wait_for_callback(submitter, name=name, config=policies.approval(settings))
    except CallbackTimeoutError as error:
        # The two timeouts differ by their message alone; both mean that nobody has answered.
        is_lost = "heartbeat" in (error.message or "").lower()
        decision = Decision.HEARTBEAT_LOST if is_lost else Decision.TIMED_OUT
        goes_on = settings["callback_timeout_action"] == "continue"
        return Answered(Approval(decision, goes_on), None)
    except CallbackExternalError as error:
        rejection = read_rejection(error.message, error.data, parse_answer)
        return Answered(rejection, identified_by(error.data))
    except CallbackSubmitterError as error:
        raise ApprovalNotRequestedError(
            f"the approval could not be requested: {error.message}"
        ) from error
    return Answered(parse_answer(answer), identified_by(answer))


def read_rejection(message: str | None, data: str | None, parse_answer: ParseAnswer) -> Approval:
    """Read a callback failure: it rejects, whatever it says; well-formed data says who and why."""
    try:
        approval = parse_answer(data)
    except InvalidAnswerError:
        approval = Approval(Decision.REJECTED, goes_on=False)
    comment = approval.comment or (message or "")[:MAX_TEXT_LENGTH] or None
    return Approval(Decision.REJECTED, False, approval.decided_by, comment)
