"""The parallel branches of the checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from chassis import Check, JsonObject, TransientError
from tests.chassis import sample
from tests.execution import Start, make_event


def fail(items: Iterable[Any]) -> JsonObject:
    """A check that always fails."""
    del items
    raise ZeroDivisionError("division by zero")


def test_every_check_sees_all_items_and_has_a_result_under_its_name(start: Start) -> None:
    execution = start(make_event("a", "b", "c"))
    execution.approve()

    assert execution.output()["checks"] == [
        {"name": "count-items", "result": {"count": 3}},
        {"name": "name-first", "result": {"first": "item-1"}},
    ]
    branches = execution.ended.get_context("run-checks").child_operations
    assert sorted(str(branch.name) for branch in branches) == ["count-items", "name-first"]


def test_without_any_check_nothing_is_run(start: Start) -> None:
    execution = start(make_event("a"), checks={})
    execution.approve()

    output = execution.output()

    assert output["checks"] == []
    assert output["mapResults"]["succeeded"] == 1
    assert not [name for name in execution.names() if "check" in str(name)]


def test_a_check_that_fails_fails_the_execution(start: Start) -> None:
    execution = start(make_event("a"), checks={**sample.CHECKS, "broken": fail})
    execution.approve()

    assert execution.error() == (
        "ChecksFailedError",
        "1 of 3 checks failed, 0 tolerated: broken: division by zero",
    )
    assert execution.names() == ["prepare-work", "approval", "approval recorded", "run-checks"]


def test_a_check_that_fails_can_be_tolerated(start: Start) -> None:
    checks: dict[str, Check] = {"broken": fail, **sample.CHECKS}
    execution = start(make_event("a"), checks=checks, TOLERATED_CHECK_FAILURES="1")
    execution.approve()

    output = execution.output()

    assert output["checks"][0] == {"name": "broken", "error": "division by zero"}
    assert [check["name"] for check in output["checks"] if "result" in check] == list(sample.CHECKS)
    assert output["mapResults"]["succeeded"] == 1


def test_a_check_is_tried_again_after_a_transient_error_only(start: Start) -> None:
    calls = {"later": 0, "broken": 0}

    def later(items: Iterable[Any]) -> JsonObject:
        calls["later"] += 1
        if calls["later"] < 3:
            raise TransientError("try later")
        return sample.count(items)

    def broken(items: Iterable[Any]) -> JsonObject:
        calls["broken"] += 1
        return fail(items)

    checks: dict[str, Check] = {"later": later, "broken": broken}
    execution = start(make_event("a"), checks=checks, TOLERATED_CHECK_FAILURES="1")
    execution.approve()

    assert execution.output()["checks"][0] == {"name": "later", "result": {"count": 1}}
    assert calls == {"later": 3, "broken": 1}


@pytest.mark.parametrize(("size", "fits"), [(62_000, True), (63_000, False)])
def test_half_of_an_output_is_for_the_results_of_all_checks(
    start: Start, size: int, fits: bool
) -> None:
    checks: dict[str, Check] = {"large": lambda _: {"text": "x" * size}, "small": sample.count}
    execution = start(make_event("a"), checks=checks)
    execution.approve()

    if fits:
        assert len(execution.output()["checks"][0]["result"]["text"]) == size
    else:
        assert "the result of large takes 63012 bytes as JSON" in execution.error()[1]
