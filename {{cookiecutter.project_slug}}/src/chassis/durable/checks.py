"""Runs the checks, each in a branch of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aws_durable_execution_sdk_python import BatchResult, DurableContext, ParallelBranch

from chassis.durable import policies
from chassis.model import Check, CheckResult, ChecksFailedError
from chassis.quotas import MAX_CHECKPOINT_BYTES
from chassis.settings import Settings
from chassis.steps import work
from chassis.wire import JsonObject


def run_checks(
    context: DurableContext, checks: Mapping[str, Check], items: Iterable[Any], settings: Settings
) -> list[CheckResult]:
    """Run every check at the same time; without any, nothing is run.

    Raises:
        ChecksFailedError: more checks failed than the stack tolerates.
    """
    if not checks:
        return []
    # Half of an output is for the checks, the other half for the items that have failed.
    most = MAX_CHECKPOINT_BYTES // (2 * len(checks))

    def branch(name: str, check: Check) -> ParallelBranch[JsonObject]:
        def run(branch_context: DurableContext) -> JsonObject:
            return branch_context.step(
                work.run_check(name, check, items, most),
                name=name,
                config=policies.RETRY_TRANSIENT,
            )

        return ParallelBranch(func=run, name=name)

    batch: BatchResult[JsonObject] = context.parallel(
        [branch(name, check) for name, check in checks.items()],
        name="run-checks",
        config=policies.checks(settings),
    )
    results = [
        CheckResult(name=name, error=item.error.message or "no reason given")
        if item.error
        else CheckResult(name=name, result=item.result or {})
        for name, item in zip(checks, batch.all, strict=True)
    ]
    failures = [f"{check['name']}: {check['error']}" for check in results if "error" in check]
    tolerated = settings["tolerated_check_failures"]
    if len(failures) > tolerated:
        raise ChecksFailedError(
            f"{len(failures)} of {len(results)} checks failed, {tolerated} tolerated: "
            f"{'; '.join(failures)}"
        )
    return results
