"""The workflow: what happens, in which order. Nothing here may depend on anything but its input.

The code runs again from the top whenever the execution resumes, and takes what has already
happened from the checkpoints. So no clock, no randomness, no I/O and no environment in this
file (the linter holds it to that): they belong into ``steps.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

from aws_durable_execution_sdk_python import BatchResult, DurableContext, ParallelBranch
from aws_durable_execution_sdk_python.concurrency.models import BatchItem, CompletionReason
from aws_durable_execution_sdk_python.config import BatchItemStatus

from workflow import data_processor, limits, policies, steps
from workflow.callback_helper import Approval, Decision, await_approval
from workflow.checks import CHECKS
from workflow.models import (
    CheckResult,
    ChecksFailedError,
    ItemOutcome,
    ItemOutcomes,
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
    limits.require_fit(request)
    execution_arn = context.execution_context.durable_execution_arn
    plan = context.step(
        steps.prepare_work(request, execution_arn),
        name="prepare-work",
        config=policies.RETRY_TRANSIENT,
    )
    limits.require_room(request, len(CHECKS), plan["settings"])
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
        config=policies.checks(plan["settings"]),
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
    items, settings = plan["items"], plan["settings"]
    batches = data_processor.batches(items, settings["items_per_checkpoint"])
    results: BatchResult[list[ItemOutcome]] = context.map(
        batches, _process_batch, name="process-items", config=policies.items(settings)
    )
    outcomes = data_processor.sort_out(
        [
            pair
            for entry in results.all
            if entry.status is not BatchItemStatus.STARTED
            for pair in _outcomes(batches[entry.index], entry)
        ]
    )
    failed, tolerated = outcomes.failed, settings["tolerated_item_failure_percentage"]
    stopped = results.completion_reason is CompletionReason.FAILURE_TOLERANCE_EXCEEDED
    if stopped or 100 * len(failed) > tolerated * len(items):
        reasons = "; ".join(f"{item['id']}: {item['error']}" for item in failed[:10])
        raise TooManyItemsFailedError(
            f"{len(failed)} of {len(items)} items failed, {tolerated} % tolerated, "
            f"{results.started_count} left in progress, "
            f"{len(batches) - results.total_count} not started: {reasons}"
        )
    return outcomes


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
            name=name,
            config=policies.RETRY_TRANSIENT,
        )

    return ParallelBranch(func=branch, name=name)


def _outcomes(
    batch: list[WorkItem], entry: BatchItem[list[ItemOutcome]]
) -> Iterator[tuple[WorkItem, ItemOutcome]]:
    error = (entry.error.message if entry.error else None) or "no reason given"
    outcomes = entry.result or [ItemOutcome(error=error) for _ in batch]
    return zip(batch, outcomes, strict=True)


def _process_batch(
    context: DurableContext, batch: list[WorkItem], _index: int, _batches: object
) -> list[ItemOutcome]:
    return context.step(
        steps.process_batch(batch),
        name=data_processor.batch_name(batch),
        config=policies.RETRY_TRANSIENT,
    )
