"""Start again what an execution has not done."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

#% if cookiecutter.fan_out == "yes"
from chassis.chunking import chunk_name, in_place
#% endif
from chassis.durable.items import batch_name, in_batches, step_name
#% if cookiecutter.fan_out == "yes"
from chassis.model import (
    MAX_PARTS,
    Definition,
    InvalidInputError,
    ItemOutcome,
    ItemStep,
    Plan,
    Request,
)
#% else
from chassis.model import Definition, InvalidInputError, ItemOutcome, ItemStep
#% endif
from chassis.wire import JsonObject
from ops import executions, replay, stack

NOTHING_LEFT = "each of its items has a result: --all (make: ALL=1) starts them"


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
    results = results_of(history)
    plan = json.loads(results.get("prepare-work", "{}"))
    first = {"executionArn": request.redrive_of or arn}
    #% if cookiecutter.fan_out == "yes"
    asked = {"ref": request.input_ref, "sha256": request.input_sha256}
    stored = plan.get("stored") or asked
    if stored["ref"]:
        lines, how_many = request.lines, "all"
        if plan and not options.all:
            lines = in_parts(lines_left(history, plan, request, definition.item_steps))
            how_many = str(sum(last - first + 1 for first, last in lines))
            if not lines:
                raise stack.StackError(NOTHING_LEFT)
        print(f"{how_many} of its items, after an approval", file=sys.stderr)
        of_first = {**first, "items": [], "sha256": stored["sha256"]}
        event["inputData"].pop("items", None)
        of_first |= {"lines": lines} if lines else {}
        return _begin(event, {"inputRef": stored["ref"]}, of_first, options)
    #% endif
    done = done_in(plan, results, definition.item_steps)
    numbered = list(request.numbered())
    made = [definition.work_item(*each)["id"] for each in numbered]
    chosen = [
        each for each, name in zip(numbered, made, strict=True) if options.all or name not in done
    ]
    if not chosen:
        raise stack.StackError(NOTHING_LEFT)
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


def results_of(history: replay.History) -> dict[str | None, str]:
    """What the steps of an execution have returned, JSON, by their names."""
    return {
        each.name: each.step_details.result
        for each in history.operations.values()
        if each.status.value == "SUCCEEDED" and each.step_details and each.step_details.result
    }


#% if cookiecutter.fan_out == "yes"
def lines_left(
    history: replay.History, plan: Plan, request: Request, steps: tuple[ItemStep, ...]
) -> list[int]:
    """The lines of a stored input whose items have failed, or whose chunk has not come to its end.

    Raises:
        StackError: a chunk still runs.
    """
    last_try = {
        (each.name or "").partition(" ")[0]: (history.invoked[key], each.chained_invoke_details)
        for key, each in history.operations.items()
        if key in history.invoked
    }
    left: list[int] = []
    for chunk in in_place(plan["stored"]["cuts"] if plan["stored"] else []):
        of_chunk = range(chunk["first"], chunk["first"] + chunk["lines"])
        lines = list(filter(request.wants, of_chunk))
        arn, details = last_try.get(chunk_name(chunk), ("", None))
        if details and details.result:
            is_done = not json.loads(details.result)["failed"]
            lines = [] if is_done else _failed_in(arn, lines, plan, steps)
        elif arn and executions.describe(arn)["Status"] in executions.ACTIVE:
            message = f"{chunk_name(chunk)} of it still runs: wait for its end"
            raise stack.StackError(message)
        left += lines
    return left


def _failed_in(arn: str, lines: list[int], plan: Plan, steps: tuple[ItemStep, ...]) -> list[int]:
    results = results_of(replay.read(executions.history(arn, payloads=True), arn))
    items = json.loads(results["read-chunk"])
    done = done_in({"items": items, "settings": plan["settings"]}, results, steps)
    return [line for line, item in zip(lines, items, strict=True) if item["id"] not in done]


def in_parts(lines: list[int]) -> list[list[int]]:
    """The first and the last line of each part.

    Where there would be too many parts, lines between two of them come along.

    >>> in_parts([2, 3, 7])
    [[2, 3], [7, 7]]
    """
    reach = 1
    while True:
        parts: list[list[int]] = []
        for line in lines:
            if parts and line <= parts[-1][1] + reach:
                parts[-1][1] = line
            else:
                parts.append([line, line])
        if len(parts) <= MAX_PARTS:
            return parts
        reach *= 2


#% endif
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
