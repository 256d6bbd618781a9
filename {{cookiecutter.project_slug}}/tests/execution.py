"""One execution of the workflow on the SDK's local runner, as the tests drive it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aws_durable_execution_sdk_python.lambda_service import ErrorObject
from aws_durable_execution_sdk_python_testing import (
    DurableFunctionTestResult,
    DurableFunctionTestRunner,
)

from workflow.callback_helper import CALLBACK_NAME
from workflow.models import JsonObject


@dataclass
class Execution:
    """One execution of the workflow, on the local runner."""

    runner: DurableFunctionTestRunner
    arn: str

    def callback_id(self) -> str:
        """Wait until the execution waits for the approval."""
        return self.runner.wait_for_callback(
            self.arn, name=f"{CALLBACK_NAME} create callback id", timeout=20
        )

    def wait_until_prepared(self) -> None:
        """Wait until the initial step has fixed the settings."""
        while not any(
            event.event_type == "StepSucceeded"
            for event in self.runner.get_execution_history(self.arn).events
        ):
            time.sleep(0.01)

    def answer(self, payload: str | None) -> None:
        """Complete the callback with this text."""
        result = None if payload is None else payload.encode()
        self.runner.send_callback_success(self.callback_id(), result)

    def approve(self) -> None:
        self.answer('{"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"}')

    def fail_callback(self, message: str, data: str | None = None) -> None:
        """Complete the callback as a failure, as ``ops/callback.py reject`` does."""
        self.runner.send_callback_failure(
            self.callback_id(), ErrorObject(message, "Rejected", data, None)
        )

    @cached_property
    def result(self) -> DurableFunctionTestResult:
        """Wait for the end of the execution."""
        return self.runner.wait_for_result(self.arn, timeout=300)

    def output(self) -> JsonObject:
        """The workflow's result; the execution must have succeeded."""
        result = self.result
        assert result.error is None
        assert result.result is not None
        output: JsonObject = json.loads(result.result)
        return output

    def error(self) -> tuple[str, str]:
        """Name of the error and its message; the execution must have failed."""
        error = self.result.error
        assert error is not None
        return (error.type or "").rpartition(".")[2], error.message or ""


Start = Callable[..., Execution]
FailItems = Callable[..., dict[str, int]]


def make_event(*items: Any) -> JsonObject:
    """A valid input event."""
    return {"workflowId": "wf-1", "tenantId": "acme", "inputData": {"items": list(items)}}
