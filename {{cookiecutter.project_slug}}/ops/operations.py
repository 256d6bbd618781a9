"""The durable operations of the workflow: what running executions have, and a replay compares."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from ops import local, stack
from ops.cost import stand_in

FILE = local.ROOT / "tests" / "workflow" / "operations.txt"


def main(options: argparse.Namespace) -> int:
    """Print the operations, or write them to the file."""
    if options.write:
        FILE.write_text(outline(), encoding="utf-8")
    else:
        print(outline(), end="")
    return 0


def outline() -> str:
    """The operations of an approved execution with two items: names, indented by their depth.

    The steps of an item are stand-ins.

    Raises:
        StackError: the workflow fails.
    """
    from workflow.definition import DEFINITION
    from workflow.workflow import run

    event = json.loads((local.ROOT / "events" / "order.json").read_bytes())
    event |= {"tenantId": "acme", "inputData": {"items": ["a", "b"]}}
    tenants = {"acme": {"status": "ACTIVE", "tier": "premium"}}
    steps = tuple(map(stand_in, DEFINITION.item_steps))
    with (
        patch.dict(os.environ, local.environment()),
        local.LocalExecution(
            replace(DEFINITION, item_steps=steps), run, event, known=tenants, poll_interval=0.005
        ) as execution,
    ):
        while question := execution.next_question():
            execution.answer(question, {"decision": "APPROVED"})
        result = execution.result()
    if result.error:
        raise stack.StackError(f"the workflow fails: {result.error.message}")
    return "".join(f"{line}\n" for line in lines(result.operations))


def lines(operations: Iterable[Any], indent: str = "", *, is_sorted: bool = False) -> Iterator[str]:
    """A line for each operation; branches and items start in any order."""
    for operation in sorted(operations, key=lambda o: o.name) if is_sorted else operations:
        yield f"{indent}{operation.name}"
        children = getattr(operation, "child_operations", [])
        concurrent = operation.sub_type in {"Map", "Parallel"}
        yield from lines(children, f"{indent}  ", is_sorted=concurrent)
