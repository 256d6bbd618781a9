"""Requests, events and sweeps that meet: each test is one interleaving, in an order of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chassis.functions import approver as approver_module
from chassis.functions import reconciler
from chassis.functions import starter as starter_module
from chassis.functions.approver import approver
from chassis.functions.starter import starter
from chassis.tenancy import credentials
from chassis.tenancy.guard import execution_name
from chassis.tenancy.registry import LOOK_AFTER_SECONDS, TablePartition
from chassis.wire import JsonObject
from tests.chassis import sample
from tests.chassis.aws import TOKEN, Add, admit, ask, running, stop_clock
from tests.chassis.functions.conftest import Lambda, arn_of
from tests.chassis.functions.test_reconciler import Context
from tests.execution import make_event

START = starter(sample.definition())
ANSWER = approver(sample.parse_answer)
EVENT = make_event("a") | {"tenantId": "acme"}
NOW = 1_000_000_000
LATER = NOW + LOOK_AFTER_SECONDS + 1


def at(monkeypatch: pytest.MonkeyPatch, now: int) -> None:
    """The time for the starter and the reconciler."""
    stop_clock(monkeypatch, starter_module, now)
    stop_clock(monkeypatch, reconciler, now)


def sweep() -> JsonObject:
    return reconciler.handler({}, Context())


def before(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, happens: Callable[[], object]
) -> None:
    """Let something happen once, just before the next call of a method."""
    method = getattr(owner, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        monkeypatch.setattr(owner, name, method)
        happens()
        return method(*arguments, **keywords)

    monkeypatch.setattr(owner, name, call)


@pytest.fixture
def failed_start(table: Any, add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch) -> str:
    """A start of acme that is counted and has failed, and is due to be swept; its name."""
    add("acme")
    at(monkeypatch, NOW)
    lambda_.error = "TooManyRequestsException"
    with pytest.raises(ClientError):
        START(EVENT, None)
    lambda_.error = None
    at(monkeypatch, LATER)
    assert running(table, "acme") == 1
    return str(lambda_.calls[0][1]["DurableExecutionName"])


@pytest.mark.parametrize("moment", ["transact_write_items", "look_again", "invoke", "note_arn"])
def test_a_start_that_is_tried_again_meets_the_sweep(
    table: Any,
    failed_start: str,
    lambda_: Lambda,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    """Whoever is told "started" is counted, and so the first step does not refuse it."""
    if moment == "invoke":
        lambda_.meanwhile = sweep
    elif moment == "transact_write_items":
        before(monkeypatch, TablePartition, "_transact", sweep)
    else:
        before(monkeypatch, TablePartition, moment, sweep)

    assert START(EVENT, None)["started"] is True

    TablePartition("acme", table, "tenants").note_arn(arn_of(failed_start))
    assert running(table, "acme") == 1


@pytest.mark.parametrize("moment", ["arn_of", "give_up"])
def test_a_sweep_meets_a_start_that_is_tried_again(
    table: Any, failed_start: str, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    replies: list[JsonObject] = []
    before(monkeypatch, TablePartition, moment, lambda: replies.append(START(EVENT, None)))

    monkeypatch.setattr(reconciler, "status_of", lambda _: "RUNNING")
    assert sweep() == {"looked": 1, "released": 0}
    assert replies[0]["executionName"] == failed_start
    assert running(table, "acme") == 1


def test_an_index_that_is_late_releases_nothing_that_was_admitted_again(
    table: Any, add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme, name = add("acme"), execution_name("acme", "wf-1", "k")
    admit(acme, name, NOW)
    at(monkeypatch, LATER)
    late = list(reconciler.due())
    assert sweep() == {"looked": 1, "released": 1}
    admit(acme, name, LATER)
    monkeypatch.setattr(reconciler, "due", lambda: iter(late))

    assert sweep() == {"looked": 1, "released": 0}
    assert running(table, "acme") == 1
    assert lambda_.calls == []


def test_an_end_that_comes_before_the_starter_has_its_answer(
    table: Any, add: Add, lambda_: Lambda
) -> None:
    add("acme")

    def end() -> None:
        name = lambda_.calls[-1][1]["DurableExecutionName"]
        detail = {"durableExecutionName": name, "status": "FAILED"}
        ended = {"detail": detail | {"durableExecutionArn": arn_of(name)}}
        assert reconciler.handler(ended, None) == {"released": 1}

    lambda_.meanwhile = end

    assert START(EVENT, None)["started"] is True
    assert running(table, "acme") == 0


def test_another_execution_of_a_running_name_is_not_said_to_have_started(
    table: Any, add: Add, lambda_: Lambda
) -> None:
    """As when the service has forgotten the first one: its first step refuses the second."""
    add("acme")
    START(EVENT, None)
    lambda_.execution_id = "another"

    refused = START(EVENT, None)
    assert refused["started"] is False
    assert "processed before (by another execution)" in refused["reason"]
    assert running(table, "acme") == 1


@pytest.mark.usefixtures("new_clients")
def test_a_tenant_whose_role_cannot_be_assumed_does_not_stop_the_sweep(
    table: Any, add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant_id in ("acme", "globex"):
        partition = add(tenant_id)
        for number in range(2):
            admit(partition, execution_name(tenant_id, "wf-1", str(number)), number)
    make, asked = credentials._credentials, list[str]()

    def refuse_acme(tenant_id: str, period: int) -> Any:
        asked.append(tenant_id)
        if tenant_id == "acme":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "AssumeRole")
        return make(tenant_id, period)

    monkeypatch.setattr(credentials, "_credentials", refuse_acme)

    with pytest.raises(reconciler.NotSweptError, match="1 of 3 executions"):
        sweep()
    assert (running(table, "acme"), running(table, "globex")) == (2, 0)
    assert asked.count("acme") == 2  # to look, and to look again: not for each of its executions
    assert lambda_.calls == []


@pytest.mark.parametrize("code", sorted(approver_module.CLOSED))
def test_of_two_answers_that_meet_the_second_hears_that_there_was_one(
    table: Any, lambda_: Lambda, code: str
) -> None:
    """The service takes the first; the approval is not closed yet when the second is refused."""
    ask(table)
    second: list[JsonObject] = []

    def answer(decision: str) -> JsonObject:
        event = {"tenantId": "acme", "token": TOKEN, "answer": {"decision": decision}}
        return ANSWER(event, None)

    def meet() -> None:
        lambda_.error = code
        second.append(answer("REJECTED"))
        lambda_.error = None

    lambda_.meanwhile = meet

    assert answer("APPROVED") == {"accepted": True}
    third = answer("REJECTED")
    assert [reply["accepted"] for reply in (*second, third)] == [False, False]
    assert second[0]["reason"] == "this approval has been answered already, or its time is up"
    assert third["reason"] == "this approval has been answered already"
