"""The durable steps: everything that reads a clock or the environment, or calls out, is here.

A step's result is checkpointed; when the execution is replayed, its body does not run again.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

import boto3
from aws_durable_execution_sdk_python import StepContext, durable_step

#% if cookiecutter.fan_out == "yes"
from workflow import chunk_steps, data_processor, limits, policies, registry, tenants
#% else
from workflow import data_processor, limits, policies, registry, tenants
#% endif
from workflow.checks import CHECKS, Check
from workflow.limits import MAX_ATTEMPTS
from workflow.models import (
    CheckResult,
    ItemError,
    ItemOutcome,
    ItemOutcomes,
    JsonObject,
    Metrics,
    Plan,
    WorkflowRequest,
    WorkItem,
    item_count,
)
from workflow.settings import load


@durable_step
def prepare_work(context: StepContext, request: WorkflowRequest, execution_arn: str) -> Plan:
    """Turn the input into work items, and fix what they are processed with.

    Raises:
        TenantRefusedError: the registry does not know the tenant, or has it suspended, or does not
            count this execution.
        InvalidInputError: more items than the tenant may have processed.
    """
    partition = registry.partition(request.tenant_id)
    profile = partition.profile().require_active()
    tenants.require_items(len(request.items), profile.limits())
    partition.note_arn(execution_arn)
    settings = tenants.narrow(load(os.environ), profile.limits())
    #% if cookiecutter.fan_out == "yes"
    stored = chunk_steps.cut(
        request, execution_arn, settings, len(CHECKS), profile.limits()["items_per_execution"]
    )
    #% endif
    plan = Plan(
        started_at=_now().isoformat(),
        tier=profile.tier,
        settings=settings,
        #% if cookiecutter.fan_out == "yes"
        items=[] if stored else data_processor.generate_work_items(request.items),
        stored=stored,
        #% else
        items=data_processor.generate_work_items(request.items),
        #% endif
    )
    context.logger.info("work prepared", extra={"items": item_count(plan)})
    return plan


@durable_step
def run_check(
    context: StepContext, name: str, check: Check, items: Iterable[WorkItem]
) -> JsonObject:
    """Run one check over all items."""
    with limits.short_errors():
        result = check(items)
    # Half of an output is for the checks, the other half for the items that have failed.
    sharing = 2 * len(CHECKS)
    limits.require_checkpoint_size(result, f"the result of {name}", ItemError, sharing=sharing)
    context.logger.info("check done", extra={"check": name})
    return result


@durable_step
def process_batch(context: StepContext, batch: list[WorkItem]) -> list[ItemOutcome]:
    """Process the items that share a checkpoint, and keep what came of each.

    Calls to other systems belong here, around the pure function. Whatever is raised fails the
    item; ``TransientError`` has the step tried again, with all its items.
    """
    outcomes: list[ItemOutcome] = []
    for item in batch:
        try:
            with limits.short_errors():
                result = data_processor.process_item(item)
            what = f"the result of {item['id']}"
            limits.require_checkpoint_size(result, what, ItemError, sharing=len(batch))
        except Exception as error:  # the item's fault, whatever it is, and nobody else's
            is_retried = isinstance(error, policies.RETRYABLE) and context.attempt < MAX_ATTEMPTS
            if is_retried or len(batch) == 1:  # alone, so that the history shows it
                raise
            outcomes.append({"error": limits.shorten(str(error), limits.MAX_ERROR_BYTES)})
        else:
            outcomes.append({"result": result})
            context.logger.info("item processed", extra={"itemId": item["id"]})
    return outcomes


@durable_step
def aggregate_results(
    context: StepContext, plan: Plan, checks: list[CheckResult], outcomes: ItemOutcomes
) -> Metrics:
    """Count the results, and measure the time since the initial step."""
    finished_at = _now()
    started_at = datetime.fromisoformat(plan["started_at"])
    metrics = data_processor.aggregate(
        outcomes=outcomes,
        checks_run=len(checks),
        started_at=_wire_time(started_at),
        finished_at=_wire_time(finished_at),
        duration_seconds=round((finished_at - started_at).total_seconds(), 3),
    )
    context.logger.info("results aggregated", extra=_embedded_metrics(metrics, plan["tier"]))
    return metrics


def _embedded_metrics(metrics: Metrics, tier: str) -> JsonObject:
    """CloudWatch's embedded metric format: it makes metrics of a line of the log.

    The dimension is the tier; a dimension for each tenant would be billed for each tenant.
    """
    names = [
        {"Name": "itemsProcessed", "Unit": "Count"},
        {"Name": "itemsFailed", "Unit": "Count"},
        {"Name": "durationSeconds", "Unit": "Seconds"},
    ]
    directive = {"Namespace": "DurableWorkflow", "Dimensions": [["tier"]], "Metrics": names}
    timestamp = int(datetime.fromisoformat(metrics["finishedAt"]).timestamp() * 1000)
    return {
        "_aws": {"Timestamp": timestamp, "CloudWatchMetrics": [directive]},
        "tier": tier,
        **metrics,
    }


def store_approval(
    request: WorkflowRequest, callback_id: str, execution_arn: str, timeout: int
) -> str:
    """Keep the callback id under its tenant; return the token that finds it there."""
    token = secrets.token_hex(32)  # of characters that mean nothing on a command line
    registry.partition(request.tenant_id).put_approval(
        token, callback_id, execution_arn, int(_now().timestamp()) + timeout
    )
    return token


def notify(topic_arn: str, subject: str, message: JsonObject) -> None:
    """Publish a message; called in the submitter step of the approval.

    Subscribers can filter by the attribute tenantId.
    """
    _sns().publish(
        TopicArn=topic_arn,
        Subject=subject,
        Message=json.dumps(message, indent=2),
        MessageAttributes={"tenantId": {"DataType": "String", "StringValue": message["tenantId"]}},
    )


@cache
def _sns() -> Any:
    return boto3.client("sns")


def _now() -> datetime:
    return datetime.now(UTC)


def _wire_time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
