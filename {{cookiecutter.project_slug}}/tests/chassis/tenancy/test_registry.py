"""The registry: counted exactly, never overwritten, and no tenant reaches another's rows."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config

from chassis.model import TenantRefusedError
from chassis.tenancy.registry import (
    ApprovalNotFoundError,
    TablePartition,
    row_key,
    token_key,
)
from ops.tenants import Registry
from tests.chassis.aws import TABLE, Add, running

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/acme_1/id"


def test_starts_that_meet_end_with_exactly_the_limits_of_two_tenants(table: Any, add: Add) -> None:
    add("acme")
    add("globex")
    client = boto3.client("dynamodb", config=Config(max_pool_connections=60))

    def admit(number: int) -> str | None:
        tenant_id = ("acme", "globex")[number % 2]
        try:
            TablePartition(tenant_id, client, TABLE).admit(f"{tenant_id}_{number}", 10, number)
        except TenantRefusedError:
            return None
        return tenant_id

    with ThreadPoolExecutor(60) as threads:
        admitted = list(threads.map(admit, range(60)))

    assert (admitted.count("acme"), admitted.count("globex")) == (10, 10)
    assert (running(table, "acme"), running(table, "globex")) == (10, 10)


def test_a_start_and_an_end_are_counted_once(table: Any, add: Add) -> None:
    acme = add("acme")

    assert acme.admit("acme_1", 5, 0) is True
    assert acme.admit("acme_1", 5, 0) is False
    assert acme.admit("acme_2", 5, 0) is True
    assert running(table, "acme") == 2
    assert acme.release("acme_1", "SUCCEEDED", 0) is True
    assert acme.release("acme_1", "FAILED", 0) is False
    assert acme.release("acme_unknown", "FAILED", 0) is False
    assert running(table, "acme") == 1


def test_an_execution_that_is_not_counted_may_not_run(add: Add) -> None:
    acme = add("acme")
    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(ARN)
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)
    acme.note_arn(ARN)  # a step may run twice
    acme.release("acme_1", "SUCCEEDED", 0)

    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(ARN)


def test_another_execution_of_a_counted_name_may_not_run(table: Any, add: Add) -> None:
    """As when the service has forgotten one whose end nobody has heard of."""
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)

    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(f"{ARN}2")
    assert acme.release("acme_1", "FAILED", 0, f"{ARN}2") is False
    assert running(table, "acme") == 1
    assert acme.release("acme_1", "SUCCEEDED", 0, ARN) is True
    assert running(table, "acme") == 0


def test_one_that_was_given_up_and_has_ended_since_is_not_started_again(
    table: Any, add: Add
) -> None:
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    assert acme.release("acme_1", "NOT_STARTED", 0) is True
    assert acme.release("acme_1", "FAILED", 0, ARN) is False  # its first step was refused

    with pytest.raises(TenantRefusedError, match=r"processed before \(FAILED\)"):
        acme.admit("acme_1", 5, 0)
    assert running(table, "acme") == 0


def test_one_that_was_given_up_can_be_started_again(table: Any, add: Add) -> None:
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    acme.release("acme_1", "NOT_STARTED", 0)

    assert acme.admit("acme_1", 5, 0) is True
    assert running(table, "acme") == 1


def test_an_execution_that_was_seen_is_not_given_up(table: Any, add: Add) -> None:
    """Its start and the reconciler can meet: the one or the other is done."""
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)

    assert acme.release("acme_1", "NOT_STARTED", 0) is False
    assert running(table, "acme") == 1


def test_a_suspended_tenant_starts_nothing(table: Any, add: Add) -> None:
    acme = add("acme")
    Registry(table, TABLE).change("acme", status="SUSPENDED")

    with pytest.raises(TenantRefusedError, match="or has been suspended"):
        acme.admit("acme_1", 5, 0)
    assert acme.profile().status == "SUSPENDED"


def test_an_unknown_tenant_is_refused(table: Any) -> None:
    with pytest.raises(TenantRefusedError, match="tenant nobody is unknown"):
        TablePartition("nobody", table, TABLE).profile()


def test_an_approval_is_found_under_its_own_tenant_only(table: Any, add: Add) -> None:
    acme, globex = add("acme"), add("globex")
    acme.put_approval("the-token", "callback", "arn", expires_at=100)

    assert acme.find_approval("the-token", now=99) == "callback"
    for partition, token, now in (
        (globex, "the-token", 99),
        (acme, "other", 99),
        (acme, "the-token", 101),
    ):
        with pytest.raises(ApprovalNotFoundError):
            partition.find_approval(token, now)
    assert "the-token" not in str(table.scan(TableName=TABLE)["Items"])


def test_an_approval_is_consumed_once(table: Any, add: Add) -> None:
    acme = add("acme")
    acme.put_approval("token", "the-callback", "arn", expires_at=100)
    acme.close_approval("token")

    with pytest.raises(ApprovalNotFoundError):
        acme.find_approval("token", now=1)
    assert "the-callback" not in str(table.scan(TableName=TABLE)["Items"])


def test_an_execution_ends_even_when_there_is_nothing_to_count_down(table: Any, add: Add) -> None:
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    table.delete_item(TableName=TABLE, Key=acme._key("PROFILE"))

    assert acme.release("acme_1", "FAILED", 0) is True
    assert acme.release("acme_1", "FAILED", 0) is False


def test_transactions_that_meet_are_tried_again(
    table: Any, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("acme")
    write, conflicts = table.transact_write_items, [1, 1, 1]

    def conflicting(**request: Any) -> Any:
        if conflicts:
            conflicts.pop()
            reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
            raise table.exceptions.TransactionCanceledException(
                {"Error": {"Code": "x"}, "CancellationReasons": reasons}, "TransactWriteItems"
            )
        return write(**request)

    monkeypatch.setattr(table, "transact_write_items", conflicting)
    monkeypatch.setattr(random, "uniform", lambda *_: 0)  # do not wait in between

    assert TablePartition("acme", table, TABLE).admit("acme_1", 5, 0) is True
    assert conflicts == []


def test_every_key_that_is_asked_for_is_the_tenants_own(table: Any, add: Add) -> None:
    acme = add("acme")
    keys: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        text = json.dumps(params)
        keys.extend(part.split('"')[0] for part in text.split("TENANT#")[1:])

    table.meta.events.register("before-parameter-build.dynamodb", note)
    acme.profile()
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)
    acme.arn_of("acme_1")
    acme.look_again("acme_1", 1)
    #% if cookiecutter.fan_out == "yes"
    acme.require_running(ARN)
    #% endif
    acme.release("acme_1", "SUCCEEDED", 0)
    acme.put_approval("token", "callback", "arn", expires_at=100)
    acme.find_approval("token", now=1)
    acme.close_approval("token")
    #% if cookiecutter.__invoke
    acme.put_usage(ARN, "now", 1, 0)
    #% endif

    assert len(keys) >= 11
    assert set(keys) == {"acme"}


def test_times_are_in_seconds(table: Any, add: Add) -> None:
    """DynamoDB deletes by ``expiresAt``, the reconciler looks by ``lookAt``."""
    acme = add("acme")

    def times(sort_key: str) -> dict[str, int]:
        item = table.get_item(TableName=TABLE, Key=row_key("acme", sort_key))["Item"]
        return {name: int(item[name]["N"]) for name in ("lookAt", "expiresAt") if name in item}

    acme.admit("acme_1", 5, started_at=1_000_000_000)
    assert times("RUN#acme_1") == {"lookAt": 1_000_000_900}
    acme.release("acme_1", "SUCCEEDED", now=1_000_000_000)
    assert times("RUN#acme_1") == {"expiresAt": 1_008_640_000}
    acme.put_approval("token", "callback", "arn", expires_at=1_000_000_000)
    assert times(token_key("token")) == {"expiresAt": 1_000_000_000}
