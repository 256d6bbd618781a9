"""The workflow: what happens, in which order. Nothing here may depend on anything but its input.

The code runs again from the top whenever the execution resumes, and takes what has already
happened from the checkpoints. So no clock, no randomness, no I/O and no environment in this
file (the linter holds it to that): they belong into ``steps.py``.
"""

from __future__ import annotations

from collections.abc import Iterable

from aws_durable_execution_sdk_python import BatchResult, DurableContext, ParallelBranch

#% if cookiecutter.fan_out == "yes"
from workflow import chunk_steps, limits, policies, steps
#% else
from workflow import limits, policies, steps
#% endif
#% if cookiecutter.__child_context
from workflow.announcement import announce
#% endif
from workflow.callback_helper import Approval, Decision, await_approval
from workflow.checks import CHECKS
#% if cookiecutter.__wait
from workflow.cool_down import cool_down
#% endif
#% if cookiecutter.fan_out == "yes"
from workflow.fan_out import process_chunks
#% endif
from workflow.items import process_items, sort_out
#% if cookiecutter.__invoke
from workflow.metering import record_usage
#% endif
from workflow.models import (
    CheckResult,
    ChecksFailedError,
    ItemOutcomes,
    JsonObject,
    Status,
    WorkflowRequest,
    WorkItem,
    build_output,
)
#% if cookiecutter.__wait_for_condition
from workflow.readiness import await_readiness
#% endif
from workflow.settings import Settings


def run(context: DurableContext, request: WorkflowRequest) -> JsonObject:
    """Prepare, ask, check, process, aggregate."""
    limits.require_fit(request)
    execution_arn = context.execution_context.durable_execution_arn
    plan = context.step(
        steps.prepare_work(request, execution_arn),
        name="prepare-work",
        config=policies.RETRY_TRANSIENT,
    )
    settings = plan["settings"]
    limits.require_room(len(plan["items"]), len(CHECKS), settings)
    approval = await_approval(context, request, plan)
    checks, outcomes = list[CheckResult](), sort_out([])
    if approval.goes_on:
        #% if cookiecutter.__wait
        cool_down(context, settings)
        #% endif
        #% if cookiecutter.__wait_for_condition
        await_readiness(context, settings)
        #% endif
        #% if cookiecutter.fan_out == "yes"
        if plan["stored"]:
            items = chunk_steps.StoredItems(request.tenant_id, plan["stored"])
            checks = run_checks(context, items, settings)
            outcomes = process_chunks(context, request, plan["stored"], settings)
        else:
            checks = run_checks(context, plan["items"], settings)
            outcomes = process_items(context, plan["items"], settings)
        #% else
        checks = run_checks(context, plan["items"], settings)
        outcomes = process_items(context, plan["items"], settings)
        #% endif
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
    #% if cookiecutter.__invoke
    if approval.goes_on:
        output["usageRecorded"] = record_usage(context, request, plan, metrics)
    #% endif
    #% if cookiecutter.__child_context
    output["announced"] = announce(context, output, settings)
    #% endif
    #% if cookiecutter.fan_out == "yes"
    if outcomes.results and not limits.fits(output):
        output["mapResults"]["resultsRef"] = context.step(
            chunk_steps.store_output(request, execution_arn, outcomes),
            name="store-output",
            config=policies.RETRY_TRANSIENT,
        )
    #% endif
    return limits.fit_output(output)


def run_checks(
    context: DurableContext, items: Iterable[WorkItem], settings: Settings
) -> list[CheckResult]:
    """Run every check in a branch of its own.

    Raises:
        ChecksFailedError: more checks failed than the stack tolerates.
    """
    batch: BatchResult[JsonObject] = context.parallel(
        [_branch(name, items) for name in CHECKS],
        name="run-checks",
        config=policies.checks(settings),
    )
    results = [
        CheckResult(name=name, error=item.error.message or "no reason given")
        if item.error
        else CheckResult(name=name, result=item.result or {})
        for name, item in zip(CHECKS, batch.all, strict=True)
    ]
    failures = [f"{check['name']}: {check['error']}" for check in results if "error" in check]
    tolerated = settings["tolerated_check_failures"]
    if len(failures) > tolerated:
        raise ChecksFailedError(
            f"{len(failures)} of {len(results)} checks failed, {tolerated} tolerated: "
            f"{'; '.join(failures)}"
        )
    return results


def status_of(approval: Approval, checks: list[CheckResult], outcomes: ItemOutcomes) -> Status:
    """How the workflow has ended, as its output says it."""
    if not approval.goes_on:
        return Status.REJECTED if approval.decision is Decision.REJECTED else Status.TIMED_OUT
    if outcomes.failed or any("error" in check for check in checks):
        return Status.COMPLETED_WITH_FAILURES
    return Status.COMPLETED


def _branch(name: str, items: Iterable[WorkItem]) -> ParallelBranch[JsonObject]:
    def branch(context: DurableContext) -> JsonObject:
        return context.step(
            steps.run_check(name, CHECKS[name], items),
            name=name,
            config=policies.RETRY_TRANSIENT,
        )

    return ParallelBranch(func=branch, name=name)
