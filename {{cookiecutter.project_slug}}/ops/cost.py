"""What an approved execution costs: its operations and bytes, counted in a run on this machine.

Not in it: the compute of the functions, their logs, and what the registry's table costs.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.lambda_service import (
    DurableServiceClient,
    OperationUpdate,
)
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner

from ops import local
from ops.client import WatchedClient, invoke
from workflow import limits
from workflow.callback_helper import CALLBACK_NAME
from workflow.checks import CHECKS
from workflow.settings import Shape

PRICES: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
)
ITEM = {"sku": "bolt-m6", "quantity": 40, "priority": 2}
TENANT = "cost"


@dataclasses.dataclass
class Usage:
    """What one execution takes."""

    operations: int = 0
    written_bytes: int = 0


def main(arguments: list[str] | None = None) -> int:
    """Count and print."""
    parameters = local.template()["Parameters"]
    parser = argparse.ArgumentParser(prog="ops.cost", description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=5, help="items of an execution")
    parser.add_argument("--branches", type=int, default=len(CHECKS), help="1 to 100 checks")
    parser.add_argument(
        "--nesting",
        choices=parameters["Nesting"]["AllowedValues"],
        default=parameters["Nesting"]["Default"],
    )
    parser.add_argument(
        "--items-per-checkpoint",
        type=int,
        choices=range(1, 101),
        metavar="N",
        default=parameters["ItemsPerCheckpoint"]["Default"],
        help="1 to 100 items that are one operation together",
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.branches <= 100:
        parser.error(f"--branches is {options.branches}, expected 1 to 100")
    shape = Shape(nesting=options.nesting, items_per_checkpoint=options.items_per_checkpoint)
    most = limits.max_items(options.branches, shape)
    if not 0 <= options.items <= most:
        parser.error(f"--items is {options.items}, expected 0 to {most}")
    usage = measure(options.items, options.branches, shape)
    print(f"{options.items} items, {options.branches} checks; 1,000 executions, in US dollars:")
    print(report(usage, parameters["HistoryRetentionDays"]["Default"]))
    return 0


class _Counting(WatchedClient):
    """Counts the bytes of the checkpoints."""

    def __init__(self, client: DurableServiceClient, usage: Usage) -> None:
        super().__init__(client)
        self._usage = usage

    def after(self, updates: list[OperationUpdate]) -> None:
        """Count."""
        self._usage.written_bytes += sum(len(update.payload or "") for update in updates)


def measure(items: int, branches: int, shape: Shape) -> Usage:
    """Run the workflow with so many items and checks, and count what it checkpoints."""
    event = json.dumps(
        {"workflowId": "cost", "tenantId": TENANT, "inputData": {"items": [ITEM] * items}}
    )
    answer = b'{"decision": "APPROVED"}'
    usage = Usage(written_bytes=len(event) + len(answer))
    handler = durable_execution(local.handler)

    def counted(event: Any, context: Any) -> Any:
        return invoke(handler, event, context, _Counting(event.service_client, usage))

    functions = itertools.cycle(list(CHECKS.values()))
    variables = {
        "NESTING": shape["nesting"],
        "ITEMS_PER_CHECKPOINT": str(shape["items_per_checkpoint"]),
    }
    with (
        unlimited_tenant() as registry,
        patch.dict(CHECKS, {f"check-{n}": next(functions) for n in range(branches)}, clear=True),
        patch.dict(os.environ, local.environment() | variables | {"REGISTRY_FILE": registry}),
        DurableFunctionTestRunner(counted, poll_interval=0.01) as runner,
    ):
        arn = runner.run_async(event, tenant_id=TENANT)
        callback_id = runner.wait_for_callback(arn, name=f"{CALLBACK_NAME} create callback id")
        runner.send_callback_success(callback_id, answer)
        result = runner.wait_for_result(arn)
    usage.operations = 1 + len(result.get_all_operations())
    usage.written_bytes += len(result.result or "")
    return usage


@contextmanager
def unlimited_tenant() -> Iterator[str]:
    """A registry whose tenant may have as many items as one execution can process."""
    limits_of_tenant = {"items_per_execution": 1_000_000}
    tenant = {"status": "ACTIVE", "tier": "premium", "overrides": limits_of_tenant}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tenants.json"
        path.write_text(json.dumps({TENANT: tenant}), encoding="utf-8")
        yield str(path)


def report(usage: Usage, retention_days: int) -> str:
    """A table for 1,000 executions."""
    gigabytes = 1_000 * usage.written_bytes / 1e9
    millions = 1_000 * usage.operations / 1e6
    months = retention_days / 30
    rows = {
        f"{usage.operations:,} durable operations": millions * PRICES["million_operations"],
        f"{usage.written_bytes:,} bytes written": gigabytes * PRICES["gigabyte_written"],
        f"kept for {retention_days} days": gigabytes * months * PRICES["gigabyte_month_retained"],
    }
    lines = [f"  {name:<32} {dollars:>10.4f}" for name, dollars in rows.items()]
    lines += [f"  {'together':<32} {sum(rows.values()):>10.4f}"]
    lines += [f"Prices of {PRICES['read']}: ops/prices.toml. A retry is an operation more."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
