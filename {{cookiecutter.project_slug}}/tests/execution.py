"""One execution of a workflow on the SDK's local runner, as the tests drive it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python_testing import DurableFunctionTestResult

from chassis.wire import JsonObject
from ops.local import LocalExecution, Question

SECONDS = 30
"""How long a test waits for an execution that does neither ask nor end."""


class Execution(LocalExecution):
    """One execution; whoever waits for it to ask hears at once when it is over."""

    @cached_property
    def question(self) -> Question:
        """What the approvers are asked first; the execution must ask."""
        return self.asked_next()

    def asked_next(self) -> Question:
        """What the approvers are asked next."""
        question = self.next_question(SECONDS)
        if question is None:
            raise AssertionError(f"it has ended and asked nobody: {self.ended.error}")
        return question

    def approve(self, question: Question | None = None) -> None:
        """Approve what was asked first, or another question."""
        answer = {"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"}
        self.answer(question or self.question, answer)

    def approve_all(self) -> None:
        """Approve whatever is asked, until the execution is over."""
        while question := self.next_question(SECONDS):
            self.approve(question)

    def reject(self) -> None:
        """Reject what was asked first."""
        self.answer(self.question, {"decision": "REJECTED", "decidedBy": "bob", "comment": "no"})

    def answer_with(self, payload: str | None) -> None:
        """Complete the callback with this text."""
        result = None if payload is None else payload.encode()
        self.runner.send_callback_success(self.question.callback_id, result)

    def fail_callback(self, message: str, data: str | None = None) -> None:
        """Complete the callback as a failure, as a rejection does."""
        error = ErrorObject(message, "Rejected", data, None)
        self.runner.send_callback_failure(self.question.callback_id, error)

    def wait_until_prepared(self) -> None:
        """Wait until the initial step has fixed the settings."""
        deadline = time.monotonic() + SECONDS
        while not any(
            event.event_type == "StepSucceeded"
            for event in self.runner.get_execution_history(self.arn).events
        ):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @cached_property
    def ended(self) -> DurableFunctionTestResult:
        """Wait for the end of the execution."""
        return self.result(300)

    def output(self) -> JsonObject:
        """The workflow's result; the execution must have succeeded."""
        assert self.ended.error is None
        assert self.ended.result is not None
        output: JsonObject = json.loads(self.ended.result)
        return output

    def error(self) -> tuple[str, str]:
        """Name of the error and its message; the execution must have failed."""
        error = self.ended.error
        assert error is not None
        return (error.type or "").rpartition(".")[2], error.message or ""

    def refusal(self) -> str:
        """Why the event was refused; the execution must have ended with that."""
        output = self.output()
        assert output["status"] == "REFUSED"
        reason: str = output["reason"]
        return reason

    def names(self) -> list[str | None]:
        """The names of the outermost operations, in their order."""
        return [operation.name for operation in self.ended.operations]

    def identities(self) -> list[tuple[object, ...]]:
        """What a replay compares of every operation."""
        return sorted(
            (operation.operation_id, operation.operation_type, operation.sub_type, operation.name)
            for operation in self.ended.get_all_operations()
        )


Start = Callable[..., Execution]


def make_event(*items: Any) -> JsonObject:
    """A valid input event."""
    return {"workflowId": "wf-1", "tenantId": "acme", "inputData": {"items": list(items)}}
