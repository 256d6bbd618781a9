"""Serves the page of a rendered project, as ``make run UI=1`` does, and does what a driver asks.

Runs in the project with its Python. It prints the address, then takes one JSON object a line, with
the name of a function below in ``do``, and answers with one.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from contextlib import suppress
from typing import Any
from unittest.mock import patch

sys.path[:0] = [".", "src"]

import boto3  # noqa: E402
from chassis import (  # noqa: E402
    Approval,
    Decision,
    Definition,
    input_fields,
    quotas,
    request_fields,
)
from chassis.functions.starter import start  # noqa: E402
from chassis.model import Request  # noqa: E402
from chassis.tenancy.approvals import (  # noqa: E402
    ApprovalNotFoundError,
    Asked,
    approval_id,
    new_token,
)
from chassis.tenancy.profile import Profile  # noqa: E402
from chassis.tenancy.stores import table_approvals  # noqa: E402
from ops import emulator, page  # noqa: E402
from ops.tenants import Registry  # noqa: E402
from workflow.callback_helper import parse_answer  # noqa: E402
from workflow.definition import DEFINITION  # noqa: E402

logging.disable()
quotas.MAX_EVIDENCE_BYTES = 1_000_000  # how much of it the page bears is what is tested

EXAMPLE = json.dumps({"workflowId": "an-example", "inputData": {"items": [1]}})
people: dict[str, Any] = {}
asked: dict[str, tuple[str, str]] = {}
"""Tenant and execution of each approval."""

definition = Definition(
    parse_request=lambda event: Request(**request_fields(input_fields(event))),
    work_item=lambda number, data: {"id": str(number), "data": data},
    item_steps=(lambda item, _: {},),
    evidence=lambda items: what_is_asked(next(iter(items)))["evidence"],
    tiers=DEFINITION.tiers,
)


def what_is_asked(item: Any) -> Any:
    """What ``ask`` has made an item; somebody in a browser may write any other."""
    data = item["data"]
    return data if isinstance(data, dict) else {"evidence": {"item": data}, "approval": "approval"}


def phases(execution: Any) -> Any:
    """Ask what the only item says, and end."""
    plan = execution.prepare_work()
    name = what_is_asked(plan["items"][0])["approval"]
    approval = execution.ask_for_approval(plan, name, plan["evidence"], parse_answer)
    output = {**execution.identity(), "status": "COMPLETED", "approval": approval.to_wire()}
    return execution.finish(output)


def tenant(name: str) -> None:
    """Add a tenant that may start what it likes."""
    limits = {"running_executions": 10_000, "starts_per_minute": 10_000}
    registry = Registry(boto3.client("dynamodb"), os.environ["TENANT_TABLE"])
    registry.add(Profile(name, "ACTIVE", "standard", limits))


def token(tenant: str, person: str, token: str) -> None:
    """Let somebody in."""
    people[token] = page.claims_of(tenant, person)


def ask(tenant: str, started_by: str, evidence: Any, workflow_id: str, approval: str) -> str:
    """Start a workflow, and wait until it asks."""
    event = {
        "workflowId": workflow_id,
        "tenantId": tenant,
        "requestKey": os.urandom(8).hex(),
        "inputData": {"items": [{"evidence": evidence, "approval": approval}]},
    }
    _, arn = start(definition, event, started_by)
    asked_for = approval_id(arn, approval)
    asked[asked_for] = tenant, arn
    while True:
        with suppress(ApprovalNotFoundError):
            return table_approvals(tenant).get(asked_for).asked.id
        time.sleep(0.01)


def ask_many(tenant: str, count: int) -> None:
    """Have approvals that nothing waits for: the emulator would take minutes for so many."""
    approvals = table_approvals(tenant)
    for number in range(1, count + 1):
        name = f"{tenant}_{number:032x}"
        many = Asked(
            workflow_id=f"order-{number}",
            execution_arn=f"arn:aws:lambda:function:workflow:1/durable-execution/{name}/1",
            approval="approval",
            asked_at=time.time(),
            expires_at=int(time.time()) + 3600,
            started_by="ada",
            evidence={"items": 5},
        )
        approvals.ask(many, "callback", new_token(many.id), kept_days=1)


def expire(approval_id: str) -> None:
    """Let the time be over, and the workflow."""
    tenant, arn = asked[approval_id]
    nobody = Approval(Decision.TIMED_OUT, goes_on=False)
    table_approvals(tenant).close(approval_id, nobody, None, time.time())
    boto3.client("lambda").stop_durable_execution(DurableExecutionArn=arn)


if __name__ == "__main__":
    with (
        page.serving(
            definition, phases, parse_answer, people, emulator.free_port(), example=EXAMPLE
        ) as address,
        patch.dict(os.environ, FOUR_EYES="true"),
    ):
        print(json.dumps(address), flush=True)
        for line in map(json.loads, sys.stdin):
            print(json.dumps(globals()[line.pop("do")](**line)), flush=True)
