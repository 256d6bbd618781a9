"""Hold a tenant: nothing of it starts or runs, until it is released."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ops import executions, stack

if TYPE_CHECKING:
    from ops.tenants import Registry

BRAKED = "the tenant is braked"
"""The reason of its pauses, by which a release knows them from those of single executions."""

BRAKE_SECONDS = 300
"""How long a brake waits for what is at a step, which ends at its next checkpoint."""


def brake(registry: Registry, tenant_id: str) -> int:
    """Suspend a tenant, and pause its executions, also what is started meanwhile; return how many.

    Run again, it goes on where it was interrupted.

    Raises:
        RefusedError: the tenant is unknown.
        StackError: some are still at a step after ``BRAKE_SECONDS``, and pause when it is over.
    """
    registry.change(tenant_id, status="SUSPENDED")
    client, asked = stack.client("lambda"), set[str]()
    deadline = time.monotonic() + BRAKE_SECONDS
    while True:
        running = 0
        for execution in executions.of_tenant(tenant_id, executions.ACTIVE):
            arn, status = execution["DurableExecutionArn"], execution["Status"]
            running += status != "PAUSED"
            if status == "RUNNING" and arn not in asked:
                asked.add(arn)
                executions.attempt(
                    client.pause_durable_execution,
                    DurableExecutionArn=arn,
                    Reason=BRAKED,
                    ExecutionTimeoutPaused=True,
                )
        if not running:
            return len(asked)
        if time.monotonic() > deadline:
            message = f"{running} executions of {tenant_id} are not paused yet: run this again"
            raise stack.StackError(message)
        time.sleep(executions.POLL_SECONDS)


def release(registry: Registry, tenant_id: str) -> int:
    """Let a tenant start again, and resume what the brake has paused; return how many.

    Run again, it goes on where it was interrupted.

    Raises:
        RefusedError: the tenant is unknown.
    """
    # Active first: the first step of an execution refuses a tenant that is suspended.
    registry.change(tenant_id, status="ACTIVE")
    client, resumed = stack.client("lambda"), 0
    for execution in executions.of_tenant(tenant_id, {"PAUSING", "PAUSED"}):
        arn = execution["DurableExecutionArn"]
        paused = executions.describe(arn, payloads=True).get("PauseDetails", {})
        if paused.get("Reason") == BRAKED:
            executions.attempt(client.resume_durable_execution, DurableExecutionArn=arn)
            resumed += 1
    return resumed
