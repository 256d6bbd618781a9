"""Run the workflow on this machine: no AWS account, no network.

The result goes to standard output as JSON, everything for people to standard error. The exit
status is 0 if the workflow completed, 1 if it did not, 2 if it could not be started.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from aws_durable_execution_sdk_python import durable_execution
from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
    InvocationStatus,
    OperationEndInfo,
)
from aws_durable_execution_sdk_python_testing import (
    DurableFunctionTestResult,
    DurableFunctionTestRunner,
)
from aws_durable_execution_sdk_python_testing.exceptions import ResourceNotFoundException
from aws_durable_execution_sdk_python_testing.runner import Operation, StepOperation

from ops import local
from workflow.callback_helper import CALLBACK_NAME
from workflow.handler import PLUGINS
from workflow.models import JsonObject, Status

ANSWERS = ("ask", "approve", "reject", "timeout")
A_DAY = 24 * 60 * 60


class NoAnswerError(Exception):
    """The person at the terminal has left."""


class Progress(DurableInstrumentationPlugin):
    """Says when an operation ends, and when an invocation does; its own factory."""

    def __init__(self) -> None:
        self.invocations: SimpleQueue[InvocationStatus] = SimpleQueue()
        self.invocation_count = 0
        #% if cookiecutter.fan_out == "yes"
        self._execution_arn: str | None = None
        #% endif
        self._said: set[str | None] = set()

    def create_plugin(self, info: InvocationStartInfo, /) -> DurableInstrumentationPlugin:
        """Called by the SDK when an invocation starts."""
        #% if cookiecutter.fan_out == "yes"
        self._execution_arn = self._execution_arn or info.execution_arn
        if info.execution_arn != self._execution_arn:
            return DurableInstrumentationPlugin()  # a chunk's execution says nothing
        #% else
        del info
        #% endif
        self.invocation_count += 1
        return self

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Print the operation, once; the step of a branch or an item speaks for it."""
        is_new = info.operation_id not in self._said
        self._said.add(info.operation_id)
        if is_new and info.sub_type not in {"ParallelBranch", "MapIteration"}:
            say(f"  {info.status.value.lower():<10} {info.name}")

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        """Tell the main thread."""
        self.invocations.put(info.status)


def say(text: str) -> None:
    """Write a line for people."""
    sys.stderr.write(f"{text}\n")  # in one piece: branches and items speak at the same time
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run, and report."""
    parser = argparse.ArgumentParser(prog="ops.run", description=__doc__.splitlines()[0])
    parser.add_argument("--event", default="events/order.json", help="input, a JSON file")
    parser.add_argument("--answer", choices=ANSWERS, default="ask", help="answer of the approver")
    parser.add_argument("--tenant", help="tenant, instead of the event's; see ops/tenants.json")
    options = parser.parse_args(arguments)
    event = read_event(parser, Path(options.event), options.tenant)
    if options.answer == "ask" and not sys.stdin.isatty():
        parser.error("nobody to ask: give --answer approve, reject or timeout (make: ANSWER=...)")

    os.environ.update(local.environment())
    if options.answer == "timeout":
        os.environ.update(CALLBACK_TIMEOUT="1s", CALLBACK_HEARTBEAT="0m")
    for name in ("aws_durable_execution_sdk_python", "aws_durable_execution_sdk_python_testing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the table below shows what failed

    progress = Progress()
    handler = durable_execution(local.handler, plugins=[*PLUGINS, progress])
    with local.runner(handler, poll_interval=0.05, execution_timeout=A_DAY) as runner:
        tenant_id = event.get("tenantId") if isinstance(event, dict) else None
        arn = runner.run_async(json.dumps(event), tenant_id=tenant_id)
        if progress.invocations.get() is InvocationStatus.PENDING and options.answer != "timeout":
            question = (
                f"{event['workflowId']} of tenant {event['tenantId']} waits for its approval. "
                "Approve it? [y/n] "
            )
            try:
                answer(runner, arn, options.answer, question)
            except ResourceNotFoundException:
                say("too late: the approval is over")
            except (NoAnswerError, KeyboardInterrupt):
                say("\nno answer: the execution is abandoned")
                return 1
        result = runner.wait_for_result(arn, timeout=A_DAY)
    return report(result, progress.invocation_count)


def read_event(parser: argparse.ArgumentParser, path: Path, tenant: str | None) -> Any:
    """Load the input; without a tenant it gets the one that is given, or the tenant demo."""
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        parser.error(f"cannot read the event: {error}")
    except (ValueError, RecursionError) as error:
        parser.error(f"{path} is not JSON: {error}")
    if isinstance(event, dict):
        event["tenantId"] = tenant or event.get("tenantId") or "demo"
    return event


def answer(runner: DurableFunctionTestRunner, arn: str, how: str, question: str) -> None:
    """Answer the pending approval, after asking at the terminal if need be."""
    callback_id = runner.wait_for_callback(arn, name=f"{CALLBACK_NAME} create callback id")
    while how == "ask":
        sys.stderr.write(question)
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise NoAnswerError
        how = {"y": "approve", "n": "reject"}.get(line.strip().lower(), "ask")
    decision = {"approve": "APPROVED", "reject": "REJECTED"}[how]
    payload = {"decision": decision, "decidedBy": os.environ.get("USER", "somebody")}
    runner.send_callback_success(callback_id, json.dumps(payload).encode())


def report(result: DurableFunctionTestResult, invocation_count: int) -> int:
    """Print the table of operations and the result; return the exit status."""
    rows = [row for operation in result.operations for row in table_rows(operation)]
    if rows:
        say(f"\n{'operation':<36} {'type':<14} {'status':<10} {'attempts':>8} {'seconds':>8}")
        say("\n".join(rows))
    say(f"{len(rows)} durable operations in {invocation_count} invocations")
    if result.result is None:
        error = result.error
        say(f"FAILED {error.type}: {error.message}" if error else "FAILED")
        return 1
    output: JsonObject = json.loads(result.result)
    print(json.dumps(output, indent=2))
    return 0 if output["status"] in {Status.COMPLETED, Status.COMPLETED_WITH_FAILURES} else 1


def table_rows(operation: Operation, depth: int = 0) -> Iterator[str]:
    """The operation's row and those of the operations inside it."""
    start, end = operation.start_timestamp, operation.end_timestamp
    seconds = f"{(end - start).total_seconds():.3f}" if start and end else "-"
    attempts = operation.attempt if isinstance(operation, StepOperation) else "-"
    yield (
        f"{'  ' * depth + (operation.name or ''):<36} {operation.operation_type.value:<14} "
        f"{operation.status.value:<10} {attempts:>8} {seconds:>8}"
    )
    for child in getattr(operation, "child_operations", []):
        yield from table_rows(child, depth + 1)


if __name__ == "__main__":
    sys.exit(main())
