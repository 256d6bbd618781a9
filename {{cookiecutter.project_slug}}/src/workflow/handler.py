"""The entry point of the Lambda function."""

from __future__ import annotations

import logging
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.plugin import DurableInstrumentationPluginFactory

from workflow import workflow
from workflow.models import JsonObject, parse_request
from workflow.observability import ExecutionReportFactory
from workflow.tenants import tenant_logger

# LogLevel is the workflow's: at DEBUG these would log every checkpoint, with the callback id.
for name in ("aws_durable_execution_sdk_python", "boto3", "botocore", "urllib3"):
    logging.getLogger(name).setLevel(logging.INFO)

PLUGINS: list[DurableInstrumentationPluginFactory] = [ExecutionReportFactory()]


def run_workflow(event: Any, context: DurableContext) -> JsonObject:
    """Validate the event before anything else happens, then run the workflow."""
    request = parse_request(event)
    context.set_logger(tenant_logger(request))
    return workflow.run(context, request)


handler = durable_execution(run_workflow, plugins=PLUGINS)
