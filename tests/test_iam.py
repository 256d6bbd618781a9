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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TOOLS, Bake, Project
from variants import QUESTIONS, ROOT

import durable_workflow_answers as rules

pytestmark = pytest.mark.slow

ACCOUNT = "123456789012"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/tenants"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:ApprovalTopic"
FAILED = f"arn:aws:sqs:us-east-1:{ACCOUNT}:DeadLetterQueue"
LOST = f"arn:aws:sqs:us-east-1:{ACCOUNT}:LostStatusEvents"
LOGS = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:LogGroup:*"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/ExecutionKey"
OPERATORS = f"arn:aws:sns:us-east-1:{ACCOUNT}:OperatorTopic"
BUCKET = "arn:aws:s3:::ObjectBucket"
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
    "OperatorTopic": OPERATORS,
    "ObjectBucket.Arn": BUCKET,
}
EVERY_OPTION = {"fan_out": "yes", "extra_operations": ",".join(rules.EXTRA_OPERATIONS)}
ALLOWED, DENIED, FORBIDDEN = "Allowed", "ImplicitlyDenied", "ExplicitlyDenied"
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
    Request("WorkflowRole", "dynamodb:GetItem", TABLE, DENIED),
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


def assume_badly(role: str, target: str) -> list[Request]:
    """Requests to act for no tenant, or for one and something else."""
    return [
        assume(role, {}, DENIED, target),
        assume(role, {"tenantid": "acme"}, DENIED, target),
        assume(role, {"TenantId": "acme", "Admin": "yes"}, DENIED, target),
    ]


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
        assume("SomebodyElse", {"TenantId": "acme"}, DENIED, target)
        for target in ("TenantRole", "TenantApproverRole")
    ),
    *assume_badly("WorkflowRole", "TenantRole"),
    *assume_badly("ApproverRole", "TenantApproverRole"),
]


def stored(
    tag: str | None,
    key: str,
    *,
    expected: str,
    action: str = "GetObject",
    role: str = "TenantRole",
    bucket: str = BUCKET,
    encrypted: str = "true",
) -> Request:
    """A request for an object by a session that is tagged with a tenant."""
    context = {} if tag is None else {"aws:PrincipalTag/TenantId": tag}
    context["aws:SecureTransport"] = encrypted
    return Request(role, f"s3:{action}", f"{bucket}/{key}", expected, context)


def encrypt(action: str, expected: str, role: str = "TenantRole", key: str = KEY) -> Request:
    """A request for the key of the objects, as S3 makes it for whoever reads or writes one."""
    context = {"aws:PrincipalTag/TenantId": "acme", "kms:ViaService": "s3.us-east-1.amazonaws.com"}
    return Request(role, f"kms:{action}", key, expected, context)


METER = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders-meter-MODE"
OBJECT = "tenants/acme/orders.csv"
RESULTS = f"tenants/acme/results/acme_{DIGEST}/chunk-00001.jsonl"
FUNCTION_ROLES = ("WorkflowRole", "StarterRole", "ApproverRole", "ReconcilerRole", "MeterRole")
# What comes with the options: without them, none of this is allowed.
OPTIONAL = [
    # A tenant's own objects, and nobody else's.
    *(
        request
        for action in ("GetObject", "PutObject")
        for request in (
            stored("acme", OBJECT, action=action, expected=ALLOWED),
            stored("acme", RESULTS, action=action, expected=ALLOWED),
            stored("acme", "tenants/globex/orders.csv", action=action, expected=DENIED),
            stored("globex", OBJECT, action=action, expected=DENIED),
            stored("acme", "tenants/acmecorp/orders.csv", action=action, expected=DENIED),
            stored("acmecorp", OBJECT, action=action, expected=DENIED),
            stored("acm", OBJECT, action=action, expected=DENIED),
            # Above the prefix, and outside of it.
            stored("acme", "tenants/acme", action=action, expected=DENIED),
            stored("acme", "tenants/", action=action, expected=DENIED),
            stored("acme", "acme/orders.csv", action=action, expected=DENIED),
            stored("acme", f"old/{OBJECT}", action=action, expected=DENIED),
            stored("acme", OBJECT, action=action, expected=DENIED, bucket=f"{BUCKET}2"),
            # Without a tenant.
            stored(None, OBJECT, action=action, expected=DENIED),
            stored(None, "tenants//orders.csv", action=action, expected=DENIED),
            stored("", OBJECT, action=action, expected=DENIED),
            # The tenant itself, but for everybody on the way to read.
            stored("acme", OBJECT, action=action, expected=FORBIDDEN, encrypted="false"),
            *(
                stored("acme", OBJECT, action=action, expected=DENIED, role=role)
                for role in ("TenantApproverRole", *FUNCTION_ROLES)
            ),
        )
    ),
    *(
        stored("acme", OBJECT, action=action, expected=DENIED)
        for action in ("DeleteObject", "GetObjectVersion", "PutObjectAcl")
    ),
    *(
        Request(role, f"s3:{action}", BUCKET, DENIED, context)
        for role in ("TenantRole", *FUNCTION_ROLES)
        for action, context in (
            ("ListBucket", {"aws:PrincipalTag/TenantId": "acme", "s3:prefix": "tenants/acme/"}),
            ("PutBucketPolicy", {"aws:PrincipalTag/TenantId": "acme"}),
        )
    ),
    # The key of the objects; what else may decrypt with it is above.
    *(
        request
        for action in ("Decrypt", "GenerateDataKey")
        for request in (
            encrypt(action, ALLOWED),
            encrypt(action, DENIED, key=KEY.replace("ExecutionKey", "AnotherKey")),
            *(
                encrypt(action, DENIED, role)
                for role in ("StarterRole", "ApproverRole", "ReconcilerRole", "MeterRole")
            ),
        )
    ),
    encrypt("GenerateDataKey", DENIED, "WorkflowRole"),
    encrypt("GenerateDataKey", DENIED, "TenantApproverRole"),
    encrypt("ScheduleKeyDeletion", DENIED),
    # Not past S3.
    Request("TenantRole", "kms:Decrypt", KEY, DENIED, {"aws:PrincipalTag/TenantId": "acme"}),
    # The workflow invokes its own versions and the meter; nobody else invokes more than before.
    *(
        Request("WorkflowRole", "lambda:InvokeFunction", function, expected)
        for expected, functions in (
            (ALLOWED, (f"{WORKFLOW}:7", f"{WORKFLOW}:live", METER)),
            (DENIED, (WORKFLOW, f"{WORKFLOW}2:7", f"{OTHER}:7", f"{OTHER}:live", f"{METER}2")),
            (DENIED, (WORKFLOW.replace("-workflow-MODE", "-starter"),)),
        )
        for function in functions
    ),
    *(
        Request(role, "lambda:InvokeFunction", function, DENIED)
        for role in ("ApproverRole", "ReconcilerRole", "MeterRole", "TenantRole")
        for function in (METER, f"{WORKFLOW}:live", f"{WORKFLOW}:7")
    ),
    Request("StarterRole", "lambda:InvokeFunction", METER, DENIED),
    Request("WorkflowRole", "sns:Publish", OPERATORS, ALLOWED),
    Request("WorkflowRole", "sns:Publish", f"{OPERATORS}2", DENIED),
    *(
        Request(role, "sns:Publish", OPERATORS, DENIED)
        for role in ("StarterRole", "ApproverRole", "ReconcilerRole", "MeterRole", "TenantRole")
    ),
    # The meter acts for one tenant, and writes its logs; else it does nothing.
    Request("MeterRole", "logs:PutLogEvents", LOGS.replace("*", "log-stream:s"), ALLOWED),
    Request("MeterRole", "sns:Publish", TOPIC, DENIED),
    Request("MeterRole", "lambda:CheckpointDurableExecution", EXECUTION, DENIED),
    Request("MeterRole", "lambda:GetDurableExecutionState", EXECUTION, DENIED),
    Request("MeterRole", "lambda:GetDurableExecution", EXECUTION, DENIED),
    Request("MeterRole", "dynamodb:Query", f"{TABLE}/index/running", DENIED),
    Request("MeterRole", "dynamodb:Query", TABLE, DENIED),
    item("acme", "acme", action="PutItem", expected=DENIED, role="MeterRole"),
    Request("MeterRole", "sqs:SendMessage", FAILED, DENIED),
    Request("MeterRole", "sqs:SendMessage", LOST, DENIED),
    answer("acme", f"acme_{DIGEST}", expected=DENIED, role="MeterRole"),
    assume("MeterRole", {"TenantId": "acme"}, ALLOWED),
    assume("MeterRole", {"TenantId": "acme"}, DENIED, "TenantApproverRole"),
    *assume_badly("MeterRole", "TenantRole"),
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
    """The roles of the rendered template: what each may do, and whom it trusts.

    And its key and its bucket, which have a policy of their own.
    """
    script = (
        "import json; from ops.local import template; print(json.dumps(template()['Resources']))"
    )
    found = json.loads(project.run(python, "-c", script).stdout)
    resources = {
        name: (entry["Type"], resolve(entry["Properties"]))
        for name, entry in found.items()
        if entry["Type"].startswith("AWS::IAM::") or name in ("ExecutionKey", "ObjectBucketPolicy")
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
        # Of the same account, and as open to its roles: a key that nobody trusts proves nothing.
        roles["AnotherKey"] = roles["ExecutionKey"]
    if "ObjectBucketPolicy" in resources:
        policy = resources["ObjectBucketPolicy"][1]
        roles[policy["Bucket"]] = {"trust": policy["PolicyDocument"]}
    return roles


def simulation(request: Request, roles: dict[str, Any], tenancy: str) -> dict[str, Any]:
    """A request in the engine's form; roles, keys and buckets are asked whom they trust."""
    asked = re.search(r"(?:role/|key/|:s3:::)(\w+)", request.resource)
    trust = {"resourcePolicy": roles[asked[1]]["trust"]} if asked and asked[1] in roles else {}
    is_service = request.role.endswith(".amazonaws.com")
    context = {
        name: value.replace("MODE", tenancy) if isinstance(value, str) else value
        for name, value in request.context.items()
    }
    # A role that is not the template's may assume whatever role trusts it.
    whatever = {"Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]}
    policies = roles.get(request.role, {"policies": [whatever]})["policies"]
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


@pytest.mark.parametrize("options", [{}, EVERY_OPTION], ids=["no-option", "every-option"])
@pytest.mark.parametrize("tenancy", QUESTIONS["tenancy"])
def test_every_request_ends_as_it_should(
    bake: Bake,
    environments: Callable[[Project], Path],
    engine: Callable[[list[Any]], list[str]],
    tenancy: str,
    options: dict[str, str],
) -> None:
    project = bake(tenancy=tenancy, customer_managed_key="yes", **options)
    roles = roles_of(project, environments(project) / "python")
    of_another_tenant = DENIED if tenancy == "silo" else ALLOWED
    optional = [*OPTIONAL, assume("MeterRole", {"TenantId": "globex"}, of_another_tenant)]
    requests = [
        *REQUESTS,
        *ASSUMPTIONS,
        assume("WorkflowRole", {"TenantId": "globex"}, of_another_tenant),
        assume("ApproverRole", {"TenantId": "globex"}, of_another_tenant, "TenantApproverRole"),
        *(optional if options else (replace(request, expected=DENIED) for request in optional)),
    ]

    outcomes = engine([simulation(request, roles, tenancy) for request in requests])

    wrong = [
        f"{outcome} instead of {request}"
        for request, outcome in zip(requests, outcomes, strict=True)
        if outcome != request.expected
    ]
    assert not wrong, "\n".join(wrong)


def loosen(document: dict[str, Any], what: str, key: str) -> None:
    """Take a condition away from every statement that has it, or name no principal or no prefix."""
    for statement in document["Statement"]:
        if what == "Principal":
            statement["Principal"] = {key: f"arn:aws:iam::{ACCOUNT}:root"}
        elif what == "Resource":
            statement["Resource"] = re.sub(f"^{key}/.+", f"{key}/*", statement["Resource"])
        else:
            statement.get("Condition", {}).get(what, {}).pop(key, None)


@pytest.mark.parametrize(
    ("part", "what", "key", "opened"),
    [
        # Without a key there is nothing that ForAllValues could find to be wrong.
        ("policies", "Null", "dynamodb:LeadingKeys", item("acme", expected=DENIED)),
        (
            "policies",
            "ForAllValues:StringEquals",
            "dynamodb:LeadingKeys",
            item("acme", "globex", expected=DENIED),
        ),
        (
            "policies",
            "Resource",
            BUCKET,
            stored("acme", "tenants/globex/orders.csv", expected=DENIED),
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
    what: str,
    key: str,
    opened: Request,
) -> None:
    """Taken away, a condition, a principal or a prefix lets pass what is denied with it."""
    tenancy = "silo" if what == "StringEquals" else "pool"
    project = bake(tenancy=tenancy, **EVERY_OPTION)
    roles = roles_of(project, environments(project) / "python")
    before = simulation(opened, roles, tenancy)
    changed = copy.deepcopy(roles)
    role = changed["TenantRole"]
    for document in role["policies"] if part == "policies" else [role["trust"]]:
        loosen(document, what, key)

    assert engine([before, simulation(opened, changed, tenancy)]) == [DENIED, ALLOWED]
