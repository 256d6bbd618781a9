"""The billed operations of a large input, counted in a run on the SDK's local runner; as JSON.

``bench.py`` runs this in a project that was rendered with ``fan_out=yes``, with its Python.
"""

from __future__ import annotations

import json

from ops import cost, local
from workflow.checks import CHECKS
from workflow.settings import load_shape

ITEMS = 10_000


def main() -> None:
    """Count what the execution and those of its chunks take."""
    usage = cost.measure(ITEMS, len(CHECKS), load_shape(local.environment()))
    name = f"operations for each of {ITEMS} items, in {len(usage.executions)} executions"
    print(json.dumps({name: usage.billed / ITEMS}))


if __name__ == "__main__":
    main()
