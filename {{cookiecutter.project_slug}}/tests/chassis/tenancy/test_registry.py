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
from chassis.tenancy.profile import LimitReachedError, Profile, read_tiers
from chassis.tenancy.registry import (
    LOOK_AFTER_SECONDS,
    NewRun,
    RequestProcessedError,
    RequestUsedError,
    TablePartition,
)
from chassis.tenancy.rows import row_key
from ops.tenants import Registry
from tests.chassis import sample
from tests.chassis.aws import TABLE, Add, admit, running

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/acme_1/id"


@pytest.mark.parametrize("limit", ["running_executions", "starts_per_minute"])
def test_starts_that_meet_end_with_exactly_the_limits_of_two_tenants(
    table: Any, add: Add, limit: str
) -> None:
    add("acme")
    add("globex")
    client = boto3.client("dynamodb", config=Config(max_pool_connections=60))

    def start(number: int) -> str | None:
        tenant_id = ("acme", "globex")[number % 2]
        try:
            admit(
                TablePartition(tenant_id, client, TABLE),
                f"{tenant_id}_{number}",
                now=number % 60,
                limits={limit: 10},
            )
        except TenantRefusedError:
            return None
        return tenant_id

    with ThreadPoolExecutor(60) as threads:
        admitted = list(threads.map(start, range(60)))

    assert (admitted.count("acme"), admitted.count("globex")) == (10, 10)
    assert (running(table, "acme"), running(table, "globex")) == (10, 10)


def test_a_start_and_an_end_are_counted_once(table: Any, add: Add) -> None:
    acme = add("acme")

    assert admit(acme, "acme_1") is True
    assert admit(acme, "acme_1") is False
    assert admit(acme, "acme_2") is True
    assert running(table, "acme") == 2
    assert acme.release("acme_1", "SUCCEEDED", 0) is True
    assert acme.release("acme_1", "FAILED", 0) is False
    assert acme.release("acme_unknown", "FAILED", 0) is False
    assert running(table, "acme") == 1


def test_an_execution_that_is_not_counted_may_not_run(add: Add) -> None:
    acme = add("acme")
    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(ARN)
    admit(acme, "acme_1")
    acme.note_arn(ARN)
    acme.note_arn(ARN)  # a step may run twice
    acme.release("acme_1", "SUCCEEDED", 0)

    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(ARN)


def test_another_execution_of_a_counted_name_may_not_run(table: Any, add: Add) -> None:
    """As when the service has forgotten one whose end nobody has heard of."""
    acme = add("acme")
    admit(acme, "acme_1")
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
    admit(acme, "acme_1")
    assert acme.give_up("acme_1", LOOK_AFTER_SECONDS, 0) is True
    assert acme.release("acme_1", "FAILED", 0, ARN) is False  # its first step was refused

    with pytest.raises(TenantRefusedError, match=r"processed before \(FAILED\)"):
        admit(acme, "acme_1")
    assert running(table, "acme") == 0


def test_one_that_was_given_up_can_be_started_again(table: Any, add: Add) -> None:
    acme = add("acme")
    admit(acme, "acme_1")
    acme.give_up("acme_1", LOOK_AFTER_SECONDS, 0)

    assert admit(acme, "acme_1") is True
    assert running(table, "acme") == 1


def test_an_execution_that_was_seen_is_not_given_up(table: Any, add: Add) -> None:
    """Its start and the reconciler can meet: the one or the other is done."""
    acme = add("acme")
    admit(acme, "acme_1")
    acme.note_arn(ARN)

    assert acme.give_up("acme_1", LOOK_AFTER_SECONDS, 0) is False
    assert running(table, "acme") == 1


def test_one_that_was_given_up_has_failed_when_it_comes_after_all(table: Any, add: Add) -> None:
    acme = add("acme")
    admit(acme, "acme_1")
    acme.give_up("acme_1", LOOK_AFTER_SECONDS, 0)
    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(ARN)

    with pytest.raises(TenantRefusedError, match=r"processed before \(FAILED\)"):
        admit(acme, "acme_1")
    assert running(table, "acme") == 0


def test_one_that_was_given_up_runs_when_it_is_counted_again_just_then(
    table: Any, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = add("acme")
    admit(acme, "acme_1")
    acme.give_up("acme_1", LOOK_AFTER_SECONDS, 0)
    update = acme._update_run

    def update_run(name: str, state: str, *change: Any) -> dict[str, Any] | None:
        if state == "NOT_STARTED":
            admit(acme, "acme_1")
        return update(name, state, *change)

    monkeypatch.setattr(acme, "_update_run", update_run)
    acme.note_arn(ARN)

    assert running(table, "acme") == 1
    assert acme.arn_of("acme_1") == ARN


def test_a_start_counts_in_the_minute_that_others_have_begun(table: Any, add: Add) -> None:
    """Two starters that have read the same row, when a minute ends; and one whose clock is late."""
    acme = add("acme")
    limits = read_tiers(sample.definition().tiers)["small"] | {"running_executions": 9}

    def start(number: int, read: Profile, now: int) -> None:
        run = NewRun(name=f"acme_{number}", workflow_id="wf-1", content="")
        acme.admit(run, read, limits, now)

    start(0, acme.profile(), 59)
    read_before = acme.profile()
    for number, now in enumerate((60, 61, 59), start=1):
        start(number, read_before, now)

    with pytest.raises(LimitReachedError, match="has started 3 executions in this minute") as error:
        start(4, read_before, 119)
    assert error.value.retry_after == 1
    assert running(table, "acme") == 4
    start(4, read_before, 120)
    assert acme.profile().starts == 1


def test_a_row_from_before_starts_were_counted(table: Any, add: Add) -> None:
    acme = add("acme")
    change = "REMOVE startsMinute, starts"
    table.update_item(TableName=TABLE, Key=row_key("acme", "PROFILE"), UpdateExpression=change)

    assert admit(acme, "acme_1", 60) is True
    assert (acme.profile().minute, acme.profile().starts) == (1, 1)


def test_a_row_that_somebody_has_spoilt_starts_nothing(table: Any, add: Add) -> None:
    acme = add("acme")
    change = "REMOVE running"
    table.update_item(TableName=TABLE, Key=row_key("acme", "PROFILE"), UpdateExpression=change)

    with pytest.raises(LimitReachedError, match="too many starts at the same moment: try again in"):
        admit(acme, "acme_1")


@pytest.mark.parametrize("limit", ["running_executions", "starts_per_minute"])
def test_a_refusal_that_the_profile_shows_writes_nothing(
    table: Any, add: Add, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    acme = add("acme")
    admit(acme, "acme_1")
    monkeypatch.setattr(table, "transact_write_items", None)

    with pytest.raises(LimitReachedError):
        admit(acme, "acme_2", limits={limit: 1})
    assert admit(acme, "acme_1", limits={limit: 1}) is False  # it runs, so nothing is started


@pytest.mark.parametrize("starts", [1, 9], ids=["at the limit", "below it"])
def test_a_request_that_has_been_processed_is_one_whatever_the_limits_are(
    add: Add, starts: int
) -> None:
    acme = add("acme")
    admit(acme, "acme_1")
    acme.release("acme_1", "SUCCEEDED", 0, ARN)

    with pytest.raises(RequestProcessedError) as error:
        admit(acme, "acme_1", limits={"starts_per_minute": starts})
    assert error.value.name == "acme_1"
    with pytest.raises(RequestUsedError):
        admit(acme, "acme_1", content="other", limits={"starts_per_minute": starts})


def test_a_suspended_tenant_starts_nothing(table: Any, add: Add) -> None:
    acme = add("acme")
    Registry(table, TABLE).change("acme", status="SUSPENDED")

    with pytest.raises(TenantRefusedError, match="tenant acme is suspended"):
        admit(acme, "acme_1")
    assert acme.profile().status == "SUSPENDED"


def test_an_unknown_tenant_is_refused(table: Any) -> None:
    with pytest.raises(TenantRefusedError, match="tenant nobody is unknown"):
        TablePartition("nobody", table, TABLE).profile()


def test_an_execution_ends_even_when_there_is_nothing_to_count_down(table: Any, add: Add) -> None:
    acme = add("acme")
    admit(acme, "acme_1")
    table.delete_item(TableName=TABLE, Key=acme.key("PROFILE"))

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

    assert admit(TablePartition("acme", table, TABLE), "acme_1") is True
    assert conflicts == []


def test_every_key_that_is_asked_for_is_the_tenants_own(table: Any, add: Add) -> None:
    acme = add("acme")
    keys: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        text = json.dumps(params)
        keys.extend(part.split('"')[0] for part in text.split("TENANT#")[1:])

    table.meta.events.register("before-parameter-build.dynamodb", note)
    acme.profile()
    admit(acme, "acme_1")
    acme.note_arn(ARN)
    acme.arn_of("acme_1")
    acme.look_again("acme_1", 1)
    #% if cookiecutter.fan_out == "yes"
    acme.require_running(ARN)
    #% endif
    acme.release("acme_1", "SUCCEEDED", 0)
    acme.give_up("acme_1", 0, 0)
    #% if cookiecutter.__invoke
    acme.put_usage(ARN, "now", 1, 0)
    #% endif

    assert len(keys) >= 8
    assert set(keys) == {"acme"}


def test_times_are_in_seconds(table: Any, add: Add) -> None:
    """DynamoDB deletes by ``expiresAt``, the reconciler looks by ``lookAt``."""
    acme = add("acme")

    def times(sort_key: str) -> dict[str, int]:
        item = table.get_item(TableName=TABLE, Key=row_key("acme", sort_key))["Item"]
        return {name: int(item[name]["N"]) for name in ("lookAt", "expiresAt") if name in item}

    admit(acme, "acme_1", now=1_000_000_000)
    assert times("RUN#acme_1") == {"lookAt": 1_000_000_900}
    acme.release("acme_1", "SUCCEEDED", now=1_000_000_000)
    assert times("RUN#acme_1") == {"expiresAt": 1_008_640_000}
