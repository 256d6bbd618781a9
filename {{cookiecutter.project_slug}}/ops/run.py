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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationStartInfo,
    OperationEndInfo,
)
from aws_durable_execution_sdk_python_testing import DurableFunctionTestResult
from aws_durable_execution_sdk_python_testing.exceptions import ResourceNotFoundException
from aws_durable_execution_sdk_python_testing.runner import Operation, StepOperation

from chassis.functions import timeline
from chassis.functions.history import read_history
from chassis.model import REFUSED, Definition
from chassis.wire import JsonObject, NotJsonError, parse_json
from ops import local

RUNS = local.ROOT / ".runs"
ANSWERS = {"approve": "APPROVED", "reject": "REJECTED"}


class NoAnswerError(Exception):
    """The person at the terminal has left."""


def main(options: argparse.Namespace) -> int:
    """Run the workflow of this project."""
    #% if cookiecutter.front_door == "http_api"
    if options.ui:
        from ops import page

        return page.main(options)
    #% endif
    from workflow import definition, workflow

    return run(options, definition.DEFINITION, workflow.run)


def run(
    options: argparse.Namespace, definition: Definition[Any], phases: Callable[[Any], JsonObject]
) -> int:
    """Run a workflow as the command line says; return the exit status."""
    event = read_event(Path(options.event))
    if isinstance(event, dict):
        event["tenantId"] = options.tenant or event.get("tenantId") or "demo"
    if options.answer == "ask" and not sys.stdin.isatty():
        say("nobody to ask: give --answer approve, reject or timeout (make: ANSWER=...)")
        return 2
    os.environ.update(local.environment())
    if options.answer == "timeout":
        os.environ.update(CALLBACK_TIMEOUT="1s", CALLBACK_HEARTBEAT="0m")
    for name in ("aws_durable_execution_sdk_python", "aws_durable_execution_sdk_python_testing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the table below shows what failed
    with local.LocalExecution(
        definition,
        phases,
        event,
        plugins=[Progress()],
        poll_interval=0.05,
        execution_timeout=local.A_DAY,
    ) as execution:
        try:
            answer_all(execution, options.answer)
        except (NoAnswerError, KeyboardInterrupt):
            say("\nno answer: the execution is abandoned")
            return 1
        status = report(execution.result(), execution.invocations)
        if sys.stderr.isatty():
            say(f"The timeline: {draw(execution)}")
        return status


def draw(execution: local.LocalExecution) -> Path:
    """Draw a run; the picture of the last one is kept."""
    picture = RUNS / "last.html"
    RUNS.mkdir(exist_ok=True)
    history = read_history(execution.history(), payloads=True)
    picture.write_text(timeline.page(history, name="The last run"), encoding="utf-8")
    return picture


def read_event(path: Path) -> Any:
    """Load the input.

    Raises:
        SystemExit: it cannot be read, or is not JSON.
    """
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        say(f"cannot read the event: {error}")
    except NotJsonError as error:
        say(f"{path} {error}")
    raise SystemExit(2)


def answer_all(execution: local.LocalExecution, how: str) -> None:
    """Answer every approval that is asked for, until the execution is over."""
    while question := execution.next_question():
        if how == "timeout":
            continue
        decision = ANSWERS[ask(question.message) if how == "ask" else how]
        answer = {"decision": decision, "decidedBy": os.environ.get("USER", "somebody")}
        try:
            execution.answer(question, answer)
        except ResourceNotFoundException:
            say("too late: the approval is over")


def ask(message: JsonObject) -> str:
    """Show the person at the terminal what the approvers are shown, until there is an answer.

    Raises:
        NoAnswerError: the person has left.
    """
    hidden = {"executionArn", "token", "answerWith"}
    shown = {name: value for name, value in message.items() if name not in hidden}
    say(f"\nApproval wanted:\n{json.dumps(shown, indent=2)}")
    while True:
        sys.stderr.write("Approve it? [y/n] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise NoAnswerError
        if answer := {"y": "approve", "n": "reject"}.get(line.strip().lower()):
            return answer


class Progress(DurableInstrumentationPlugin):
    """Says when an operation ends; its own factory."""

    def __init__(self) -> None:
        self._arn: str | None = None
        self._said: set[str | None] = set()

    def create_plugin(self, info: InvocationStartInfo, /) -> DurableInstrumentationPlugin:
        """Called by the SDK when an invocation starts; the execution of a chunk says nothing."""
        self._arn = self._arn or info.execution_arn
        return self if info.execution_arn == self._arn else DurableInstrumentationPlugin()

    def on_operation_end(self, info: OperationEndInfo) -> None:
        """Print the operation, once; the step of a branch or an item speaks for it."""
        is_new = info.operation_id not in self._said
        self._said.add(info.operation_id)
        if is_new and info.sub_type not in {"ParallelBranch", "MapIteration"}:
            say(f"  {info.status.value.lower():<10} {info.name}")


def report(result: DurableFunctionTestResult, invocations: int) -> int:
    """Print the table of operations and the result; return the exit status."""
    rows = [row for operation in result.operations for row in table_rows(operation)]
    if rows:
        say(f"\n{'operation':<36} {'type':<14} {'status':<10} {'attempts':>8} {'seconds':>8}")
        say("\n".join(rows))
    say(f"{len(rows)} durable operations in {invocations} invocations")
    if result.result is None:
        error = result.error
        say(f"FAILED {error.type}: {error.message}" if error else "FAILED")
        return 1
    output: JsonObject = json.loads(result.result)
    print(json.dumps(output, indent=2))
    if output.get("status") == REFUSED:
        say(f"REFUSED: {output['reason']}")
    return 0 if str(output.get("status", "COMPLETED")).startswith("COMPLETED") else 1


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


def say(text: str) -> None:
    """Write a line for people."""
    sys.stderr.write(f"{text}\n")  # in one piece: branches and items speak at the same time
