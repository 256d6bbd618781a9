"""What operators are given: the rights that the verbs need, and no other."""

from __future__ import annotations

import json
import re

from botocore import xform_name

from ops import local, stack
from tests.chassis.ops.lambda_api import client

OF_THIS_MACHINE = {
    *("cost", "emulator", "inbox", "local", "local_aws", "operations", "run"),
    #% if cookiecutter.front_door == "http_api"
    "page",
    #% endif
}
ACTIONS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    #% if cookiecutter.fan_out == "yes"
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:DeleteObjects": "s3:DeleteObject",
    #% endif
}
"""Those that are not called as the operation is (Service Authorization Reference)."""

FREE = "sts:GetCallerIdentity"
"""Needs no right (STS API reference, GetCallerIdentity, read 2026-11-26)."""

POLICY = json.loads((stack.ROOT / "docs" / "operator-policy.json").read_text(encoding="utf-8"))
TEXT = "".join(
    path.read_text(encoding="utf-8")
    for path in (stack.ROOT / "ops").glob("*.py")
    if path.stem not in OF_THIS_MACHINE
)


def granted() -> dict[str, set[str]]:
    """The resources of each action."""
    found: dict[str, set[str]] = {}
    for statement in POLICY["Statement"]:
        actions, resources = (
            [given] if isinstance(given, str) else given
            for given in (statement["Action"], statement["Resource"])
        )
        for action in actions:
            found.setdefault(action, set()).update(resources)
    return found


def test_operators_are_given_the_rights_that_the_verbs_need_and_no_other() -> None:
    """Each operation that is named in the verbs; the chassis reads rows and histories for them."""
    named = set(re.findall(r'(?<=\.)\w+|(?<=get_paginator\(")\w+', TEXT))
    services = set(re.findall(r'client\("(\w+)"\)', TEXT))
    called = {
        f"{service}:{name}"
        for service in services
        for name in client(service).meta.service_model.operation_names
        if xform_name(name) in named
    }
    needed = {ACTIONS.get(operation, operation) for operation in called}
    #% if cookiecutter.customer_managed_key == "yes"
    needed.add("kms:Decrypt")
    #% endif

    needed |= {"dynamodb:GetItem", "lambda:GetDurableExecutionHistory"}
    assert set(granted()) == needed - {FREE}
    assert FREE in needed


def test_they_are_for_this_stack_alone() -> None:
    """By the names that the template gives its functions, or CloudFormation what has none."""
    name = stack.parameters()["stack_name"]
    functions = {
        logical: local.template()["Resources"][logical]["Properties"]["FunctionName"]["Fn::Sub"]
        for logical in ("WorkflowFunction", "StarterFunction", "ApproverFunction")
    }
    functions = {key: of.replace("${AWS::StackName}", name) for key, of in functions.items()}
    workflow = functions["WorkflowFunction"]
    rights = granted()

    assert rights.pop("lambda:GetAccountSettings") == {"*"}
    #% if cookiecutter.customer_managed_key == "yes"
    assert "key/" in rights.pop("kms:Decrypt").pop()  # CloudFormation does not name it
    #% endif
    assert {arn.rpartition(":")[2] for arn in rights.pop("lambda:InvokeFunction")} == {
        functions["StarterFunction"],
        functions["ApproverFunction"],
    }
    for action, arns in rights.items():
        (arn,) = arns
        resource = arn.split(":", 5)[5]
        if action.startswith("lambda:"):
            assert resource.removesuffix(":*/durable-execution/*") == f"function:{workflow}"
            is_execution = action.removesuffix("History").endswith("DurableExecution")
            assert resource.endswith("/*") is is_execution
        else:
            assert re.match(rf"(stack/|table/|){name}[-/]", resource), arn
