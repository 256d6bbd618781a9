"""The billed operations of an execution, counted in runs on the SDK's local runner; as JSON.

``bench.py`` runs this in a rendered project, with its Python.
"""

from __future__ import annotations

import json

import reference
from chassis.settings import Shape
from ops import cost
from workflow import workflow
from workflow.definition import DEFINITION

EVENT = {"workflowId": "bench", "inputData": {"items": [{"sku": "bolt-m6", "quantity": 40}]}}


def main() -> None:
    """Count, and print each number under its name."""
    default = cost.default_shape()
    all_checks = dict(workflow.CHECKS)
    numbers: dict[str, float] = {}
    for checks, items, together in ((3, 5, 1), (3, 100, 1), (10, 100, 1), (3, 100, 10)):
        shape = Shape(nesting=default["nesting"], items_per_checkpoint=together)
        name = f"operations of {checks} checks and {items} items, {together} in a checkpoint"
        workflow.CHECKS = {f"check-{n}": next(iter(all_checks.values())) for n in range(checks)}
        numbers[name] = cost.measure(DEFINITION, workflow.run, EVENT, items, shape).billed
    for items in (5, 100):
        theirs = reference.count(items)
        ours = numbers[f"operations of 3 checks and {items} items, 1 in a checkpoint"]
        numbers[f"the same of {items} items, against the {theirs} of the reference"] = ours / theirs
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
