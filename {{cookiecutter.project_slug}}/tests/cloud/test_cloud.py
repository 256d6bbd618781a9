"""What only AWS can show, against a deployed stack: ``STACK_NAME=order-approvals make test``.

Needs AWS_REGION, and permission to use the stack's function and its dead-letter queue.
"""

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


def stack_output(name: str) -> str:
    """A value that the stack has put out."""
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    value: str = outputs[name]
    return value


def start_in_cloud(client: Any, event: Any) -> str:
    """Start an execution asynchronously; return its ARN."""
    response = client.invoke(
        FunctionName=stack_output("WorkflowAliasArn"),
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


def test_a_failed_execution_leaves_its_event_in_the_dead_letter_queue() -> None:
    client = boto3.client("lambda")
    mark = uuid4().hex
    arn = start_in_cloud(client, make_event(mark) | {"tenantId": "../x"})

    execution = wait_until_over(client, arn)

    assert execution["Status"] == "FAILED"
    assert "tenantId is '../x'" in execution["Error"]["ErrorMessage"]
    queue, url = boto3.client("sqs"), stack_output("DeadLetterQueueUrl")
    for _ in range(12):
        response = queue.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10)
        for message in response.get("Messages", []):
            if mark in message["Body"]:  # the others are not ours to delete
                queue.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return
    pytest.fail("the event did not arrive in the dead-letter queue within two minutes")
