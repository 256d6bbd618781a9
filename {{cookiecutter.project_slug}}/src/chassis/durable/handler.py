"""The handler of a durable function: nothing happens before the event and the tenant are valid."""

from __future__ import annotations

import os  # noqa: TID251 - read once, when the version starts; it cannot change after that
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.lambda_service import LambdaClient
from aws_durable_execution_sdk_python.plugin import DurableInstrumentationPluginFactory

from chassis.durable.execution import Execution
#% if cookiecutter.fan_out == "yes"
from chassis.durable.fan_out import process_chunk
#% endif
from chassis.durable.report import ExecutionReport, identity_of, logger_of
from chassis.model import Definition, InvalidInputError, R, refusal
from chassis.tenancy.guard import Stack
from chassis.tenancy.stores import AWS, Stores
from chassis.wire import JsonObject

Run: TypeAlias = Callable[[Execution[R]], JsonObject]
"""The phases of a workflow. The code runs again from the top at every replay."""


def durable_handler(
    definition: Definition[R],
    run: Run[R],
    *,
    stack: Stack | None = None,
    stores: Stores = AWS,
    plugins: Iterable[DurableInstrumentationPluginFactory] = (),
) -> Callable[[Any, Any], Any]:
    """Make the Lambda handler of a workflow.

    Args:
        definition: of the workflow.
        run: its phases.
        stack: how tenants are kept apart; read from the environment unless it is given.
        stores: where rows and objects are.
        plugins: of the durable SDK, beside the one that reports the end of an execution.
    """
    stack = stack or Stack.from_environment(os.environ)
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        # While Lambda starts the environment; the SDK would do it in the first invocation.
        LambdaClient.initialize_client()

    def handler(event: Any, context: DurableContext) -> JsonObject:
        try:
            return handle(event, context)
        except InvalidInputError as error:  # the sender's to repair: nobody else has to be called
            identity = identity_of(definition, event)
            output = refusal(identity, context.execution_context.durable_execution_arn, str(error))
            logger_of(identity).warning("input refused", extra=output)
            return output

    def handle(event: Any, context: DurableContext) -> JsonObject:
        request = definition.parse_request(event)
        execution = Execution(
            durable=context, request=request, definition=definition, stores=stores
        )
        invocation = context.lambda_context
        invocation_tenant = (
            invocation.tenant_id if invocation and stack.tenancy == "isolated" else None
        )
        #% if cookiecutter.fan_out == "yes"
        job = event.get("job")  # made by the workflow, which invokes itself; no starter sends one
        named = None if job else execution.arn
        stack.require_tenant(request.tenant_id, named, invocation_tenant)
        #% else
        stack.require_tenant(request.tenant_id, execution.arn, invocation_tenant)
        #% endif
        context.set_logger(logger_of(request.identity()))
        #% if cookiecutter.fan_out == "yes"
        if job:
            return process_chunk(context, definition, stores, request, job)
        #% endif
        return run(execution)

    return durable_execution(handler, plugins=[ExecutionReport(definition), *plugins])
