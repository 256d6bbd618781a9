"""The same scenarios against a deployed stack: ``STACK_NAME=order-approvals make test``."""

from __future__ import annotations

import json
import os
import time
from typing import Any
from uuid import uuid4

import boto3
import pytest

from ops import callback
from tests.execution import make_event

STACK_NAME = os.environ.get("STACK_NAME")

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(not STACK_NAME, reason="no deployed stack: set STACK_NAME"),
    pytest.mark.timeout(300),
]


def start_in_cloud(client: Any, event: Any) -> str:
    """Start an execution asynchronously; return its ARN."""
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    response = client.invoke(
        FunctionName=outputs["WorkflowAliasArn"],
        InvocationType="Event",
        DurableExecutionName=f"test-{uuid4().hex}",
        Payload=json.dumps(event).encode(),
    )
    arn: str = response["DurableExecutionArn"]
    return arn


def wait_until_asked(client: Any, arn: str) -> None:
    """Wait until the execution waits for its approval."""
    for _ in range(60):
        try:
            callback.pending_callback(client, arn)
        except (callback.NoPendingApprovalError, client.exceptions.ResourceNotFoundException):
            time.sleep(2)
        else:
            return
    pytest.fail("the execution did not ask for an approval within two minutes")


def wait_until_over(client: Any, arn: str) -> dict[str, Any]:
    """Wait until the execution has ended."""
    for _ in range(60):
        execution: dict[str, Any] = client.get_durable_execution(DurableExecutionArn=arn)
        if execution["Status"] != "RUNNING":
            return execution
        time.sleep(2)
    pytest.fail("the execution did not end within two minutes")


@pytest.mark.parametrize(
    ("action", "status"), [("approve", "COMPLETED_WITH_FAILURES"), ("reject", "REJECTED")]
)
def test_answered(action: str, status: str) -> None:
    client = boto3.client("lambda")
    arn = start_in_cloud(client, make_event("a", {"sku": 7}, None))
    wait_until_asked(client, arn)

    assert callback.main([action, "--execution", arn, "--by", "a test"]) == 0

    execution = wait_until_over(client, arn)
    assert execution["Status"] == "SUCCEEDED"
    assert json.loads(execution["Result"])["status"] == status


def test_bad_input_fails_at_once() -> None:
    client = boto3.client("lambda")
    arn = start_in_cloud(client, make_event("a") | {"tenantId": "../x"})

    execution = wait_until_over(client, arn)

    assert execution["Status"] == "FAILED"
    assert "tenantId is '../x'" in execution["Error"]["ErrorMessage"]
