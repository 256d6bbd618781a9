"""The workflow: what happens, in which order. Nothing here may depend on anything but its input.

The code runs again from the top whenever the execution resumes, and takes what has already
happened from the checkpoints. So no clock, no randomness, no I/O and no environment in this
file (the linter holds it to that): they belong into ``steps.py``.
"""

from __future__ import annotations

from aws_durable_execution_sdk_python import BatchResult, DurableContext, ParallelBranch
from aws_durable_execution_sdk_python.concurrency.models import CompletionReason

from workflow import limits, policies, steps
from workflow.callback_helper import Approval, Decision, await_approval
from workflow.checks import CHECKS
from workflow.data_processor import failed_items
from workflow.models import (
    CheckResult,
    ChecksFailedError,
    ItemOutcomes,
    ItemResult,
    JsonObject,
    Plan,
    Status,
    TooManyItemsFailedError,
    WorkflowRequest,
    WorkItem,
    build_output,
)


def run(context: DurableContext, request: WorkflowRequest) -> JsonObject:
    """Prepare, ask, check, process, aggregate."""
    limits.require_room(request, len(CHECKS))
    execution_arn = context.execution_context.durable_execution_arn
    plan = context.step(
        steps.prepare_work(request, execution_arn),
        name="prepare-work",
        config=policies.RETRY_TRANSIENT,
    )
    approval = await_approval(context, request, plan)
    checks: list[CheckResult] = run_checks(context, plan) if approval.goes_on else []
    outcomes = process_items(context, plan) if approval.goes_on else ItemOutcomes([], [])
    metrics = context.step(
        steps.aggregate_results(plan, checks, outcomes),
        name="aggregate-results",
        config=policies.ONCE,
    )
    output = build_output(
        request,
        execution_arn,
        status_of(approval, checks, outcomes),
        approval.to_wire(),
        checks,
        outcomes,
        metrics,
    )
    return limits.fit_output(output)


def run_checks(context: DurableContext, plan: Plan) -> list[CheckResult]:
    """Run every check in a branch of its own.

    Raises:
        ChecksFailedError: more checks failed than the stack tolerates.
    """
    batch: BatchResult[JsonObject] = context.parallel(
        [_branch(name, plan["items"]) for name in CHECKS],
        name="run-checks",
        config=policies.CHECKS,
    )
    results = [
        CheckResult(name=name, error=item.error.message or "no reason given")
        if item.error
        else CheckResult(name=name, result=item.result or {})
        for name, item in zip(CHECKS, batch.all, strict=True)
    ]
    failures = [f"{check['name']}: {check['error']}" for check in results if "error" in check]
    tolerated = plan["settings"]["tolerated_check_failures"]
    if len(failures) > tolerated:
        raise ChecksFailedError(
            f"{len(failures)} of {len(results)} checks failed, {tolerated} tolerated: "
            f"{'; '.join(failures)}"
        )
    return results


def process_items(context: DurableContext, plan: Plan) -> ItemOutcomes:
    """Process every item with a checkpoint of its own, some of them at the same time.

    Raises:
        TooManyItemsFailedError: the share of failed items is larger than the stack tolerates.
    """
    items = plan["items"]
    batch: BatchResult[ItemResult] = context.map(
        items, _process_item, name="process-items", config=policies.items(plan["settings"])
    )
    failed = failed_items(
        [(items[item.index], item.error.message if item.error else None) for item in batch.failed()]
    )
    if batch.completion_reason is CompletionReason.FAILURE_TOLERANCE_EXCEEDED:
        reasons = "; ".join(f"{item['id']}: {item['error']}" for item in failed[:10])
        raise TooManyItemsFailedError(
            f"{len(failed)} of {len(items)} items failed, "
            f"{plan['settings']['tolerated_item_failure_percentage']} % tolerated, "
            f"{batch.started_count} left in progress, "
            f"{len(items) - batch.total_count} not started: {reasons}"
        )
    return ItemOutcomes(batch.get_results(), failed)


def status_of(approval: Approval, checks: list[CheckResult], outcomes: ItemOutcomes) -> Status:
    """How the workflow has ended, as its output says it."""
    if not approval.goes_on:
        return Status.REJECTED if approval.decision is Decision.REJECTED else Status.TIMED_OUT
    if outcomes.failed or any("error" in check for check in checks):
        return Status.COMPLETED_WITH_FAILURES
    return Status.COMPLETED


def _branch(name: str, items: list[WorkItem]) -> ParallelBranch[JsonObject]:
    def branch(context: DurableContext) -> JsonObject:
        return context.step(
            steps.run_check(name, CHECKS[name], items),
            name="run-check",
            config=policies.RETRY_TRANSIENT,
        )

    return ParallelBranch(func=branch, name=name)


def _process_item(
    context: DurableContext, item: WorkItem, _index: int, _items: object
) -> ItemResult:
    return context.step(
        steps.process_item(item), name="process-item", config=policies.RETRY_TRANSIENT
    )
