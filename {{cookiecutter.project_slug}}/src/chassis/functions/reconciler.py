"""Counts a tenant's running executions down: when one ends, and for events that were lost.

It also says which approvals are about to expire.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from chassis.tenancy.approvals import APPROVAL
from chassis.tenancy.credentials import CONFIG
from chassis.tenancy.guard import tenant_of_name
from chassis.tenancy.registry import LOOK_AFTER_SECONDS, LOOK_AGAIN_SECONDS, TablePartition
from chassis.tenancy.rows import partition_key
from chassis.tenancy.stores import table_approvals, table_partition
from chassis.wire import JsonObject

ENDED = {"SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT", "DELETING", "FORGOTTEN"}
MARGIN_MILLISECONDS = 30_000
"""What one look may take, with its retries: a sweep begins none when it has less."""


class NotSweptError(Exception):
    """Some executions could not be looked at; Lambda tries again, and then tells the operator."""


def handler(event: Any, context: Any) -> JsonObject:
    """Take the status event of an execution that has ended, or sweep when the schedule says so.

    Raises:
        NotSweptError: some executions could not be looked at; the others have been.
    """
    detail = event.get("detail") or {}
    if "durableExecutionName" not in detail:
        return sweep(context)
    name, status = detail["durableExecutionName"], detail["status"]
    tenant_id = tenant_of_name(name)
    if tenant_id is None or status not in ENDED:
        return {"released": 0}  # not started by the starter, so never counted, or not over
    arn, partition = detail["durableExecutionArn"], table_partition(tenant_id)
    return {"released": int(end(partition, name, status, arn))}


def end(partition: TablePartition, name: str, status: str, execution_arn: str) -> bool:
    """Withdraw what an execution that has ended had asked, and count it down, once."""
    now = int(time.time())
    table_approvals(partition.tenant_id).withdraw(execution_arn, now)
    #% if cookiecutter.__invoke and cookiecutter.front_door == "http_api"
    if status != "SUCCEEDED":
        # Before it is counted down: what fails is tried again as long as it counts as running.
        meter(partition, name, execution_arn)
    #% endif
    return partition.release(name, status, now, execution_arn)


#% if cookiecutter.__invoke and cookiecutter.front_door == "http_api"
def meter(partition: TablePartition, name: str, execution_arn: str) -> None:
    """Record what an execution had processed that ended before the meter was told."""
    if processed := partition.put_missing_usage(name, execution_arn):
        usage = {"executionArn": execution_arn, "itemsProcessed": processed}
        identity = {"tenantId": partition.tenant_id}
        logging.getLogger("workflow").info("usage recorded", extra={**identity, **usage})


#% endif
def sweep(context: Any) -> JsonObject:
    """Look at pending approvals and running executions, those first that were due first.

    What a sweep has no time for is due first in the next one.

    Raises:
        NotSweptError: some could not be looked at, and with them what is due of their tenants.
    """
    looked = released = 0
    failed = set[str]()
    for tenant_id, name, look_at in due():
        if context.get_remaining_time_in_millis() < MARGIN_MILLISECONDS:
            break
        if tenant_id in failed:  # it would cost the others their time
            continue
        looked += 1
        try:
            released += look(table_partition(tenant_id), name, look_at)
        except (BotoCoreError, ClientError):
            failed.add(tenant_id)
            logging.getLogger("workflow").exception("not swept", extra={"executionName": name})
            with suppress(BotoCoreError, ClientError):  # others first, the next time
                again = int(time.time()) + LOOK_AFTER_SECONDS
                table_partition(tenant_id).look_again(name, again)
    if failed:
        raise NotSweptError(f"{len(failed)} of {looked} executions could not be looked at")
    return {"looked": looked, "released": released}


def due() -> Iterator[tuple[str, str, int]]:
    """Tenant, name and since when of each execution to look at; of approvals, the sort key."""
    paginator = _client("dynamodb").get_paginator("query")
    for state in ("PENDING", "RUNNING"):
        pages = paginator.paginate(
            TableName=os.environ["TENANT_TABLE"],
            IndexName="running",
            KeyConditionExpression="#state = :state AND lookAt < :now",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={
                ":state": {"S": state},
                ":now": {"N": str(int(time.time()))},
            },
        )
        for page in pages:
            for item in page["Items"]:
                tenant_id = item["pk"]["S"].removeprefix(partition_key(""))
                name, look_at = item["sk"]["S"].removeprefix("RUN#"), int(item["lookAt"]["N"])
                yield tenant_id, name, look_at


def look(partition: TablePartition, name: str, look_at: int) -> bool:
    """Release an execution that is over; look again later at one that runs.

    Of an approval that is still pending, say so, once.
    """
    now = int(time.time())
    if name.startswith(APPROVAL):
        if asked := table_approvals(partition.tenant_id).note_warned(name, now):
            told = {"executionArn": asked.execution_arn, "approval": asked.approval}
            logging.getLogger("workflow").warning(
                "approval expires soon", extra={"tenantId": partition.tenant_id, **told}
            )
        return False
    arn = partition.arn_of(name)
    if arn is None:  # neither starter nor workflow have seen it
        return partition.give_up(name, look_at, now)
    status = status_of(arn)
    if status in ENDED:
        return end(partition, name, status, arn)
    partition.look_again(name, now + LOOK_AGAIN_SECONDS)
    return False


def status_of(execution_arn: str) -> str:
    """The status of an execution; FORGOTTEN if the service does not know it any more."""
    try:
        execution = _client("lambda").get_durable_execution(
            DurableExecutionArn=execution_arn, IncludeExecutionData=False
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return "FORGOTTEN"
    return str(execution["Status"])


@cache
def _client(service: str) -> Any:
    return boto3.client(service, config=CONFIG)
