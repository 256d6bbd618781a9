"""Find executions of the stack, look at them, and steer them: list, show, watch, stop and so on."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from chassis.functions import timeline
from chassis.functions.history import History, Operation, counted, duration, read_history
from chassis.tenancy.guard import tenant_of_name
from chassis.wire import JsonObject
from ops import executions, stack

WATCH_SECONDS = 2
"""How often a watched execution is looked at: up to 10 pages of 1,000 events, 15 a second may be.

Source: Lambda quotas, GetDurableExecutionHistory, read 2026-11-22.
"""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def list_all(options: argparse.Namespace) -> int:
    """List executions, the newest first.

    Raises:
        UsageError: ``--since`` or ``--limit`` is none.
    """
    since = read_age(options.since)
    found = takewhile(
        lambda execution: not since or execution["StartTimestamp"] >= since,
        executions.listed(executions.workflow(), {options.state} if options.state else ()),
    )
    of_tenant = (
        execution
        for execution in found
        if not options.tenant or tenant_of(execution) == options.tenant
    )
    rows = executions.first(of_tenant, options.limit)
    if options.json:
        print(json.dumps(rows, default=executions.to_json))
    for row in [] if options.json else rows:
        age = duration((datetime.now(UTC) - row["StartTimestamp"]).total_seconds())
        said = f"{row['Status']:<10} {tenant_of(row):<16} {age + ' ago':<16}"
        print(f"{said} {row['DurableExecutionArn']}")
    return 0


def read_age(text: str) -> datetime | None:
    """Read ``30m``, ``2h`` or ``3d``: so long ago; None for nothing.

    Raises:
        UsageError: it is none of them.
    """
    if not text:
        return None
    matched = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not matched:
        raise stack.UsageError(f"--since is {text!r}, expected a number with s, m, h or d: 2h")
    return datetime.now(UTC) - timedelta(seconds=int(matched[1]) * UNITS[matched[2]])


def tenant_of(execution: JsonObject) -> str:
    """The tenant of an execution that is listed; "-" for one that the starter did not name."""
    return tenant_of_name(execution["DurableExecutionName"]) or "-"


def show(options: argparse.Namespace) -> int:
    """Print how an execution is, its operations, and its result or error; perhaps draw it."""
    execution = executions.status_of(options.execution)
    events = executions.history(options.execution, payloads=True)
    history = read_history(events, now=datetime.now(UTC), payloads=options.payloads)
    name = execution["DurableExecutionName"]
    for path, draw in ((options.svg, timeline.timeline), (options.html, timeline.page)):
        if path:
            write(Path(path), draw(history, name=name))
            print(f"drawn: {path}", file=sys.stderr)
    if options.json:
        execution["operations"] = [asdict(operation) for operation in history.root.children]
    else:
        print(f"{name} is {execution['Status']}")
        print("\n".join([*history.summary(), *tree(history.root, history)]))
    executions.report(execution, as_json=options.json)
    return 0


def tree(parent: Operation, history: History, depth: int = 0) -> Iterator[str]:
    """A line for each operation inside another; what a screen does not hold is counted."""
    shown, hidden = parent.shown()
    for o in shown:
        took = history.took(o) + (f", {o.attempts} attempts" if o.attempts > 1 else "")
        error = f"  {o.error.splitlines()[0][:100]}" if o.error and not o.children else ""
        yield f"  {'  ' * depth + o.name:<36} {o.status.lower():<10} {took}{error}"
        yield from tree(o, history, depth + 1)
    if hidden:
        yield f"  {'  ' * depth}{len(hidden):,} more: {counted(hidden)}"


def watch(options: argparse.Namespace) -> int:
    """Say what an execution does until it is over; 0 if it has succeeded.

    At a terminal the lines take the place of those before; otherwise there is a line for each look
    that shows something new.
    """
    said, rows = list[str](), None
    while True:
        status = executions.describe(options.execution)["Status"]
        events = list(executions.history(options.execution, payloads=rows is None))
        rows = rows or rows_of_map(events)
        lines = list(read_history(events, now=datetime.now(UTC)).summary(rows))
        if sys.stdout.isatty() and not options.json:
            lines = [line[: get_terminal_size().columns - 1] for line in lines]
            print(f"\x1b[{len(said)}A\x1b[J" * bool(said) + "\n".join(lines), flush=True)
        elif lines[1:] != said[1:]:  # the first has the time
            print(json.dumps(lines) if options.json else " ".join(lines), flush=True)
        said = lines
        if status not in executions.ACTIVE:
            return 0 if status == "SUCCEEDED" else 1
        time.sleep(WATCH_SECONDS)


def rows_of_map(events: list[JsonObject]) -> int | None:
    """How many operations the map of the items will have; None until it is planned, or if cut."""
    for event in events:
        if event["EventType"] == "StepSucceeded" and event.get("Name") == "prepare-work":
            with suppress(KeyError, ValueError):
                plan = json.loads(event["StepSucceededDetails"]["Result"]["Payload"])
                #% if cookiecutter.fan_out == "yes"
                if plan["stored"]:
                    return len(plan["stored"]["cuts"])
                #% endif
                return -(-int(plan["item_count"]) // int(plan["settings"]["items_per_checkpoint"]))
    return None


def stop(options: argparse.Namespace) -> int:
    """Stop an execution, if somebody agrees; 1 if nobody does, or if it is over."""
    execution = executions.describe(options.execution)
    if execution["Status"] not in executions.ACTIVE:
        print(f"it is over already: {execution['Status']}", file=sys.stderr)
        return 1
    question = f"Stop {execution['DurableExecutionName']}? It cannot go on later."
    if not options.yes and not stack.agreed(question):
        print("nothing has been stopped", file=sys.stderr)
        return 1
    executions.stop(options.execution, options.reason)
    #% if cookiecutter.fan_out == "yes"
    for chunk in active_chunks(options.execution):
        executions.stop(chunk, options.reason)
    #% endif
    return _done(options)


#% if cookiecutter.fan_out == "yes"
def active_chunks(execution_arn: str) -> Iterator[str]:
    """The chunks of an execution that are not over: what is done to it is not done to them."""
    for chunk in executions.chunks_of(execution_arn):
        if chunk["Status"] in executions.ACTIVE:
            yield chunk["DurableExecutionArn"]


#% endif

def pause(options: argparse.Namespace) -> int:
    """Pause or resume an execution."""
    client, about = stack.client("lambda"), dict[str, Any]()
    if options.reason:
        about["Reason"] = options.reason
    ask = client.resume_durable_execution
    if options.verb == "pause":
        ask = client.pause_durable_execution
        about["ExecutionTimeoutPaused"] = not options.keep_timeout
    ask(DurableExecutionArn=options.execution, **about)
    #% if cookiecutter.fan_out == "yes"
    for chunk in active_chunks(options.execution):
        executions.attempt(ask, DurableExecutionArn=chunk, **about)
    #% endif
    return _done(options)


def _done(options: argparse.Namespace) -> int:
    asked = {"execution": options.execution, "asked": options.verb}
    print(json.dumps(asked) if options.json else f"{options.verb}: accepted")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write the history to a file, an event on each line; 1 if it is there and is to stay."""
    path = Path(options.file)
    if path.exists() and not options.yes and not stack.agreed(f"Overwrite {path}?"):
        print("nothing has been written", file=sys.stderr)
        return 1
    events = executions.history(options.execution, payloads=options.payloads)
    lines = [json.dumps(masked(event), default=executions.to_json) + "\n" for event in events]
    write(path, "".join(lines))
    written = {"file": str(path), "events": len(lines)}
    print(json.dumps(written) if options.json else f"{len(lines):,} events in {path}")
    return 0


def write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, if it was not there.

    Raises:
        StackError: it cannot be written.
    """
    try:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise stack.StackError(f"cannot write {path}: {error}") from error


def masked(event: JsonObject) -> JsonObject:
    """An event without the callback id, with which anybody who may could answer."""
    started = event.get("CallbackStartedDetails")
    hidden = {"CallbackStartedDetails": {**started, "CallbackId": "hidden"}} if started else {}
    return {**event, **hidden}
