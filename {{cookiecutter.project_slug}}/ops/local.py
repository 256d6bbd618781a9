"""The function's environment on this machine: what ``template.yaml`` would deploy by default."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from aws_durable_execution_sdk_python import DurableContext
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
#% if cookiecutter.fan_out == "yes"
from aws_durable_execution_sdk_python_testing.invoker import DEFAULT_TEST_FUNCTION_NAME
#% endif
from samtranslator.yaml_helper import yaml_parse

#% if cookiecutter.__invoke
from workflow import meter
#% endif
from workflow.handler import run_workflow
from workflow.models import JsonObject
from workflow.tenants import Stack, execution_name

#% if cookiecutter.fan_out == "yes"
OBJECTS = Path(__file__).parent.parent / ".objects"
#% endif
#% if cookiecutter.__invoke
METER = "meter"
#% endif
TEMPLATE = Path(__file__).parent.parent / "template.yaml"
TENANTS = Path(__file__).parent / "tenants.json"


@cache
def template() -> dict[str, Any]:
    """What ``template.yaml`` says, as SAM reads it; do not change it."""
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
    return parsed


def environment() -> dict[str, str]:
    """The workflow's environment variables, with every parameter at its default.

    What refers to a resource of the stack is empty: there are none on this machine. The tenants are
    those of ``ops/tenants.json``.
    """
    deployed = template()
    defaults = {name: str(spec.get("Default", "")) for name, spec in deployed["Parameters"].items()}
    variables: dict[str, Any] = {
        **deployed["Globals"]["Function"]["Environment"]["Variables"],
        **deployed["Resources"]["WorkflowFunction"]["Properties"]["Environment"]["Variables"],
    }
    resolved = {name: _resolve(value, defaults) for name, value in variables.items()}
    #% if cookiecutter.__invoke
    resolved["METER_FUNCTION_ARN"] = METER
    #% endif
    #% if cookiecutter.fan_out == "yes"
    resolved["OBJECTS_FOLDER"] = str(OBJECTS)
    #% endif
    return {**resolved, "REGISTRY_FILE": str(TENANTS)}


def runner(handler: Callable[[Any, Any], Any], **options: Any) -> DurableFunctionTestRunner:
    """The SDK's runner, with the functions that the workflow invokes."""
    made: DurableFunctionTestRunner = DurableFunctionTestRunner(handler, **options)
    #% if cookiecutter.__invoke
    made.register_function(METER, meter.handler)
    #% endif
    #% if cookiecutter.fan_out == "yes"
    made.register_durable_function(DEFAULT_TEST_FUNCTION_NAME, handler)
    #% endif
    return made


def handler(event: Any, context: DurableContext) -> JsonObject:
    """Run the workflow as AWS would for an execution that the starter has named."""
    tenant_id = str(event.get("tenantId")) if isinstance(event, dict) else ""
    name = execution_name(tenant_id, "local", "run")
    stack = Stack(environment()["TENANCY"], tenant_id, name_of=lambda _: name)
    return run_workflow(event, context, stack)


def _resolve(value: Any, defaults: dict[str, str]) -> str:
    if isinstance(value, dict) and "Ref" in value:
        return defaults.get(value["Ref"], "")
    if isinstance(value, dict) and "Fn::GetAtt" in value:
        return ""
    if isinstance(value, dict) and "Fn::Sub" in value:
        return re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], value["Fn::Sub"])
    return str(value)
