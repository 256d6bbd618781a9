"""Says what an execution took, once, when it ends: the handler cannot know while it runs."""

from __future__ import annotations

import logging

from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
    InvocationStatus,
    OperationType,
)

from workflow.models import InvalidInputError, parse_request
from workflow.tenants import tenant_logger


class ExecutionReport(DurableInstrumentationPlugin):
    """Logs the number of durable operations and retries of an execution that has ended."""

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Write one line if the execution is over, nothing if it only suspends."""
        if info.status not in {InvocationStatus.SUCCEEDED, InvocationStatus.FAILED}:
            return
        operations = [
            operation
            for operation in info.operations.values()
            if operation.operation_type is not OperationType.EXECUTION
        ]
        _logger_of(info).info(
            "execution ended",
            extra={
                "executionArn": info.execution_arn,
                "executionStatus": info.status.value,
                "errorType": info.error.type if info.error else None,
                "durableOperations": len(operations),
                "retries": sum(max((operation.attempt or 1) - 1, 0) for operation in operations),
            },
        )


class ExecutionReportFactory:
    """Makes one report for each invocation."""

    def create_plugin(self, info: InvocationStartInfo, /) -> ExecutionReport:
        """Called by the SDK when an invocation starts."""
        del info
        return ExecutionReport()


def _logger_of(info: InvocationEndInfo) -> logging.LoggerAdapter[logging.Logger] | logging.Logger:
    try:
        return tenant_logger(parse_request(info.execution_input))
    except InvalidInputError:  # a refused event has no tenant
        return logging.getLogger("workflow")
