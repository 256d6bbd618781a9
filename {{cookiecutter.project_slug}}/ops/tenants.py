"""Add, show, set, suspend, resume, brake, release, remove and list tenants; no deploy is needed."""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from chassis.model import TENANT_ID, TenantRefusedError
from chassis.tenancy.profile import (
    Limits,
    Profile,
    Tiers,
    concurrent_invocations,
    read_tiers,
)
from chassis.tenancy.registry import PROFILE, TablePartition
from chassis.tenancy.rows import partition_key, row_key
from chassis.wire import JsonObject
from ops import brake, erasure, stack

LIMITS = tuple(Limits.__annotations__)


class RefusedError(stack.StackError):
    """The registry does not allow it; the message says why."""


@cache
def tiers() -> Tiers:
    """The tiers of the workflow."""
    return read_tiers(stack.ROOT / "src" / "workflow" / "tiers.toml")


def manage(options: argparse.Namespace) -> int:
    """Do what the command line says.

    Raises:
        UsageError: the command line is wrong.
        StackError: the registry does not allow it, or executions do not do what they are asked.
    """
    action, tenant_id, tier = options.action, options.tenant, options.tier
    if action != "list" and not TENANT_ID.fullmatch(tenant_id):
        raise stack.UsageError(f"the tenant is {tenant_id!r}, expected 3 to 24 of a-z and 0-9")
    if tier not in tiers() and (action == "add" or tier):
        raise stack.UsageError(f"the tier is {tier!r}, expected one of {', '.join(tiers())}")
    if action == "set" and not (tier or options.limits):
        raise stack.UsageError("nothing to set: give --tier or --limits (make: TIER= or LIMITS=)")
    limits = parse_limits(options.limits)
    registry = Registry()
    if action == "add":
        registry.add(Profile(tenant_id, "ACTIVE", tier, limits or {}))
    elif action == "set":
        registry.change(tenant_id, tier=tier or None, overrides=limits)
    elif action in {"suspend", "resume"}:
        registry.change(tenant_id, status="SUSPENDED" if action == "suspend" else "ACTIVE")
    elif action in {"brake", "release"}:
        hold = brake.brake if action == "brake" else brake.release
        done = {"tenant": tenant_id, "asked": action, "executions": hold(registry, tenant_id)}
        print(json.dumps(done) if options.json else f"{action}: {done['executions']} executions")
    elif action == "remove":
        return erasure.remove(registry, options)
    elif action == "show":
        print(json.dumps(registry.show(tenant_id), indent=2))
    else:
        print_all(registry.every(), as_json=options.json)
    if action in {"add", "set"}:
        warn(registry.every())
    return 0


def print_all(profiles: list[Profile], *, as_json: bool) -> None:
    """Print every tenant with its status, tier, running executions, and share of concurrency."""
    rows = [
        {
            "tenantId": profile.tenant_id,
            "status": profile.status,
            "tier": profile.tier,
            "running": profile.running,
            "concurrentInvocations": share(profile),
        }
        for profile in profiles
    ]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        known = f"{row['tenantId']:<24} {row['status']:<10} {row['tier']:<10}"
        print(f"{known} {row['running']} running, {row['concurrentInvocations']} at a time")
    print(summary(sum(map(share, profiles)), room()))


def share(profile: Profile) -> int:
    """Concurrent invocations that a tenant can have; 0 where its row is wrong: it starts none."""
    try:
        return concurrent_invocations(profile.limits(tiers()))
    except TenantRefusedError:
        return 0


def room() -> int | str:
    """Concurrent invocations that there are for the workflow, or why that is not known.

    They are its own if some are reserved for it, or those that the account has left unreserved.
    """
    client = stack.client("lambda")
    workflow = stack.output("WorkflowAliasArn").rpartition(":")[0]
    try:
        reserved = client.get_function_concurrency(FunctionName=workflow)
        limit = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return int(reserved.get("ReservedConcurrentExecutions", limit))


def summary(wanted: int, there: int | str) -> str:
    """What all tenants can have, and what there is."""
    known = f"there are {there}" if isinstance(there, int) else f"how many there are: {there}"
    return f"all tenants can have {wanted} concurrent invocations of the workflow; {known}"


def warn(profiles: list[Profile]) -> None:
    """Say so if all tenants together can have more invocations than there are.

    A warning, because this is how shares are sold: most executions wait most of the time, and take
    a share only while they work. Who gets past what there is, is throttled and tried again.
    """
    wanted, there = sum(map(share, profiles)), room()
    if not isinstance(there, int) or wanted > there:
        print(f"warning: {summary(wanted, there)}", file=sys.stderr)


def parse_limits(text: str) -> dict[str, int] | None:
    """Read ``name=number ...``; nothing for "none", and None if there is nothing to read.

    >>> parse_limits("map_concurrency=5 running_executions=50")
    {'map_concurrency': 5, 'running_executions': 50}

    Raises:
        UsageError: a name that is no limit, or a number that is not 1 or more.
    """
    if text in ("", "none"):
        return {} if text else None
    limits = {}
    for part in text.split():
        name, _, number = part.partition("=")
        if name not in LIMITS:
            raise stack.UsageError(f"there is no limit {name!r}, expected {', '.join(LIMITS)}")
        if not number.isascii() or not number.isdigit() or not 1 <= int(number) <= 1_000_000:
            raise stack.UsageError(f"{name} is {number!r}, expected a number from 1 to 1000000")
        limits[name] = int(number)
    return limits


class Registry:
    """The tenants of the stack; the schema of their rows is the chassis'."""

    def __init__(self, client: Any = None, table: str | None = None) -> None:
        """Take another client and table than those of the stack, if any."""
        self._client = client or stack.client("dynamodb")
        self._table = table or stack.output("TenantTableName")

    def add(self, profile: Profile) -> None:
        """Add a tenant; one that is there is left as it is."""
        self._conditional(
            self._client.put_item,
            f"tenant {profile.tenant_id} is there already: nothing was changed",
            Item={**row_key(profile.tenant_id, PROFILE), **profile.to_row()},
            ConditionExpression="attribute_not_exists(pk)",
        )

    def show(self, tenant_id: str) -> JsonObject:
        """A tenant with the limits that hold for it."""
        try:
            profile = TablePartition(tenant_id, self._client, self._table).profile()
            limits = profile.limits(tiers())
        except TenantRefusedError as error:
            raise RefusedError(str(error)) from error
        known = {"tenantId": tenant_id, "status": profile.status, "tier": profile.tier}
        return {**known, "running": profile.running, "limits": limits}

    def change(
        self,
        tenant_id: str,
        *,
        status: str | None = None,
        tier: str | None = None,
        overrides: dict[str, int] | None = None,
    ) -> None:
        """Change what is given and leave the rest; executions that run are left alone."""
        row = Profile(tenant_id, status or "", tier or "", overrides or {}).to_row()
        given = {"status": status, "tier": tier, "overrides": overrides}
        names = [name for name, value in given.items() if value is not None]
        self._conditional(
            self._client.update_item,
            f"tenant {tenant_id} is unknown",
            Key=row_key(tenant_id, PROFILE),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in names),
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeNames={f"#{name}": name for name in names},
            ExpressionAttributeValues={f":{name}": row[name] for name in names},
        )

    def sort_keys(self, tenant_id: str) -> list[str]:
        """The sort keys of all rows of a tenant."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": partition_key(tenant_id)}},
            ProjectionExpression="sk",
            ConsistentRead=True,
        )
        return [item["sk"]["S"] for page in pages for item in page["Items"]]

    def delete(self, tenant_id: str, sort_key: str) -> None:
        """Delete a row of a tenant."""
        self._client.delete_item(TableName=self._table, Key=row_key(tenant_id, sort_key))

    def every(self) -> list[Profile]:
        """All tenants."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            FilterExpression="sk = :profile",
            ExpressionAttributeValues={":profile": {"S": PROFILE}},
        )
        return [
            Profile.from_row(item["pk"]["S"].removeprefix(partition_key("")), item)
            for page in pages
            for item in page["Items"]
        ]

    def _conditional(self, operation: Any, refusal: str, **request: Any) -> None:
        try:
            operation(TableName=self._table, **request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise RefusedError(refusal) from error
