"""Start again what an execution has not done."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from chassis.durable.items import batch_name, in_batches, step_name
from chassis.model import Definition, InvalidInputError, ItemOutcome, ItemStep
from chassis.wire import JsonObject
from ops import executions, replay, stack


def main(options: argparse.Namespace) -> int:
    """Do it with the workflow of this project."""
    from workflow.definition import DEFINITION

    return redrive(options, DEFINITION)


def redrive(options: argparse.Namespace, definition: Definition[Any]) -> int:
    """Start an execution with the items that have no result, or with all; 1 if it is refused.

    It is named after the execution that it is a redrive of, so there is one, however often it is
    asked for. It asks for approval like any other.

    Raises:
        StackError: the execution is not over, or it has nothing that can be started again.
    """
    arn = options.execution
    status = executions.describe(arn)["Status"]
    if status in executions.ACTIVE:
        raise stack.StackError(f"it is {status}: wait for its end, or stop it")
    history = replay.read(executions.history(arn, payloads=True), arn)
    event = json.loads(history.event)
    try:
        request = definition.parse_request(event)
    except InvalidInputError as error:
        message = f"its input was refused, so repair it, and start that: {error}"
        raise stack.StackError(message) from error
    results = {
        each.name: each.step_details.result
        for each in history.operations.values()
        if each.status.value == "SUCCEEDED" and each.step_details and each.step_details.result
    }
    plan = json.loads(results.get("prepare-work", "{}"))
    first = {"executionArn": request.redrive_of or arn}
    #% if cookiecutter.fan_out == "yes"
    asked = {"ref": request.input_ref, "sha256": request.input_sha256}
    stored = plan.get("stored") or asked
    if stored["ref"]:
        if not options.all:
            message = "its input is cut into chunks, so only --all (make: ALL=1) starts it again"
            raise stack.StackError(message)
        print("all of its items, after an approval", file=sys.stderr)
        of_first = {**first, "items": [], "sha256": stored["sha256"]}
        event["inputData"].pop("items", None)
        return _begin(event, {"inputRef": stored["ref"]}, of_first, options)
    #% endif
    done = done_in(plan, results, definition.item_steps)
    numbered = list(request.numbered())
    made = [definition.work_item(*each)["id"] for each in numbered]
    chosen = [
        each for each, name in zip(numbered, made, strict=True) if options.all or name not in done
    ]
    if not chosen:
        raise stack.StackError("each of its items has a result: --all (make: ALL=1) starts them")
    numbers, items = zip(*chosen, strict=True)
    print(f"{len(items)} of its {len(numbered)} items, after an approval", file=sys.stderr)
    return _begin(event, {"items": items}, {**first, "items": numbers}, options)


def _begin(
    event: JsonObject, input_data: JsonObject, of_first: JsonObject, options: argparse.Namespace
) -> int:
    name = "/".join(options.execution.split("/")[-2:])
    again: JsonObject = {"inputData": event["inputData"] | input_data, "redriveOf": of_first}
    again["requestKey"] = f"redrive of {name}"
    started = executions.begin(event | again, options)
    if started:
        print("if it was redriven before, that execution can be redriven", file=sys.stderr)
    return started


def done_in(plan: Any, results: Mapping[str | None, str], steps: tuple[ItemStep, ...]) -> set[str]:
    """The ids of the items that have a result.

    Args:
        plan: of the execution; nothing, if its first step has failed.
        results: of its steps, JSON, by their names.
        steps: of an item.
    """
    done = set[str]()
    for batch in in_batches(plan["items"], plan["settings"]) if plan else []:
        # A step that has failed for good has no outcomes, and neither has one that was not begun.
        text = results.get(step_name(batch_name(batch), steps[-1], steps), "[]")
        outcomes: list[ItemOutcome] = json.loads(text)
        done |= {item["id"] for item, one in zip(batch, outcomes, strict=False) if "result" in one}
    return done
