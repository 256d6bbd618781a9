"""Replay: what is done stays done, and code that does not fit the history is found out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from aws_durable_execution_sdk_python.plugin import (
    DurableInstrumentationPlugin,
    InvocationEndInfo,
    InvocationStartInfo,
)

from chassis import Attempt, ItemError, JsonObject, TransientError
from chassis.durable import Execution as Phases
from tests.chassis import sample
from tests.chassis.conftest import Failing
from tests.execution import SECONDS, Start, make_event


class Suspension(DurableInstrumentationPlugin):
    """Knows when the first invocation is over; an answer before that saves the second one."""

    def __init__(self) -> None:
        self._happened = Event()

    def create_plugin(self, info: InvocationStartInfo, /) -> Suspension:
        del info
        return self

    def on_invocation_end(self, info: InvocationEndInfo) -> None:
        del info
        self._happened.set()

    def wait(self) -> None:
        """Wait until it has happened."""
        assert self._happened.wait(SECONDS)


def ship(item: JsonObject, attempt: Attempt) -> JsonObject:
    """A second step."""
    del item
    return dict(attempt.previous)


def test_completed_steps_do_not_run_again(start: Start, bodies: Counter[str]) -> None:
    fail_once = Failing(TransientError("later"), "b", attempts=1)
    suspension = Suspension()
    execution = start(make_event("a", "b", "c"), steps=(fail_once,), plugins=[suspension])
    suspension.wait()
    execution.approve()

    assert execution.output()["mapResults"]["succeeded"] == 3
    assert execution.invocations >= 3  # the start, the answer, the retry
    assert fail_once.calls == {"item-1": 1, "item-2": 2, "item-3": 1}
    assert bodies == {
        "prepare-work": 1,
        "approval submitter": 1,
        **dict.fromkeys(sample.CHECKS, 1),
        "approval recorded": 1,
        **dict.fromkeys(fail_once.calls, 1),
        **dict.fromkeys(sample.ENDING, 1),
    }


def test_an_execution_keeps_the_settings_it_started_with(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspension = Suspension()
    execution = start(
        make_event("a", "b"),
        steps=(Failing(ItemError("out of stock"), "b"),),
        plugins=[suspension],
        TOLERATED_ITEM_FAILURE_PERCENTAGE="50",
    )
    suspension.wait()
    monkeypatch.setenv("TOLERATED_ITEM_FAILURE_PERCENTAGE", "0")
    monkeypatch.setenv("MAP_MAX_CONCURRENCY", "nonsense")
    execution.approve()

    assert execution.output()["mapResults"]["failed"] == 1


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_the_operations_are_the_ones_that_running_executions_have(
    start: Start, nesting: str
) -> None:
    """In each run the same; if you mean to change them, change them here, too."""
    executions = [
        start(make_event("a", "b"), steps=(sample.process, ship), NESTING=nesting) for _ in range(2)
    ]
    for execution in executions:
        execution.approve()
    assert executions[0].identities() == executions[1].identities()

    def tree(operation: Any) -> Any:
        children = [tree(child) for child in getattr(operation, "child_operations", [])]
        if operation.sub_type in {"Parallel", "Map"}:
            children.sort()  # they start in any order
        return (operation.sub_type, operation.name, children)

    def branches(sub_type: str, *branches: list[str]) -> Any:
        steps: Any = [[("Step", name, []) for name in names] for names in branches]
        if nesting == "FLAT":
            return [step for branch in steps for step in branch]
        return [(sub_type, branch[0][1], branch) for branch in steps]

    assert [tree(operation) for operation in executions[0].ended.operations] == [
        ("Step", "prepare-work", []),
        (
            "WaitForCallback",
            "approval",
            [
                ("Callback", "approval create callback id", []),
                ("Step", "approval submitter", []),
            ],
        ),
        ("Step", "approval recorded", []),
        ("Parallel", "run-checks", branches("ParallelBranch", ["count-items"], ["name-first"])),
        (
            "Map",
            "process-items",
            branches("MapIteration", ["item-1", "item-1 ship"], ["item-2", "item-2 ship"]),
        ),
        #% if cookiecutter.__invoke
        ("ChainedInvoke", "meter-usage", []),
        #% endif
        *(("Step", name, []) for name in sample.ENDING),
    ]


def test_changed_code_under_a_running_execution_is_detected(start: Start) -> None:
    phases = sample.phases()

    def with_a_new_first_step(execution: Phases[Any]) -> JsonObject:
        execution.context.step(lambda _: None, name="new-step")
        return phases(execution)

    suspension = Suspension()
    version: Callable[[Phases[Any]], JsonObject] = phases
    execution = start(
        make_event("a"), run=lambda execution: version(execution), plugins=[suspension]
    )
    suspension.wait()
    version = with_a_new_first_step
    execution.approve()

    error, message = execution.error()
    assert error == "NonDeterministicExecutionError"
    assert "new-step" in message
