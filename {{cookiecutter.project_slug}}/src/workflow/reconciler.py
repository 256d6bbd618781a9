"""Counts a tenant's running executions down: when one ends, and for events that were lost."""

from __future__ import annotations

import logging
import os
import time
from functools import cache
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from workflow import tenants
from workflow.credentials import tenant_client
from workflow.models import JsonObject
from workflow.registry import TablePartition

SWEEP_AFTER_SECONDS = 15 * 60
ENDED = {"SUCCEEDED", "FAILED", "STOPPED", "TIMED_OUT", "NOT_STARTED", "FORGOTTEN"}


def handler(event: Any, context: Any) -> JsonObject:
    """Take the status event of an execution that has ended, or sweep when the schedule says so."""
    del context
    detail = event.get("detail") or {}
    if "durableExecutionName" in detail:
        return {"released": int(release(detail["durableExecutionName"], detail["status"]))}
    return sweep()


def release(name: str, status: str) -> bool:
    """Count down once; a second event of the same execution changes nothing."""
    tenant_id = tenants.tenant_of_name(name)
    if tenant_id is None or status not in ENDED:
        return False  # not started by the starter, so never counted, or not over
    registry = TablePartition(tenant_id, tenant_client("dynamodb", tenant_id))
    return registry.release(name, status, int(time.time()))


def sweep() -> JsonObject:
    """Release what is counted as running, but is not; one that fails does not stop the others."""
    released = failed = 0
    before = str(int(time.time()) - SWEEP_AFTER_SECONDS)
    pages = (
        _client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=os.environ["TENANT_TABLE"],
            IndexName="running",
            KeyConditionExpression="#state = :running AND runningSince < :before",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":running": {"S": "RUNNING"}, ":before": {"N": before}},
        )
    )
    for page in pages:
        for item in page["Items"]:
            name = item["sk"]["S"].removeprefix("RUN#")
            try:
                released += release(name, status_of(name, item.get("executionArn", {}).get("S")))
            except (BotoCoreError, ClientError):
                failed += 1
                logging.getLogger("workflow").exception("not swept", extra={"executionName": name})
    return {"released": released, "failed": failed}


def status_of(name: str, execution_arn: str | None) -> str:
    """The status of an execution; NOT_STARTED if its start never came to an execution."""
    client = _client("lambda")
    if execution_arn:
        try:
            return str(
                client.get_durable_execution(
                    DurableExecutionArn=execution_arn, IncludeExecutionData=False
                )["Status"]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return "FORGOTTEN"
    executions = client.list_durable_executions_by_function(
        FunctionName=os.environ["WORKFLOW_FUNCTION"], DurableExecutionName=name
    )["DurableExecutions"]
    return str(executions[0]["Status"]) if executions else "NOT_STARTED"


@cache
def _client(service: str) -> Any:
    return boto3.client(service)
