"""The roles of deploy-role.yaml, evaluated by the IAM engine: what CI can do, and what not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import test_iam
import yaml
from conftest import Bake
from test_iam import ACCOUNT, ALLOWED, DENIED, Request, resolve, simulation

engine = test_iam.engine
pytestmark = pytest.mark.slow


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's short intrinsic functions as the long ones."""


Loader.add_multi_constructor(
    "!",
    lambda loader, name, node: {"Ref" if name == "Ref" else f"Fn::{name}": node.value},
)

CLOUDFORMATION = f"arn:aws:cloudformation:us-east-1:{ACCOUNT}"
STACK = f"{CLOUDFORMATION}:stack/order-approvals/id"
TENANTS_STACK = f"{CLOUDFORMATION}:stack/order-approvals-acme/id"
ANOTHER_STACK = f"{CLOUDFORMATION}:stack/order-approvals2/id"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
BUCKET = "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-x"
STACK_ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy-order-approvals-stack"
IN_THE_ROLE = {"cloudformation:RoleArn": STACK_ROLE}
GROUP = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/order-approvals"
BOUNDED = {"iam:PermissionsBoundary": BOUNDARY}


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def job(action: str, resource: str, expected: str, **context: Any) -> Request:
    return Request("DeployRole", action, resource, expected, context)


def stack(action: str, resource: str, expected: str, **context: Any) -> Request:
    return Request("StackRole", action, resource, expected, context)


def checker(action: str, resource: str, expected: str) -> Request:
    return Request("CheckRole", action, resource, expected, {})


def to(service: str) -> dict[str, str]:
    return {"iam:PassedToService": f"{service}.amazonaws.com"}


def requests(ours: str, others: list[str]) -> list[Request]:
    """What may be asked for of our stack, and not of others."""
    change = "cloudformation:CreateChangeSet"
    of_ours = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:order-approvals-starter"
    tenancy = "silo" if ours == TENANTS_STACK else "pool"
    workflow = of_ours.replace(
        "order-approvals-starter", f"{ours.split('/')[1]}-workflow-{tenancy}"
    )
    imports = {"cloudformation:ImportResourceTypes": ["AWS::KMS::Key"]}
    return [
        # The job: our stack, in the role of CloudFormation, and no import.
        job(change, ours, ALLOWED, **IN_THE_ROLE),
        job(change, ours, DENIED),
        job(change, ours, DENIED, **{"cloudformation:RoleArn": role("Administrator")}),
        job(change, ours, DENIED, **IN_THE_ROLE, **imports),
        job("cloudformation:ExecuteChangeSet", ours, ALLOWED),
        job("cloudformation:DeleteStack", ours, DENIED),
        job("cloudformation:UpdateStack", ours, DENIED),
        *(job(change, other, DENIED, **IN_THE_ROLE) for other in others),
        *(job("cloudformation:ExecuteChangeSet", other, DENIED) for other in others),
        job("iam:PassRole", STACK_ROLE, ALLOWED, **to("cloudformation")),
        job("iam:PassRole", STACK_ROLE, DENIED, **to("ec2")),
        job("iam:PassRole", role("Administrator"), DENIED, **to("cloudformation")),
        job("s3:PutObject", f"{BUCKET}/{ours.split('/')[1]}/code", ALLOWED),
        job("s3:PutObject", f"{BUCKET}/another/code", DENIED),
        job("s3:DeleteObject", f"{BUCKET}/{ours.split('/')[1]}/code", DENIED),
        job("lambda:InvokeFunction", of_ours, DENIED),
        job("lambda:UpdateFunctionCode", of_ours, DENIED),
        # What checks the executions that run: it reads them, and nothing else.
        checker("cloudformation:DescribeStackResources", ours, ALLOWED),
        *(checker("cloudformation:DescribeStackResources", each, DENIED) for each in others),
        checker("lambda:ListDurableExecutionsByFunction", workflow, ALLOWED),
        checker("lambda:ListDurableExecutionsByFunction", of_ours, DENIED),
        *(
            checker(f"lambda:{action}", f"{function}:3/durable-execution/acme_1/id", expected)
            for action, function, expected in (
                ("GetDurableExecutionHistory", workflow, ALLOWED),
                ("GetDurableExecutionHistory", of_ours, DENIED),
                ("StopDurableExecution", workflow, DENIED),
                ("SendDurableExecutionCallbackSuccess", workflow, DENIED),
            )
        ),
        checker("lambda:InvokeFunction", workflow, DENIED),
        checker("iam:PassRole", STACK_ROLE, DENIED),
        # CloudFormation: what has the stack's name, and no role without the boundary.
        stack("lambda:UpdateFunctionCode", of_ours, ALLOWED),
        stack("lambda:UpdateFunctionCode", of_ours.replace("approvals-", "approvals2-"), DENIED),
        stack("lambda:InvokeFunction", of_ours, DENIED),
        *(
            request
            for action in ("CreateRole", "PutRolePolicy", "UpdateAssumeRolePolicy", "DeleteRole")
            for request in (
                stack(f"iam:{action}", role("order-approvals-StarterRole-1"), ALLOWED, **BOUNDED),
                stack(f"iam:{action}", role("order-approvals-StarterRole-1"), DENIED),
                stack(f"iam:{action}", role("deploy-order-approvals"), DENIED, **BOUNDED),
            )
        ),
        *(
            stack(
                f"cloudwatch:{action}", f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{name}", expected
            )
            for action in ("PutDashboard", "DeleteDashboards")
            for name, expected in (
                ("order-approvals-us-east-1", ALLOWED),
                ("order-approvals-acme-us-east-1", ALLOWED),
                ("another", DENIED),
            )
        ),
        stack("iam:AttachRolePolicy", role("order-approvals-StarterRole-1"), DENIED, **BOUNDED),
        stack("iam:DeleteRolePermissionsBoundary", role("order-approvals-A-1"), DENIED, **BOUNDED),
        stack("iam:CreatePolicyVersion", BOUNDARY, DENIED),
        stack("iam:PassRole", role("order-approvals-StarterRole-1"), ALLOWED, **to("lambda")),
        stack("iam:PassRole", role("order-approvals-StarterRole-1"), DENIED, **to("ec2")),
        stack("iam:PassRole", role("Administrator"), DENIED, **to("lambda")),
        *(
            stack(action, resource, expected)
            for resource in (f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/order-approvals-T-1",)
            for action, expected in (
                ("dynamodb:UpdateTable", ALLOWED),
                ("dynamodb:DeleteTable", DENIED),
                ("dynamodb:GetItem", DENIED),
            )
        ),
    ]


# With a front door. Its API is not asked about: the engine knows no resources of API Gateway.
ACCESS_LOG = [
    stack("logs:CreateLogDelivery", "*", ALLOWED),
    stack("logs:DeleteLogDelivery", "*", ALLOWED),
    stack("logs:PutSubscriptionFilter", GROUP, DENIED),
]


@pytest.mark.parametrize(
    ("tenancy", "front_door", "ours", "others"),
    [
        ("pool", "http_api", STACK, [TENANTS_STACK, ANOTHER_STACK]),
        ("silo", "http_api", TENANTS_STACK, [STACK, ANOTHER_STACK]),
        ("pool", "none", STACK, [TENANTS_STACK, ANOTHER_STACK]),
    ],
    ids=["pool", "silo", "no front door"],
)
def test_ci_can_change_one_stack(
    bake: Bake,
    engine: Callable[[list[Any]], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tenancy: str,
    front_door: str,
    ours: str,
    others: list[str],
) -> None:
    monkeypatch.setitem(test_iam.RESOLVED, "StackRole.Arn", STACK_ROLE)
    monkeypatch.setitem(test_iam.RESOLVED, "Boundary", BOUNDARY)
    project = bake(
        tenancy=tenancy, front_door=front_door, customer_managed_key="yes", fan_out="yes"
    )
    resources = yaml.load(project.read("deploy-role.yaml"), Loader)["Resources"]
    roles = {
        name: {
            "policies": [
                resolve(policy["PolicyDocument"])
                for policy in resources[name]["Properties"]["Policies"]
            ]
        }
        for name in ("DeployRole", "CheckRole", "StackRole")
    }
    asked = requests(ours, others)
    for request in ACCESS_LOG:
        asked.append(request if front_door == "http_api" else replace(request, expected=DENIED))

    outcomes = engine([simulation(request, roles, tenancy) for request in asked])

    wrong = [
        f"{outcome} instead of {request}"
        for request, outcome in zip(asked, outcomes, strict=True)
        if outcome != request.expected
    ]
    assert not wrong, "\n".join(wrong)
