"""The entry point of the Lambda function."""

from __future__ import annotations

import os  # noqa: TID251 - read once, when the version starts; it cannot change after that
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.lambda_service import LambdaClient
from aws_durable_execution_sdk_python.plugin import DurableInstrumentationPluginFactory

from workflow import workflow
#% if cookiecutter.fan_out == "yes"
from workflow.fan_out import process_chunk
#% endif
from workflow.models import JsonObject, parse_request
from workflow.observability import ExecutionReportFactory
from workflow.tenants import Stack, tenant_logger

STACK = Stack.from_environment(os.environ)

if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
    # While Lambda starts the environment; the SDK would do it in the first invocation.
    LambdaClient.initialize_client()

PLUGINS: list[DurableInstrumentationPluginFactory] = [ExecutionReportFactory()]


def run_workflow(event: Any, context: DurableContext, stack: Stack = STACK) -> JsonObject:
    """Validate the event and the tenant before anything else happens, then run the workflow."""
    request = parse_request(event)
    invocation = context.lambda_context
    #% if cookiecutter.fan_out == "yes"
    job = event.get("job")  # the workflow has cut it, and invokes itself; the starter sends none
    #% endif
    stack.require_tenant(
        request,
        #% if cookiecutter.fan_out == "yes"
        None if job else context.execution_context.durable_execution_arn,
        #% else
        context.execution_context.durable_execution_arn,
        #% endif
        invocation.tenant_id if invocation and stack.tenancy == "isolated" else None,
    )
    context.set_logger(tenant_logger(request))
    #% if cookiecutter.fan_out == "yes"
    if job:
        return dict(process_chunk(context, request, job))
    #% endif
    return workflow.run(context, request)


handler = durable_execution(run_workflow, plugins=PLUGINS)
