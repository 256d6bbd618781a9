"""Add, show, set, suspend, resume, list and remove tenants; no deploy is needed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from ops import stack
from workflow.models import TENANT_ID
from workflow.registry import PROFILE, TablePartition, partition_key
from workflow.tenants import TIERS, Limits, TenantRefusedError

ACTIONS = ("add", "show", "set", "suspend", "resume", "list", "remove")
LIMITS = tuple(Limits.__annotations__)


class NotDoneError(Exception):
    """The registry does not allow it; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and do it; 0 if it is done, 1 if refused, 2 if misused."""
    parser = argparse.ArgumentParser(prog="ops.tenant", description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--tenant", default="", help="tenant id, 3 to 24 of a-z and 0-9")
    parser.add_argument("--tier", default="", help=f"one of {', '.join(TIERS)}")
    parser.add_argument(
        "--limits", default="", help="the tenant's own, 'map_concurrency=5 ...'; 'none' for none"
    )
    options = parser.parse_args(arguments)
    if options.action != "list" and not TENANT_ID.fullmatch(options.tenant):
        parser.error(f"--tenant is {options.tenant!r}, expected 3 to 24 of a-z and 0-9")
    if options.tier not in TIERS and (options.action == "add" or options.tier):
        parser.error(f"--tier is {options.tier!r}, expected one of {', '.join(TIERS)}")
    if options.action == "set" and not (options.tier or options.limits):
        parser.error("nothing to set: give --tier or --limits (make: TIER= or LIMITS=)")
    try:
        limits = parse_limits(options.limits)
    except ValueError as error:
        parser.error(f"--limits: {error}")

    actions: dict[str, Callable[[Any, str, str], None]] = {
        "add": partial(add, tier=options.tier, limits=limits),
        "show": show,
        "set": partial(set_limits, tier=options.tier, limits=limits),
        "suspend": partial(set_status, status="SUSPENDED"),
        "resume": partial(set_status, status="ACTIVE"),
        "list": list_tenants,
        "remove": remove,
    }

    def run() -> int:
        client, table = stack.client("dynamodb"), stack.output("TenantTableName")
        try:
            actions[options.action](client, table, options.tenant)
        except (NotDoneError, TenantRefusedError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0

    return stack.report(run)


def parse_limits(text: str) -> dict[str, int] | None:
    """Read ``name=number ...``; nothing for "none", and None if there is nothing to read.

    >>> parse_limits("map_concurrency=5 running_executions=50")
    {'map_concurrency': 5, 'running_executions': 50}

    Raises:
        ValueError: a name that is no limit, or a number that is not 1 or more.
    """
    if text in ("", "none"):
        return {} if text else None
    limits = {}
    for part in text.split():
        name, _, number = part.partition("=")
        if name not in LIMITS:
            raise ValueError(f"there is no limit {name!r}, expected {', '.join(LIMITS)}")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 1_000_000:
            raise ValueError(f"{name} is {number!r}, expected a whole number from 1 to 1000000")
        limits[name] = int(number)
    return limits


def add(
    client: Any, table: str, tenant_id: str, tier: str, limits: dict[str, int] | None = None
) -> None:
    """Add a tenant; one that is there is left as it is."""
    item = {
        **_key(tenant_id),
        "status": {"S": "ACTIVE"},
        "tier": {"S": tier},
        "overrides": _numbers(limits or {}),
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


def set_limits(
    client: Any, table: str, tenant_id: str, tier: str, limits: dict[str, int] | None
) -> None:
    """Change the tier, or the tenant's own limits, or both; what is not given stays."""
    values: dict[str, Any] = {"tier": {"S": tier}} if tier else {}
    if limits is not None:
        values["overrides"] = _numbers(limits)
    _update(client, table, tenant_id, values)


def list_tenants(client: Any, table: str, _: str = "") -> None:
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
    _update(client, table, tenant_id, {"status": {"S": status}})


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


def _numbers(limits: dict[str, int]) -> dict[str, Any]:
    return {"M": {name: {"N": str(number)} for name, number in limits.items()}}


def _update(client: Any, table: str, tenant_id: str, values: dict[str, Any]) -> None:
    _conditional(
        client.update_item,
        f"tenant {tenant_id} is unknown",
        TableName=table,
        Key=_key(tenant_id),
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
        ConditionExpression="attribute_exists(pk)",
        ExpressionAttributeNames={f"#{name}": name for name in values},
        ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
    )


def _conditional(operation: Any, refusal: str, **request: Any) -> None:
    try:
        operation(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise NotDoneError(refusal) from error


if __name__ == "__main__":
    sys.exit(main())
