"""What an approved execution costs: its operations and bytes, counted in a run on this machine.

Not in it: the compute of the functions, their logs, and what the registry's table costs.
"""

from __future__ import annotations

import argparse
import dataclasses
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
    most = limits.max_items(len(CHECKS))
    parser = argparse.ArgumentParser(prog="ops.cost", description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=5, help=f"items, 0 to {most}")
    options = parser.parse_args(arguments)
    if not 0 <= options.items <= most:
        parser.error(f"--items is {options.items}, expected 0 to {most}")
    usage = measure(options.items)
    days = local.template()["Parameters"]["HistoryRetentionDays"]["Default"]
    print(report(options.items, usage, days))
    return 0


class _Counting(WatchedClient):
    """Counts the bytes of the checkpoints."""

    def __init__(self, client: DurableServiceClient, usage: Usage) -> None:
        super().__init__(client)
        self._usage = usage

    def after(self, updates: list[OperationUpdate]) -> None:
        """Count."""
        self._usage.written_bytes += sum(len(update.payload or "") for update in updates)


def measure(items: int) -> Usage:
    """Run the workflow with so many items, and count what it checkpoints."""
    event = json.dumps(
        {"workflowId": "cost", "tenantId": TENANT, "inputData": {"items": [ITEM] * items}}
    )
    answer = b'{"decision": "APPROVED"}'
    usage = Usage(written_bytes=len(event) + len(answer))
    handler = durable_execution(local.handler)

    def counted(event: Any, context: Any) -> Any:
        return invoke(handler, event, context, _Counting(event.service_client, usage))

    with (
        unlimited_tenant() as registry,
        patch.dict(os.environ, local.environment() | {"REGISTRY_FILE": registry}),
        DurableFunctionTestRunner(counted, poll_interval=0.05) as runner,
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
    limits_of_tenant = {"items_per_execution": limits.MAX_OPERATIONS}
    tenant = {"status": "ACTIVE", "tier": "premium", "overrides": limits_of_tenant}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tenants.json"
        path.write_text(json.dumps({TENANT: tenant}), encoding="utf-8")
        yield str(path)


def report(items: int, usage: Usage, retention_days: int) -> str:
    """A table for 1,000 executions."""
    gigabytes = 1_000 * usage.written_bytes / 1e9
    millions = 1_000 * usage.operations / 1e6
    months = retention_days / 30
    rows = {
        f"{usage.operations:,} durable operations": millions * PRICES["million_operations"],
        f"{usage.written_bytes:,} bytes written": gigabytes * PRICES["gigabyte_written"],
        f"kept for {retention_days} days": gigabytes * months * PRICES["gigabyte_month_retained"],
    }
    lines = [f"{items} items, {len(CHECKS)} checks; 1,000 executions, in US dollars:"]
    lines += [f"  {name:<32} {dollars:>10.4f}" for name, dollars in rows.items()]
    lines += [f"  {'together':<32} {sum(rows.values()):>10.4f}"]
    lines += [f"Prices of {PRICES['read']}: ops/prices.toml. A retry is an operation more."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
