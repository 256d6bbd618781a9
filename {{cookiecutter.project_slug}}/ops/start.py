"""Start an execution for a tenant, through the stack's starter."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ops import stack


def main(arguments: list[str] | None = None) -> int:
    """Start; 0 if the execution runs, 1 if it was refused, 2 if misused."""
    parser = argparse.ArgumentParser(prog="ops.start", description=__doc__.splitlines()[0])
    stack.add_tenant(parser)
    parser.add_argument("--event", required=True, help="input, a JSON file")
    options = parser.parse_args(arguments)
    try:
        event = json.loads(Path(options.event).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        parser.error(f"cannot read the event: {error}")
    if not isinstance(event, dict):
        parser.error("the event is not a JSON object")
    event["tenantId"] = options.tenant

    def run() -> int:
        answer = stack.call(stack.output("StarterFunctionName"), event)
        print(json.dumps(answer, indent=2))
        return 0 if answer["started"] else 1

    return stack.report(run)


if __name__ == "__main__":
    sys.exit(main())
