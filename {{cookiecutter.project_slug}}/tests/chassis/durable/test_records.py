"""The record of an approval, whatever is killed between the answer, the row and the step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from queue import SimpleQueue
from typing import Any

import pytest

from chassis import JsonObject
from chassis.durable import Execution as Phases
from chassis.functions import approver as approver_module
from chassis.functions.approver import approver
from chassis.tenancy.approvals import Approvals, Record, approval_id
from chassis.tenancy.stores import AWS, table_approvals
#% if cookiecutter.front_door == "http_api"
from ops.local import LocalPartition, LocalRuns
#% else
from ops.local import LocalPartition
#% endif
from tests.chassis import sample
from tests.chassis.aws import forget_clients
from tests.chassis.ops.lambda_api import lambda_api
from tests.crashes import Moment, start_crashing
from tests.execution import SECONDS, Execution, Start, make_event

ANSWER = approver(sample.parse_answer)
GIVEN = {"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"}


class KilledError(BaseException):
    """The function has been killed."""


class Dying(Approvals):
    """Those of an approver that is killed before it can close one."""

    def close(self, *_: Any) -> bool:
        raise KilledError


def asks(execution: Phases[Any]) -> JsonObject:
    """A workflow that asks, and does nothing else."""
    plan = execution.prepare_work()
    approval = execution.ask_for_approval(plan, "approval", {"count": 1}, sample.parse_answer)
    return approval.to_wire()


class Told:
    """What approvers are told, and the stores of an execution that tells them."""

    def __init__(self) -> None:
        self._messages: SimpleQueue[JsonObject] = SimpleQueue()
        self.stores = replace(
            AWS,
            partition=lambda tenant_id: LocalPartition(sample.TENANTS, tenant_id),
            #% if cookiecutter.front_door == "http_api"
            runs=lambda tenant_id: LocalRuns(tenant_id, None, ""),
            #% endif
            notify=lambda _topic, _subject, message: self._messages.put(message),
        )

    def message(self) -> JsonObject:
        """The next message."""
        return self._messages.get(timeout=SECONDS)


def record_of(message: JsonObject) -> Record:
    return table_approvals("acme").find(message["token"])


@contextmanager
def answering(execution: Execution, message: JsonObject) -> Iterator[Callable[[], JsonObject]]:
    """Answer as a service does, through the approver and the Lambda API."""
    with lambda_api(execution) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", address)
        forget_clients()  # another address than the last one
        yield lambda: ANSWER({"tenantId": "acme", "token": message["token"], "answer": GIVEN}, None)


@pytest.mark.usefixtures("table", "new_clients")
@pytest.mark.parametrize("moment", ["before", "after", "return"])
@pytest.mark.parametrize("dies", [False, True], ids=["approver lives", "approver dies"])
def test_the_record_is_that_of_the_answer_whatever_is_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch, moment: Moment, dies: bool
) -> None:
    def dying(tenant_id: str) -> Dying:
        approvals = table_approvals(tenant_id)
        return Dying(tenant_id, approvals._client, approvals._table)

    if dies:
        monkeypatch.setattr(approver_module, "table_approvals", dying)
    for number in count(1):
        told = Told()
        execution, crasher = start_crashing(
            start, make_event("a"), moment, {number}, run=asks, stores=told.stores
        )
        message = told.message()
        asked = record_of(message)
        assert (asked.state, asked.decided_by) == ("PENDING", None)
        with answering(execution, message) as answer:
            with suppress(KilledError):
                assert answer() == {"accepted": True}

            assert execution.output() == GIVEN
            record = record_of(message)
            assert answer()["accepted"] is False
        assert (record.state, record.decided_by, record.comment) == ("APPROVED", "ada", "fine")
        assert (record.identified_by, record.callback_id) == ("service", None)
        assert record.asked == replace(
            asked.asked, asked_at=record.asked.asked_at, expires_at=record.asked.expires_at
        )
        if not crasher.crashed:
            break
    assert number > (1 if moment == "return" else 4)


@pytest.mark.usefixtures("table")
def test_nobody_has_answered(start: Start) -> None:
    """Also where the stack is set to fail then."""
    timeouts = {
        "TIMED_OUT": {"CALLBACK_TIMEOUT": "1s"},
        "HEARTBEAT_LOST": {"CALLBACK_TIMEOUT": "60s", "CALLBACK_HEARTBEAT": "1s"},
    }
    begun: dict[str, tuple[Execution, JsonObject]] = {}
    for decision, settings in timeouts.items():
        told = Told()
        settings["CALLBACK_TIMEOUT_ACTION"] = "fail"
        execution = start(make_event("a"), run=asks, stores=told.stores, **settings)
        begun[decision] = execution, told.message()

    for decision, (execution, message) in begun.items():
        assert execution.error()[0] == "ApprovalTimedOutError"
        record = record_of(message)
        assert (record.state, record.decided_by, record.callback_id) == (decision, None, None)


@pytest.mark.usefixtures("table")
def test_the_record_says_what_was_asked(start: Start) -> None:
    def run(execution: Phases[Any]) -> JsonObject:
        plan = execution.prepare_work()
        evidence = {"large": ["x" * 1_000] * 100}
        execution.ask_for_approval(plan, "budget", evidence, sample.parse_answer)
        return {}

    told = Told()
    event = make_event("a") | {"redriveOf": {"executionArn": "first", "items": [1]}}
    execution = start(event, run=run, stores=told.stores, CALLBACK_TIMEOUT="2m")
    message = told.message()

    asked = record_of(message).asked
    assert (asked.workflow_id, asked.approval) == ("wf-1", "budget")
    assert asked.execution_arn == execution.arn
    assert asked.expires_at == int(asked.asked_at) + 120
    assert asked.evidence == message["evidence"]
    assert asked.evidence["large"][-1].startswith("…")
    assert asked.evidence["firstApproval"] == approval_id("first", "budget")
