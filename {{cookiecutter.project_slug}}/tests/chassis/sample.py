"""A workflow for the tests of the chassis, so that they need nothing of the project's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from chassis import (
    Approval,
    Attempt,
    Check,
    CheckResult,
    Decision,
    Definition,
    Fields,
    InvalidAnswerError,
    ItemError,
    ItemOutcomes,
    ItemStep,
    JsonObject,
    Request,
    input_fields,
    request_fields,
)
from chassis.durable import Execution

#% if cookiecutter.front_door == "http_api"
ENDING = ["aggregate-results", "record-result"]
#% else
ENDING = ["aggregate-results"]
#% endif
"""The last operations of an execution of the sample."""

TENANTS: Mapping[str, JsonObject] = {
    "acme": {"status": "ACTIVE", "tier": "large"},
    "demo": {"status": "ACTIVE", "tier": "small", "overrides": {"items_per_execution": 100}},
    "globex": {"status": "SUSPENDED", "tier": "large"},
}
SETTINGS = {
    "TENANCY": "pool",
    "TENANT_ID": "",
    "NESTING": "FLAT",
    "ITEMS_PER_CHECKPOINT": "1",
    "MAP_MAX_CONCURRENCY": "7",
    "CALLBACK_TIMEOUT": "11m",
    "CALLBACK_HEARTBEAT": "0m",
    "CALLBACK_TIMEOUT_ACTION": "reject",
    "TOLERATED_CHECK_FAILURES": "0",
    "TOLERATED_ITEM_FAILURE_PERCENTAGE": "100",
    "APPROVAL_TOPIC_ARN": "",
    "DECISION_RETENTION_DAYS": "400",
    #% if cookiecutter.front_door == "http_api"
    "PAGE_URL": "",
    #% endif
    #% if cookiecutter.__child_context
    "OPERATOR_TOPIC_ARN": "",
    #% endif
    #% if cookiecutter.__wait
    "COOL_DOWN": "5s",
    #% endif
    #% if cookiecutter.__wait_for_condition
    "READY_URL": "",
    #% endif
    #% if cookiecutter.__invoke
    "METER_FUNCTION_ARN": "meter",
    #% endif
    #% if cookiecutter.fan_out == "yes"
    "CHUNK_SIZE": "750",
    "FAN_OUT_WIDTH": "13",
    #% endif
}
"""The environment of the workflow's function, whatever ``template.yaml`` says."""


def parse_request(event: Any) -> Request:
    """Validate the input."""
    return Request(**request_fields(input_fields(event)))


def parse_answer(answer: str | None) -> Approval:
    """Read an answer."""
    fields = Fields.from_json(answer or "", "the answer", InvalidAnswerError)
    decision = fields.value("decision")
    if decision not in ("APPROVED", "REJECTED"):
        fields.refuse("expected APPROVED or REJECTED")
    by, comment = fields.optional_text("decidedBy"), fields.optional_text("comment")
    fields.done()
    return Approval(Decision(decision), decision == "APPROVED", by, comment)


def work_item(number: int, data: Any) -> JsonObject:
    """An item that has its data and nothing else."""
    return {"id": f"item-{number}", "data": data}


def process(item: JsonObject, attempt: Attempt) -> JsonObject:
    """An item that is empty fails."""
    del attempt
    if item["data"] in ({}, "", None):
        raise ItemError("empty")
    return {"size": len(str(item["data"]))}


def count(items: Iterable[Any]) -> JsonObject:
    """Count the items."""
    return {"count": sum(1 for _ in items)}


def evidence(items: Iterable[Any]) -> JsonObject:
    """The number of the items, and the first."""
    known = list(items)
    return {"count": len(known), "first": known[0]["data"] if known else None}


def name_first(items: Iterable[Any]) -> JsonObject:
    """Name the first item."""
    return {"first": next((item["id"] for item in items), None)}


CHECKS: Mapping[str, Check] = {"count-items": count, "name-first": name_first}


def aggregate(items: ItemOutcomes, checks: list[CheckResult]) -> JsonObject:
    """Numbers of the workflow's own."""
    return {"done": items.succeeded, "checks": len(checks)}


def definition(*steps: ItemStep) -> Definition[Request]:
    """The sample, with these steps for each item."""
    return Definition(
        parse_request=parse_request,
        work_item=work_item,
        item_steps=steps or (process,),
        evidence=evidence,
        tiers=Path(__file__).with_name("tiers.toml"),
    )


def phases(
    checks: Mapping[str, Check] = CHECKS, approvals: Iterable[str] = ("approval",)
) -> Callable[[Execution[Request]], JsonObject]:
    """What the sample does: with these checks, and after these approvals."""

    def run(execution: Execution[Request]) -> JsonObject:
        plan = execution.prepare_work()
        output: JsonObject = {**execution.identity(), "approvals": []}
        results, items = list[CheckResult](), ItemOutcomes()
        goes_on = True
        for name in approvals:
            approval = execution.ask_for_approval(plan, name, plan["evidence"], parse_answer)
            output["approvals"].append(approval.to_wire())
            if not approval.goes_on:
                goes_on = False
                break
        if goes_on:
            results = execution.run_checks(plan, checks)
            items = execution.process_items(plan)
        metrics = execution.aggregate_results(plan, results, items, aggregate)
        output |= {"checks": results, "mapResults": items.to_wire(), "metrics": metrics}
        return execution.finish(output)

    return run
