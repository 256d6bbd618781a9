"""Counts a tenant's running executions down: when one ends, and for events that were lost."""

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

from chassis.tenancy.credentials import CONFIG
from chassis.tenancy.guard import tenant_of_name
from chassis.tenancy.registry import (
    LOOK_AFTER_SECONDS,
    LOOK_AGAIN_SECONDS,
    TablePartition,
    partition_key,
)
from chassis.tenancy.stores import table_partition
from chassis.wire import JsonObject

ENDED = {"SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT", "DELETING", "NOT_STARTED", "FORGOTTEN"}
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
    arn, partition = detail.get("durableExecutionArn"), table_partition(tenant_id)
    return {"released": int(partition.release(name, status, int(time.time()), arn))}


def sweep(context: Any) -> JsonObject:
    """Look at executions that are counted as running, those first that were due first.

    What a sweep has no time for is due first in the next one.

    Raises:
        NotSweptError: some could not be looked at.
    """
    looked = released = failed = 0
    for tenant_id, name in due():
        if context.get_remaining_time_in_millis() < MARGIN_MILLISECONDS:
            break
        looked += 1
        partition = table_partition(tenant_id)
        try:
            released += look(partition, name)
        except (BotoCoreError, ClientError):
            failed += 1
            logging.getLogger("workflow").exception("not swept", extra={"executionName": name})
            with suppress(BotoCoreError, ClientError):  # others first, the next time
                partition.look_again(name, int(time.time()) + LOOK_AFTER_SECONDS)
    if failed:
        raise NotSweptError(f"{failed} of {looked} executions could not be looked at")
    return {"looked": looked, "released": released}


def due() -> Iterator[tuple[str, str]]:
    """Tenant and name of each execution to look at, of all tenants."""
    pages = (
        _client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=os.environ["TENANT_TABLE"],
            IndexName="running",
            KeyConditionExpression="#state = :running AND lookAt < :now",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={
                ":running": {"S": "RUNNING"},
                ":now": {"N": str(int(time.time()))},
            },
        )
    )
    for page in pages:
        for item in page["Items"]:
            tenant_id = item["pk"]["S"].removeprefix(partition_key(""))
            yield tenant_id, item["sk"]["S"].removeprefix("RUN#")


def look(partition: TablePartition, name: str) -> bool:
    """Release an execution that is over; look again later at one that runs."""
    arn = partition.arn_of(name)
    status, now = status_of(arn), int(time.time())
    if status in ENDED:
        return partition.release(name, status, now, arn)
    partition.look_again(name, now + LOOK_AGAIN_SECONDS)
    return False


def status_of(execution_arn: str | None) -> str:
    """The status of an execution; NOT_STARTED if neither starter nor workflow have seen it."""
    if execution_arn is None:
        return "NOT_STARTED"
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
