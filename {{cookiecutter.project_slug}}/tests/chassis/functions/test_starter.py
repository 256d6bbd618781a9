"""The starter, the only way to start an execution: two tenants, and a Lambda that notes calls."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chassis import Request, input_fields, request_fields
from chassis.functions import starter as starter_module
from chassis.functions.starter import starter
#% if cookiecutter.fan_out == "yes"
from chassis.tenancy import objects
#% endif
from chassis.tenancy.guard import tenant_of_name
from chassis.tenancy.rows import row_key
from chassis.wire import JsonObject
from ops.tenants import Registry
from tests.chassis import sample
from tests.chassis.aws import TABLE, Add, running, stop_clock
from tests.chassis.functions.conftest import Lambda, arn_of
from tests.execution import make_event

HANDLER = starter(sample.definition())


def start(event: Any) -> JsonObject:
    return HANDLER(event, None)


def event_of(tenant_id: str, *items: Any) -> JsonObject:
    return make_event(*items) | {"tenantId": tenant_id}


def test_the_execution_is_named_and_counted(table: Any, add: Add, lambda_: Lambda) -> None:
    acme = add("acme")

    answer = start(event_of("acme", "a"))

    ((operation, request),) = lambda_.calls
    name = answer["executionName"]
    assert answer == {"started": True, "executionName": name, "executionArn": arn_of(name)}
    assert operation == "invoke"
    assert request["InvocationType"] == "Event"
    assert request["FunctionName"].endswith(":live")
    assert request["DurableExecutionName"] == name
    assert "TenantId" not in request
    assert tenant_of_name(name) == "acme"
    assert json.loads(request["Payload"])["tenantId"] == "acme"
    assert running(table, "acme") == 1
    assert acme.arn_of(name) == arn_of(name)


def test_a_request_keeps_its_name(add: Add, lambda_: Lambda) -> None:
    """After an update, too: else a request that is sent again would be processed again."""
    add("acme")
    event = event_of("acme", "a")

    start(event)
    start(event | {"requestKey": "k"})

    assert [request["DurableExecutionName"] for _, request in lambda_.calls] == [
        "acme_e510352dfa0a5d5c0e1dd8b072547004",
        "acme_b383d8bcb095de0b868457f752542096",
    ]


def test_the_tenant_is_passed_on_where_it_is_isolated(
    add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANCY", "isolated")
    add("acme")
    start(event_of("acme"))

    assert lambda_.calls[0][1]["TenantId"] == "acme"


def test_the_same_request_is_one_execution(table: Any, add: Add, lambda_: Lambda) -> None:
    add("acme")
    answers = [start(event_of("acme", "a")) for _ in range(3)]

    assert len({answer["executionName"] for answer in answers}) == 1
    assert running(table, "acme") == 1
    assert len(lambda_.calls) == 3


def test_the_same_key_of_two_tenants_is_two_executions(add: Add, lambda_: Lambda) -> None:
    add("acme")
    add("globex")
    names = {
        start(event_of(tenant_id) | {"requestKey": "k"})["executionName"]
        for tenant_id in ("acme", "globex")
    }

    assert len(names) == 2
    assert len(lambda_.calls) == 2


def test_a_tenant_at_its_limit_is_refused_and_others_start(add: Add, lambda_: Lambda) -> None:
    add("acme", running_executions=1)
    add("globex", running_executions=1)
    start(event_of("acme", 1))

    refused = start(event_of("acme", 2))
    other = start(event_of("globex", 2))

    assert refused == {
        "started": False,
        "reason": "tenant acme has 1 running executions, as many as it may: try again in 60 s",
        "retryAfter": 60,
    }
    assert start(event_of("acme", 1))["started"] is True  # it is running
    assert other["started"] is True
    assert len(lambda_.calls) == 3


@pytest.mark.parametrize(("second", "seconds"), [(0.0, 60), (17.9, 43), (59.9, 1)])
def test_a_tenant_starts_so_many_executions_in_a_minute(
    table: Any,
    add: Add,
    lambda_: Lambda,
    monkeypatch: pytest.MonkeyPatch,
    second: float,
    seconds: int,
) -> None:
    minute = 60 * 20_000_000
    add("acme", starts_per_minute=2)
    stop_clock(monkeypatch, starter_module, minute + second)
    answers = [start(event_of("acme", number)) for number in (1, 2, 1, 3, 3, 2)]

    assert [answer["started"] for answer in answers] == [True, True, True, False, False, True]
    assert answers[3] == {
        "started": False,
        "reason": "tenant acme has started 2 executions in this minute, as many as it may: "
        f"try again in {seconds} s",
        "retryAfter": seconds,
    }
    assert len(lambda_.calls) == 4
    stop_clock(monkeypatch, starter_module, minute + int(second) + seconds)
    assert start(event_of("acme", 3))["started"] is True
    assert running(table, "acme") == 3


def test_a_redrive_is_of_an_execution_that_the_tenant_has_had(
    add: Add, lambda_: Lambda, table: Any
) -> None:
    """It is one execution, however often it is asked for; and what it says of itself is sent."""
    add("acme")
    add("globex")
    first, other = (start(event_of(each, "a", "b"))["executionArn"] for each in ("acme", "globex"))
    before = running(table, "acme")

    def redrive(arn: str) -> JsonObject:
        of_first = {"redriveOf": {"executionArn": arn, "items": [2]}, "requestKey": "again"}
        return start(event_of("acme", "b") | of_first)

    for arn in (other, first.replace(":1/", ":2/"), first + "0", "acme", "x" * 1000):
        assert redrive(arn) == {
            "started": False,
            "reason": "redriveOf.executionArn names no execution that the tenant has had",
        }
    assert running(table, "acme") == before
    started = redrive(first)
    assert started["started"]
    assert started["executionArn"] != first
    assert redrive(first) == started
    assert running(table, "acme") == before + 1
    sent = json.loads(lambda_.calls[-1][1]["Payload"])
    assert sent["redriveOf"] == {"executionArn": first, "items": [2]}


def test_every_request_writes_one_line(
    add: Add, lambda_: Lambda, caplog: pytest.LogCaptureFixture
) -> None:
    add("acme", running_executions=1)
    with caplog.at_level(logging.INFO, "workflow"):
        name = start(event_of("acme", "a"))["executionName"]
        refused = start(event_of("acme", "b"))["reason"]
        start(event_of("acme\n" * 9))
        start([])

    records = [vars(record) for record in caplog.records if record.name == "workflow"]
    lines = [(line["message"], line["tenantId"], line.get("reason", "")[:20]) for line in records]
    assert lines == [
        ("start accepted", "acme", ""),
        ("start refused", "acme", refused[:20]),
        ("start refused", None, "tenantId is 'acme\\na"),
        ("start refused", None, "the event is of type"),
    ]
    assert records[0]["executionName"] == name
    assert len(lambda_.calls) == 1


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (event_of("nobody"), "tenant nobody is unknown"),
        (event_of("asleep"), "tenant asleep is suspended"),
        (event_of("../x"), "tenantId is '../x'"),
        ({}, "workflowId is missing"),
        ([], "the event is of type array"),
        (event_of("acme", *range(21)), "more than the tenant's tier allows"),
        (event_of("acme", "x" * 250_000), "inputData.items takes"),
    ],
    ids=["unknown", "suspended", "malformed", "empty", "no object", "too many", "too large"],
)
def test_what_is_refused_starts_nothing(
    table: Any, add: Add, lambda_: Lambda, event: Any, reason: str
) -> None:
    add("acme", items_per_execution=20)
    add("asleep")
    Registry(table, TABLE).change("asleep", status="SUSPENDED")

    assert reason in start(event)["reason"]
    assert lambda_.calls == []


#% if cookiecutter.fan_out == "no"
@pytest.mark.parametrize(("steps", "most"), [(1, 900), (2, 450)])
def test_more_items_than_one_execution_can_finish_are_refused(
    table: Any, add: Add, lambda_: Lambda, steps: int, most: int
) -> None:
    add("acme", items_per_execution=10_000)
    handler = starter(sample.definition(*[sample.process] * steps))

    reason = handler(event_of("acme", *range(most + 1)), None)["reason"]

    assert reason.endswith(f"fit into 3000 durable operations: send at most {most} items")
    assert lambda_.calls == []
    assert running(table, "acme") == 0
    assert handler(event_of("acme", *range(most)), None)["started"] is True


#% endif
def test_a_start_that_failed_can_be_sent_again_and_is_counted_once(
    table: Any, add: Add, lambda_: Lambda
) -> None:
    add("acme", running_executions=1)
    lambda_.error = "TooManyRequestsException"
    with pytest.raises(ClientError):
        start(event_of("acme"))
    lambda_.error = None

    assert start(event_of("acme"))["started"] is True
    assert running(table, "acme") == 1


def test_a_request_key_that_has_been_used_for_something_else(add: Add, lambda_: Lambda) -> None:
    add("acme")
    lambda_.error = "DurableExecutionAlreadyStartedException"

    assert "other content" in start(event_of("acme"))["reason"]


@pytest.mark.parametrize("key", [1, "", "x" * 257, ["k"], False])
def test_a_request_key_of_another_kind(add: Add, lambda_: Lambda, key: Any) -> None:
    add("acme")

    reason = start(event_of("acme") | {"requestKey": key})["reason"]

    assert reason == "requestKey must be a string of 1 to 256 characters"
    assert lambda_.calls == []


#% if cookiecutter.fan_out == "yes"
def test_a_reference_needs_a_key(add: Add, lambda_: Lambda, bucket: Any) -> None:
    """Other content under the same reference is another request."""
    add("acme")
    bucket.Object("tenants/acme/in.jsonl").put(Body=b"1")
    event = event_of("acme") | {"inputData": {"inputRef": "in.jsonl"}}

    assert "needs a requestKey" in start(event)["reason"]
    assert start(event | {"requestKey": "monday"})["started"] is True
    assert json.loads(lambda_.calls[0][1]["Payload"])["inputData"] == event["inputData"]


def test_an_input_that_is_not_there_or_too_large_is_not_counted(
    table: Any, add: Add, lambda_: Lambda, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("acme")
    monkeypatch.setattr(objects, "MAX_INPUT_BYTES", 3)
    bucket.Object("tenants/acme/large.jsonl").put(Body=b"1\n2\n")

    for ref, reason in {
        "missing.jsonl": "there is no object 'missing.jsonl' under the tenant's prefix",
        "large.jsonl": "large.jsonl has 4 bytes, and may have 3: split it",
    }.items():
        event = event_of("acme") | {"inputData": {"inputRef": ref}, "requestKey": ref}
        assert start(event)["reason"].startswith(reason)
    assert running(table, "acme") == 0
    assert lambda_.calls == []


#% endif
@pytest.mark.parametrize("workflow_id", ["wf", "key"])
def test_no_key_is_the_name_of_a_request_without_one(
    add: Add, lambda_: Lambda, workflow_id: str
) -> None:
    add("acme")
    without = start(event_of("acme", "a") | {"workflowId": workflow_id})
    payload = lambda_.calls[0][1]["Payload"]
    names = {
        start(event_of("acme", "b") | {"requestKey": key})["executionName"]
        for key in (payload.hex()[:256], f"content|{payload.hex()}"[:256], payload.decode()[:256])
    }

    assert len(payload.hex()) <= 240
    assert without["executionName"] not in names
    assert len(names) == 3


def test_what_the_workflow_ignores_is_not_sent(add: Add, lambda_: Lambda) -> None:
    add("acme")
    start(event_of("acme", "a") | {"junk": "x" * 2_000_000, "job": {"chunk": {}}})

    assert set(json.loads(lambda_.calls[0][1]["Payload"])) == {
        "inputData",
        "tenantId",
        "workflowId",
    }


def test_a_request_that_has_ended_is_not_started_uncounted(
    table: Any, add: Add, lambda_: Lambda
) -> None:
    acme = add("acme")
    name = start(event_of("acme"))["executionName"]
    acme.release(name, "SUCCEEDED", 0)

    reason = start(event_of("acme"))["reason"]

    assert reason.startswith("this request has been processed before (SUCCEEDED)")
    assert running(table, "acme") == 0
    assert len(lambda_.calls) == 1


def test_a_silo_starts_for_its_own_tenant_only(
    add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANT_ID", "globex")
    add("acme")

    assert "different tenants" in start(event_of("acme"))["reason"]
    assert lambda_.calls == []


@dataclass(frozen=True, kw_only=True)
class Order(Request):
    requested_by: str


def parse_order(event: Any) -> Order:
    fields = input_fields(event)
    requested_by = fields.text("requestedBy")
    return Order(**request_fields(fields), requested_by=requested_by)


def test_fields_of_the_workflows_own_are_sent_and_belong_to_the_request(
    add: Add, lambda_: Lambda
) -> None:
    add("acme")
    handler = starter(replace(sample.definition(), parse_request=parse_order))
    event = event_of("acme", "a") | {"requestedBy": "ada"}

    names = [
        handler(event | more, None)["executionName"]
        for more in ({}, {"junk": 1}, {"requestedBy": "bob"})
    ]

    payloads = [json.loads(request["Payload"]) for _, request in lambda_.calls]
    assert payloads == [event, event, event | {"requestedBy": "bob"}]
    assert names[0] == names[1] != names[2]


def test_the_reconciler_looks_15_minutes_after_the_start(
    table: Any, add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    del lambda_
    stop_clock(monkeypatch, starter_module, 1_000_000_000.9)
    add("acme")
    name = start(event_of("acme"))["executionName"]

    run = table.get_item(TableName=TABLE, Key=row_key("acme", f"RUN#{name}"))["Item"]
    assert run["lookAt"] == {"N": "1000000900"}
