"""The durable steps of an execution, from its plan to its metrics."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime
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
    Approval,
    Attempt,
    Check,
    CheckResult,
    Definition,
    #% if cookiecutter.front_door == "http_api"
    InvalidInputError,
    #% endif
    ItemError,
    ItemOutcome,
    ItemOutcomes,
    ItemStep,
    Plan,
    Request,
    TransientError,
    #% if cookiecutter.front_door == "http_api"
    refusal,
    #% endif
)
from chassis.settings import load
#% if cookiecutter.fan_out == "yes"
from chassis.steps.chunks import StoredItems, cut
#% endif
from chassis.tenancy.approvals import Asked, approval_id, new_token
from chassis.tenancy.profile import narrow, read_tiers, require_allowed
from chassis.tenancy.stores import Stores
from chassis.wire import JsonObject, abridge, shorten, wire_time

IDENTITY = {"workflowId", "tenantId", "executionArn"}
"""Fields of every message; those that a workflow adds are part of the evidence, too."""

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
    #% if cookiecutter.front_door == "http_api"
    runs = stores.runs(request.tenant_id)
    try:
        plan = _plan(definition, stores, request, execution_arn)
    except InvalidInputError as error:
        runs.put_result(execution_arn, refusal(request.identity(), execution_arn, str(error)))
        raise
    #% if cookiecutter.__invoke and cookiecutter.fan_out == "yes"
    # Where the input is cut, each part has a record of its own.
    runs.expect(execution_arn, plan["item_count"], None if plan["stored"] else plan["started_at"])
    #% elif cookiecutter.__invoke
    runs.expect(execution_arn, plan["item_count"], plan["started_at"])
    #% else
    runs.expect(execution_arn, plan["item_count"])
    #% endif
    #% else
    plan = _plan(definition, stores, request, execution_arn)
    #% endif
    context.logger.info("work prepared", extra={"items": plan["item_count"]})
    return plan


def _plan(
    definition: Definition[Any], stores: Stores, request: Request, execution_arn: str
) -> Plan:
    items = quotas.require_fit(request, definition)
    partition = stores.partition(request.tenant_id)
    profile = partition.profile().require_active()
    limits = profile.limits(read_tiers(definition.tiers))
    require_allowed(len(request.items), limits)
    started_by = partition.note_arn(execution_arn)
    settings = narrow(load(os.environ), limits)
    #% if cookiecutter.fan_out == "yes"
    size = min(settings["chunk_size"], quotas.max_items(len(definition.item_steps), settings))
    stored = cut(definition, stores, request, execution_arn, size, limits["items_per_execution"])
    everything = StoredItems(definition, stores, request, stored) if stored else items
    #% else
    everything = items
    #% endif
    return Plan(
        started_at=wire_time(_now()),
        started_by=started_by,
        tier=profile.tier,
        settings=settings,
        #% if cookiecutter.fan_out == "yes"
        item_count=sum(cut["count"] for cut in stored["cuts"]) if stored else len(items),
        items=[] if stored else items,
        stored=stored,
        #% else
        item_count=len(items),
        items=items,
        #% endif
        evidence=abridge(definition.evidence(everything), quotas.MAX_EVIDENCE_BYTES),
    )


@durable_wait_for_callback
def request_approval(
    callback_id: str,
    context: WaitForCallbackContext,
    stores: Stores,
    request: Request,
    plan: Plan,
    execution_arn: str,
    approval: str,
    evidence: JsonObject,
) -> None:
    """Keep the callback id under its tenant, and tell the approvers the token that finds it there.

    The callback id is the right to answer, so it goes nowhere else.
    """
    settings, now = plan["settings"], _now()
    identity = {**request.identity(), "executionArn": execution_arn}
    own = {name: value for name, value in identity.items() if name not in IDENTITY}
    if request.redrive_of:
        own["firstApproval"] = approval_id(request.redrive_of, approval)
    asked = Asked(
        workflow_id=request.workflow_id,
        execution_arn=execution_arn,
        approval=approval,
        asked_at=now,
        expires_at=int(now) + settings["callback_timeout"],
        started_by=plan["started_by"],
        evidence=abridge({**own, **evidence}, quotas.MAX_EVIDENCE_BYTES),
    )
    token = new_token(asked.id)  # of characters that mean nothing on a command line
    approvals = stores.approvals(request.tenant_id)
    if not approvals.ask(asked, callback_id, token, settings["decision_retention_days"]):
        return  # it has been answered: an earlier attempt had asked
    message = {
        **identity,
        "approval": approval,
        "startedBy": asked.started_by,
        "evidence": asked.evidence,
        "token": token,
        "answerWith": f"make approve TENANT={request.tenant_id} TOKEN={token}",
    }
    #% if cookiecutter.front_door == "http_api"
    if settings["page_url"]:
        message["page"] = f"{settings['page_url']}/#/approvals/{asked.id}"
    #% endif
    subject = f"Approval wanted: {request.workflow_id}"
    stores.notify(settings["approval_topic_arn"], subject, message)
    context.logger.info("approval requested", extra={"approval": approval})


@durable_step
def record_decision(
    context: StepContext,
    stores: Stores,
    tenant_id: str,
    approval_id: str,
    decision: Approval,
    identified_by: str | None,
) -> None:
    """Keep what came of an approval, unless whoever took the answer has done so."""
    stores.approvals(tenant_id).close(approval_id, decision, identified_by, _now())
    context.logger.info("approval decided", extra={"decision": decision.decision.value})


#% if cookiecutter.front_door == "http_api"
@durable_step
def record_result(
    context: StepContext, stores: Stores, tenant_id: str, execution_arn: str, output: JsonObject
) -> None:
    """Keep what people see of an output."""
    stores.runs(tenant_id).put_result(execution_arn, output)
    context.logger.info("result recorded")


#% endif
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
    #% if cookiecutter.front_door == "http_api"
    is_last: bool,
    count_done: Callable[[], None],
    #% endif
) -> list[ItemOutcome]:
    """Run one step of the items that share a checkpoint, and keep what came of each.

    Whatever is raised fails the item; what is ``RETRYABLE`` has the step tried again, with all its
    items. An item that has failed in an earlier step is left as it is.
    """
    done: list[ItemOutcome] = []
    failure: Exception | None = None
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
            if isinstance(error, RETRYABLE) and context.attempt < quotas.MAX_ATTEMPTS:
                raise
            failure = error if len(batch) == 1 else None  # alone, so that the history shows it
            done.append({"error": shorten(str(error), quotas.MAX_ERROR_BYTES)})
        else:
            done.append({"result": result})
            context.logger.info("item processed", extra={"itemId": item["id"]})
    #% if cookiecutter.front_door == "http_api"
    if is_last or failure:
        try:
            count_done()
        except (BotoCoreError, ClientError) as error:  # for people: no reason to process it again
            context.logger.warning("progress not noted", extra={"why": type(error).__name__})
    #% endif
    if failure:
        raise failure
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
    started_at = datetime.fromisoformat(plan["started_at"]).timestamp()
    metrics = {
        **aggregate(items, checks),
        "startedAt": plan["started_at"],
        "finishedAt": wire_time(finished_at),
        "durationSeconds": round(finished_at - started_at, 3),
    }
    measured = _embedded_metrics(metrics, plan["tier"], items, finished_at)
    context.logger.info("results aggregated", extra=measured)
    return metrics


def _embedded_metrics(metrics: JsonObject, tier: str, items: ItemOutcomes, at: float) -> JsonObject:
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
            "Timestamp": int(at * 1000),
            "CloudWatchMetrics": [directive],
        },
        "tier": tier,
        "itemsProcessed": items.succeeded + items.failed,
        "itemsFailed": items.failed,
    }


def _key(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _now() -> float:
    return time.time()
