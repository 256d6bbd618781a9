"""The input and the output of the workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chassis import Approval, CheckResult, Decision, InvalidInputError, ItemOutcomes
from tests.workflow.conftest import EVENTS, make_event, read
from workflow.messages import parse_request, status_of

APPROVED = Approval(Decision.APPROVED, goes_on=True)


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_a_starter_passes_on_what_is_read_and_nothing_else(path: Path) -> None:
    event = read(path)
    passed_on = parse_request(event | {"junk": "x"}).event

    assert passed_on.items() <= event.items()
    assert parse_request(passed_on) == parse_request(event)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workflowId": "a/b"}, "workflowId is 'a/b', expected 1 to 64 of A-Z, a-z, 0-9"),
        ({"tenantId": None}, "tenantId is missing or null, expected 3 to 24 of a-z and 0-9"),
        ({"inputData": {"items": "abc"}}, "inputData.items is 'abc', expected a list"),
    ],
)
def test_a_wrong_field_is_named_in_one_line(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        parse_request(make_event("a") | wrong)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("approval", "checks", "failed", "status"),
    [
        (APPROVED, [], 0, "COMPLETED"),
        (APPROVED, [], 1, "COMPLETED_WITH_FAILURES"),
        (APPROVED, [CheckResult(name="x", error="y")], 0, "COMPLETED_WITH_FAILURES"),
        (Approval(Decision.TIMED_OUT, goes_on=True), [], 0, "COMPLETED"),
        (Approval(Decision.TIMED_OUT, goes_on=False), [], 0, "TIMED_OUT"),
        (Approval(Decision.HEARTBEAT_LOST, goes_on=False), [], 0, "TIMED_OUT"),
        (Approval(Decision.REJECTED, goes_on=False), [], 0, "REJECTED"),
        (Approval(Decision.NOT_NEEDED, goes_on=False), [], 0, "COMPLETED"),
    ],
)
def test_the_status_says_how_it_has_ended(
    approval: Approval, checks: list[CheckResult], failed: int, status: str
) -> None:
    assert status_of(approval, checks, ItemOutcomes(failed=failed)).value == status
