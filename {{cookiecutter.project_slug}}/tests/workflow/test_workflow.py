"""The phases of the workflow; data_processor, checks and messages have tests of their own."""

from __future__ import annotations

import logging
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from chassis import Attempt, ItemError
from chassis.quotas import INVOCATION_ATTEMPTS, MAX_ATTEMPTS, RESERVED_OPERATIONS
from tests.crashes import Crasher, Moment
from tests.execution import Execution, Start
from tests.workflow.conftest import EVENTS, make_event, read
from workflow.definition import DEFINITION
from workflow.messages import Status


def fail_b(item: Any, attempt: Attempt) -> Any:
    """A step that fails for one of the items."""
    del attempt
    if item["data"] == "b":
        raise ItemError("out of stock")
    return {}


def tree(operation: Any) -> Any:
    """An operation and those inside of it; branches and items start in any order."""
    children = [tree(child) for child in getattr(operation, "child_operations", [])]
    return (operation.name, sorted(children)) if children else operation.name


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_every_event_runs(start: Start, path: Path) -> None:
    event = read(path)
    execution = start(event)
    execution.approve_all()

    output = execution.output()
    assert output["status"] == "COMPLETED"
    assert output["workflowId"] == event["workflowId"]
    assert output["metrics"]["itemsProcessed"] == len(event["inputData"]["items"])


def test_a_failed_item_does_not_stop_the_others(start: Start) -> None:
    execution = start(make_event("a", "b", "c"), steps=(fail_b,))
    execution.approve_all()

    output = execution.output()
    assert output["status"] == "COMPLETED_WITH_FAILURES"
    assert output["callbackResult"]["decision"] == "APPROVED"
    assert output["mapResults"]["succeeded"] == 2
    assert [item["error"] for item in output["mapResults"]["failedItems"]] == ["out of stock"]


def test_a_rejection_processes_nothing(start: Start) -> None:
    execution = start(make_event("a"))
    execution.reject()

    output = execution.output()
    assert output["status"] == "REJECTED"
    assert output["callbackResult"]["decidedBy"] == "bob"
    assert output["parallelResults"] == []
    assert output["metrics"]["itemsProcessed"] == 0
    assert not {"run-checks", "process-items"} & set(execution.names())


def test_nobody_is_asked_to_approve_nothing(start: Start) -> None:
    execution = start(make_event())

    output = execution.output()
    assert output["status"] == "COMPLETED"
    assert output["callbackResult"]["decision"] == "NOT_NEEDED"
    assert output["parallelResults"] == []
    assert [message for _, message in execution.messages if "token" in message] == []


def test_an_event_that_is_refused_ends_with_a_status(start: Start) -> None:
    output = start(make_event("a") | {"workflowId": "a/b"}).output()

    assert output["status"] == Status.REFUSED
    assert output["reason"].startswith("workflowId is 'a/b', expected 1 to 64 of")


def test_the_operations_are_the_ones_that_running_executions_have(start: Start) -> None:
    """Executions in flight go on with their version: add and remove operations here on purpose."""
    execution = start(make_event("a", "b"))
    execution.approve_all()

    assert [
        (name, []) if name == "run-checks" else (name, inside)
        for name, inside in [
            node if isinstance(node, tuple) else (node, [])
            for node in map(tree, execution.ended.operations)
        ]
    ] == [
        ("prepare-work", []),
        ("approval", ["approval create callback id", "approval submitter"]),
        ("approval recorded", []),
        #% if cookiecutter.__wait
        ("cool-down", []),
        #% endif
        #% if cookiecutter.__wait_for_condition
        ("await-readiness", []),
        #% endif
        ("run-checks", []),  # test_checks.py has their names
        ("process-items", ["work-item-1", "work-item-2"]),
        #% if cookiecutter.__invoke
        ("meter-usage", []),
        #% endif
        ("aggregate-results", []),
        #% if cookiecutter.__child_context
        ("announce-result", ["tell-approvers"]),
        #% endif
        #% if cookiecutter.front_door == "http_api"
        ("record-result", []),
        #% endif
    ]


def test_it_fits_into_the_operations_that_are_reserved_for_it(start: Start) -> None:
    """Beside those of its items, even if each operation and each invocation needs all attempts."""
    execution = start(make_event("a"))
    execution.approve_all()

    operations = len(execution.ended.get_all_operations()) - len(DEFINITION.item_steps)
    retries = execution.invocations * (INVOCATION_ATTEMPTS - 1)
    assert operations * MAX_ATTEMPTS + retries <= RESERVED_OPERATIONS


@pytest.mark.parametrize("moment", ["after", "return"])
def test_it_survives_a_crash_at_any_moment(start: Start, moment: Moment) -> None:
    def outcome(execution: Execution) -> Any:
        execution.approve_all()
        output = execution.output()
        measured = {"executionArn", "metrics"}
        return {k: v for k, v in output.items() if k not in measured}, execution.identities()

    expected = outcome(start(make_event("a")))
    for number in count(1):
        crashers: list[Crasher] = []

        def crash(handler: Any, number: int = number, made: list[Crasher] = crashers) -> Crasher:
            made.append(Crasher(handler, moment, {number}))
            return made[0]

        assert outcome(start(make_event("a"), wrap=crash)) == expected
        if not crashers[0].crashed:
            break
    assert number > (1 if moment == "return" else 5)


def test_every_line_of_the_log_says_whose_it_is(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="workflow")
    execution = start(make_event("a", "b"))
    execution.approve_all()
    execution.output()

    lines = [vars(record) for record in caplog.records if record.name == "workflow"]
    assert len(lines) > 5
    assert {(line["tenantId"], line["workflowId"]) for line in lines} == {
        ("acme", make_event()["workflowId"])
    }
