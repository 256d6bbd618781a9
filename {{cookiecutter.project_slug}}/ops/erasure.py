"""Take away all that can be of a tenant, and say what went, and what stays until when."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

#% if cookiecutter.fan_out == "yes"
from chassis.tenancy.objects import prefix_of
#% endif
from ops import executions, stack

if TYPE_CHECKING:
    from ops.tenants import Registry

STOP_SECONDS = 300
"""How long executions may take to stop; a stop only has to be recorded."""

BACKUP_DAYS = 35
"""How long the table can be restored as it was.

Source: DynamoDB API reference, PointInTimeRecoverySpecification, read 2026-11-25.
"""

DEAD_LETTER_DAYS = 14
"""How long a dead letter is kept: ``MessageRetentionPeriod`` of its queue."""


#% if cookiecutter.fan_out == "yes"
AT_ONCE = 1000
"""Objects that S3 deletes at once (S3 API reference, DeleteObjects, read 2026-11-25)."""


#% endif
#% if cookiecutter.__invoke
USAGE = "USAGE#"
"""How the sort keys of usage records begin: they are billed by, and stay unless it is said."""


#% endif


def remove(registry: Registry, options: argparse.Namespace) -> int:
    """Say what goes, ask, take it away, and print a receipt; 1 if nobody agrees.

    Run again, it goes on where it was interrupted, and finds what has been written since.

    Raises:
        StackError: there is nothing of this tenant, or something cannot be stopped or deleted.
    """
    tenant_id = options.tenant
    found = list(executions.of_tenant(tenant_id))
    held = {"executions": len(found), "rows": len(rows_of(registry, options))}
    #% if cookiecutter.fan_out == "yes"
    held["objects"] = len(objects_of(tenant_id))
    #% endif
    if not any(held.values()):
        raise stack.StackError(f"tenant {tenant_id} is unknown: there is nothing to remove")
    running = sum(execution["Status"] in executions.ACTIVE for execution in found)
    print(f"{tenant_id} has {counted(held)}. {running} run, and are stopped.", file=sys.stderr)
    if not options.yes and not stack.agreed(f"Remove {tenant_id}? It cannot be brought back."):
        print("nothing has been removed", file=sys.stderr)
        return 1
    with suppress(stack.StackError):  # without a profile it starts nothing either
        registry.change(tenant_id, status="SUSPENDED")
    removed = {"executions": delete_executions(tenant_id)}
    #% if cookiecutter.fan_out == "yes"
    removed["objects"] = delete_objects(tenant_id)
    #% endif
    removed["rows"] = delete_rows(registry, options)
    stays = what_stays()
    #% if cookiecutter.__invoke
    if records := len(registry.sort_keys(tenant_id)):
        stays[f"{records:,} usage records"] = f"until: tenant remove {tenant_id} --usage"
    #% endif
    if options.json:
        print(json.dumps({"tenant": tenant_id, "removed": removed, "stays": stays}))
    else:
        print(f"removed of {tenant_id}: {counted(removed)}")
        print("\n".join(f"stays: {what}, {until}" for what, until in stays.items()))
    return 0


def counted(counts: dict[str, int]) -> str:
    """How many there are of each."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def delete_executions(tenant_id: str) -> int:
    """Stop what runs, and delete what is over, until nothing is left; return how many.

    What runs is stopped first, all of it, and what was invoked goes before what has invoked it: a
    history that is gone does not tell.

    Raises:
        StackError: something is still there after ``STOP_SECONDS``.
    """
    client, deleted = stack.client("lambda"), set[str]()
    deadline = time.monotonic() + STOP_SECONDS
    while found := list(executions.of_tenant(tenant_id)):
        active = [each for each in found if each["Status"] in executions.ACTIVE]
        if stack.is_local() and not active:
            break  # it deletes none
        if time.monotonic() > deadline:
            raise stack.StackError(f"{len(found)} executions are still there: run this again")
        for each in active:
            executions.stop(each["DurableExecutionArn"], "the tenant is removed")
        for each in [] if active else reversed(found):
            arn = each["DurableExecutionArn"]
            executions.attempt(client.delete_durable_execution, DurableExecutionArn=arn)
            deleted.add(arn)
        time.sleep(executions.POLL_SECONDS)
    return len(deleted)


#% if cookiecutter.fan_out == "yes"
def objects_of(tenant_id: str) -> list[str]:
    """The keys of the tenant's objects."""
    pages = stack.client("s3").get_paginator("list_objects_v2")
    bucket = stack.output("ObjectBucketName")
    found = pages.paginate(Bucket=bucket, Prefix=prefix_of(tenant_id))
    return [each["Key"] for page in found for each in page.get("Contents", [])]


def delete_objects(tenant_id: str) -> int:
    """Delete the tenant's objects; return how many.

    Raises:
        StackError: one could not be deleted.
    """
    client, bucket = stack.client("s3"), stack.output("ObjectBucketName")
    keys = objects_of(tenant_id)
    for first in range(0, len(keys), AT_ONCE):
        some = [{"Key": key} for key in keys[first : first + AT_ONCE]]
        done = client.delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
        for error in done.get("Errors", []):
            raise stack.StackError(f"{error['Key']} could not be deleted: {error['Code']}")
    return len(keys)


#% endif
def rows_of(registry: Registry, options: argparse.Namespace) -> list[str]:
    """The sort keys of the rows that go."""
    #% if cookiecutter.__invoke
    found = registry.sort_keys(options.tenant)
    return [key for key in found if options.usage or not key.startswith(USAGE)]


    #% else
    return registry.sort_keys(options.tenant)


    #% endif
def delete_rows(registry: Registry, options: argparse.Namespace) -> int:
    """Delete the tenant's rows; return how many."""
    rows = rows_of(registry, options)
    for sort_key in rows:
        registry.delete(options.tenant, sort_key)
    return len(rows)


def what_stays() -> dict[str, str]:
    """What cannot be taken away, or is not, and until when."""
    kept = stack.parameter("HistoryRetentionDays")
    left = {
        "what Lambda charges for the storage of executions": f"for {kept} days from when one ended",
        "logs": f"for {stack.parameter('LogRetentionDays')} days from when a line was written",
        "backups of the rows": f"for {BACKUP_DAYS} days",
        "dead letters": f"for {DEAD_LETTER_DAYS} days from when an execution failed or was stopped",
        "messages that were sent": "as long as those who have them keep them",
        "CloudTrail's records of calls": "as long as your trails keep them",
    }
    if stack.is_local():
        left["executions"] = "until the local AWS is down"
    return left
