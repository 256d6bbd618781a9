"""The rendered policies, evaluated by an IAM engine offline: two tenants, and every way across.

The engine is the npm package @cloud-copilot/iam-simulate, run by the Node that PyPI has.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, Bake, Project
from variants import QUESTIONS, ROOT

pytestmark = pytest.mark.slow

ACCOUNT = "123456789012"
PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": "orders",
    "TenantTable.Arn": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/tenants",
}
TABLE = PSEUDO["TenantTable.Arn"]
ALLOWED, DENIED = "Allowed", "ImplicitlyDenied"
DIGEST = "0" * 32


@dataclass(frozen=True)
class Request:
    """What a principal asks for, and what should become of it."""

    role: str
    action: str
    resource: str
    expected: str
    context: dict[str, Any] = field(default_factory=dict)


def item(tag: str | None, *tenants: str, action: str = "GetItem", expected: str) -> Request:
    """A request for items of tenants by a session that is tagged with a tenant."""
    context: dict[str, Any] = {} if tag is None else {"aws:PrincipalTag/TenantId": tag}
    if tenants:
        context["dynamodb:LeadingKeys"] = [f"TENANT#{tenant}" for tenant in tenants]
    return Request("TenantRole", f"dynamodb:{action}", TABLE, expected, context)


def answer(tag: str | None, execution: str, *, expected: str, function: str = "") -> Request:
    """A request to complete a callback of an execution."""
    context = {} if tag is None else {"aws:PrincipalTag/TenantId": tag}
    resource = f"{function or WORKFLOW}:7/durable-execution/{execution}/id"
    action = "lambda:SendDurableExecutionCallbackSuccess"
    return Request("TenantRole", action, resource, expected, context)


WORKFLOW = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders-workflow-MODE"
OTHER = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:another-workflow-MODE"

REQUESTS = [
    # A tenant's own items, and nobody else's.
    item("acme", "acme", expected=ALLOWED),
    item("acme", "acme", action="PutItem", expected=ALLOWED),
    item("acme", "acme", action="UpdateItem", expected=ALLOWED),
    item("acme", "globex", expected=DENIED),
    item("globex", "acme", expected=DENIED),
    item("acme", "acme", "globex", expected=DENIED),
    item("acme", "acmecorp", expected=DENIED),
    item("acm", "acme", expected=DENIED),
    item("acme", "", expected=DENIED),
    # Without a tag, without a key, or with an action that reads more than a key.
    item(None, "acme", expected=DENIED),
    item(None, "", expected=DENIED),
    item(None, expected=DENIED),
    item("acme", expected=DENIED),
    item("acme", action="Scan", expected=DENIED),
    item("acme", "acme", action="DeleteItem", expected=DENIED),
    # A tenant's own executions.
    answer("acme", f"acme_{DIGEST}", expected=ALLOWED),
    answer("acme", f"globex_{DIGEST}", expected=DENIED),
    answer("globex", f"acme_{DIGEST}", expected=DENIED),
    answer("acm", f"acme_{DIGEST}", expected=DENIED),
    answer("acme", f"acmecorp_{DIGEST}", expected=DENIED),
    answer(None, f"acme_{DIGEST}", expected=DENIED),
    answer(None, f"_{DIGEST}", expected=DENIED),
    answer("acme", f"acme_{DIGEST}", expected=DENIED, function=OTHER),
    # Each function does its own work, and nothing else.
    Request("StarterRole", "lambda:InvokeFunction", f"{WORKFLOW}:live", ALLOWED),
    Request("StarterRole", "lambda:InvokeFunction", WORKFLOW, DENIED),
    Request("StarterRole", "lambda:InvokeFunction", f"{WORKFLOW}:7", DENIED),
    Request("StarterRole", "dynamodb:GetItem", TABLE, DENIED),
    Request("WorkflowRole", "lambda:InvokeFunction", f"{WORKFLOW}:live", DENIED),
    Request("WorkflowRole", "dynamodb:GetItem", TABLE, DENIED),
    Request("ApproverRole", "lambda:InvokeFunction", f"{WORKFLOW}:live", DENIED),
    Request("ApproverRole", "dynamodb:GetItem", TABLE, DENIED),
    Request("ReconcilerRole", "dynamodb:Query", f"{TABLE}/index/running", ALLOWED),
    Request("ReconcilerRole", "dynamodb:Query", TABLE, DENIED),
    *(
        Request("WorkflowRole", action, f"{function}:7/durable-execution/acme_1/id", expected)
        for action in ("lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState")
        for function, expected in ((WORKFLOW, ALLOWED), (OTHER, DENIED))
    ),
]


def assume(role: str, tags: dict[str, str], expected: str) -> Request:
    """A request to act for a tenant."""
    context: dict[str, Any] = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
    if tags:
        context["aws:TagKeys"] = list(tags)
    resource = f"arn:aws:iam::{ACCOUNT}:role/TenantRole"
    return Request(role, "sts:AssumeRole", resource, expected, context)


ASSUMPTIONS = [
    *(
        assume(role, {"TenantId": "acme"}, ALLOWED)
        for role in ("WorkflowRole", "StarterRole", "ApproverRole", "ReconcilerRole")
    ),
    assume("SomebodyElse", {"TenantId": "acme"}, DENIED),
    assume("WorkflowRole", {}, DENIED),
    assume("WorkflowRole", {"tenantid": "acme"}, DENIED),
    assume("WorkflowRole", {"TenantId": "acme", "Admin": "yes"}, DENIED),
]


def resolve(value: Any) -> Any:
    """The policy as CloudFormation would write it, in a stack ``orders`` (in a silo, of acme)."""
    if isinstance(value, list):
        return [resolve(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["Fn::GetAtt"]:
        parts = value["Fn::GetAtt"]
        name = ".".join(parts) if isinstance(parts, list) else parts
        return PSEUDO.get(name, f"arn:aws:iam::{ACCOUNT}:role/{name.removesuffix('.Arn')}")
    if list(value) == ["Ref"]:
        return "acme" if value["Ref"] == "TenantId" else f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"
    if list(value) == ["Fn::Sub"]:
        known = re.sub(r"\$\{([\w:.]+)\}", lambda match: PSEUDO[match[1]], value["Fn::Sub"])
        return known.replace("${!", "${")
    return {key: resolve(entry) for key, entry in value.items()}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[Any]], list[str]]:
    """Evaluate simulations, all in one process."""
    folder = tmp_path_factory.mktemp("iam")
    shutil.copytree(ROOT / "tests" / "iam", folder, dirs_exist_ok=True)
    tools = Path(sys.prefix) / BIN
    install = [tools / "npm", "install", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=folder, check=True)

    def evaluate(simulations: list[Any]) -> list[str]:
        result = subprocess.run(
            [tools / "node", "simulate.mjs"],
            cwd=folder,
            input=json.dumps(simulations),
            capture_output=True,
            text=True,
            check=True,
        )
        outcomes: list[str] = json.loads(result.stdout)
        return outcomes

    return evaluate


def policies_of(project: Project, python: Path) -> dict[str, dict[str, Any]]:
    """The roles of the rendered template, with the policy that all functions share."""
    script = (
        "import json; from ops.local import TEMPLATE, yaml_parse;"
        "print(json.dumps(yaml_parse(TEMPLATE.read_text())['Resources']))"
    )
    found = json.loads(project.run(python, "-c", script).stdout)
    shared = found["ActForTenants"]["Properties"]
    roles = {}
    for name, resource in found.items():
        if resource["Type"] == "AWS::IAM::Role":
            properties = resolve(resource["Properties"])
            policies = [entry["PolicyDocument"] for entry in properties.get("Policies", [])]
            if {"Ref": name} in shared["Roles"]:
                policies.append(resolve(shared["PolicyDocument"]))
            trust = properties["AssumeRolePolicyDocument"]
            roles[name] = {"policies": policies, "trust": trust}
    return roles


def simulation(request: Request, roles: dict[str, Any], tenancy: str) -> dict[str, Any]:
    """A request in the engine's form; assuming a role asks the role's trust as well."""
    trusting = request.action == "sts:AssumeRole"
    owner = roles.get(request.role, {"policies": roles["WorkflowRole"]["policies"]})
    return {
        "request": {
            "principal": f"arn:aws:iam::{ACCOUNT}:role/{request.role}",
            "action": request.action,
            "resource": {
                "resource": request.resource.replace("MODE", tenancy),
                "accountId": ACCOUNT,
            },
            "contextVariables": request.context,
        },
        "identityPolicies": [
            {"name": str(index), "policy": policy} for index, policy in enumerate(owner["policies"])
        ],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
        **({"resourcePolicy": roles["TenantRole"]["trust"]} if trusting else {}),
    }


@pytest.mark.parametrize("tenancy", QUESTIONS["tenancy"])
def test_every_request_ends_as_it_should(
    bake: Bake,
    environments: Callable[[Project], Path],
    engine: Callable[[list[Any]], list[str]],
    tenancy: str,
) -> None:
    project = bake(tenancy=tenancy)
    roles = policies_of(project, environments(project) / "python")
    of_another_tenant = DENIED if tenancy == "silo" else ALLOWED
    requests = [
        *REQUESTS,
        *ASSUMPTIONS,
        assume("WorkflowRole", {"TenantId": "globex"}, of_another_tenant),
    ]

    outcomes = engine([simulation(request, roles, tenancy) for request in requests])

    wrong = [
        f"{outcome} instead of {request}"
        for request, outcome in zip(requests, outcomes, strict=True)
        if outcome != request.expected
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("role", "statement", "condition", "opened"),
    [
        # Without a key there is nothing that ForAllValues could find to be wrong.
        ("TenantRole", "OwnPartition", "Null", item("acme", expected=ALLOWED)),
        (
            "TenantRole",
            "OwnPartition",
            "ForAllValues:StringEquals",
            item("acme", "globex", expected=ALLOWED),
        ),
    ],
)
def test_each_condition_is_needed(
    bake: Bake,
    environments: Callable[[Project], Path],
    engine: Callable[[list[Any]], list[str]],
    role: str,
    statement: str,
    condition: str,
    opened: Request,
) -> None:
    """Taken away, a condition lets pass what the table above expects to be denied."""
    project = bake()
    roles = policies_of(project, environments(project) / "python")
    (found,) = (
        entry
        for policy in roles[role]["policies"]
        for entry in policy["Statement"]
        if entry["Sid"] == statement
    )
    del found["Condition"][condition]

    assert engine([simulation(opened, roles, "pool")]) == [ALLOWED]
