"""What an approved execution costs: its operations, bytes and requests, counted in a run here.

Nothing that a step of the workflow would do is done: stand-ins take their place. Not in it: the
compute of the functions, which depends on what they do, their logs, what is stored, keys, what the
steps of the workflow call, and the looks at executions that wait for long (``reconciler.py``).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
#% if cookiecutter.fan_out == "yes"
from io import BufferedReader
#% endif
from pathlib import Path
#% if cookiecutter.fan_out == "yes"
from tempfile import TemporaryDirectory
#% endif
from typing import Any
from unittest.mock import patch

from aws_durable_execution_sdk_python import DurableContext, ParallelBranch
from aws_durable_execution_sdk_python.lambda_service import (
    DurableServiceClient,
    OperationAction,
    OperationSubType,
    OperationUpdate,
)
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision

from chassis import quotas
from chassis.durable import Execution
from chassis.model import (
    REFUSED,
    Attempt,
    Check,
    CheckResult,
    Definition,
    InvalidInputError,
    ItemOutcomes,
    ItemStep,
    Plan,
)
from chassis.settings import Shape, load_shape
from chassis.tenancy.approvals import Asked
from chassis.tenancy.profile import read_tiers
#% if cookiecutter.front_door == "http_api"
from chassis.tenancy.runs import MAX_RESULT_BYTES
#% endif
#% if cookiecutter.front_door == "http_api"
from chassis.wire import JsonObject, abridge, json_size
#% else
from chassis.wire import JsonObject, json_size
#% endif
from ops import executions, local, stack
from ops.client import WatchedClient, invoke

PRICES: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("prices.toml").read_text(encoding="utf-8")
)
#% if cookiecutter.fan_out == "yes"
MOST_RUN = 10_000
"""Items that are run to be counted; what more take is computed."""

STARTS_PER_SECOND = 300
"""Durable executions that an account can start (Lambda quotas, read 2026-11-22)."""

#% endif
TENANT = "cost"
ANSWER = '{"decision": "APPROVED", "decidedBy": "somebody", "identifiedBy": "service"}'
RESULT = {"kind": "object", "bytes": 46, "digest": "0" * 16}
"""The stand-in for the result of an item: as large as that of the sample."""

ROW_BYTES = 700
"""Bytes of the row of an approval, beside its evidence, about."""

#% if cookiecutter.front_door == "http_api"
KEY_BYTES = 120
"""Bytes of the row of a result, beside the result, about."""

#% endif
REQUESTS: dict[str, dict[str, int]] = {
    "execution": {
        # One each: the starter, and the reconciler for the status event.
        "lambda_requests": 2,
        # The profile, for the starter and for the first step; the approvals that are left open.
        "read_units": 3,
        # Counting the start: a transaction of two rows, at two units a row (DynamoDB developer
        # guide, "Transactions: how it works", read 2026-11-25), and with it the two indexes: a
        # write each ("Global secondary indexes", likewise). Whether one of a transaction counts
        # twice is not said, so it does here. The ARN, twice, which changes an index once. The end.
        "write_units": (2 * 2 + 2 * 2) + (2 + 1) + (2 * 2 + 2 * 2),
    },
    #% if cookiecutter.front_door == "http_api"
    "kilobyte of a result": {"write_units": 1},
    "progress": {"write_units": 2},
    #% endif
    "invocation": {"lambda_requests": 1},
    # The approver reads what was asked; in and out of the index of what the reconciler looks at.
    "approval": {"lambda_requests": 1, "read_units": 1, "write_units": 2, "messages": 1},
    # Asked; answered, which moves it in the index; and the step that finds it answered.
    "kilobyte of evidence": {"write_units": 2 + 3 + 1},
    #% if cookiecutter.__invoke
    "record": {"lambda_requests": 1, "write_units": 1},  # of the meter
    #% endif
    #% if cookiecutter.fan_out == "yes"
    "chunk": {"read_units": 2},  # it asks whether its execution runs; a long one goes on to ask
    "object read": {"object_reads": 1},
    "object written": {"object_writes": 1},
    #% endif
}
"""Requests beside the checkpoints for each of what is counted.

``tests/chassis/ops/test_cost.py`` counts them in a real run.
"""


def kilobytes(size: int) -> int:
    """Of a row of so many bytes: DynamoDB bills each that is begun.

    Source: DynamoDB developer guide, "DynamoDB read and write operations", read 2026-11-25.
    """
    return -(-size // 1_024)


@dataclass
class Usage:
    """What an execution takes, with those that it has invoked; ``counts`` are of ``REQUESTS``."""

    executions: set[str] = field(default_factory=set)
    operations: set[tuple[str, str]] = field(default_factory=set)
    attempts: int = 0
    written_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def billed(self) -> int:
        """Durable operations on the bill: executions, operations, retries and polls."""
        return len(self.executions) + len(self.operations) + self.attempts

    def requests(self) -> Counter[str]:
        """Requests beside the checkpoints, by their price's name."""
        found = Counter[str]()
        for what, times in self.counts.items():
            found.update({name: times * number for name, number in REQUESTS[what].items()})
        return found


def main(options: argparse.Namespace) -> int:
    """Count the workflow of this project."""
    from workflow import definition, workflow

    return cost(options, definition.DEFINITION, workflow.run)


def cost(
    options: argparse.Namespace, definition: Definition[Any], phases: Callable[[Any], JsonObject]
) -> int:
    """Count and print.

    Raises:
        UsageError: there cannot be such an execution.
    """
    shape, together = default_shape(), options.items_per_checkpoint
    if together is not None and not 1 <= together <= 100:
        raise stack.UsageError(f"--items-per-checkpoint is {together}, expected 1 to 100")
    shape["nesting"] = options.nesting or shape["nesting"]
    shape["items_per_checkpoint"] = together or shape["items_per_checkpoint"]
    #% if cookiecutter.fan_out == "yes"
    most = quotas.MAX_CHUNKS * chunk_size(definition, shape)
    #% else
    most = quotas.max_items(len(definition.item_steps), shape)
    #% endif
    if not 0 <= options.items <= most:
        raise stack.UsageError(f"--items is {options.items}, expected 0 to {most}")
    event, count = executions.read_event(Path(options.event)), measure
    #% if cookiecutter.fan_out == "yes"
    count = project if options.items > MOST_RUN else measure
    #% endif
    usage = count(definition, phases, event, options.items, shape)
    rows = price(usage, local.template()["Parameters"]["HistoryRetentionDays"]["Default"])
    if options.json:
        counted = {"operations": usage.billed, "writtenBytes": usage.written_bytes}
        print(json.dumps({**counted, **usage.requests(), "dollarsPerThousand": sum(rows.values())}))
        return 0
    print(f"{options.items:,} items; 1,000 executions, in US dollars:")
    for name, dollars in rows.items():
        print(f"  {name:<40} {dollars:>10.4f}")
    print(f"  {'together':<40} {sum(rows.values()):>10.4f}")
    #% if cookiecutter.fan_out == "yes"
    starts = len(usage.executions)
    print(f"Executions each: {starts:,}; an account starts {STARTS_PER_SECOND} in a second.")
    #% endif
    retries = usage.counts["invocation"] * (quotas.INVOCATION_ATTEMPTS - 1)
    print(f"Prices of {PRICES['read']}: ops/prices.toml. A retry is an operation more: of a step")
    print(f"or of an invocation that crashes or times out: at most {retries:,}.")
    print("Compute comes on top: GB-seconds of the functions, which depend on what they do.")
    #% if cookiecutter.customer_managed_key == "yes"
    print("So does the key, with its requests: how many the services make is not documented.")
    #% endif
    return 0


def price(usage: Usage, retention_days: int) -> dict[str, float]:
    """What 1,000 executions cost, in US dollars, by what is paid for."""
    gigabytes = usage.written_bytes / 1e6
    rows = {
        f"{usage.billed:,} durable operations": usage.billed / 1e3 * PRICES["million_operations"],
        f"{usage.written_bytes:,} bytes written": gigabytes * PRICES["gigabyte_written"],
        f"kept for {retention_days} days": gigabytes
        * (retention_days / 30)
        * PRICES["gigabyte_month_retained"],
    }
    for name, number in usage.requests().items():
        rows[f"{number:,} {name.replace('_', ' ')}"] = number / 1e3 * PRICES[f"million_{name}"]
    return rows


class _Counting(WatchedClient):
    """Counts what one invocation checkpoints."""

    def __init__(self, client: DurableServiceClient, usage: Usage, execution_arn: str) -> None:
        super().__init__(client)
        self._usage = usage
        self._execution_arn = execution_arn
        if execution_arn not in usage.executions:
            #% if cookiecutter.fan_out == "yes"
            usage.counts["chunk" if usage.executions else "execution"] += 1
            #% else
            usage.counts["execution"] += 1
            #% endif
        usage.executions.add(execution_arn)
        usage.counts["invocation"] += 1

    def after(self, updates: list[OperationUpdate]) -> None:
        """Count operations and attempts, each of which is billed, and the bytes."""
        for update in updates:
            polled = update.sub_type == OperationSubType.WAIT_FOR_CONDITION
            ended = update.action in {OperationAction.SUCCEED, OperationAction.FAIL}
            self._usage.operations.add((self._execution_arn, update.operation_id))
            self._usage.attempts += update.action is OperationAction.RETRY or (polled and ended)
            #% if cookiecutter.__invoke
            invoked = update.chained_invoke_options  # only when it is started
            self._usage.counts["record"] += bool(invoked and invoked.function_name == local.METER)
            #% endif
            self._usage.written_bytes += len(update.payload or "")


def counted_rows(counts: Counter[str]) -> dict[str, Any]:
    """Stores that count what would be written of approvals and executions, by their names."""

    class CountedApprovals(local.LocalApprovals):
        def ask(self, asked: Asked, callback_id: str, token: str, kept_days: int) -> bool:
            counts["kilobyte of evidence"] += kilobytes(ROW_BYTES + json_size(asked.evidence))
            return super().ask(asked, callback_id, token, kept_days)

    #% if cookiecutter.front_door == "http_api"
    class CountedRuns(local.LocalRuns):
        def put_result(self, execution_arn: str, output: JsonObject) -> None:
            del execution_arn
            kept = json_size(abridge(output, MAX_RESULT_BYTES))
            counts["kilobyte of a result"] += kilobytes(KEY_BYTES + kept)

        def _note(self, *_: Any, **__: Any) -> None:
            counts["progress"] += 1

    runs = {"LocalRuns": CountedRuns}
    #% else
    runs = dict[str, Any]()
    #% endif
    return {"LocalApprovals": CountedApprovals, **runs}


#% if cookiecutter.fan_out == "yes"
def counted_objects(counts: Counter[str]) -> type[local.FileObjects]:
    """Objects that count what would be requests of S3."""

    class Counted(local.FileObjects):
        def size(self, ref: str) -> int:
            counts["object read"] += 1
            return super().size(ref)

        def open(self, ref: str, start: int = 0, end: int | None = None) -> BufferedReader:
            counts["object read"] += 1
            return super().open(ref, start, end)

        def put(self, ref: str, lines: Any) -> None:
            counts["object written"] += 1
            super().put(ref, lines)

    return Counted


#% endif


class _StandIns:
    """A durable context in which the bodies of the workflow's own operations are not run."""

    def __init__(self, context: DurableContext) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def step(self, _body: Any, *options: Any, **named: Any) -> Any:
        return self._context.step(lambda _: None, *options, **named)

    def wait_for_condition(self, _check: Any, config: Any, name: str | None = None) -> Any:
        once = WaitForConditionConfig(
            lambda *_: WaitForConditionDecision.stop_polling(), config.initial_state
        )
        return self._context.wait_for_condition(lambda state, _: state, once, name=name)

    def run_in_child_context(self, body: Any, *options: Any, **named: Any) -> Any:
        return self._context.run_in_child_context(_inside(body), *options, **named)

    def parallel(self, bodies: Any, *options: Any, **named: Any) -> Any:
        return self._context.parallel(list(map(_inside, bodies)), *options, **named)

    def map(self, inputs: Any, body: Any, *options: Any, **named: Any) -> Any:
        return self._context.map(inputs, _inside(body), *options, **named)


def _inside(body: Any) -> Any:
    if isinstance(body, ParallelBranch):
        return replace(body, func=_inside(body.func))
    return lambda context, *others: body(_StandIns(context), *others)


class _CountedExecution(Execution[Any]):
    """Runs the phases of a workflow, and nothing that they would have done."""

    @property
    def context(self) -> Any:
        return _StandIns(self.durable)

    def run_checks(self, plan: Plan, checks: Mapping[str, Check]) -> list[CheckResult]:
        counted = dict.fromkeys(checks, lambda items: {"count": sum(1 for _ in items)})
        return super().run_checks(plan, counted)

    def aggregate_results(
        self, plan: Plan, checks: list[CheckResult], items: ItemOutcomes, aggregate: Any
    ) -> JsonObject:
        del aggregate
        counts = {"itemsProcessed": items.succeeded, "itemsFailed": items.failed}
        return super().aggregate_results(plan, checks, items, lambda *_: counts)


def stand_in(step: ItemStep) -> ItemStep:
    """A step of the same name that does nothing."""

    def body(item: Any, attempt: Attempt) -> JsonObject:
        del item, attempt
        return RESULT

    body.__name__ = step.__name__
    return body


def measure(
    definition: Definition[Any],
    phases: Callable[[Any], JsonObject],
    event: JsonObject,
    items: int,
    shape: Shape,
) -> Usage:
    """Run the phases with so many items, and count what they checkpoint and ask.

    Raises:
        UsageError: the workflow refuses the event.
        StackError: the workflow fails.
    """
    usage = Usage()
    event = {**event, "tenantId": TENANT}
    try:
        given = definition.parse_request(event).items or ["item"]
    except InvalidInputError as error:
        raise stack.UsageError(f"the event is refused: {error}") from error
    input_data: JsonObject = {"items": list(itertools.islice(itertools.cycle(given), items))}

    def counted(handler: local.Handler) -> local.Handler:
        def run_once(event: Any, context: Any) -> Any:
            client = _Counting(event.service_client, usage, event.durable_execution_arn)
            return invoke(handler, event, context, client)

        return run_once

    # As many items as there can be, whatever the tiers are.
    tier, limits = next(iter(read_tiers(definition.tiers))), {"items_per_execution": 1_000_000_000}
    #% if cookiecutter.fan_out == "yes"
    limits["fan_out_width"] = 100
    #% endif
    idle = replace(definition, item_steps=tuple(map(stand_in, definition.item_steps)))
    variables = {
        "NESTING": shape["nesting"],
        "ITEMS_PER_CHECKPOINT": str(shape["items_per_checkpoint"]),
        #% if cookiecutter.fan_out == "yes"
        "MAP_MAX_CONCURRENCY": "50",
        "FAN_OUT_WIDTH": "100",  # the local runner stalls now and then when it has to wait
        #% endif
    }
    with (
        #% if cookiecutter.fan_out == "yes"
        TemporaryDirectory() as folder,
        #% endif
        #% if cookiecutter.fan_out == "yes"
        patch.object(local, "FileObjects", counted_objects(usage.counts)),
        #% endif
        patch.multiple(local, **counted_rows(usage.counts)),
        patch.dict(os.environ, local.environment() | variables),
    ):
        #% if cookiecutter.fan_out == "yes"
        if items > chunk_size(definition, shape):
            lines = (f"{json.dumps(item)}\n".encode() for item in input_data["items"])
            input_data = {"inputRef": "items.jsonl"}
            local.FileObjects(Path(folder), TENANT).put("items.jsonl", lines)
            usage.counts["object read"] += 1  # the starter looks at it, too
        #% endif
        event = {**event, "inputData": input_data}
        with local.LocalExecution(
            idle,
            lambda execution: phases(_CountedExecution(**vars(execution))),
            event,
            known={TENANT: {"status": "ACTIVE", "tier": tier, "overrides": limits}},
            #% if cookiecutter.fan_out == "yes"
            objects=Path(folder),
            #% endif
            wrap=counted,
            poll_interval=0.01,
        ) as execution:
            while question := execution.next_question():
                usage.counts["approval"] += 1
                execution.answer(question, json.loads(ANSWER))
                usage.written_bytes += len(ANSWER)
            result = execution.result()
    if result.error:
        raise stack.StackError(
            f"the workflow fails where its own steps return null: {result.error.message}"
        )
    output = json.loads(result.result or "{}")
    if output.get("status") == REFUSED:
        raise stack.UsageError(f"the event is refused: {output['reason']}")
    usage.written_bytes += len(json.dumps(event)) + len(result.result or "")
    return usage


#% if cookiecutter.fan_out == "yes"
def chunk_size(definition: Definition[Any], shape: Shape) -> int:
    """Items that the template has an execution process itself."""
    most = quotas.max_items(len(definition.item_steps), shape)
    return min(int(local.environment()["CHUNK_SIZE"]), most)


def project(
    definition: Definition[Any],
    phases: Callable[[Any], JsonObject],
    event: JsonObject,
    items: int,
    shape: Shape,
) -> Usage:
    """What more items take than can be run here, from runs with two chunks and with three."""
    size = chunk_size(definition, shape)
    chunks = -(-items // size)
    two, three = (measure(definition, phases, event, number * size, shape) for number in (2, 3))

    def scaled(of_two: int, of_three: int) -> int:
        return int(of_two + (of_three - of_two) * (items / size - 2))

    counted = {str(number) for number in range(1 + chunks)}
    return Usage(
        executions=counted,
        attempts=scaled(two.billed, three.billed) - len(counted),
        written_bytes=scaled(two.written_bytes, three.written_bytes),
        counts=Counter({name: scaled(two.counts[name], n) for name, n in three.counts.items()}),
    )


#% endif
def default_shape() -> Shape:
    """The shape that the template deploys."""
    return load_shape(local.environment())
