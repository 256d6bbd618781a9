"""Where a tenant's rows and objects are, and how people are told: AWS, or something like it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3

from chassis.tenancy.credentials import CONFIG, tenant_client
#% if cookiecutter.fan_out == "yes"
from chassis.tenancy.objects import BucketObjects
#% endif
from chassis.tenancy.registry import TablePartition
from chassis.wire import JsonObject


@dataclass(frozen=True, kw_only=True)
class Stores:
    """What the steps reach outside of the execution.

    Attributes:
        partition: the rows of a tenant.
        #% if cookiecutter.fan_out == "yes"
        objects: the objects of a tenant.
        #% endif
        notify: publishes a message; called with a topic's ARN, a subject and the message.
    """

    partition: Callable[[str], TablePartition]
    #% if cookiecutter.fan_out == "yes"
    objects: Callable[[str], BucketObjects]
    #% endif
    notify: Callable[[str, str, JsonObject], None]


def table_partition(tenant_id: str) -> TablePartition:
    """The rows of a tenant in the stack's table."""
    return TablePartition(
        tenant_id, tenant_client("dynamodb", tenant_id), os.environ["TENANT_TABLE"]
    )


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
    #% if cookiecutter.fan_out == "yes"
    objects=bucket_objects,
    #% endif
    notify=publish,
)
