"""The operations of an execution by their names: what a replay compares the code with."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from aws_durable_execution_sdk_python.identifier import OperationIdNamespace

from chassis.tenancy.profile import read_tiers
from ops import local, stack
from ops.cost import stand_in

FILE = local.ROOT / "tests" / "workflow" / "operations.txt"


def main(options: argparse.Namespace) -> int:
    """Print the operations, or write them to the file that the tests compare with."""
    text = outline()
    if options.write:
        FILE.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


def outline() -> str:
    """A line for each operation of an approved execution, indented by its depth.

    Its items are two, and their steps are stand-ins.

    Raises:
        StackError: the workflow fails.
    """
    from workflow.definition import DEFINITION
    from workflow.workflow import run

    event = json.loads((local.ROOT / "events" / "order.json").read_bytes())
    event |= {"tenantId": "acme", "inputData": {"items": ["a", "b"]}}
    known = {"acme": {"status": "ACTIVE", "tier": next(iter(read_tiers(DEFINITION.tiers)))}}
    idle = replace(DEFINITION, item_steps=tuple(map(stand_in, DEFINITION.item_steps)))
    with (
        patch.dict(os.environ, local.environment()),
        local.LocalExecution(idle, run, event, known=known, poll_interval=0.005) as execution,
    ):
        while question := execution.next_question():
            execution.answer(question, {"decision": "APPROVED"})
        result = execution.result()
    if result.error:
        raise stack.StackError(f"the workflow fails: {result.error.message}")
    return "".join(line for operation in result.operations for line in lines(operation))


def lines(operation: Any, indent: str = "") -> Iterator[str]:
    """The operation, and those inside it, branches and items in the order that they have."""
    yield f"{indent}{operation.name}\n"
    inside = getattr(operation, "child_operations", [])
    if operation.sub_type in {"Map", "Parallel"}:  # they start in any order; ids tell theirs
        branches, order = OperationIdNamespace(operation.operation_id), list[str]()
        for number in range(len(inside)):
            branch = branches.create_id_for_step(number)
            steps = map(OperationIdNamespace(branch).create_id_for_step, range(1, len(inside) + 1))
            order += [branch, *steps]
        inside = sorted(inside, key=lambda each: order.index(each.operation_id))
    for child in inside:
        yield from lines(child, f"{indent}  ")
