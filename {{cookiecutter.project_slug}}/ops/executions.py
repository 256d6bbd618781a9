"""Start executions of the stack, answer their approvals, find them, read them, and stop them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
#% if cookiecutter.fan_out == "yes"
from contextlib import suppress
#% endif
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from chassis.functions.history import events_of
from chassis.model import REFUSED
from chassis.tenancy.approvals import Approvals, Record
from chassis.tenancy.guard import tenant_of_name
from chassis.wire import JsonObject, NotJsonError, parse_json
from ops import inbox, stack

ACTIVE = {"RUNNING", "PAUSING", "PAUSED"}
"""Statuses of an execution that is not over."""

GONE_ON = {"ResourceNotFoundException", "ResourceConflictException"}
"""Codes of errors: the execution is not there any more, or not in a state that allows it.

Source: the model of Lambda in botocore 1.44.5, read 2026-11-25: PauseDurableExecution,
ResumeDurableExecution and DeleteDurableExecution have both, StopDurableExecution has the first.
"""

PAGE = 100
"""Approvals that are asked for at a time."""

DECISIONS = {"approve": "APPROVED", "reject": "REJECTED"}
POLL_SECONDS = 0.3
"""How often an execution is looked at by somebody who waits; an account may look 15 times a second.

Source: Lambda quotas, GetDurableExecutionHistory, read 2026-11-22.
"""


def start(options: argparse.Namespace) -> int:
    """Start an execution through the stack's starter."""
    return begin({**read_event(Path(options.event)), "tenantId": options.tenant}, options)


def begin(event: JsonObject, options: argparse.Namespace) -> int:
    """Have the starter start an execution, and say what has come of it; 1 if it refuses."""
    reply = stack.call(stack.output("StarterFunctionName"), event)
    if not reply["started"]:
        print(reply["reason"], file=sys.stderr)
        return 1
    if not options.wait:
        print(json.dumps(reply) if options.json else f"started {reply['executionArn']}")
        return 0
    print(f"started {reply['executionArn']}", file=sys.stderr)
    return wait(reply["executionArn"], as_json=options.json)


def approvals(options: argparse.Namespace) -> int:
    """List the approvals of a tenant that wait for an answer, or those that do no longer."""
    client, table = stack.client("dynamodb"), stack.output("TenantTableName")
    found = in_state(Approvals(options.tenant, client, table), options.state)
    for told in (record.to_wire(time.time()) for record in first(found, options.limit)):
        by = f" by {told['decidedBy']}" if told["decidedBy"] else ""
        line = f"{told['askedAt']}  {told['state']}{by}  {told['workflowId']}  {told['approval']}"
        print(json.dumps(told) if options.json else line)
    return 0


def in_state(stored: Approvals, state: str) -> Iterator[Record]:
    """The pending or closed approvals of a tenant, the newest first."""
    after: str | None = None
    while True:
        found, after = stored.in_state(state, PAGE, after)
        yield from found
        if after is None:
            return


def first(found: Iterable[Any], limit: int) -> list[Any]:
    """The first of what is found; says if there are more.

    Raises:
        UsageError: less than one is wanted.
    """
    if limit < 1:
        raise stack.UsageError(f"--limit is {limit}, expected 1 or more")
    rows = list(islice(found, limit + 1))
    if len(rows) > limit:
        print(f"there are more: --limit {limit * 2}", file=sys.stderr)
    return rows[:limit]


def read_event(path: Path) -> JsonObject:
    """Load the input.

    Raises:
        StackError: it cannot be read, or is not a JSON object.
    """
    try:
        event = parse_json(path.read_bytes())
    except OSError as error:
        raise stack.StackError(f"cannot read the event: {error}") from error
    except NotJsonError as error:
        raise stack.StackError(f"cannot read the event: {path} {error}") from error
    if not isinstance(event, dict):
        raise stack.StackError(f"{path} is not a JSON object")
    return event


def answer(options: argparse.Namespace) -> int:
    """Answer through the stack's approver, as the services of the tenant do.

    On the local AWS, without a token, what was asked first is answered.
    """
    if options.token:
        reply = send(options, options.tenant, options.token)
        if options.json:
            print(json.dumps(reply))
        else:
            print(f"{options.verb}: {reply.get('reason', 'accepted')}", file=sys.stderr)
        return 0 if reply["accepted"] else 1
    if not stack.is_local():
        raise stack.UsageError("give --tenant and --token, from the message (make: TENANT= TOKEN=)")
    for asked, remove in inbox.messages():
        reply = send(options, asked["tenantId"], asked["token"])
        if reply["accepted"] and options.verb not in DECISIONS:
            return 0
        remove()  # it has been answered now, or cannot be any more
        if reply["accepted"]:
            print(f"{options.verb} {asked['approval']}: accepted", file=sys.stderr)
            return wait(asked["executionArn"], as_json=options.json)
    raise stack.StackError("nothing waits for an approval: make local-start starts something")


def send(options: argparse.Namespace, tenant_id: str, token: str) -> Any:
    """Call the approver; without a decision it is a heartbeat."""
    event: JsonObject = {"tenantId": tenant_id, "token": token}
    if decision := DECISIONS.get(options.verb):
        by = options.by or stack.client("sts").get_caller_identity()["Arn"]
        given = {"decidedBy": by, "comment": options.comment}
        event["identifiedBy"] = "operator"
        event["answer"] = {"decision": decision} | {k: v for k, v in given.items() if v}
    return stack.call(stack.output("ApproverFunctionName"), event)


def wait(execution_arn: str, *, as_json: bool = False) -> int:
    """Wait until an execution asks for an approval, or is over; 0 unless it has failed."""
    while True:
        execution = status_of(execution_arn)
        if execution["Status"] not in ACTIVE or execution["waitsFor"]:
            return report(execution, as_json=as_json)
        time.sleep(POLL_SECONDS)


def report(execution: JsonObject, *, as_json: bool = False) -> int:
    """Print what an execution waits for, or what came of it; 1 if it has failed or was refused."""
    output = json.loads(execution.get("Result") or "{}")
    if as_json:
        print(json.dumps(execution, default=to_json))
    elif execution["waitsFor"]:
        print(f"it waits for: {', '.join(execution['waitsFor'])}")
    elif output:
        print(json.dumps(output, indent=2))
    elif error := execution.get("Error"):
        message = f"{error.get('ErrorType', '')}: {error.get('ErrorMessage', '')}"
        print(f"{execution['Status']} {message}", file=sys.stderr)
    is_refused = output.get("status") == REFUSED
    return 0 if execution["Status"] in {*ACTIVE, "SUCCEEDED"} and not is_refused else 1


def to_json(value: Any) -> str:
    """What JSON cannot say: times, and whatever else there will be."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def describe(execution_arn: str, *, payloads: bool = False) -> JsonObject:
    """The execution as the API describes it, perhaps with its input and its result or error."""
    execution: JsonObject = stack.client("lambda").get_durable_execution(
        DurableExecutionArn=execution_arn, IncludeExecutionData=payloads
    )
    execution.pop("ResponseMetadata", None)
    return execution


def status_of(execution_arn: str) -> JsonObject:
    """All that the API says of the execution, and the approvals that it waits for."""
    execution = describe(execution_arn, payloads=True)
    is_active = execution["Status"] in ACTIVE
    return {**execution, "waitsFor": pending_approvals(execution_arn) if is_active else []}


def pending_approvals(execution_arn: str) -> list[str]:
    """The names of the approvals that an execution waits for, once the approvers know of them."""
    started, told = dict[str, str](), set[str]()
    for event in history(execution_arn):
        if event["EventType"] == "CallbackStarted":
            started[event["Id"]] = event["Name"].removesuffix(" create callback id")
        elif event["EventType"].startswith("Callback"):
            started.pop(event["Id"], None)
        elif event["EventType"] == "StepSucceeded":
            told.add(event["Name"].removesuffix(" submitter"))
    return [name for name in started.values() if name in told]


def history(execution_arn: str, *, payloads: bool = False) -> Iterator[JsonObject]:
    """Every event of the execution, page by page, perhaps with inputs, results and errors."""
    return events_of(stack.client("lambda"), execution_arn, payloads=payloads)


def workflow() -> str:
    """The name of the stack's workflow function."""
    return stack.output("WorkflowAliasArn").split(":")[-2]


def listed(function: str, statuses: Iterable[str] = ()) -> Iterator[JsonObject]:
    """The executions of a function, of all its versions, the newest first; these, or all."""
    wanted = sorted(statuses)
    pages = stack.client("lambda").get_paginator("list_durable_executions_by_function")
    for page in pages.paginate(FunctionName=function, **({"Statuses": wanted} if wanted else {})):
        for execution in page["DurableExecutions"]:
            if not wanted or execution["Status"] in wanted:  # the local AWS lists all of them
                yield execution


def of_tenant(tenant_id: str, statuses: Iterable[str] = ()) -> Iterator[JsonObject]:
    #% if cookiecutter.fan_out == "yes"
    """The executions of a tenant; these, or all that are not being deleted.

    Each is followed by those of its chunks, which the service names: its history tells them.
    """
    #% else
    """The executions of a tenant; these, or all that are not being deleted."""
    #% endif
    wanted = set(statuses)
    for execution in listed(workflow(), wanted):
        is_theirs = tenant_of_name(execution["DurableExecutionName"]) == tenant_id
        if is_theirs and execution["Status"] != "DELETING":
            #% if cookiecutter.fan_out == "yes"
            yield execution
            chunks = chunks_of(execution["DurableExecutionArn"])
            yield from (chunk for chunk in chunks if not wanted or chunk["Status"] in wanted)


            #% else
            yield execution


#% endif
#% if cookiecutter.fan_out == "yes"
def chunks_of(execution_arn: str) -> Iterator[JsonObject]:
    """The executions of the chunks of one, as far as the service still knows them."""
    client, ours = stack.client("lambda"), f":function:{workflow()}:"
    with suppress(client.exceptions.ResourceNotFoundException):  # it has been deleted itself
        for event in history(execution_arn):
            arn = event.get("ChainedInvokeStartedDetails", {}).get("DurableExecutionArn", "")
            if ours in arn:
                with suppress(client.exceptions.ResourceNotFoundException):
                    yield describe(arn)


#% endif
def stop(execution_arn: str, reason: str) -> None:
    """Stop an execution; one that has ended since is left as it is."""
    attempt(
        stack.client("lambda").stop_durable_execution,
        DurableExecutionArn=execution_arn,
        Error={"ErrorType": "StoppedByOperator", "ErrorMessage": reason},
    )


def attempt(operation: Callable[..., Any], **request: Any) -> None:
    """Ask for something of an execution, which has perhaps gone on since it was looked at."""
    try:
        operation(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE_ON:
            raise
