"""Says what an execution took, once, when it ends: the handler cannot know while it runs."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
    InvocationStatus,
    OperationType,
)

from chassis.model import Definition, InvalidInputError, Request, claimed_identity
from chassis.wire import JsonObject


class ExecutionReport(DurableInstrumentationPlugin):
    """Logs the number of durable operations and retries of an execution that has ended."""

    def __init__(self, definition: Definition[Any]) -> None:
        """Take what reads the input."""
        self._definition = definition

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Write one line if the execution is over, nothing if it only suspends."""
        if info.status not in {InvocationStatus.SUCCEEDED, InvocationStatus.FAILED}:
            return
        operations = [
            operation
            for operation in info.operations.values()
            if operation.operation_type is not OperationType.EXECUTION
        ]
        logger_of(identity_of(self._definition, info.execution_input)).info(
            "execution ended",
            extra={
                "executionArn": info.execution_arn,
                "executionStatus": info.status.value,
                "errorType": info.error.type if info.error else None,
                "durableOperations": len(operations),
                "retries": sum(max((operation.attempt or 1) - 1, 0) for operation in operations),
            },
        )

    def create_plugin(self, info: InvocationStartInfo, /) -> ExecutionReport:
        """Called by the SDK when an invocation starts; the report is its own factory."""
        del info
        return self


def identity_of(definition: Definition[Request], event: Any) -> JsonObject:
    """What names an event, also one that is refused."""
    try:
        return definition.parse_request(event).identity()
    except InvalidInputError:
        return claimed_identity(event)


def logger_of(identity: JsonObject) -> logging.LoggerAdapter[logging.Logger]:
    """A logger that writes on every line what names the request."""
    return _ExtraLogger(logging.getLogger("workflow"), identity)


class _ExtraLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds its fields to those of the call; the standard adapter would replace them."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}
