"""Start an execution for a tenant, through the stack's starter."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ops import stack


def main(arguments: list[str] | None = None) -> int:
    """Start; 0 if the execution runs, 1 if it does not, 2 if misused."""
    parser = argparse.ArgumentParser(prog="ops.start", description=__doc__.splitlines()[0])
    stack.add_tenant(parser)
    parser.add_argument("--event", required=True, help="input, a JSON file")
    options = parser.parse_args(arguments)

    def run() -> int:
        answer = start(options.tenant, read_event(options.event))
        print(json.dumps(answer, indent=2))
        return 0 if answer["started"] else 1

    return stack.report(run)


def read_event(path: str) -> dict[str, Any]:
    """Load the input.

    Raises:
        StackError: it cannot be read, or is no JSON object.
    """
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise stack.StackError(f"cannot read the event: {error}") from error
    if not isinstance(event, dict):
        raise stack.StackError(f"{path} is no JSON object")
    return event


def start(tenant_id: str, event: dict[str, Any]) -> Any:
    """Ask the starter to start an execution for a tenant; return what it answers."""
    return stack.call(stack.output("StarterFunctionName"), {**event, "tenantId": tenant_id})


if __name__ == "__main__":
    sys.exit(main())
