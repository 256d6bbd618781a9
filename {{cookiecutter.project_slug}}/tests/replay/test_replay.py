"""Replay: what is done stays done, and code that does not fit the history is found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aws_durable_execution_sdk_python import DurableContext, durable_execution

from ops.local import handler as run_workflow
from tests.execution import Execution, FailItems, Start, make_event
from workflow import data_processor
from workflow.checks import CHECKS
from workflow.models import ItemError, ItemResult, TransientError, WorkItem

CHECK_NAMES = [
    "summarize-types",
    #% if cookiecutter.parallel_branch_count | int >= 2
    "find-duplicates",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 3
    "measure-sizes",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 4
    "count-priorities",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 5
    "find-empty-items",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 6
    "fingerprint-content",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 7
    "find-email-addresses",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 8
    "find-control-characters",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 9
    "measure-depth",
    #% endif
    #% if cookiecutter.parallel_branch_count | int >= 10
    "summarize-numbers",
    #% endif
]


def test_completed_steps_do_not_run_again(
    start: Start, bodies: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: set[str] = set()
    process = data_processor.process_item

    def fail_once(item: WorkItem) -> ItemResult:
        result = process(item)
        if item["data"] == "b" and item["id"] not in failed:
            failed.add(item["id"])
            raise TransientError("later")
        return result

    monkeypatch.setattr(data_processor, "process_item", fail_once)
    invocations = 0

    def counting(event: Any, context: DurableContext) -> Any:
        nonlocal invocations
        invocations += 1
        return run_workflow(event, context)

    execution = start(make_event("a", "b", "c"), handler=durable_execution(counting))
    execution.approve()
    execution.output()

    assert invocations >= 3  # the start, the answer, the retry
    assert bodies == {
        #% if cookiecutter.__wait_for_condition
        "await-readiness": 1,
        #% endif
        #% if cookiecutter.__child_context
        "tell-approvers": 1,
        #% endif
        "prepare-work": 1,
        "approval submitter": 1,
        **dict.fromkeys(CHECKS, 1),
        "work-item-1": 1,
        "work-item-2": 2,
        "work-item-3": 1,
        "aggregate-results": 1,
    }


def test_an_execution_keeps_the_settings_it_started_with(
    start: Start, fail_items: FailItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_items(ItemError("out of stock"), "b")
    execution = start(make_event("a", "b"), TOLERATED_ITEM_FAILURE_PERCENTAGE="50")
    execution.callback_id()
    monkeypatch.setenv("TOLERATED_ITEM_FAILURE_PERCENTAGE", "0")
    monkeypatch.setenv("MAP_MAX_CONCURRENCY", "nonsense")
    execution.approve()

    assert execution.output()["status"] == "COMPLETED_WITH_FAILURES"


def identities(execution: Execution) -> list[tuple[object, ...]]:
    return [
        (operation.operation_id, operation.operation_type, operation.sub_type, operation.name)
        for operation in sorted(
            execution.result.get_all_operations(), key=lambda operation: operation.operation_id
        )
    ]


def test_two_runs_have_the_same_operations(start: Start) -> None:
    executions = [start(make_event("a", "b", "c")) for _ in range(2)]
    for execution in executions:
        execution.approve()

    assert identities(executions[0]) == identities(executions[1])


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_the_operations_are_the_ones_that_running_executions_have(
    start: Start, nesting: str
) -> None:
    """If you mean to change them, change them here, too: README.md, "Update it"."""
    execution = start(make_event("a", "b"), NESTING=nesting)
    execution.approve()

    def tree(operation: Any) -> Any:
        children = [tree(child) for child in getattr(operation, "child_operations", [])]
        if operation.sub_type in {"Parallel", "Map"}:
            children.sort()  # they start in any order
        return (operation.sub_type, operation.name, children)

    def operation_of(sub_type: str, name: str) -> Any:
        step: Any = ("Step", name, [])
        return step if nesting == "FLAT" else (sub_type, name, [step])

    assert [tree(operation) for operation in execution.result.operations] == [
        ("Step", "prepare-work", []),
        (
            "WaitForCallback",
            "approval",
            [
                ("Callback", "approval create callback id", []),
                ("Step", "approval submitter", []),
            ],
        ),
        #% if cookiecutter.__wait
        ("Wait", "cool-down", []),
        #% endif
        #% if cookiecutter.__wait_for_condition
        ("WaitForCondition", "await-readiness", []),
        #% endif
        (
            "Parallel",
            "run-checks",
            [operation_of("ParallelBranch", name) for name in sorted(CHECK_NAMES)],
        ),
        (
            "Map",
            "process-items",
            [operation_of("MapIteration", f"work-item-{number}") for number in (1, 2)],
        ),
        ("Step", "aggregate-results", []),
        #% if cookiecutter.__invoke
        ("ChainedInvoke", "meter-usage", []),
        #% endif
        #% if cookiecutter.__child_context
        ("RunInChildContext", "announce-result", [("Step", "tell-approvers", [])]),
        #% endif
    ]


def test_changed_code_under_a_running_execution_is_detected(start: Start) -> None:
    version: Callable[[Any, DurableContext], Any] = run_workflow

    def current(event: Any, context: DurableContext) -> Any:
        return version(event, context)

    def with_a_new_first_step(event: Any, context: DurableContext) -> Any:
        context.step(lambda _: None, name="new-step")
        return run_workflow(event, context)

    execution = start(make_event("a"), handler=durable_execution(current))
    execution.callback_id()
    version = with_a_new_first_step
    execution.approve()

    error, message = execution.error()

    assert error == "NonDeterministicExecutionError"
    assert "new-step" in message
