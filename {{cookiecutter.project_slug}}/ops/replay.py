"""Replay executions on this machine, from their histories and with the code of the working tree.

Nothing is saved, and what has a result in the history does not run again. Steps that do run have
the stores of this machine, and the ARN of the execution: so calls have the same idempotency keys.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import pdb
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aws_durable_execution_sdk_python.lambda_service as sdk
from aws_durable_execution_sdk_python.concurrency.models import CompletionRecord
from aws_durable_execution_sdk_python.exceptions import SuspendExecution
from aws_durable_execution_sdk_python.execution import (
    DurableExecutionInvocationInputWithClient,
    InitialExecutionState,
)
from aws_durable_execution_sdk_python.identifier import OperationIdentifier
from aws_durable_execution_sdk_python.state import ExecutionState
from aws_durable_execution_sdk_python_testing.invoker import create_test_lambda_context
from botocore.exceptions import BotoCoreError, ClientError

from chassis.durable import durable_handler
from chassis.model import REFUSED, Definition
from chassis.tenancy.guard import Stack, execution_name
from chassis.tenancy.profile import read_tiers
from chassis.tenancy.stores import Stores
from chassis.wire import JsonObject
from ops import deletion, executions, local, stack
from ops.client import WatchedClient

OURS = {"prepare-work", "aggregate-results"}
"""Steps that reach nothing but the stores; so do those that ask for an approval, and record it."""

#% if cookiecutter.front_door == "http_api"
OURS |= {"record-result"}
#% endif
#% if cookiecutter.fan_out == "yes"
OURS |= {"read-chunk", "store-results", "store-output"}
#% endif
EVENT = re.compile(
    "(Execution|Context|Step|Wait|Callback|ChainedInvoke)"
    "(Started|Succeeded|Failed|TimedOut|Stopped|Cancelled)"
)
STATUS = {"START": "STARTED", "SUCCEED": "SUCCEEDED", "FAIL": "FAILED", "RETRY": "READY"}
FAILED = {"FAILED", "TIMED_OUT", "STOPPED", "CANCELLED"}
CONCURRENT = {"Map", "Parallel"}
Run = Callable[[Any], JsonObject]
Known = Mapping[str, sdk.Operation]


@dataclass(frozen=True)
class History:
    """What an execution has done.

    Attributes:
        arn: of the execution.
        event: its input, JSON.
        operations: how they are, in the order in which they were started.
        invoked: ARNs of the executions that operations have invoked, by the operation's id.
        end: status, and result or type and message of the error; None while it runs.
    """

    arn: str
    event: str
    operations: Known
    invoked: dict[str, str]
    end: tuple[str, Any] | None

    def around(self, operation: sdk.Operation) -> list[sdk.Operation]:
        """The contexts that an operation is in, the innermost first."""
        outer = self.operations.get(operation.parent_id or "")
        return [outer, *self.around(outer)] if outer else []


def read(events: Iterable[JsonObject], arn: str) -> History:
    """Read what GetDurableExecutionHistory returns.

    Raises:
        StackError: these are no such events, or their payloads are missing.
    """
    found: dict[str, dict[str, Any]] = {}
    invoked, given, end = dict[str, str](), None, None
    for event in events:
        if not (match := EVENT.fullmatch(event.get("EventType", ""))):
            continue  # an invocation or a pause: the code sees nothing of it
        kind, status = (re.sub("(?<=[a-z])(?=[A-Z])", "_", part).upper() for part in match.groups())
        details = event.get(f"{match[0]}Details") or {}
        payloads = [details.get(name) or {} for name in ("Input", "Result", "Error")]
        # The local AWS says so of an error, too, which is there.
        if any(
            each.get("Truncated") and not isinstance(each.get("Payload"), dict) for each in payloads
        ):
            raise stack.StackError(
                f"the history has no payload of {event.get('Name') or match[0]}: "
                "it has to be read with --include-execution-data"
            )
        sent, result, error = (payload.get("Payload") for payload in payloads)
        if kind == "EXECUTION":
            given = sent or given
            end = None if status == "STARTED" else (status, came_of(status, result, error))
            continue
        if "DurableExecutionArn" in details:
            invoked[event["Id"]] = details["DurableExecutionArn"]
        retry = details.get("RetryDetails") or {}
        operation = found.setdefault(event["Id"], {**event, "Type": kind})
        operation["Status"] = "PENDING" if retry.get("NextAttemptDelaySeconds") else status
        told = operation.setdefault(f"{match[1]}Details", {"CallbackId": "", "Attempt": 0})
        told |= {"Result": result, "Error": error}
        told["CallbackId"] = details.get("CallbackId", told["CallbackId"])
        told["Attempt"] = retry.get("CurrentAttempt", told["Attempt"])
        # The history does not say where the SDK has kept nothing, or a summary, of a result that
        # is too large; then it makes the result again, of what is inside.
        is_summary = CompletionRecord.from_summary_payload(result) is not None
        told["ReplayChildren"] = status == "SUCCEEDED" and (not result or is_summary)
    if given is None:
        raise stack.StackError("this is no history: there is no ExecutionStarted with an input")
    return History(
        arn, given, {key: sdk.Operation.from_dict(one) for key, one in found.items()}, invoked, end
    )


def came_of(status: str, result: str | None, error: JsonObject | None) -> Any:
    """What is compared of an end: the result, or type and message of the error."""
    if status == "SUCCEEDED":
        return json.loads(result or "null")
    return [(error or {}).get(name) for name in ("ErrorType", "ErrorMessage")]


def load(options: argparse.Namespace) -> History:
    """The history that the command line names: one of the stack, or a file.

    Raises:
        StackError: it cannot be read, or nobody says of which execution it is.
    """
    if not options.execution and not options.history:
        raise stack.UsageError("give the ARN of an execution, or --history FILE")
    if not options.history:
        found: Any = list(executions.history(options.execution, payloads=True))
    else:
        try:
            text = Path(options.history).read_text(encoding="utf-8")
            try:
                found = json.loads(text)
            except json.JSONDecodeError:
                found = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise stack.StackError(f"cannot read the history: {error}") from error
    found = {"Events": found} if isinstance(found, list) else found
    if not found.setdefault("DurableExecutionArn", options.execution):
        message = "the file has no ARN, which the keys of calls are made of: give it, too"
        raise stack.UsageError(message)
    if options.save:
        for event in found["Events"]:  # the right to answer is for nobody who reads the file
            event.get("CallbackStartedDetails", {}).pop("CallbackId", None)
        Path(options.save).write_text(json.dumps(found, default=str, indent=1), encoding="utf-8")
    return read(found.get("Events", []), found["DurableExecutionArn"])


class Memory(WatchedClient):
    """Keeps checkpoints for as long as a replay takes, and lets no time pass."""

    def __init__(self, operations: Known) -> None:
        """Take what there is already."""
        self.operations = dict(operations)

    def checkpoint(
        self,
        durable_execution_arn: str,
        checkpoint_token: str,
        updates: list[sdk.OperationUpdate],
        client_token: str | None,
    ) -> sdk.CheckpointOutput:
        """Note what has changed."""
        del durable_execution_arn, client_token
        state = sdk.CheckpointUpdatedExecutionState(list(map(self._change, updates)))
        return sdk.CheckpointOutput(checkpoint_token, state)

    def _change(self, update: sdk.OperationUpdate) -> sdk.Operation:
        status, before = STATUS[update.action.value], self.operations.get(update.operation_id)
        is_over = update.operation_type is sdk.OperationType.WAIT
        #% if cookiecutter.__invoke
        is_over |= (update.name or "").startswith("meter-usage")  # nobody is sent a bill
        #% endif
        attempt = before.step_details.attempt if before and before.step_details else 0
        details = {"CallbackId": "", "Attempt": attempt + (status == "READY")}
        if status != "STARTED":
            details |= {"Result": update.payload}
        told = update.to_dict()
        kind = told["Type"].title().replace("_", "")
        self.operations[update.operation_id] = sdk.Operation.from_dict(
            {
                **told,
                "Status": "SUCCEEDED" if is_over else status,
                f"{kind}Details": {**details, "Error": told.get("Error")},
            }
        )
        return self.operations[update.operation_id]


@dataclass
class Outcome:
    """What a replay comes to.

    Attributes:
        status: SUCCEEDED, FAILED, or PENDING where the history ends.
        value: the result, or type and message of the error.
        stops: operations that have no result, and the ARN of what they have invoked.
        skipped: operations of the history that the code does not ask for.
        error: what was raised in the end.
    """

    status: str
    value: Any
    stops: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    error: BaseException | None = None


def play(
    history: History,
    definition: Definition[Any],
    run: Run,
    may_run: Callable[[str], bool] = lambda _: False,
) -> Outcome:
    """Run the handler on a history until it is over, or asks for what is not there.

    Args:
        history: of the execution.
        definition: of the workflow.
        run: its phases.
        may_run: whether a step of this name may run, if the history has no result of it.
    """
    logging.getLogger("aws_durable_execution_sdk_python").setLevel(logging.CRITICAL)
    event = json.loads(history.event)
    tenant = str(event.get("tenantId")) if isinstance(event, dict) else ""
    plan = next((each for each in history.operations.values() if each.name == "prepare-work"), None)
    planned = plan.step_details.result if plan and plan.step_details else None
    tier = json.loads(planned)["tier"] if planned else next(iter(read_tiers(definition.tiers)))
    memory, asked, errors = Memory(history.operations), set[str](), list[Exception]()
    wrap, validate = ExecutionState.wrap_user_function, OperationIdentifier.validate_checkpoint
    from_exception = sdk.ErrorObject.from_exception

    def gate(state: Any, body: Any, one: OperationIdentifier, *options: Any, **more: Any) -> Any:
        def stop(*_: Any) -> None:
            step = sdk.Operation(one.operation_id, one.type, sdk.OperationStatus.STARTED)
            memory.operations.setdefault(one.operation_id, replace(step, name=one.name))
            raise SuspendExecution(str(one.name))

        free = one.type is not sdk.OperationType.STEP or may_run(one.name or "")
        return wrap(state, body if free else stop, one, *options, **more)

    def ask(one: OperationIdentifier, checkpoint: sdk.Operation | None) -> None:
        asked.add(one.operation_id)
        validate(one, checkpoint)

    def note(error: Exception) -> sdk.ErrorObject:
        errors.append(error)
        return from_exception(error)

    with (
        patch.dict(os.environ, local.environment()),
        patch.object(ExecutionState, "wrap_user_function", gate),
        patch.object(OperationIdentifier, "validate_checkpoint", ask),
        patch.object(sdk.ErrorObject, "from_exception", note),
    ):
        known = {tenant: {"status": "ACTIVE", "tier": tier}}
        name = execution_name(tenant, "replay", "")
        handler = durable_handler(
            definition,
            run,
            stack=Stack(os.environ["TENANCY"], tenant, lambda _: name),
            stores=Stores(
                partition=partial(local.LocalPartition, known),
                approvals=partial(local.LocalApprovals, {}),
                #% if cookiecutter.front_door == "http_api"
                runs=lambda tenant_id: local.LocalRuns(tenant_id, None, ""),
                #% endif
                #% if cookiecutter.fan_out == "yes"
                objects=partial(local.FileObjects, local.OBJECTS),
                #% endif
                notify=lambda _, subject, __: say(f"not sent: {subject}"),
            ),
        )
        execution = sdk.Operation(
            history.arn.split("/")[-1],
            sdk.OperationType.EXECUTION,
            sdk.OperationStatus.STARTED,
            execution_details=sdk.ExecutionDetails(history.event),
        )
        while True:
            state = InitialExecutionState([execution, *memory.operations.values()], "")
            invocation = DurableExecutionInvocationInputWithClient(
                history.arn, "token", state, service_client=memory
            )
            said = handler(invocation, create_test_lambda_context(tenant_id=tenant))
            ready = any(each.status.value == "READY" for each in memory.operations.values())
            if said["Status"] != "PENDING" or not ready:
                break
    if said["Status"] == "FAILED":
        value = came_of("FAILED", None, said["Error"])
        return Outcome("FAILED", value, error=errors[-1] if errors else None)
    outcome = Outcome(said["Status"], None)
    outcome.skipped = [
        label(each)
        for key, each in history.operations.items()
        if key not in asked
        # A branch or an item may not have had its turn yet.
        and all(
            is_open(outer) and outer.operation_id in asked and outer.sub_type not in CONCURRENT
            for outer in history.around(each)
        )
    ]
    if outcome.status == "SUCCEEDED":
        outcome.value = came_of("SUCCEEDED", said["Result"], None)
    else:
        outcome.stops = [
            label(each) + (f", {history.invoked[key]}" if key in history.invoked else "")
            for key, each in memory.operations.items()
            if is_open(each) and each.operation_type is not sdk.OperationType.CONTEXT
        ]
    return outcome


def is_open(operation: sdk.Operation) -> bool:
    """Whether it has no result yet."""
    return operation.status.value in {"STARTED", "PENDING", "READY"}


def label(operation: sdk.Operation) -> str:
    """What people call an operation."""
    kind = operation.operation_type.value.lower().replace("_", " ")
    return f"{kind} {operation.name or operation.operation_id}"


def without(history: History, name: str | None) -> tuple[History, list[str]]:
    """The history without some operations and all that follows them, and the names of the first.

    Branches and items do not follow each other.

    Args:
        history: of the execution.
        name: of the operations; without one, the steps and invocations that have failed.

    Raises:
        UsageError: there is no such operation.
    """
    known = history.operations
    may_fail = {sdk.OperationType.STEP, sdk.OperationType.CHAINED_INVOKE}
    chosen = {
        key: each
        for key, each in known.items()
        if (each.name == name if name else each.status.value in FAILED)
        and (name or each.operation_type in may_fail)
    }
    if name and not chosen:
        names = dict.fromkeys(each.name or "" for each in known.values())
        raise stack.UsageError(f"--from is {name}, expected one of {', '.join(names)}")
    reopened = {outer.operation_id for one in chosen.values() for outer in history.around(one)}
    kept, cut = dict[str, sdk.Operation](), set[str | None]()
    for key, each in known.items():
        outer = known.get(each.parent_id or "")
        # Without contexts of their own, the steps of an item have names that begin with its name.
        follows = any(
            each.parent_id == one.parent_id and (each.name or "").startswith(f"{one.name} ")
            for one in chosen.values()
        )
        is_in = each.parent_id not in cut and (not outer or outer.operation_id in kept)
        if key in reopened and is_in:
            kept[key] = replace(each, status=sdk.OperationStatus.STARTED, context_details=None)
        elif key not in chosen and is_in and not follows:
            kept[key] = each
        if key in chosen.keys() | reopened and not (outer and outer.sub_type in CONCURRENT):
            cut.add(each.parent_id)
    return replace(history, operations=kept), [str(one.name) for one in chosen.values()]


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr)


def show(outcome: Outcome, stops: str, is_debugged: bool) -> None:
    """Print what came of a replay, the result to standard output; look at an error in pdb."""
    if outcome.status == "SUCCEEDED":
        print(json.dumps(outcome.value, indent=2))
    elif outcome.error:
        say("FAILED {}: {}".format(*outcome.value))
        for frame in traceback.extract_tb(outcome.error.__traceback__):
            if Path(frame.filename).is_relative_to(local.ROOT / "src"):
                path = Path(frame.filename).relative_to(local.ROOT)
                say(f"  in {frame.name}, {path}:{frame.lineno}")
    for what in outcome.stops:
        say(f"{stops}: {what}")
    for what in outcome.skipped:
        say(f"the code does not ask for {what} of the history")
    if is_debugged and outcome.error:
        pdb.post_mortem(outcome.error.__traceback__)


def main(options: argparse.Namespace) -> int:
    """Do what the verb says with the workflow of this project."""
    from workflow import definition, workflow

    verbs = {"replay": replay_it, "fork": fork, "check-running": check_running}
    return verbs[options.verb](options, definition.DEFINITION, workflow.run)


def replay_it(options: argparse.Namespace, definition: Definition[Any], run: Run) -> int:
    """Replay an execution; 1 if the code comes to something else than the execution did."""
    history = load(options)
    outcome = play(history, definition, run)
    status, value = history.end or ("RUNNING", None)
    is_same = not outcome.skipped and (
        (status, value) == (outcome.status, outcome.value)
        if status in {"SUCCEEDED", "FAILED"}
        else outcome.status == "PENDING"
    )
    show(outcome, "the history ends here", options.debug)
    say(f"{'as' if is_same else 'unlike'} the execution, which is {status}")
    return 0 if is_same else 1


def fork(options: argparse.Namespace, definition: Definition[Any], run: Run) -> int:
    """Go on from an operation, as if what follows had not happened; 1 if it does not succeed."""
    history, names = without(load(options), options.start)
    say(f"again: {', '.join(names) or 'nothing'}")

    def may_run(name: str) -> bool:
        return options.live or name in OURS or name.endswith((" submitter", " recorded"))

    outcome = play(history, definition, run, may_run)
    show(outcome, "stops here" if options.live else "stops here without --live", options.debug)
    return 0 if outcome.status == "SUCCEEDED" else 1


def check_running(_: argparse.Namespace, definition: Definition[Any], run: Run) -> int:
    """Replay every execution that is not over; 1 if one could not go on, or not be read."""
    function = deletion.resources_of(stack.parameters()["stack_name"])["WorkflowFunction"]
    wrong = unread = 0
    for execution in deletion.active(function):
        arn, said = execution["DurableExecutionArn"], "is over"
        try:
            history = read(executions.history(arn, payloads=True), arn)
            if not history.end:
                outcome = play(history, definition, run)
                problem = problem_of(history, outcome)
                wrong += bool(problem)
                said = problem or ", ".join(["goes on", *outcome.stops])
        except (stack.StackError, BotoCoreError, ClientError) as error:
            answer: Any = error.response if isinstance(error, ClientError) else {}
            is_gone = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404
            unread += not is_gone
            said = "is gone" if is_gone else f"could not be read: {error}"
        print(f"{execution['DurableExecutionName']}: {said}")
    print(f"{wrong} executions could not go on with this code, {unread} could not be read")
    return 1 if wrong or unread else 0


def problem_of(history: History, outcome: Outcome) -> str:
    """Why an execution that runs could not go on; empty if it could."""
    if outcome.status == "FAILED":
        kind, message = outcome.value
        named = [label(one) for key, one in history.operations.items() if f"'{key}'" in message]
        return f"{', '.join([*named, kind])}: {message}"
    if isinstance(outcome.value, dict) and outcome.value.get("status") == REFUSED:
        return f"{REFUSED}: {outcome.value['reason']}"
    skipped = ", ".join(outcome.skipped)
    return f"the code does not ask for {skipped}" if skipped else ""
