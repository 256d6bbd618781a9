"""Bad input fails the execution at once: no retries, nothing processed, one line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.execution import Start, make_event


@pytest.mark.parametrize(
    "event",
    [
        pytest.param([], id="not an object"),
        pytest.param({}, id="nothing"),
        pytest.param(make_event() | {"tenantId": "../x"}, id="tenant"),
        pytest.param(make_event() | {"inputData": {"items": {"a": 1}}}, id="items"),
        pytest.param(make_event("x" * 300_000), id="too large"),
    ],
)
def test_fails_before_anything_happens(start: Start, event: Any) -> None:
    execution = start(event)

    error, message = execution.error()

    assert error == "InvalidInputError"
    assert "\n" not in message
    assert execution.result.get_all_operations() == []


def test_a_wrong_setting_is_named(start: Start) -> None:
    execution = start(make_event("a"), MAP_MAX_CONCURRENCY="many")

    _, message = execution.error()

    assert message == (
        "environment variable MAP_MAX_CONCURRENCY is 'many', expected a whole number from 1 to 100"
    )
    assert execution.result.get_step("prepare-work").attempt == 1
