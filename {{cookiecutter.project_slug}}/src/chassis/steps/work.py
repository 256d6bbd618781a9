"""The durable steps of an execution, from its plan to its metrics."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from aws_durable_execution_sdk_python import (
    StepContext,
    durable_step,
    durable_wait_for_callback,
)
from aws_durable_execution_sdk_python.types import WaitForCallbackContext
from botocore.exceptions import BotoCoreError, ClientError

from chassis import quotas
from chassis.model import (
    Attempt,
    Check,
    CheckResult,
    Definition,
    ItemError,
    ItemOutcome,
    ItemOutcomes,
    ItemStep,
    Plan,
    Request,
    TransientError,
)
from chassis.settings import load
#% if cookiecutter.fan_out == "yes"
from chassis.steps.chunks import cut
#% endif
from chassis.tenancy.profile import narrow, read_tiers, require_allowed
from chassis.tenancy.stores import Stores
from chassis.wire import JsonObject, shorten

RETRYABLE: tuple[type[Exception], ...] = (TransientError, BotoCoreError, ClientError)
"""What a step is tried again for: it says so itself, or a call of AWS in it has failed."""


@durable_step
def prepare_work(
    context: StepContext,
    definition: Definition[Any],
    stores: Stores,
    request: Request,
    execution_arn: str,
) -> Plan:
    """Turn the input into work items, and fix what they are processed with.

    Raises:
        TenantRefusedError: the registry does not know the tenant, or has it suspended, or does not
            count this execution.
        InvalidInputError: more items than the tenant may have processed, or than fit.
    """
    items = quotas.require_fit(request, definition)
    partition = stores.partition(request.tenant_id)
    profile = partition.profile().require_active()
    limits = profile.limits(read_tiers(definition.tiers))
    require_allowed(len(request.items), limits)
    partition.note_arn(execution_arn)
    settings = narrow(load(os.environ), limits)
    #% if cookiecutter.fan_out == "yes"
    size = min(settings["chunk_size"], quotas.max_items(len(definition.item_steps), settings))
    stored = cut(definition, stores, request, execution_arn, size, limits["items_per_execution"])
    plan = Plan(
        started_at=_wire_time(_now()),
        tier=profile.tier,
        settings=settings,
        item_count=sum(cut["count"] for cut in stored["cuts"]) if stored else len(items),
        items=[] if stored else items,
        stored=stored,
    )
    #% else
    plan = Plan(
        started_at=_wire_time(_now()),
        tier=profile.tier,
        settings=settings,
        item_count=len(items),
        items=items,
    )
    #% endif
    context.logger.info("work prepared", extra={"items": plan["item_count"]})
    return plan


@durable_wait_for_callback
def request_approval(
    callback_id: str,
    context: WaitForCallbackContext,
    stores: Stores,
    timeout: int,
    topic_arn: str,
    message: JsonObject,
) -> None:
    """Keep the callback id under its tenant, and tell the approvers the token that finds it there.

    The callback id is the right to answer, so it goes nowhere else.
    """
    token = secrets.token_hex(32)  # of characters that mean nothing on a command line
    tenant_id = message["tenantId"]
    now = int(_now().timestamp())
    stores.partition(tenant_id).put_approval(
        token, callback_id, message["executionArn"], now=now, timeout=timeout
    )
    told = {"token": token, "answerWith": f"make approve TENANT={tenant_id} TOKEN={token}"}
    subject = f"Approval wanted: {message['workflowId']}"
    stores.notify(topic_arn, subject, message | told)
    context.logger.info("approval requested", extra={"approval": message["approval"]})


@durable_step
def run_check(
    context: StepContext, name: str, check: Check, items: Iterable[Any], most: int
) -> JsonObject:
    """Run one check over all items; its result may take ``most`` bytes of JSON."""
    with quotas.short_errors():
        result = check(items)
    quotas.require_size(result, f"the result of {name}", ItemError, most)
    context.logger.info("check done", extra={"check": name})
    return result


@durable_step
def process_batch(
    context: StepContext,
    step: ItemStep,
    batch: list[Any],
    outcomes: list[ItemOutcome],
    tenant_id: str,
    execution_arn: str,
) -> list[ItemOutcome]:
    """Run one step of the items that share a checkpoint, and keep what came of each.

    Whatever is raised fails the item; what is ``RETRYABLE`` has the step tried again, with all its
    items. An item that has failed in an earlier step is left as it is.
    """
    done: list[ItemOutcome] = []
    for item, outcome in zip(batch, outcomes, strict=True):
        if "error" in outcome:
            done.append(outcome)
            continue
        attempt = Attempt(
            tenant_id=tenant_id,
            execution_arn=execution_arn,
            number=context.attempt,
            idempotency_key=_key(execution_arn, item["id"], step.__name__),
            previous=outcome.get("result"),
        )
        try:
            with quotas.short_errors():
                result = step(item, attempt)
            most = quotas.MAX_CHECKPOINT_BYTES // len(batch)
            quotas.require_size(result, f"the result of {item['id']}", ItemError, most)
        except Exception as error:  # the item's fault, whatever it is, and nobody else's
            is_retried = isinstance(error, RETRYABLE) and context.attempt < quotas.MAX_ATTEMPTS
            if is_retried or len(batch) == 1:  # alone, so that the history shows it
                raise
            done.append({"error": shorten(str(error), quotas.MAX_ERROR_BYTES)})
        else:
            done.append({"result": result})
            context.logger.info("item processed", extra={"itemId": item["id"]})
    return done


@durable_step
def aggregate_results(
    context: StepContext,
    plan: Plan,
    checks: list[CheckResult],
    items: ItemOutcomes,
    aggregate: Callable[[ItemOutcomes, list[CheckResult]], JsonObject],
) -> JsonObject:
    """Count the results, and measure the time since the initial step."""
    finished_at = _now()
    started_at = datetime.fromisoformat(plan["started_at"])
    metrics = {
        **aggregate(items, checks),
        "startedAt": plan["started_at"],
        "finishedAt": _wire_time(finished_at),
        "durationSeconds": round((finished_at - started_at).total_seconds(), 3),
    }
    measured = _embedded_metrics(metrics, plan["tier"], items, finished_at)
    context.logger.info("results aggregated", extra=measured)
    return metrics


def _embedded_metrics(
    metrics: JsonObject, tier: str, items: ItemOutcomes, at: datetime
) -> JsonObject:
    """CloudWatch's embedded metric format: it makes metrics of a line of the log.

    The dimension is the tier; a dimension for each tenant would be billed for each tenant.
    """
    names = [
        {"Name": "itemsProcessed", "Unit": "Count"},
        {"Name": "itemsFailed", "Unit": "Count"},
        {"Name": "durationSeconds", "Unit": "Seconds"},
    ]
    directive = {"Namespace": "DurableWorkflow", "Dimensions": [["tier"]], "Metrics": names}
    return {
        **metrics,
        "_aws": {
            "Timestamp": int(at.timestamp() * 1000),
            "CloudWatchMetrics": [directive],
        },
        "tier": tier,
        "itemsProcessed": items.succeeded + items.failed,
        "itemsFailed": items.failed,
    }


def _key(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _now() -> datetime:
    return datetime.now(UTC)


def _wire_time(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
