"""Where a tenant's rows and objects are, and how people are told: AWS, or something like it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import boto3

from chassis.tenancy.approvals import Approvals
from chassis.tenancy.credentials import CONFIG, tenant_client
#% if cookiecutter.fan_out == "yes"
from chassis.tenancy.objects import BucketObjects
#% endif
from chassis.tenancy.registry import TablePartition
from chassis.tenancy.rows import Rows
#% if cookiecutter.front_door == "http_api"
from chassis.tenancy.runs import Runs
#% endif
from chassis.wire import JsonObject


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the steps reach outside of the execution.

    Attributes:
        partition: the profile and the executions of a tenant.
        approvals: of a tenant.
        #% if cookiecutter.front_door == "http_api"
        runs: what people see of its executions.
        #% endif
        #% if cookiecutter.fan_out == "yes"
        objects: the objects of a tenant.
        #% endif
        notify: publishes a message; called with a topic's ARN, a subject and the message.
    """

    partition: Callable[[str], TablePartition]
    approvals: Callable[[str], Approvals]
    #% if cookiecutter.front_door == "http_api"
    runs: Callable[[str], Runs]
    #% endif
    #% if cookiecutter.fan_out == "yes"
    objects: Callable[[str], BucketObjects]
    #% endif
    notify: Callable[[str, str, JsonObject], None]


T = TypeVar("T", bound=Rows)


def rows_of(kind: type[T], tenant_id: str) -> T:
    """The rows of a tenant in the stack's table, of one kind."""
    return kind(tenant_id, tenant_client("dynamodb", tenant_id), os.environ["TENANT_TABLE"])


table_partition = partial(rows_of, TablePartition)
#% if cookiecutter.front_door == "http_api"
table_runs = partial(rows_of, Runs)
#% endif
table_approvals = partial(rows_of, Approvals)


#% if cookiecutter.fan_out == "yes"
def bucket_objects(tenant_id: str) -> BucketObjects:
    """The objects of a tenant in the stack's bucket."""
    return BucketObjects(tenant_client("s3", tenant_id), os.environ["BUCKET"], tenant_id)


#% endif
def publish(topic_arn: str, subject: str, message: JsonObject) -> None:
    """Publish a message; subscribers can filter by its attributes tenantId and approval."""
    attributes = {
        name: {"DataType": "String", "StringValue": message[name]}
        for name in ("tenantId", "approval")
        if name in message
    }
    _sns().publish(
        TopicArn=topic_arn,
        Subject=subject,
        Message=json.dumps(message, indent=2),
        MessageAttributes=attributes,
    )


@cache
def _sns() -> Any:
    return boto3.client("sns", config=CONFIG)


AWS = Stores(
    partition=table_partition,
    approvals=table_approvals,
    #% if cookiecutter.front_door == "http_api"
    runs=table_runs,
    #% endif
    #% if cookiecutter.fan_out == "yes"
    objects=bucket_objects,
    #% endif
    notify=publish,
)
