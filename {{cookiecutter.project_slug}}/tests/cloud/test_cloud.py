"""What only AWS can show, against a deployed stack: ``STACK_NAME=... AWS_REGION=... make test``.

Needs permission to use the stack's functions, its table and its dead-letter queue. The executions
are those of the tenant acme, unless TENANT names another.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any
from uuid import uuid4

import boto3
import pytest

from ops import callback, stack, tenant
from ops.local import environment
from tests.execution import make_event
from workflow.registry import partition_key

STACK_NAME = os.environ.get("STACK_NAME")
TENANT = os.environ.get("TENANT") or "acme"

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.skipif(not STACK_NAME, reason="no deployed stack: set STACK_NAME"),
    pytest.mark.timeout(300),
]


def stack_output(name: str) -> str:
    """A value that the stack has put out."""
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    value: str = outputs[name]
    return value


@pytest.fixture(autouse=True)
def _tenant() -> None:
    """A tenant of the stack, which in a silo has to be the stack's own."""
    table = stack_output("TenantTableName")
    with contextlib.suppress(tenant.NotDoneError):
        tenant.add(boto3.client("dynamodb"), table, TENANT, "premium")


def start_in_cloud(event: Any) -> str:
    """Start an execution through the starter; return its ARN."""
    event = event | {"tenantId": TENANT, "requestKey": uuid4().hex}
    answer = stack.call(stack_output("StarterFunctionName"), event)
    assert answer["started"], answer
    arn: str = answer["executionArn"]
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
    arn = start_in_cloud(make_event("a", {"sku": 7}, None))
    wait_until_asked(client, arn)

    assert callback.main([action, "--execution", arn, "--by", "a test"]) == 0

    execution = wait_until_over(client, arn)
    assert execution["Status"] == "SUCCEEDED"
    assert json.loads(execution["Result"])["status"] == status


def test_a_failed_execution_leaves_its_event_in_the_dead_letter_queue() -> None:
    client = boto3.client("lambda")
    mark = uuid4().hex
    response = client.invoke(
        FunctionName=stack_output("WorkflowAliasArn"),
        InvocationType="Event",
        DurableExecutionName=f"test-{mark}",
        **({"TenantId": TENANT} if environment()["TENANCY"] == "isolated" else {}),
        Payload=json.dumps(make_event(mark)).encode(),
    )

    execution = wait_until_over(client, response["DurableExecutionArn"])

    assert execution["Status"] == "FAILED"
    assert "the execution name names no tenant" in execution["Error"]["ErrorMessage"]
    queue, url = boto3.client("sqs"), stack_output("DeadLetterQueueUrl")
    for _ in range(12):
        response = queue.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10)
        for message in response.get("Messages", []):
            if mark in message["Body"]:  # the others are not ours to delete
                queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return
    pytest.fail("the event did not arrive in the dead-letter queue within two minutes")


def test_the_count_goes_down_when_an_execution_ends() -> None:
    client, dynamodb = boto3.client("lambda"), boto3.client("dynamodb")
    arn = start_in_cloud(make_event("a"))
    wait_until_asked(client, arn)
    name = arn.split("/")[-2]
    key = {"pk": {"S": partition_key(TENANT)}, "sk": {"S": f"RUN#{name}"}}
    callback.main(["reject", "--execution", arn])
    wait_until_over(client, arn)

    for _ in range(60):
        item = dynamodb.get_item(TableName=stack_output("TenantTableName"), Key=key)["Item"]
        if item["state"]["S"] != "RUNNING":
            return
        time.sleep(2)
    pytest.fail("the execution was still counted as running two minutes after its end")


def test_an_unknown_token_answers_nothing() -> None:
    event = {"tenantId": TENANT, "token": "unknown", "answer": {"decision": "APPROVED"}}

    reply = stack.call(stack_output("ApproverFunctionName"), event)

    assert reply == {"accepted": False, "reason": "there is no such pending approval"}
