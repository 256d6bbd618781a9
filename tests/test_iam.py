"""The rendered policies, evaluated by an IAM engine offline: two tenants, and every way across.

The engine is the npm package @cloud-copilot/iam-simulate, run by the Node that PyPI has.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import TOOLS, Bake, Project
from variants import QUESTIONS, ROOT

pytestmark = pytest.mark.slow

ACCOUNT = "123456789012"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/tenants"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:ApprovalTopic"
FAILED = f"arn:aws:sqs:us-east-1:{ACCOUNT}:DeadLetterQueue"
LOST = f"arn:aws:sqs:us-east-1:{ACCOUNT}:LostStatusEvents"
LOGS = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:LogGroup:*"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/ExecutionKey"
# What references become in a stack "orders", in a silo of the tenant acme.
RESOLVED = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": ACCOUNT,
    "AWS::StackName": "orders",
    "TenantId": "acme",
    "TenantTable.Arn": TABLE,
    "ApprovalTopic": TOPIC,
    "DeadLetterQueue.Arn": FAILED,
    "LostStatusEvents.Arn": LOST,
    "LogGroup.Arn": LOGS,
    "ExecutionKey.Arn": KEY,
}
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


def item(
    tag: str | None,
    *tenants: str,
    action: str = "GetItem",
    expected: str,
    role: str = "TenantRole",
) -> Request:
    """A request for items of tenants by a session that is tagged with a tenant."""
    context: dict[str, Any] = {} if tag is None else {"aws:PrincipalTag/TenantId": tag}
    if tenants:
        context["dynamodb:LeadingKeys"] = [f"TENANT#{tenant}" for tenant in tenants]
    return Request(role, f"dynamodb:{action}", TABLE, expected, context)


WORKFLOW = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders-workflow-MODE"
OTHER = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:another-workflow-MODE"
EXECUTION = f"{WORKFLOW}:7/durable-execution/acme_{DIGEST}/id"
EXECUTION_OF_OTHER = f"{OTHER}:7/durable-execution/acme_{DIGEST}/id"


def answer(
    tag: str | None,
    execution: str,
    *,
    expected: str,
    function: str = WORKFLOW,
    role: str = "TenantApproverRole",
    how: str = "Success",
) -> Request:
    """A request to complete a callback of an execution."""
    context = {} if tag is None else {"aws:PrincipalTag/TenantId": tag}
    resource = f"{function}:7/durable-execution/{execution}/id"
    action = f"lambda:SendDurableExecutionCallback{how}"
    return Request(role, action, resource, expected, context)


REQUESTS = [
    # A tenant's own items, and nobody else's.
    item("acme", "acme", action="PutItem", expected=ALLOWED),
    item("acme", "acme", action="PutItem", expected=DENIED, role="TenantApproverRole"),
    *(
        request
        for role in ("TenantRole", "TenantApproverRole")
        for request in (
            item("acme", "acme", expected=ALLOWED, role=role),
            item("acme", "acme", action="UpdateItem", expected=ALLOWED, role=role),
            item("acme", "globex", expected=DENIED, role=role),
            item("globex", "acme", expected=DENIED, role=role),
            item("acme", "acme", "globex", expected=DENIED, role=role),
            item("acme", "acmecorp", expected=DENIED, role=role),
            item("acm", "acme", expected=DENIED, role=role),
            item("acme", "", expected=DENIED, role=role),
            # Without a tag, without a key, or with an action that reads more than a key.
            item(None, "acme", expected=DENIED, role=role),
            item(None, "", expected=DENIED, role=role),
            item(None, expected=DENIED, role=role),
            item("acme", expected=DENIED, role=role),
            item("acme", action="Scan", expected=DENIED, role=role),
            item("acme", "acme", action="Query", expected=DENIED, role=role),
            item("acme", "acme", action="DeleteItem", expected=DENIED, role=role),
        )
    ),
    # A tenant's own executions.
    *(
        answer("acme", f"acme_{DIGEST}", expected=ALLOWED, how=how)
        for how in ("Success", "Failure", "Heartbeat")
    ),
    answer("acme", f"globex_{DIGEST}", expected=DENIED),
    answer("globex", f"acme_{DIGEST}", expected=DENIED),
    answer("acm", f"acme_{DIGEST}", expected=DENIED),
    answer("acme", f"acmecorp_{DIGEST}", expected=DENIED),
    answer(None, f"acme_{DIGEST}", expected=DENIED),
    answer(None, f"_{DIGEST}", expected=DENIED),
    answer("acme", f"acme_{DIGEST}", expected=DENIED, function=OTHER),
    *(
        answer("acme", f"acme_{DIGEST}", expected=DENIED, role=role)
        for role in ("TenantRole", "WorkflowRole", "StarterRole", "ApproverRole", "ReconcilerRole")
    ),
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
    Request("ReconcilerRole", "sqs:SendMessage", LOST, ALLOWED),
    Request("ReconcilerRole", "lambda:ListDurableExecutionsByFunction", WORKFLOW, DENIED),
    Request("ReconcilerRole", "lambda:StopDurableExecution", EXECUTION, DENIED),
    Request("ReconcilerRole", "lambda:GetDurableExecution", EXECUTION, ALLOWED),
    Request("ReconcilerRole", "lambda:GetDurableExecution", EXECUTION_OF_OTHER, DENIED),
    Request("ReconcilerRole", "lambda:GetDurableExecutionHistory", EXECUTION, DENIED),
    Request("StarterRole", "lambda:GetDurableExecution", EXECUTION, DENIED),
    Request("WorkflowRole", "sns:Publish", TOPIC, ALLOWED),
    Request("WorkflowRole", "sns:Publish", f"{TOPIC}2", DENIED),
    Request("StarterRole", "sns:Publish", TOPIC, DENIED),
    Request("WorkflowRole", "sqs:SendMessage", FAILED, ALLOWED),
    Request("WorkflowRole", "sqs:ReceiveMessage", FAILED, DENIED),
    Request("ApproverRole", "sqs:SendMessage", FAILED, DENIED),
    *(
        Request(role, "logs:PutLogEvents", LOGS.replace("*", "log-stream:s"), ALLOWED)
        for role in ("WorkflowRole", "StarterRole", "ApproverRole", "ReconcilerRole")
    ),
    Request("TenantRole", "logs:PutLogEvents", LOGS.replace("*", "log-stream:s"), DENIED),
    *(
        Request(role, "kms:Decrypt", KEY, expected)
        for role, expected in (
            ("WorkflowRole", ALLOWED),
            ("TenantApproverRole", ALLOWED),
            ("StarterRole", DENIED),
            ("ReconcilerRole", DENIED),
            ("TenantRole", DENIED),
        )
    ),
    Request("WorkflowRole", "kms:ScheduleKeyDeletion", KEY, DENIED),
    *(
        Request("lambda.amazonaws.com", "kms:GenerateDataKey", KEY, expected, context)
        for expected, context in (
            (ALLOWED, {"aws:SourceArn": WORKFLOW}),
            (ALLOWED, {"aws:SourceArn": f"{WORKFLOW}:7"}),
            (DENIED, {"aws:SourceArn": f"{WORKFLOW}2"}),
            (DENIED, {"aws:SourceArn": OTHER}),
            (DENIED, {}),
        )
    ),
    *(
        Request("WorkflowRole", action, f"{function}:7/durable-execution/acme_1/id", expected)
        for action in ("lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState")
        for function, expected in ((WORKFLOW, ALLOWED), (OTHER, DENIED))
    ),
]


def assume(role: str, tags: dict[str, str], expected: str, target: str = "TenantRole") -> Request:
    """A request to act for a tenant."""
    context: dict[str, Any] = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
    if tags:
        context["aws:TagKeys"] = list(tags)
    resource = f"arn:aws:iam::{ACCOUNT}:role/{target}"
    return Request(role, "sts:AssumeRole", resource, expected, context)


ASSUMPTIONS = [
    *(
        assume(role, {"TenantId": "acme"}, ALLOWED)
        for role in ("WorkflowRole", "StarterRole", "ReconcilerRole")
    ),
    assume("ApproverRole", {"TenantId": "acme"}, ALLOWED, "TenantApproverRole"),
    assume("ApproverRole", {"TenantId": "acme"}, DENIED),
    *(
        assume(role, {"TenantId": "acme"}, DENIED, "TenantApproverRole")
        for role in ("WorkflowRole", "StarterRole", "ReconcilerRole")
    ),
    *(
        request
        for role, target in (
            ("WorkflowRole", "TenantRole"),
            ("ApproverRole", "TenantApproverRole"),
        )
        for request in (
            assume("SomebodyElse", {"TenantId": "acme"}, DENIED, target),
            assume(role, {}, DENIED, target),
            assume(role, {"tenantid": "acme"}, DENIED, target),
            assume(role, {"TenantId": "acme", "Admin": "yes"}, DENIED, target),
        )
    ),
]


def resolve(value: Any) -> Any:
    """The policy as CloudFormation would write it."""
    if isinstance(value, list):
        return [resolve(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if list(value) == ["Fn::GetAtt"]:
        parts = value["Fn::GetAtt"]
        name = ".".join(parts) if isinstance(parts, list) else parts
        return RESOLVED.get(name, f"arn:aws:iam::{ACCOUNT}:role/{name.removesuffix('.Arn')}")
    if list(value) == ["Ref"]:
        return RESOLVED.get(value["Ref"], value["Ref"])
    if list(value) == ["Fn::Sub"]:
        known = re.sub(r"\$\{([\w:.]+)\}", lambda match: RESOLVED[match[1]], value["Fn::Sub"])
        return known.replace("${!", "${")
    return {key: resolve(entry) for key, entry in value.items()}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[Any]], list[str]]:
    """Evaluate simulations, all in one process."""
    folder = tmp_path_factory.mktemp("iam")
    shutil.copytree(ROOT / "tests" / "iam", folder, dirs_exist_ok=True)
    install = [TOOLS / "npm", "install", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(install, cwd=folder, check=True)

    def evaluate(simulations: list[Any]) -> list[str]:
        result = subprocess.run(
            [TOOLS / "node", "simulate.mjs"],
            cwd=folder,
            input=json.dumps(simulations),
            capture_output=True,
            text=True,
            check=True,
        )
        outcomes: list[str] = json.loads(result.stdout)
        return outcomes

    return evaluate


def roles_of(project: Project, python: Path) -> dict[str, dict[str, Any]]:
    """The roles of the rendered template, and its key: what each may do, and whom it trusts."""
    script = (
        "import json; from ops.local import TEMPLATE, yaml_parse;"
        "print(json.dumps(yaml_parse(TEMPLATE.read_text())['Resources']))"
    )
    found = json.loads(project.run(python, "-c", script).stdout)
    resources = {
        name: (entry["Type"], resolve(entry["Properties"]))
        for name, entry in found.items()
        if entry["Type"].startswith("AWS::IAM::") or name == "ExecutionKey"
    }
    roles = {
        name: {
            "policies": [entry["PolicyDocument"] for entry in properties.get("Policies", [])],
            "trust": properties["AssumeRolePolicyDocument"],
        }
        for name, (kind, properties) in resources.items()
        if kind == "AWS::IAM::Role"
    }
    for kind, properties in resources.values():
        if kind == "AWS::IAM::Policy":
            for name in properties["Roles"]:
                roles[name]["policies"].append(properties["PolicyDocument"])
    if "ExecutionKey" in resources:
        roles["lambda.amazonaws.com"] = {"policies": []}
        roles["ExecutionKey"] = {"trust": resources["ExecutionKey"][1]["KeyPolicy"]}
    return roles


def simulation(request: Request, roles: dict[str, Any], tenancy: str) -> dict[str, Any]:
    """A request in the engine's form; roles and keys are asked whom they trust."""
    trust = {}
    if request.action.startswith(("sts:", "kms:")):
        trust = {"resourcePolicy": roles[request.resource.rpartition("/")[2]]["trust"]}
    is_service = request.role.endswith(".amazonaws.com")
    context = {
        name: value.replace("MODE", tenancy) if isinstance(value, str) else value
        for name, value in request.context.items()
    }
    # Somebody else may assume whatever role trusts him.
    anything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policies = roles.get(request.role, {"policies": [anything]})["policies"]
    return {
        "request": {
            "principal": request.role
            if is_service
            else f"arn:aws:iam::{ACCOUNT}:role/{request.role}",
            "action": request.action,
            "resource": {
                "resource": request.resource.replace("MODE", tenancy),
                "accountId": ACCOUNT,
            },
            "contextVariables": context,
        },
        "identityPolicies": [
            {"name": str(index), "policy": policy} for index, policy in enumerate(policies)
        ],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
        **trust,
    }


@pytest.mark.parametrize("tenancy", QUESTIONS["tenancy"])
def test_every_request_ends_as_it_should(
    bake: Bake,
    environments: Callable[[Project], Path],
    engine: Callable[[list[Any]], list[str]],
    tenancy: str,
) -> None:
    project = bake(tenancy=tenancy, customer_managed_key="yes")
    roles = roles_of(project, environments(project) / "python")
    of_another_tenant = DENIED if tenancy == "silo" else ALLOWED
    requests = [
        *REQUESTS,
        *ASSUMPTIONS,
        assume("WorkflowRole", {"TenantId": "globex"}, of_another_tenant),
        assume("ApproverRole", {"TenantId": "globex"}, of_another_tenant, "TenantApproverRole"),
    ]

    outcomes = engine([simulation(request, roles, tenancy) for request in requests])

    wrong = [
        f"{outcome} instead of {request}"
        for request, outcome in zip(requests, outcomes, strict=True)
        if outcome != request.expected
    ]
    assert not wrong, "\n".join(wrong)


def without(document: dict[str, Any], operator: str, key: str) -> None:
    """Take a condition away, from every statement that has it."""
    for statement in document["Statement"]:
        statement.get("Condition", {}).get(operator, {}).pop(key, None)


@pytest.mark.parametrize(
    ("part", "operator", "key", "opened"),
    [
        # Without a key there is nothing that ForAllValues could find to be wrong.
        ("policies", "Null", "dynamodb:LeadingKeys", item("acme", expected=DENIED)),
        (
            "policies",
            "ForAllValues:StringEquals",
            "dynamodb:LeadingKeys",
            item("acme", "globex", expected=DENIED),
        ),
        ("trust", "Null", "aws:RequestTag/TenantId", assume("WorkflowRole", {}, DENIED)),
        (
            "trust",
            "ForAllValues:StringEquals",
            "aws:TagKeys",
            assume("WorkflowRole", {"TenantId": "acme", "Admin": "yes"}, DENIED),
        ),
        (
            "trust",
            "StringEquals",
            "aws:RequestTag/TenantId",
            assume("WorkflowRole", {"TenantId": "globex"}, DENIED),
        ),
        ("trust", "Principal", "AWS", assume("SomebodyElse", {"TenantId": "acme"}, DENIED)),
    ],
)
def test_each_condition_is_needed(
    bake: Bake,
    environments: Callable[[Project], Path],
    engine: Callable[[list[Any]], list[str]],
    part: str,
    operator: str,
    key: str,
    opened: Request,
) -> None:
    """Taken away, a condition lets pass what is denied with it."""
    tenancy = "silo" if operator == "StringEquals" else "pool"
    project = bake(tenancy=tenancy)
    roles = roles_of(project, environments(project) / "python")
    before = simulation(opened, roles, tenancy)
    changed = copy.deepcopy(roles)
    role = changed["TenantRole"]
    for document in role["policies"] if part == "policies" else [role["trust"]]:
        if operator == "Principal":
            document["Statement"][0]["Principal"] = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        without(document, operator, key)

    assert engine([before, simulation(opened, changed, tenancy)]) == [DENIED, ALLOWED]
