"""The reconciler counts down once for each execution, whatever arrives."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

#% if cookiecutter.__invoke and cookiecutter.front_door == "http_api"
import pytest
from botocore.exceptions import ClientError

#% else
import pytest

#% endif
from chassis.functions import reconciler
from chassis.functions.reconciler import handler
from chassis.model import Approval, Decision
from chassis.tenancy.approvals import APPROVAL, Approvals
from chassis.tenancy.guard import execution_name
#% if cookiecutter.__invoke and cookiecutter.front_door == "http_api"
from chassis.tenancy.registry import TablePartition
from chassis.tenancy.rows import row_key
from chassis.tenancy.runs import Runs
#% else
from chassis.tenancy.rows import row_key
#% endif
from chassis.wire import JsonObject
from tests.chassis.aws import TABLE, Add, admit, ask, running, stop_clock
from tests.chassis.functions.conftest import Lambda, arn_of

NAME = execution_name("acme", "wf-1", "k")


class Context:
    """Of a Lambda invocation that has time for a number of looks."""

    def __init__(self, looks: int = 100) -> None:
        self.looks = looks

    def get_remaining_time_in_millis(self) -> int:
        self.looks -= 1
        return reconciler.MARGIN_MILLISECONDS if self.looks >= 0 else 0


def status_event(name: str, status: str = "SUCCEEDED") -> JsonObject:
    detail = {"durableExecutionName": name, "status": status}
    return {"detail": detail | {"durableExecutionArn": arn_of(name)}}


def test_an_event_that_comes_twice(table: Any, add: Add, lambda_: Lambda) -> None:
    admit(add("acme"), NAME)
    admit(add("globex"), execution_name("globex", "wf-1", "k"))

    released = [handler(status_event(NAME), None)["released"] for _ in range(3)]

    assert released == [1, 0, 0]
    assert (running(table, "acme"), running(table, "globex")) == (0, 1)
    assert lambda_.calls == []


def test_an_execution_that_the_starter_has_not_started(lambda_: Lambda) -> None:
    assert handler(status_event("by-hand"), None) == {"released": 0}
    assert lambda_.calls == []


@pytest.mark.parametrize("status", ["RUNNING", "PAUSED"])
def test_an_execution_that_is_not_over(table: Any, add: Add, lambda_: Lambda, status: str) -> None:
    admit(add("acme"), NAME)

    assert handler(status_event(NAME, status), None) == {"released": 0}
    assert running(table, "acme") == 1
    assert lambda_.calls == []


def test_the_sweep_gives_up_what_nobody_has_seen_start(
    table: Any, add: Add, lambda_: Lambda
) -> None:
    admit(add("acme"), NAME)

    assert handler({}, Context()) == {"looked": 1, "released": 1}
    assert running(table, "acme") == 0
    assert lambda_.calls == []


@pytest.mark.parametrize(
    ("status", "left"), [("RUNNING", 1), ("PAUSED", 1), ("TIMED_OUT", 0), ("STOPPED", 0)]
)
def test_the_sweep_asks_for_the_execution_and_not_again_soon(
    table: Any, add: Add, lambda_: Lambda, status: str, left: int
) -> None:
    acme = add("acme")
    admit(acme, NAME)
    acme.note_arn(arn_of(NAME))
    lambda_.status = status

    replies = [handler({}, Context()) for _ in range(2)]

    assert replies == [{"looked": 1, "released": 1 - left}, {"looked": 0, "released": 0}]
    assert [request["DurableExecutionArn"] for _, request in lambda_.calls] == [arn_of(NAME)]
    assert running(table, "acme") == left


def test_an_execution_that_the_service_has_forgotten(table: Any, add: Add, lambda_: Lambda) -> None:
    acme = add("acme")
    admit(acme, NAME)
    acme.note_arn(arn_of(NAME))
    lambda_.error = "ResourceNotFoundException"

    assert handler({}, Context()) == {"looked": 1, "released": 1}
    assert running(table, "acme") == 0


def test_a_sweep_goes_on_where_the_last_one_ran_out_of_time(add: Add, lambda_: Lambda) -> None:
    """Long approvals are not asked for again before everybody else has been."""
    acme = add("acme")
    lambda_.status = "RUNNING"
    names = [execution_name("acme", "wf-1", str(number)) for number in range(5)]
    for number, name in enumerate(names):
        admit(acme, name, number)
        acme.note_arn(arn_of(name))

    looks = [handler({}, Context(looks=2))["looked"] for _ in range(4)]

    assert looks == [2, 2, 1, 0]
    asked = [request["DurableExecutionArn"] for _, request in lambda_.calls]
    assert asked == [arn_of(name) for name in names]


def test_one_that_fails_does_not_stop_the_sweep_and_is_not_kept_quiet(
    table: Any, add: Add, lambda_: Lambda
) -> None:
    acme, globex = add("acme"), add("globex")
    admit(acme, NAME)
    acme.note_arn(arn_of(NAME))
    admit(globex, execution_name("globex", "wf-1", "k"), 1)
    lambda_.error = "TooManyRequestsException"

    with pytest.raises(reconciler.NotSweptError, match="1 of 2 executions"):
        handler({}, Context())

    assert (running(table, "acme"), running(table, "globex")) == (1, 0)
    assert len(lambda_.calls) == 1
    lambda_.error = None
    assert handler({}, Context()) == {"looked": 0, "released": 0}  # others first


def test_the_sweep_leaves_new_executions_alone(table: Any, add: Add, lambda_: Lambda) -> None:
    admit(add("acme"), NAME, int(time.time()))

    assert handler({}, Context()) == {"looked": 0, "released": 0}
    assert running(table, "acme") == 1
    assert lambda_.calls == []


@pytest.mark.parametrize(
    ("status", "error", "times"),
    [
        ("RUNNING", None, {"lookAt": 1_000_003_600}),
        (None, "TooManyRequestsException", {"lookAt": 1_000_000_900}),
        ("SUCCEEDED", None, {"expiresAt": 1_008_640_000}),
    ],
    ids=["an hour", "15 minutes", "100 days"],
)
def test_times_are_in_seconds(
    table: Any,
    add: Add,
    lambda_: Lambda,
    monkeypatch: pytest.MonkeyPatch,
    status: str | None,
    error: str | None,
    times: dict[str, int],
) -> None:
    stop_clock(monkeypatch, reconciler, 1_000_000_000.9)
    acme = add("acme")
    admit(acme, NAME)
    acme.note_arn(arn_of(NAME))
    lambda_.status, lambda_.error = status, error

    with suppress(reconciler.NotSweptError):
        handler({}, Context())

    run = table.get_item(TableName=TABLE, Key=row_key("acme", f"RUN#{NAME}"))["Item"]
    stored = {name: int(run[name]["N"]) for name in ("lookAt", "expiresAt") if name in run}
    assert stored == times


#% if cookiecutter.__invoke and cookiecutter.front_door == "http_api"
def usage(table: Any) -> dict[str, dict[str, str]]:
    """The usage records of all tenants: their numbers, by tenant and key."""
    rows = table.scan(TableName=TABLE)["Items"]
    return {
        f"{row['pk']['S']} {row['sk']['S']}": {
            name: value["N"] for name, value in row.items() if "N" in value
        }
        for row in rows
        if row["sk"]["S"].startswith("USAGE#")
    }


BEGAN = "2026-11-23T06:00:00.000Z"
RECORD = f"TENANT#acme USAGE#{BEGAN}#{arn_of(NAME)}"


@pytest.fixture
def acme(table: Any, add: Add) -> TablePartition:
    """A tenant with an execution that has three items, of which two have been processed."""
    partition, runs = add("acme"), Runs("acme", table, TABLE)
    admit(partition, NAME)
    partition.note_arn(arn_of(NAME))
    runs.expect(arn_of(NAME), 3, BEGAN)
    runs.count_done(arn_of(NAME), 2)
    return partition


@pytest.mark.parametrize("status", ["STOPPED", "TIMED_OUT", "FAILED"])
def test_what_nobody_has_metered_is_recorded_once(
    table: Any, acme: TablePartition, caplog: pytest.LogCaptureFixture, status: str
) -> None:
    caplog.set_level(logging.INFO, logger="workflow")

    for _ in range(2):
        handler(status_event(NAME, status), None)

    assert usage(table) == {RECORD: {"itemsProcessed": "2"}}
    (line,) = (vars(line) for line in caplog.records if line.message == "usage recorded")
    assert (line["tenantId"], line["itemsProcessed"]) == ("acme", 2)
    acme.put_usage(arn_of(NAME), BEGAN, 3, 1)  # the meter was still at work
    assert usage(table) == {RECORD: {"itemsProcessed": "3", "itemsFailed": "1"}}


def test_what_has_been_metered_is_left_alone(table: Any, acme: TablePartition) -> None:
    acme.put_usage(arn_of(NAME), BEGAN, 1, 0)

    assert handler(status_event(NAME, "STOPPED"), None) == {"released": 1}
    assert usage(table) == {RECORD: {"itemsProcessed": "1", "itemsFailed": "0"}}


@pytest.mark.usefixtures("acme")
def test_nobody_has_more_items_than_there_are(table: Any) -> None:
    """A step that is repeated counts its items again."""
    Runs("acme", table, TABLE).count_done(arn_of(NAME), 2)

    handler(status_event(NAME, "STOPPED"), None)
    assert usage(table) == {RECORD: {"itemsProcessed": "3"}}


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(("status", "execution_id"), [("SUCCEEDED", "id"), ("STOPPED", "another")])
def test_progress_of_another_or_that_was_metered_is_no_usage(
    table: Any, status: str, execution_id: str
) -> None:
    event = status_event(NAME, status)
    event["detail"]["durableExecutionArn"] = arn_of(NAME, execution_id)
    handler(event, None)

    assert usage(table) == {}


def test_progress_that_has_no_record_of_its_own_is_no_usage(table: Any, add: Add) -> None:
    """As that of an execution whose parts are metered."""
    admit(add("acme"), NAME)
    runs = Runs("acme", table, TABLE)
    runs.expect(arn_of(NAME), 3)
    runs.count_done(arn_of(NAME), 2)

    assert handler(status_event(NAME, "STOPPED"), None) == {"released": 1}
    assert usage(table) == {}


def test_usage_that_cannot_be_recorded_is_tried_again(
    table: Any, acme: TablePartition, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    lambda_.status = "STOPPED"

    def refuse(*_: object) -> int:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "no"}}, "UpdateItem")

    with monkeypatch.context() as patch:
        patch.setattr(TablePartition, "put_missing_usage", refuse)
        with pytest.raises(reconciler.NotSweptError):
            handler({}, Context())
    assert (usage(table), running(table, "acme")) == ({}, 1)

    acme.look_again(NAME, 0)
    assert handler({}, Context()) == {"looked": 1, "released": 1}
    assert usage(table) == {RECORD: {"itemsProcessed": "2"}}


#% endif
def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_approval_that_is_about_to_expire_is_told_of_once(
    table: Any,
    add: Add,
    lambda_: Lambda,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add("acme")
    asked = ask(table, execution_arn=arn_of(NAME), expires_at=3_600)
    told = []
    for now in (1_800, 1_801, 1_802):
        stop_clock(monkeypatch, reconciler, now)
        handler({}, Context())
        told.append([record.message for record in warnings(caplog)])

    assert told == [[], ["approval expires soon"], ["approval expires soon"]]
    (record,) = warnings(caplog)
    assert vars(record)["tenantId"] == "acme"
    assert vars(record)["executionArn"] == arn_of(NAME)
    assert "the-callback" not in str(vars(record))
    assert vars(record)["approval"] == "approval"
    stored = Approvals("acme", table, TABLE).get(asked.id)
    assert stored.callback_id == "the-callback"  # as before
    assert lambda_.calls == []


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "expired"])
def test_an_approval_that_nobody_can_answer_any_more_is_not_told_of(
    table: Any,
    add: Add,
    lambda_: Lambda,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answered: bool,
) -> None:
    add("acme")
    asked = ask(table, execution_arn=arn_of(NAME), expires_at=3_600)
    stop_clock(monkeypatch, reconciler, 3_599 if answered else 3_600)
    due = list(reconciler.due())
    if answered:  # while the sweep is on its way
        approved = Approval(Decision.APPROVED, goes_on=True)
        Approvals("acme", table, TABLE).close(asked.id, approved, None, 3_599)
    monkeypatch.setattr(reconciler, "due", lambda: iter(due))

    assert handler({}, Context()) == {"looked": 1, "released": 0}
    assert warnings(caplog) == []
    row = table.get_item(TableName=TABLE, Key=row_key("acme", APPROVAL + asked.id))["Item"]
    assert "lookAt" not in row
    assert lambda_.calls == []
