"""The handler: what it refuses, and what the log says of an execution."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import Any

import pytest

from chassis import InvalidInputError, ItemError, TransientError
from chassis.durable.policies import ONCE
from tests.chassis import sample
from tests.chassis.conftest import Failing
from tests.execution import Execution, Start, make_event

Line = dict[str, Any]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log of the workflow, at its most talkative."""
    caplog.set_level(logging.DEBUG, logger="workflow")
    return caplog


def lines(log: pytest.LogCaptureFixture) -> list[Line]:
    return [vars(record) for record in log.records if record.name == "workflow"]


def ended(log: pytest.LogCaptureFixture) -> Line:
    """The one line that says how the execution ended."""
    (line,) = [line for line in lines(log) if line["message"] == "execution ended"]
    return line


IDENTITY = {"workflowId": "wf-1", "tenantId": "acme"}


@pytest.mark.parametrize(
    ("event", "claimed", "operations", "reason"),
    [
        pytest.param([], {}, [], "the event is of type array", id="not an object"),
        pytest.param({"tenantId": "acme"}, {"tenantId": "acme"}, [], "workflowId", id="one field"),
        pytest.param(
            make_event() | {"tenantId": "../x"},
            {"workflowId": "wf-1"},
            [],
            "tenantId is '../x'",
            id="tenant",
        ),
        pytest.param(
            make_event() | {"inputData": {}}, IDENTITY, [], "inputData.items is", id="items"
        ),
        pytest.param(
            make_event("x" * 300_000),
            IDENTITY,
            ["prepare-work"],
            "inputData.items takes 300",
            id="too large",
        ),
    ],
)
def test_an_execution_that_is_refused_says_why_and_leaves_no_dead_letter(
    start: Start,
    log: pytest.LogCaptureFixture,
    event: Any,
    claimed: dict[str, str],
    operations: list[str],
    reason: str,
) -> None:
    """Lambda sends the event of a failed execution to the queue; this one has succeeded."""
    execution = start(event)

    output = execution.output()

    assert output.pop("reason").startswith(reason)
    assert output == claimed | {"executionArn": execution.arn, "status": "REFUSED"}
    assert execution.names() == operations
    assert all(step.attempt == 1 for step in execution.ended.operations)  # type: ignore[attr-defined]
    assert execution.messages == []
    (warning,) = [line for line in lines(log) if line["levelname"] == "WARNING"]
    assert warning["message"] == "input refused"
    assert warning["reason"].startswith(reason)
    assert warning["executionArn"] == execution.arn
    assert warning.get("tenantId") == claimed.get("tenantId")
    assert (ended(log)["executionStatus"], ended(log)["errorType"]) == ("SUCCEEDED", None)


def test_an_oversized_event_is_refused_before_the_tenant_is_looked_up(start: Start) -> None:
    execution = start(make_event("x" * 300_000) | {"tenantId": "nobody"})

    assert "inputData.items takes" in execution.refusal()


def test_the_work_items_are_made_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not again at every replay."""
    made: list[int] = []
    work_item = sample.work_item

    def counted(number: int, data: Any) -> Any:
        made.append(number)
        return work_item(number, data)

    monkeypatch.setattr(sample, "work_item", counted)
    execution = finished(start, Failing(TransientError("try later"), "b", attempts=1))

    assert execution.invocations > 1
    assert made == [1, 2, 3, 4, 5, 6]


def test_what_the_phases_refuse_later_is_no_fault_of_the_input(start: Start) -> None:
    """An error of the same name in another step fails the execution."""

    def run(execution: Any) -> Any:
        execution.prepare_work()

        def refuse(_: Any) -> None:
            raise InvalidInputError("the warehouse does not know it")

        execution.context.step(refuse, name="own", config=ONCE)

    error, _ = start(make_event("a"), run=run).error()

    assert error == "StepError"


def test_a_wrong_setting_is_named(start: Start) -> None:
    execution = start(make_event("a"), MAP_MAX_CONCURRENCY="many")

    _, message = execution.error()

    assert message == (
        "environment variable MAP_MAX_CONCURRENCY is 'many', expected a whole number from 1 to 100"
    )
    assert execution.names() == ["prepare-work"]
    assert execution.ended.get_step("prepare-work").attempt == 1


def finished(start: Start, step: Failing) -> Execution:
    """An execution with six items that is asked twice, approved, and over."""
    execution = start(
        make_event("a", "b", {}, "c", "d", "e"), steps=(step,), approvals=("one", "two")
    )
    execution.approve_all()
    execution.output()
    return execution


def test_every_line_says_whose_it_is(start: Start, log: pytest.LogCaptureFixture) -> None:
    execution = finished(start, Failing(TransientError("try later"), "b", attempts=1))

    assert {line["message"] for line in lines(log)} >= {
        "work prepared",
        "approval requested",
        "check done",
        "item processed",
        "results aggregated",
        "execution ended",
    }
    for line in lines(log):
        assert (line["tenantId"], line["workflowId"]) == ("acme", "wf-1")
        assert line["executionArn"] == execution.arn
    (prepared,) = [line for line in lines(log) if line["message"] == "work prepared"]
    assert prepared["items"] == 6
    asked = [line for line in lines(log) if line["message"] == "approval requested"]
    assert [line["approval"] for line in asked] == ["one", "two"]
    processed = [line["itemId"] for line in lines(log) if line["message"] == "item processed"]
    assert sorted(processed) == [f"item-{number}" for number in (1, 2, 4, 5, 6)]


def test_the_end_is_logged_once_with_what_the_execution_took(
    start: Start, log: pytest.LogCaptureFixture
) -> None:
    execution = finished(start, Failing(TransientError("try later"), "b", "d", attempts=2))

    line = ended(log)
    assert execution.invocations > 1
    assert line["durableOperations"] == len(execution.ended.get_all_operations())
    assert line["retries"] == 4
    assert (line["executionStatus"], line["errorType"]) == ("SUCCEEDED", None)


def test_the_end_of_a_failed_execution_names_the_error(
    start: Start, log: pytest.LogCaptureFixture
) -> None:
    execution = start(make_event("a"))
    execution.answer_with("nonsense")
    execution.error()

    line = ended(log)
    assert line["executionStatus"] == "FAILED"
    assert line["errorType"].endswith("InvalidAnswerError")
    assert line["tenantId"] == "acme"


def test_the_metrics_have_the_tier_as_their_only_dimension(
    start: Start, log: pytest.LogCaptureFixture
) -> None:
    before = time.time()
    execution = finished(start, Failing(ItemError("out of stock"), "b"))

    (line,) = [line for line in lines(log) if "_aws" in line]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["tier"]]
    assert line["tier"] == sample.TENANTS["acme"]["tier"]
    metrics = execution.output()["metrics"]
    assert {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]} == {
        "itemsProcessed": 6,
        "itemsFailed": 2,
        "durationSeconds": metrics["durationSeconds"],
    }
    timestamp = line["_aws"]["Timestamp"]
    assert isinstance(timestamp, int)
    finished_at = datetime.fromisoformat(metrics["finishedAt"].replace("Z", "+00:00"))
    assert timestamp == pytest.approx(finished_at.timestamp() * 1_000, abs=1)
    assert before * 1_000 - 1 <= timestamp <= time.time() * 1_000
