"""The billed operations of a large input, counted in a run on the SDK's local runner; as JSON.

``bench.py`` runs this in a project that was rendered with ``fan_out=yes``, with its Python.
"""

from __future__ import annotations

import json

from ops import cost
from workflow.definition import DEFINITION
from workflow.workflow import run

ITEMS = 10_000


def main() -> None:
    """Count what the execution and those of its chunks take."""
    event = {"workflowId": "bench", "inputData": {"items": [{"sku": "bolt-m6", "quantity": 40}]}}
    usage = cost.measure(DEFINITION, run, event, ITEMS, cost.default_shape())
    name = f"operations for each of {ITEMS} items, in {len(usage.executions)} executions"
    print(json.dumps({name: usage.billed / ITEMS}))


if __name__ == "__main__":
    main()
