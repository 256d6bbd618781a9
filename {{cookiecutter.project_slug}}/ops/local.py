"""The function's environment on this machine: what ``template.yaml`` would deploy by default."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from aws_durable_execution_sdk_python import DurableContext
from samtranslator.yaml_helper import yaml_parse

from workflow.handler import run_workflow
from workflow.models import JsonObject
from workflow.tenants import Stack, execution_name

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
    return {**resolved, "REGISTRY_FILE": str(TENANTS)}


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
