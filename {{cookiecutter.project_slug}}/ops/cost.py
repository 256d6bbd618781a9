"""What an approved execution costs: its operations and bytes, counted in a run on this machine.

Not in it: the compute of the functions, their logs, and what the registry's table costs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.lambda_service import (
    DurableServiceClient,
    OperationAction,
    OperationSubType,
    OperationUpdate,
)

from ops import local
from ops.client import WatchedClient, invoke
from workflow import limits
from workflow.callback_helper import CALLBACK_NAME
from workflow.checks import CHECKS
from workflow.settings import Shape

PRICES: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
)
#% if cookiecutter.fan_out == "yes"
MOST_RUN = 10_000
"""Items that are run to be counted; what more take is computed."""

STARTS_PER_SECOND = 300
"""Durable executions that an account can start (Lambda quotas, read 2026-11-22)."""

#% endif
ITEM = {"sku": "bolt-m6", "quantity": 40, "priority": 2}
TENANT = "cost"


@dataclass
class Usage:
    """What an execution takes, with those that it has invoked."""

    executions: set[str] = field(default_factory=set)
    operations: set[tuple[str, str]] = field(default_factory=set)
    attempts: int = 0
    written_bytes: int = 0

    @property
    def billed(self) -> int:
        """Durable operations on the bill: executions, operations, retries and polls."""
        return len(self.executions) + len(self.operations) + self.attempts


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
    #% if cookiecutter.fan_out == "yes"
    size = chunk_size(options.branches, shape)
    most = limits.max_chunks(options.branches, shape) * size
    #% else
    most = limits.max_items(options.branches, shape)
    #% endif
    if not 0 <= options.items <= most:
        parser.error(f"--items is {options.items}, expected 0 to {most}")
    #% if cookiecutter.fan_out == "yes"
    if options.items > MOST_RUN:
        usage = project(options.items, options.branches, shape)
        seconds = len(usage.executions) / STARTS_PER_SECOND
        print(f"Computed. {len(usage.executions):,} executions each, which an account can start in")
        print(f"{seconds:.1f} s ({STARTS_PER_SECOND} a second); as many at a time as FanOutWidth.")
    else:
        usage = measure(options.items, options.branches, shape)
    #% else
    usage = measure(options.items, options.branches, shape)
    #% endif
    print(f"{options.items:,} items, {options.branches} checks; 1,000 executions, in US dollars:")
    print(report(usage, parameters["HistoryRetentionDays"]["Default"]))
    return 0


class _Counting(WatchedClient):
    """Counts what one invocation checkpoints."""

    def __init__(self, client: DurableServiceClient, usage: Usage, execution_arn: str) -> None:
        super().__init__(client)
        self._usage = usage
        self._execution_arn = execution_arn
        usage.executions.add(execution_arn)

    def after(self, updates: list[OperationUpdate]) -> None:
        """Count operations and attempts, each of which is billed, and the bytes."""
        for update in updates:
            polled = update.sub_type == OperationSubType.WAIT_FOR_CONDITION
            ended = update.action in {OperationAction.SUCCEED, OperationAction.FAIL}
            self._usage.operations.add((self._execution_arn, update.operation_id))
            self._usage.attempts += update.action is OperationAction.RETRY or (polled and ended)
            self._usage.written_bytes += len(update.payload or "")


def measure(items: int, branches: int, shape: Shape) -> Usage:
    """Run the workflow with so many items and checks, and count what it checkpoints."""
    usage = Usage()
    handler = durable_execution(local.handler)

    def counted(event: Any, context: Any) -> Any:
        arn = event.durable_execution_arn
        return invoke(handler, event, context, _Counting(event.service_client, usage, arn))

    functions = itertools.cycle(list(CHECKS.values()))
    variables = {
        "NESTING": shape["nesting"],
        "ITEMS_PER_CHECKPOINT": str(shape["items_per_checkpoint"]),
        #% if cookiecutter.fan_out == "yes"
        "MAP_MAX_CONCURRENCY": "50",
        "FAN_OUT_WIDTH": "100",  # the local runner stalls now and then when it has to wait
        #% endif
    }
    answer = b'{"decision": "APPROVED"}'
    input_data: dict[str, Any] = {"items": [ITEM] * items}
    with (
        TemporaryDirectory() as folder,
        patch.dict(CHECKS, {f"check-{n}": next(functions) for n in range(branches)}, clear=True),
        patch.dict(os.environ, local.environment() | variables | unlimited_tenant(Path(folder))),
        local.runner(counted, poll_interval=0.01) as runner,
    ):
        #% if cookiecutter.fan_out == "yes"
        if items > chunk_size(branches, shape):
            input_data = {"inputRef": put_input(Path(folder), items)}
        #% endif
        event = json.dumps({"workflowId": "cost", "tenantId": TENANT, "inputData": input_data})
        arn = runner.run_async(event, tenant_id=TENANT)
        callback_id = runner.wait_for_callback(arn, name=f"{CALLBACK_NAME} create callback id")
        runner.send_callback_success(callback_id, answer)
        result = runner.wait_for_result(arn, timeout=600)
    usage.written_bytes += len(event) + len(answer) + len(result.result or "")
    return usage


#% if cookiecutter.fan_out == "yes"
def put_input(folder: Path, items: int) -> str:
    """Write so many items, all alike, where the workflow reads them; return the reference."""
    path = folder / "tenants" / TENANT / "items.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(f"{json.dumps(ITEM)}\n" * items, encoding="utf-8")
    return path.name


def chunk_size(branches: int, shape: Shape) -> int:
    """Items that the template has an execution process itself."""
    return limits.chunk_size(int(local.environment()["CHUNK_SIZE"]), branches, shape)


def project(items: int, branches: int, shape: Shape) -> Usage:
    """What more items take than can be run here: computed, the bytes from a run with two chunks."""
    size = chunk_size(branches, shape)
    chunks = [min(size, items - first) for first in range(0, items, size)]
    measured = measure(2 * size, branches, shape)
    return Usage(
        executions={str(number) for number in range(1 + len(chunks))},
        attempts=limits.chunked_operations_needed(chunks, branches, shape) - 1 - len(chunks),
        written_bytes=measured.written_bytes * len(chunks) // 2,
    )


#% endif
def unlimited_tenant(folder: Path) -> dict[str, str]:
    """The environment with a registry whose tenant may have as many items as there can be."""
    limits_of_tenant = {
        "items_per_execution": 1_000_000_000,
        #% if cookiecutter.fan_out == "yes"
        "fan_out_width": 100,
        #% endif
    }
    tenant = {"status": "ACTIVE", "tier": "premium", "overrides": limits_of_tenant}
    path = folder / "tenants.json"
    path.write_text(json.dumps({TENANT: tenant}), encoding="utf-8")
    return {
        "REGISTRY_FILE": str(path),
        #% if cookiecutter.fan_out == "yes"
        "OBJECTS_FOLDER": str(folder),
        #% endif
    }


def report(usage: Usage, retention_days: int) -> str:
    """A table for 1,000 executions."""
    gigabytes = 1_000 * usage.written_bytes / 1e9
    millions = 1_000 * usage.billed / 1e6
    months = retention_days / 30
    rows = {
        f"{usage.billed:,} durable operations": millions * PRICES["million_operations"],
        f"{usage.written_bytes:,} bytes written": gigabytes * PRICES["gigabyte_written"],
        f"kept for {retention_days} days": gigabytes * months * PRICES["gigabyte_month_retained"],
    }
    lines = [f"  {name:<32} {dollars:>10.4f}" for name, dollars in rows.items()]
    lines += [f"  {'together':<32} {sum(rows.values()):>10.4f}"]
    lines += [f"Prices of {PRICES['read']}: ops/prices.toml. A retry is an operation more."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
