"""Add, show, suspend, resume, list and remove tenants; no deploy is needed."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from botocore.exceptions import ClientError

from ops import stack
from workflow.models import TENANT_ID
from workflow.registry import PROFILE, TablePartition, partition_key
from workflow.tenants import TIERS, TenantRefusedError

ACTIONS = ("add", "show", "suspend", "resume", "list", "remove")


class NotDoneError(Exception):
    """The registry does not allow it; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do it; 0 if it is done, 1 if refused, 2 if misused."""
    parser = argparse.ArgumentParser(prog="ops.tenant", description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--tenant", default="", help="tenant id, 3 to 24 of a-z and 0-9")
    parser.add_argument("--tier", default="", help=f"one of {', '.join(TIERS)}")
    options = parser.parse_args(arguments)
    if options.action != "list" and not TENANT_ID.fullmatch(options.tenant):
        parser.error(f"--tenant is {options.tenant!r}, expected 3 to 24 of a-z and 0-9")
    if options.action == "add" and options.tier not in TIERS:
        parser.error(f"--tier is {options.tier!r}, expected one of {', '.join(TIERS)}")

    def run() -> int:
        client, table = stack.client("dynamodb"), stack.output("TenantTableName")
        try:
            change(client, table, options.action, options.tenant, options.tier)
        except (NotDoneError, TenantRefusedError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    return stack.report(run)


def change(client: Any, table: str, action: str, tenant_id: str, tier: str) -> None:
    """Do one of the actions.

    Raises:
        NotDoneError: the tenant is there already, or is not, or has running executions.
    """
    if action == "add":
        add(client, table, tenant_id, tier)
    elif action == "show":
        show(client, table, tenant_id)
    elif action == "list":
        list_tenants(client, table)
    elif action == "remove":
        remove(client, table, tenant_id)
    else:
        set_status(client, table, tenant_id, "SUSPENDED" if action == "suspend" else "ACTIVE")


def add(client: Any, table: str, tenant_id: str, tier: str) -> None:
    """Add a tenant; one that is there is left as it is."""
    item = {
        **_key(tenant_id),
        "status": {"S": "ACTIVE"},
        "tier": {"S": tier},
        "overrides": {"M": {}},
        "running": {"N": "0"},
    }
    _conditional(
        client.put_item,
        f"tenant {tenant_id} is there already: nothing was changed",
        TableName=table,
        Item=item,
        ConditionExpression="attribute_not_exists(pk)",
    )


def show(client: Any, table: str, tenant_id: str) -> None:
    """Print a tenant with the limits that hold for it."""
    profile = TablePartition(tenant_id, client, table).profile()
    known = {"tenantId": tenant_id, "status": profile.status, "tier": profile.tier}
    print(json.dumps({**known, "limits": profile.limits()}, indent=2))


def list_tenants(client: Any, table: str) -> None:
    """Print every tenant with its status, tier and running executions."""
    pages = client.get_paginator("scan").paginate(
        TableName=table,
        FilterExpression="sk = :profile",
        ExpressionAttributeValues={":profile": {"S": PROFILE}},
    )
    for page in pages:
        for item in page["Items"]:
            tenant_id = item["pk"]["S"].removeprefix(partition_key(""))
            status, tier, running = item["status"]["S"], item["tier"]["S"], item["running"]["N"]
            print(f"{tenant_id:<24} {status:<10} {tier:<10} {running} running")


def set_status(client: Any, table: str, tenant_id: str, status: str) -> None:
    """Suspend or resume; executions that run already are left alone."""
    _conditional(
        client.update_item,
        f"tenant {tenant_id} is unknown",
        TableName=table,
        Key=_key(tenant_id),
        UpdateExpression="SET #status = :status",
        ConditionExpression="attribute_exists(pk)",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":status": {"S": status}},
    )


def remove(client: Any, table: str, tenant_id: str) -> None:
    """Remove a tenant that runs nothing; do not give its id to another one."""
    _conditional(
        client.delete_item,
        f"tenant {tenant_id} is unknown, or has running executions: nothing was removed",
        TableName=table,
        Key=_key(tenant_id),
        ConditionExpression="running = :zero",
        ExpressionAttributeValues={":zero": {"N": "0"}},
    )


def _key(tenant_id: str) -> dict[str, Any]:
    return {"pk": {"S": partition_key(tenant_id)}, "sk": {"S": PROFILE}}


def _conditional(operation: Any, refusal: str, **request: Any) -> None:
    try:
        operation(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise NotDoneError(refusal) from error


if __name__ == "__main__":
    sys.exit(main())
