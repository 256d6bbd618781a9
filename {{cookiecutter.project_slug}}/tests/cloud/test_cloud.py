"""What only AWS can show, against a deployed stack: ``STACK_NAME=... AWS_REGION=... make test``.

Needs permission to use the stack's functions, its table and its dead-letter queue, and to make a
queue, a subscription and a role for a minute. The executions are those of the tenant acme, unless
TENANT names another.
#% if cookiecutter.front_door == "http_api"
API_TOKEN is an access token of that tenant, of somebody who may start and approve.
#% endif
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
#% if cookiecutter.front_door == "http_api"
import urllib3
#% endif
from botocore.exceptions import ClientError

#% if cookiecutter.fan_out == "yes"
from chassis.tenancy.objects import prefix_of
#% endif
from chassis.tenancy.profile import Profile
from chassis.tenancy.registry import PROFILE
from chassis.tenancy.rows import row_key
from ops import executions, stack, tenants
from ops.local import environment
from tests.workflow.conftest import make_event

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
    add_tenant(TENANT)


def add_tenant(tenant_id: str) -> None:
    """Add a tenant, unless it is there already."""
    registry = tenants.Registry(boto3.client("dynamodb"), stack_output("TenantTableName"))
    with contextlib.suppress(tenants.RefusedError):
        registry.add(Profile(tenant_id, "ACTIVE", "premium", {}))


def start_in_cloud(event: Any, tenant_id: str = TENANT) -> str:
    """Start an execution through the starter; return its ARN."""
    event = event | {"tenantId": tenant_id, "requestKey": uuid4().hex}
    answer = stack.call(stack_output("StarterFunctionName"), event)
    assert answer["started"], answer
    arn: str = answer["executionArn"]
    return arn


def wait_until_over(client: Any, arn: str) -> dict[str, Any]:
    """Wait until the execution has ended."""
    for _ in range(60):
        execution: dict[str, Any] = client.get_durable_execution(DurableExecutionArn=arn)
        if execution["Status"] not in executions.ACTIVE:
            return execution
        time.sleep(2)
    pytest.fail("the execution did not end within two minutes")


def answer(asked: dict[str, Any], decision: str, tenant_id: str = TENANT) -> Any:
    """Answer through the approver, which says whether it was accepted."""
    event = {"token": asked["token"], "answer": {"decision": decision, "decidedBy": "a test"}}
    return stack.call(stack_output("ApproverFunctionName"), event | {"tenantId": tenant_id})


def test_approved(messages: Callable[[str], dict[str, Any]]) -> None:
    client = boto3.client("lambda")
    arn = start_in_cloud(make_event("a", {"sku": 7}))
    while client.get_durable_execution(DurableExecutionArn=arn)["Status"] == "RUNNING":
        assert answer(messages(arn), "APPROVED")["accepted"]
        while executions.pending_approvals(arn) == []:
            if client.get_durable_execution(DurableExecutionArn=arn)["Status"] != "RUNNING":
                break
            time.sleep(2)

    execution = wait_until_over(client, arn)
    assert execution["Status"] == "SUCCEEDED"
    assert json.loads(execution["Result"])["status"].startswith("COMPLETED")


def test_rejected(messages: Callable[[str], dict[str, Any]]) -> None:
    arn = start_in_cloud(make_event("a"))
    assert answer(messages(arn), "REJECTED")["accepted"]

    execution = wait_until_over(boto3.client("lambda"), arn)
    assert json.loads(execution["Result"])["status"] == "REJECTED"


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


def test_the_count_goes_down_when_an_execution_ends(
    messages: Callable[[str], dict[str, Any]],
) -> None:
    client, dynamodb = boto3.client("lambda"), boto3.client("dynamodb")
    arn = start_in_cloud(make_event("a"))
    answer(messages(arn), "REJECTED")
    wait_until_over(client, arn)
    key = row_key(TENANT, f"RUN#{arn.split('/')[-2]}")

    for _ in range(60):
        item = dynamodb.get_item(TableName=stack_output("TenantTableName"), Key=key)["Item"]
        if item["state"]["S"] != "RUNNING":
            return
        time.sleep(2)
    pytest.fail("the execution was still counted as running two minutes after its end")


@pytest.fixture(scope="module")
def messages() -> Iterator[Callable[[str], dict[str, Any]]]:
    """What the approvers of an execution are told: a queue that subscribes to the topic."""
    sqs, sns = boto3.client("sqs"), boto3.client("sns")
    topic = boto3.client("cloudformation").describe_stack_resource(
        StackName=STACK_NAME, LogicalResourceId="ApprovalTopic"
    )["StackResourceDetail"]["PhysicalResourceId"]
    url = sqs.create_queue(QueueName=f"test-{uuid4().hex}")["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    allow = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue["QueueArn"],
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    subscription = sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=queue["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
        ReturnSubscriptionArn=True,
    )["SubscriptionArn"]

    def message_about(arn: str) -> dict[str, Any]:
        for _ in range(12):
            found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10, MaxNumberOfMessages=10)
            for message in found.get("Messages", []):
                body: dict[str, Any] = json.loads(message["Body"])
                if body["executionArn"] == arn:
                    return body
        pytest.fail("the approvers were not told within two minutes")

    yield message_about
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=url)


def test_a_token_answers_once_and_for_its_own_tenant_only(
    messages: Callable[[str], dict[str, Any]],
) -> None:
    arn = start_in_cloud(make_event("a"))
    asked = messages(arn)

    assert answer(asked, "REJECTED", f"not{TENANT}"[:24])["accepted"] is False
    assert answer(asked, "REJECTED")["accepted"] is True
    assert answer(asked, "REJECTED")["accepted"] is False
    # In isolated tenancy: the guard has compared the invocation's tenant again, after the wait.
    assert wait_until_over(boto3.client("lambda"), arn)["Status"] == "SUCCEEDED"


@pytest.fixture
def session_of() -> Iterator[Callable[[str], boto3.Session]]:
    """Sessions that are tagged with a tenant, of a copy of a tenant role that trusts the tester.

    The stack's own roles trust its functions only.
    """
    iam, sts = boto3.client("iam"), boto3.client("sts")
    name = f"test-{uuid4().hex}"
    account = sts.get_caller_identity()["Account"]
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }
    copied = boto3.client("cloudformation").describe_stack_resource(
        StackName=STACK_NAME, LogicalResourceId="TenantApproverRole"
    )["StackResourceDetail"]["PhysicalResourceId"]
    policy = iam.get_role_policy(RoleName=copied, PolicyName="tenant")["PolicyDocument"]
    role = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="tenant", PolicyDocument=json.dumps(policy))
    time.sleep(15)  # IAM is eventually consistent

    def session(tenant_id: str) -> boto3.Session:
        credentials = sts.assume_role(
            RoleArn=role,
            RoleSessionName="test",
            Tags=[{"Key": "TenantId", "Value": tenant_id}],
        )["Credentials"]
        return boto3.Session(
            credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]
        )

    yield session
    iam.delete_role_policy(RoleName=name, PolicyName="tenant")
    iam.delete_role(RoleName=name)


def test_iam_keeps_a_session_of_one_tenant_from_another(
    session_of: Callable[[str], boto3.Session], messages: Callable[[str], dict[str, Any]]
) -> None:
    """The second wall, behind the code: TENANT's item and callback, and another's session."""
    client, table = boto3.client("lambda"), stack_output("TenantTableName")
    arn = start_in_cloud(make_event("a"))
    asked = messages(arn)
    history = client.get_durable_execution_history(
        DurableExecutionArn=arn, IncludeExecutionData=True
    )
    (callback_id,) = (
        event["CallbackStartedDetails"]["CallbackId"]
        for event in history["Events"]
        if event["EventType"] == "CallbackStarted"
    )
    own, foreign = session_of(TENANT), session_of(f"not{TENANT}"[:24])

    for session, code in ((own, None), (foreign, "AccessDeniedException")):
        read = session.client("dynamodb").get_item
        assert error_code(read, TableName=table, Key=row_key(TENANT, PROFILE)) == code
        heartbeat = session.client("lambda").send_durable_execution_callback_heartbeat
        assert error_code(heartbeat, CallbackId=callback_id) == code
    answer(asked, "REJECTED")


def error_code(operation: Callable[..., Any], **request: Any) -> str | None:
    """The code that an operation fails with, or None if it succeeds."""
    try:
        operation(**request)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return None


#% if cookiecutter.tenancy == "isolated"
def test_no_execution_environment_serves_two_tenants(
    messages: Callable[[str], dict[str, Any]],
) -> None:
    """Every environment writes a log stream of its own."""
    other = f"not{TENANT}"[:24]
    add_tenant(other)
    for tenant_id in (TENANT, other):
        asked = messages(start_in_cloud(make_event("a"), tenant_id))
        answer(asked, "REJECTED", tenant_id)

    def streams(tenant_id: str) -> set[str]:
        pages = (
            boto3.client("logs")
            .get_paginator("filter_log_events")
            .paginate(
                logGroupName=f"/aws/lambda/{STACK_NAME}",
                filterPattern='{ $.tenantId = "' + tenant_id + '" && $.workflowId = * }',
            )
        )
        return {event["logStreamName"] for page in pages for event in page["events"]}

    for _ in range(12):
        if streams(TENANT) and streams(other):
            break
        time.sleep(5)
    assert streams(TENANT)
    assert streams(other)
    assert not streams(TENANT) & streams(other)


#% endif
#% if cookiecutter.fan_out == "yes"
def test_more_chunks_than_recursive_loop_detection_counts(
    messages: Callable[[str], dict[str, Any]],
) -> None:
    """A chain of about 16 invocations would be cut; these are side by side, two deep."""
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    given = {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack["Parameters"]}
    items = 16 * int(given["ChunkSize"]) + 1
    lines = "".join(f"{json.dumps(number)}\n" for number in range(items)).encode()
    ref, bucket, client = f"test-{uuid4().hex}.jsonl", boto3.client("s3"), boto3.client("lambda")
    place = {"Bucket": stack_output("ObjectBucketName"), "Key": prefix_of(TENANT) + ref}
    bucket.put_object(**place, Body=lines)
    try:
        arn = start_in_cloud(make_event() | {"inputData": {"inputRef": ref}})
        assert answer(messages(arn), "APPROVED")["accepted"]
        execution = wait_until_over(client, arn)
    finally:
        bucket.delete_object(**place)

    assert execution["Status"] == "SUCCEEDED", execution.get("Error")
    assert json.loads(execution["Result"])["mapResults"]["succeeded"] == items


#% endif
#% if cookiecutter.front_door == "http_api"
@pytest.fixture
def call() -> Callable[..., tuple[int, Any]]:
    """Call the API of the stack, with POST if there is a body; returns the status and the body."""
    try:
        address = stack_output("PageUrl")
    except KeyError:
        pytest.skip("the stack has no API: it was deployed without JwtIssuer")

    def send(path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        headers = {"Idempotency-Key": uuid4().hex}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        method = "GET" if body is None else "POST"
        reply = urllib3.request(method, address + path, headers=headers, json=body, timeout=30)
        return reply.status, reply.json()

    return send


@pytest.mark.parametrize("path", ["/workflows", "/approvals"])
def test_the_api_answers_nobody_without_a_valid_token(
    call: Callable[..., tuple[int, Any]], path: str
) -> None:
    assert call(path)[0] == 401
    assert call(path, token="none.that.is-valid")[0] == 401


def test_a_workflow_is_started_and_answered_over_http(
    call: Callable[..., tuple[int, Any]],
) -> None:
    token = os.environ.get("API_TOKEN")
    if not token:
        pytest.skip(f"no access token of {TENANT}: set API_TOKEN")
    status, started = call("/workflows", make_event("a"), token)
    assert status == 202, started
    workflow = f"/workflows/{started['id']}"
    asked: list[str] = []
    for _ in range(60):
        asked = call(workflow, token=token)[1]["waitsFor"]
        if asked:
            break
        time.sleep(2)
    listed = call("/approvals?limit=100", token=token)[1]["approvals"]
    assert asked == [each["id"] for each in listed if each["workflow"] == started["id"]]

    status, answered = call(f"/approvals/{asked[0]}", {"decision": "REJECTED"}, token)
    if status == 403:
        assert answered["detail"] == "whoever has started a workflow may not approve it"
        assert call(f"{workflow}/cancel", {}, token)[0] == 202
    else:
        assert (status, answered["state"]) == (200, "REJECTED")


#% endif
def test_an_unknown_token_answers_nothing() -> None:
    reply = answer({"token": "unknown"}, "APPROVED")

    assert reply == {"accepted": False, "reason": "there is no such approval"}
