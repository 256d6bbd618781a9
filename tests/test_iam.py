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
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/DataKey"
OPERATORS = f"arn:aws:sns:us-east-1:{ACCOUNT}:OperatorTopic"
ALARM = f"arn:aws:cloudwatch:us-east-1:{ACCOUNT}:alarm:orders-FailedExecutionsAlarm-1ABC"
RULE = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/orders"
STRANGER = "210987654321"
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
    "DataKey.Arn": KEY,
    "OperatorTopic": OPERATORS,
    "ObjectBucket.Arn": BUCKET,
}
NO_OPTION = {"front_door": "none"}
EVERY_OPTION = {
    "front_door": "http_api",
    "fan_out": "yes",
    "extra_operations": ",".join(rules.EXTRA_OPERATIONS),
}
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
    index: str = "",
) -> Request:
    """A request for items of tenants by a session that is tagged with a tenant."""
    context: dict[str, Any] = {} if tag is None else {"aws:PrincipalTag/TenantId": tag}
    if tenants:
        context["dynamodb:LeadingKeys"] = [f"TENANT#{tenant}" for tenant in tenants]
    return Request(role, f"dynamodb:{action}", f"{TABLE}{index}", expected, context)


def own_rows(role: str, index: str = "", *, action: str = "GetItem") -> list[Request]:
    """Requests by a role of tenants for its tenant's rows, which it may, and for others."""
    return [
        item(tag, *tenants, action=what, expected=expected, role=role, index=index)
        for tag, tenants, what, expected in (
            ("acme", ["acme"], action, ALLOWED),
            ("acme", ["globex"], action, DENIED),
            ("globex", ["acme"], action, DENIED),
            ("acme", ["acme", "globex"], action, DENIED),
            ("acme", ["acmecorp"], action, DENIED),
            ("acm", ["acme"], action, DENIED),
            ("acme", [""], action, DENIED),
            # Without a tag, without a key, or with an action that reads more than a key.
            (None, ["acme"], action, DENIED),
            (None, [""], action, DENIED),
            (None, [], action, DENIED),
            ("acme", [], action, DENIED),
            ("acme", [], "Scan", DENIED),
            ("acme", ["acme"], "DeleteItem", DENIED),
        )
    ]


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
    *own_rows("TenantRole"),
    *own_rows("TenantRole", action="PutItem"),
    *own_rows("TenantRole", action="UpdateItem"),
    *own_rows("TenantRole", action="Query"),
    *own_rows("TenantApproverRole"),
    *own_rows("TenantApproverRole", action="UpdateItem"),
    *(
        item("acme", "acme", action=action, expected=DENIED, role="TenantApproverRole")
        for action in ("PutItem", "Query")
    ),
    *(
        item("acme", "acme", action="Query", expected=DENIED, role=role, index=f"/index/{index}")
        for role in ("TenantRole", "TenantApproverRole")
        for index in ("running", "listed")
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
    Request("WorkflowRole", "kms:ScheduleKeyDeletion", KEY, DENIED),
    *(
        Request("WorkflowRole", action, f"{function}:7/durable-execution/acme_1/id", expected)
        for action in ("lambda:CheckpointDurableExecution", "lambda:GetDurableExecutionState")
        for function, expected in ((WORKFLOW, ALLOWED), (OTHER, DENIED))
    ),
]


def use(
    who: str, service: str | None, expected: str, *, action: str = "Decrypt", **context: str
) -> Request:
    """A request for the key: what a service asks for a role, or for itself.

    The context names what KMS is told, by the last word of its condition key.
    """
    known = {
        "function": "kms:EncryptionContext:aws:lambda:FunctionArn",
        "logs": "kms:EncryptionContext:aws:logs:arn",
        "queue": "kms:EncryptionContext:aws:sqs:arn",
        "source": "aws:SourceArn",
    }
    told = {known[name]: value for name, value in context.items()}
    if service:
        told["kms:ViaService"] = f"{service}.us-east-1.amazonaws.com"
    return Request(who, f"kms:{action}", KEY, expected, told)


STARTER = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders-starter"
GROUP = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/aws/lambda/orders"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:orders-LostStatusEvents-1ABC"
ROLES = ("WorkflowRole", "StarterRole", "ApproverRole", "ReconcilerRole")
# What comes with customer_managed_key.
ENCRYPTION = [
    # Executions: of this workflow, by its role and by who answers, and through Lambda only.
    *(
        use(role, service, expected, function=function)
        for role in ("WorkflowRole", "TenantApproverRole")
        for service, function, expected in (
            ("lambda", WORKFLOW, ALLOWED),
            ("lambda", f"{WORKFLOW}:7", ALLOWED),
            ("lambda", f"{WORKFLOW}2", DENIED),
            ("lambda", OTHER, DENIED),
            ("lambda", STARTER, DENIED),
            ("s3", WORKFLOW, DENIED),
            (None, WORKFLOW, DENIED),
        )
    ),
    *(use(role, "lambda", DENIED) for role in ("WorkflowRole", "TenantApproverRole")),
    # Environments, which do not open executions.
    *(
        use(role, "lambda", expected, function=function)
        for role in ("StarterRole", "ApproverRole", "ReconcilerRole")
        for function, expected in (
            (STARTER, ALLOWED),
            (WORKFLOW, DENIED),
            (f"{WORKFLOW}:7", DENIED),
            (f"{STARTER}2", DENIED),
        )
    ),
    use("StarterRole", None, DENIED, function=STARTER),
    use("TenantRole", "lambda", DENIED, function=WORKFLOW),
    # Rows: by those who may read or write some.
    *(
        use(role, "dynamodb", expected)
        for role, expected in (
            ("TenantRole", ALLOWED),
            ("TenantApproverRole", ALLOWED),
            ("ReconcilerRole", ALLOWED),
            ("WorkflowRole", DENIED),
            ("StarterRole", DENIED),
            ("ApproverRole", DENIED),
        )
    ),
    # Messages: by those who send some.
    *(
        use(role, service, expected, action=action)
        for action in ("Decrypt", "GenerateDataKey")
        for role, service, expected in (
            ("WorkflowRole", "sns", ALLOWED),
            ("WorkflowRole", "sqs", ALLOWED),
            ("ReconcilerRole", "sqs", ALLOWED),
            ("ReconcilerRole", "sns", DENIED),
            ("StarterRole", "sns", DENIED),
            ("ApproverRole", "sqs", DENIED),
            ("TenantRole", "sns", DENIED),
            ("TenantApproverRole", "sqs", DENIED),
        )
    ),
    # Logs: of this stack.
    *(
        use(role, "logs", expected, action="GenerateDataKey", logs=group)
        for role in ROLES
        for group, expected in ((GROUP, ALLOWED), (f"{GROUP}2", DENIED))
    ),
    use("TenantRole", "logs", DENIED, action="GenerateDataKey", logs=GROUP),
    # Nobody uses it past a service, or changes it.
    *(use(role, None, DENIED) for role in (*ROLES, "TenantRole", "TenantApproverRole")),
    *(use(role, None, DENIED, action="Encrypt") for role in (*ROLES, "TenantRole")),
    *(use(role, None, DENIED, action="PutKeyPolicy") for role in (*ROLES, "TenantRole")),
    # Services that act by themselves: for what is this stack's, and for no other account's.
    *(
        use("lambda.amazonaws.com", None, expected, action=action, **context)
        for action in ("Decrypt", "GenerateDataKey")
        for expected, context in (
            (ALLOWED, {"source": WORKFLOW, "function": WORKFLOW}),
            (ALLOWED, {"source": f"{WORKFLOW}:7", "function": WORKFLOW}),
            (DENIED, {"source": f"{WORKFLOW}2", "function": WORKFLOW}),
            (DENIED, {"source": WORKFLOW.replace(ACCOUNT, STRANGER), "function": WORKFLOW}),
            (DENIED, {"source": OTHER, "function": WORKFLOW}),
            (DENIED, {"source": WORKFLOW, "function": OTHER}),
            (DENIED, {"source": WORKFLOW}),
            (DENIED, {"function": WORKFLOW}),
            (DENIED, {}),
        )
    ),
    *(
        use(f"logs.{region}.amazonaws.com", None, expected, action=action, **context)
        for action in ("Encrypt", "Decrypt", "GenerateDataKey")
        for region, expected, context in (
            ("us-east-1", ALLOWED, {"logs": GROUP}),
            ("us-east-1", DENIED, {"logs": f"{GROUP}2"}),
            ("us-east-1", DENIED, {"logs": GROUP.replace(ACCOUNT, STRANGER)}),
            ("us-east-1", DENIED, {}),
            ("eu-west-1", DENIED, {"logs": GROUP}),
        )
    ),
    *(
        use("cloudwatch.amazonaws.com", None, expected, action=action, **context)
        for action in ("Decrypt", "GenerateDataKey")
        for expected, context in (
            (ALLOWED, {"source": ALARM}),
            (DENIED, {"source": ALARM.replace("orders-", "others-")}),
            (DENIED, {"source": ALARM.replace(ACCOUNT, STRANGER)}),
            (DENIED, {}),
        )
    ),
    *(
        use("events.amazonaws.com", None, expected, action=action, **context)
        for action in ("Decrypt", "GenerateDataKey")
        for expected, context in (
            (ALLOWED, {"queue": QUEUE}),
            (DENIED, {"queue": QUEUE.replace("LostStatusEvents", "DeadLetterQueue")}),
            (DENIED, {"queue": QUEUE.replace("orders-", "others-")}),
            (DENIED, {"queue": QUEUE.replace(ACCOUNT, STRANGER)}),
            (DENIED, {}),
        )
    ),
    *(
        use(service, None, DENIED, action="CreateGrant", source=ALARM, function=WORKFLOW)
        for service in ("lambda.amazonaws.com", "cloudwatch.amazonaws.com")
    ),
    *(
        use(service, None, DENIED, source=source, function=WORKFLOW, logs=GROUP, queue=QUEUE)
        for service in ("sns.amazonaws.com", "sqs.amazonaws.com", "dynamodb.amazonaws.com")
        for source in (WORKFLOW, ALARM)
    ),
]


def send(who: str, resource: str, expected: str, source: str = "", **context: str) -> Request:
    """A request to put a message into a topic or a queue."""
    action = "sns:Publish" if ":sns:" in resource else "sqs:SendMessage"
    told = {
        "aws:SecureTransport": "true",
        **context,
        **({"aws:SourceArn": source} if source else {}),
    }
    return Request(who, action, resource, expected, told)


PLAIN = {"aws:SecureTransport": "false"}
MESSAGES = [
    # Who may send, and not in plain text.
    send("WorkflowRole", TOPIC, ALLOWED),
    send("WorkflowRole", FAILED, ALLOWED),
    send("ReconcilerRole", LOST, ALLOWED),
    send("WorkflowRole", TOPIC, FORBIDDEN, **PLAIN),
    send("WorkflowRole", FAILED, FORBIDDEN, **PLAIN),
    send("ReconcilerRole", LOST, FORBIDDEN, **PLAIN),
    send("cloudwatch.amazonaws.com", OPERATORS, FORBIDDEN, ALARM, **PLAIN),
    *(
        Request("WorkflowRole", f"sqs:{action}", queue, FORBIDDEN, PLAIN)
        for action in ("ReceiveMessage", "PurgeQueue")
        for queue in (FAILED, LOST)
    ),
    # Alarms of this stack, rules of this stack; and each to its own place.
    *(
        send("cloudwatch.amazonaws.com", OPERATORS, expected, source)
        for expected, source in (
            (ALLOWED, ALARM),
            (DENIED, ALARM.replace("orders-", "others-")),
            (DENIED, ALARM.replace(ACCOUNT, STRANGER)),
            (DENIED, ""),
        )
    ),
    send("cloudwatch.amazonaws.com", TOPIC, DENIED, ALARM),
    send("events.amazonaws.com", OPERATORS, DENIED, f"{RULE}-ended"),
    *(
        send("events.amazonaws.com", LOST, expected, source)
        for expected, source in (
            (ALLOWED, f"{RULE}-ended"),
            (ALLOWED, f"{RULE}-sweep"),
            (DENIED, f"{RULE}-another"),
            (DENIED, f"{RULE}-ended".replace(ACCOUNT, STRANGER)),
            (DENIED, ""),
        )
    ),
    send("events.amazonaws.com", FAILED, DENIED, f"{RULE}-ended"),
    Request("events.amazonaws.com", "sqs:ReceiveMessage", LOST, DENIED, {"aws:SourceArn": RULE}),
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
            encrypt(action, DENIED, key=KEY.replace("DataKey", "AnotherKey")),
            encrypt(action, DENIED, "TenantApproverRole"),
            *(
                encrypt(action, DENIED, role)
                for role in ("StarterRole", "ApproverRole", "ReconcilerRole", "MeterRole")
            ),
        )
    ),
    encrypt("GenerateDataKey", DENIED, "WorkflowRole"),
    encrypt("Decrypt", DENIED, "WorkflowRole"),
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
    use("MeterRole", "logs", ALLOWED, action="GenerateDataKey", logs=GROUP),
    use("MeterRole", "lambda", ALLOWED, function=METER),
    use("MeterRole", "lambda", DENIED, function=WORKFLOW),
    use("MeterRole", "dynamodb", DENIED),
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


API = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders-api"
# What comes with the front door: without it, none of this is allowed.
FRONT_DOOR = [
    # A tenant's own items, and its lists; no other index, and no list past an index.
    *own_rows("TenantApiRole"),
    *own_rows("TenantApiRole", action="PutItem"),
    *own_rows("TenantApiRole", action="UpdateItem"),
    *own_rows("TenantApiRole", "/index/listed", action="Query"),
    *(
        item("acme", "acme", action="Query", expected=DENIED, role=role, index=index)
        for role, index in (
            ("TenantApiRole", ""),
            ("TenantApiRole", "/index/running"),
            ("ApiRole", "/index/listed"),
            ("ApiRole", "/index/running"),
        )
    ),
    item("acme", "acme", expected=DENIED, role="ApiRole"),
    # A tenant's own executions are answered, drawn, and stopped.
    *(
        replace(request, action=f"lambda:{action}", role="TenantApiRole")
        for action in (
            "SendDurableExecutionCallbackSuccess",
            "SendDurableExecutionCallbackFailure",
            "GetDurableExecutionHistory",
            "StopDurableExecution",
        )
        for request in (
            answer("acme", f"acme_{DIGEST}", expected=ALLOWED),
            answer("acme", f"globex_{DIGEST}", expected=DENIED),
            answer("globex", f"acme_{DIGEST}", expected=DENIED),
            answer("acm", f"acme_{DIGEST}", expected=DENIED),
            answer("acme", f"acmecorp_{DIGEST}", expected=DENIED),
            answer(None, f"acme_{DIGEST}", expected=DENIED),
            answer(None, f"_{DIGEST}", expected=DENIED),
            answer("acme", f"acme_{DIGEST}", expected=DENIED, function=OTHER),
        )
    ),
    answer("acme", f"acme_{DIGEST}", expected=DENIED, role="TenantApiRole", how="Heartbeat"),
    answer("acme", f"acme_{DIGEST}", expected=DENIED, role="ApiRole"),
    *(
        Request(
            role,
            f"lambda:{action}",
            EXECUTION,
            DENIED,
            {"aws:PrincipalTag/TenantId": "acme"},
        )
        for action in ("GetDurableExecutionHistory", "StopDurableExecution")
        for role in (*FUNCTION_ROLES, "ApiRole", "TenantRole", "TenantApproverRole")
    ),
    *(
        Request(role, f"lambda:{action}", resource, DENIED, {"aws:PrincipalTag/TenantId": "acme"})
        for role in ("ApiRole", "TenantApiRole")
        for action, resource in (
            ("GetDurableExecution", EXECUTION),
            ("CheckpointDurableExecution", EXECUTION),
            ("ListDurableExecutionsByFunction", WORKFLOW),
        )
    ),
    # It starts as the starter does, and writes its logs; else its own role does nothing.
    *(
        Request("ApiRole", "lambda:InvokeFunction", function, expected)
        for function, expected in (
            (f"{WORKFLOW}:live", ALLOWED),
            (WORKFLOW, DENIED),
            (f"{WORKFLOW}:7", DENIED),
            (METER, DENIED),
            (STARTER, DENIED),
        )
    ),
    Request("TenantApiRole", "lambda:InvokeFunction", f"{WORKFLOW}:live", DENIED),
    Request("ApiRole", "logs:PutLogEvents", LOGS.replace("*", "log-stream:s"), ALLOWED),
    Request("ApiRole", "sns:Publish", TOPIC, DENIED),
    Request("ApiRole", "sqs:SendMessage", FAILED, DENIED),
    # It sees whether an input is there, and writes none.
    stored("acme", OBJECT, expected=ALLOWED, role="TenantApiRole"),
    stored("acme", "tenants/globex/orders.csv", expected=DENIED, role="TenantApiRole"),
    stored("globex", OBJECT, expected=DENIED, role="TenantApiRole"),
    stored(None, OBJECT, expected=DENIED, role="TenantApiRole"),
    stored("acme", OBJECT, expected=DENIED, role="ApiRole"),
    stored("acme", OBJECT, action="PutObject", expected=DENIED, role="TenantApiRole"),
    # The key: rows, objects, and executions that are answered; and the environment, for its role.
    use("TenantApiRole", "dynamodb", ALLOWED),
    *(
        use("TenantApiRole", service, expected, function=function)
        for service, function, expected in (
            ("lambda", WORKFLOW, ALLOWED),
            ("lambda", f"{WORKFLOW}:7", ALLOWED),
            ("lambda", f"{WORKFLOW}2", DENIED),
            ("lambda", API, DENIED),
            (None, WORKFLOW, DENIED),
        )
    ),
    encrypt("Decrypt", ALLOWED, "TenantApiRole"),
    encrypt("GenerateDataKey", DENIED, "TenantApiRole"),
    *(
        use("ApiRole", service, expected, function=function)
        for service, function, expected in (
            ("lambda", API, ALLOWED),
            ("lambda", WORKFLOW, DENIED),
            ("lambda", f"{API}2", DENIED),
            ("dynamodb", API, DENIED),
            (None, API, DENIED),
        )
    ),
    use("ApiRole", "logs", ALLOWED, action="GenerateDataKey", logs=GROUP),
    encrypt("Decrypt", DENIED, "ApiRole"),
    # It acts for one tenant at a time, in a role of its own, and nobody else in that.
    assume("ApiRole", {"TenantId": "acme"}, ALLOWED, "TenantApiRole"),
    *(
        assume("ApiRole", {"TenantId": "acme"}, DENIED, target)
        for target in ("TenantRole", "TenantApproverRole")
    ),
    *(
        assume(role, {"TenantId": "acme"}, DENIED, "TenantApiRole")
        for role in (*FUNCTION_ROLES, "SomebodyElse")
    ),
    *assume_badly("ApiRole", "TenantApiRole"),
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
    if list(value) == ["Fn::If"]:
        return resolve(value["Fn::If"][1])
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


POLICIES = {
    "AWS::S3::BucketPolicy": "Bucket",
    "AWS::SNS::TopicPolicy": "Topics",
    "AWS::SQS::QueuePolicy": "Queues",
}


def roles_of(project: Project, python: Path) -> dict[str, dict[str, Any]]:
    """The roles of the rendered template: what each may do, and whom it trusts.

    And what has a policy of its own: its key, its bucket, its topics and its queues.
    """
    script = (
        "import json; from ops.local import template; print(json.dumps(template()['Resources']))"
    )
    found = json.loads(project.run(python, "-c", script).stdout)
    resources = {
        name: (entry["Type"], resolve(entry["Properties"]))
        for name, entry in found.items()
        if entry["Type"].startswith("AWS::IAM::") or name == "DataKey" or entry["Type"] in POLICIES
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
    if "DataKey" in resources:
        roles["DataKey"] = {"trust": resources["DataKey"][1]["KeyPolicy"]}
        # Of the same account, and as open to its roles: a key that nobody trusts proves nothing.
        roles["AnotherKey"] = roles["DataKey"]
    for kind, properties in resources.values():
        if kind in POLICIES:
            of = properties[POLICIES[kind]]
            name = (of if isinstance(of, str) else of[0]).rpartition(":")[2]
            roles[name] = {"trust": properties["PolicyDocument"]}
    return roles


def simulation(request: Request, roles: dict[str, Any], tenancy: str) -> dict[str, Any]:
    """A request in the engine's form; what has a policy of its own is asked whom it trusts."""
    asked = re.search(rf"(?:role/|key/|:s3:::|:s[nq]s:us-east-1:{ACCOUNT}:)(\w+)", request.resource)
    trust = {"resourcePolicy": roles[asked[1]]["trust"]} if asked and asked[1] in roles else {}
    is_service = request.role.endswith(".amazonaws.com")
    context = {
        name: value.replace("MODE", tenancy) if isinstance(value, str) else value
        for name, value in request.context.items()
    }
    # A role that is not the template's may assume whatever role trusts it.
    whatever = {"Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]}
    others = [] if is_service else [whatever]
    policies = roles.get(request.role, {"policies": others})["policies"]
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


@pytest.mark.parametrize("options", [NO_OPTION, EVERY_OPTION], ids=["no-option", "every-option"])
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
    optional = [
        *OPTIONAL,
        *FRONT_DOOR,
        assume("MeterRole", {"TenantId": "globex"}, of_another_tenant),
        assume("ApiRole", {"TenantId": "globex"}, of_another_tenant, "TenantApiRole"),
    ]
    if options is NO_OPTION:  # a role that is not there is assumed by nobody
        optional = [
            replace(request, expected=DENIED)
            for request in optional
            if not request.resource.endswith(":role/TenantApiRole")
        ]
    requests = [
        *REQUESTS,
        *ENCRYPTION,
        *MESSAGES,
        *ASSUMPTIONS,
        assume("WorkflowRole", {"TenantId": "globex"}, of_another_tenant),
        assume("ApproverRole", {"TenantId": "globex"}, of_another_tenant, "TenantApproverRole"),
        *optional,
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


def lists(tag: str, *tenants: str) -> Request:
    """A request of the API for a list, which is not the tenant's own."""
    where = {"action": "Query", "index": "/index/listed", "role": "TenantApiRole"}
    return item(tag, *tenants, expected=DENIED, **where)


CONTEXT = "kms:EncryptionContext:aws:"


@pytest.mark.parametrize(
    ("owner", "part", "what", "key", "opened"),
    [
        # Without a key there is nothing that ForAllValues could find to be wrong.
        (
            "TenantRole",
            "policies",
            "Null",
            "dynamodb:LeadingKeys",
            item("acme", expected=DENIED),
        ),
        (
            "TenantRole",
            "policies",
            "ForAllValues:StringEquals",
            "dynamodb:LeadingKeys",
            item("acme", "globex", expected=DENIED),
        ),
        *(
            ("TenantApiRole", "policies", what, "dynamodb:LeadingKeys", listing)
            for what, listing in (
                ("Null", lists("acme")),
                ("ForAllValues:StringEquals", lists("acme", "globex")),
            )
        ),
        (
            "TenantApiRole",
            "trust",
            "Principal",
            "AWS",
            assume("SomebodyElse", {"TenantId": "acme"}, DENIED, "TenantApiRole"),
        ),
        (
            "TenantRole",
            "policies",
            "Resource",
            BUCKET,
            stored("acme", "tenants/globex/orders.csv", expected=DENIED),
        ),
        (
            "TenantRole",
            "trust",
            "Null",
            "aws:RequestTag/TenantId",
            assume("WorkflowRole", {}, DENIED),
        ),
        (
            "TenantRole",
            "trust",
            "ForAllValues:StringEquals",
            "aws:TagKeys",
            assume("WorkflowRole", {"TenantId": "acme", "Admin": "yes"}, DENIED),
        ),
        (
            "TenantRole",
            "trust",
            "StringEquals",
            "aws:RequestTag/TenantId",
            assume("WorkflowRole", {"TenantId": "globex"}, DENIED),
        ),
        (
            "TenantRole",
            "trust",
            "Principal",
            "AWS",
            assume("SomebodyElse", {"TenantId": "acme"}, DENIED),
        ),
        *(
            ("WorkflowRole", "policies", what, key, use("WorkflowRole", service, DENIED, **told))
            for what, key, service, told in (
                ("StringEquals", "kms:ViaService", None, {"function": WORKFLOW}),
                ("StringLike", f"{CONTEXT}lambda:FunctionArn", "lambda", {"function": STARTER}),
            )
        ),
        *(
            ("DataKey", "trust", what, key, use(service, None, DENIED, **told))
            for what, key, service, told in (
                (
                    "StringLike",
                    "aws:SourceArn",
                    "lambda.amazonaws.com",
                    {"source": OTHER, "function": WORKFLOW},
                ),
                (
                    "StringLike",
                    f"{CONTEXT}lambda:FunctionArn",
                    "lambda.amazonaws.com",
                    {"source": WORKFLOW, "function": OTHER},
                ),
                (
                    "ArnEquals",
                    f"{CONTEXT}logs:arn",
                    "logs.us-east-1.amazonaws.com",
                    {"logs": f"{GROUP}2"},
                ),
                (
                    "ArnLike",
                    "aws:SourceArn",
                    "cloudwatch.amazonaws.com",
                    {"source": ALARM.replace(ACCOUNT, STRANGER)},
                ),
                (
                    "ArnLike",
                    f"{CONTEXT}sqs:arn",
                    "events.amazonaws.com",
                    {"queue": QUEUE.replace(ACCOUNT, STRANGER)},
                ),
            )
        ),
        (
            "OperatorTopic",
            "trust",
            "ArnLike",
            "aws:SourceArn",
            send("cloudwatch.amazonaws.com", OPERATORS, DENIED, ALARM.replace(ACCOUNT, STRANGER)),
        ),
        (
            "LostStatusEvents",
            "trust",
            "ArnEquals",
            "aws:SourceArn",
            send("events.amazonaws.com", LOST, DENIED, f"{RULE}-another"),
        ),
    ],
)
def test_each_condition_is_needed(
    bake: Bake,
    environments: Callable[[Project], Path],
    engine: Callable[[list[Any]], list[str]],
    owner: str,
    part: str,
    what: str,
    key: str,
    opened: Request,
) -> None:
    """Taken away, a condition, a principal or a prefix lets pass what is denied with it."""
    tenancy = "silo" if key == "aws:RequestTag/TenantId" and what == "StringEquals" else "pool"
    project = bake(tenancy=tenancy, customer_managed_key="yes", **EVERY_OPTION)
    roles = roles_of(project, environments(project) / "python")
    before = simulation(opened, roles, tenancy)
    changed = copy.deepcopy(roles)
    changing = changed[owner]
    for document in changing["policies"] if part == "policies" else [changing["trust"]]:
        loosen(document, what, key)

    assert engine([before, simulation(opened, changed, tenancy)]) == [DENIED, ALLOWED]
