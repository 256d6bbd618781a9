"""The approval: what the approvers are shown, and that only a clear approval approves."""

from __future__ import annotations

import json

import pytest

from chassis import InvalidAnswerError
from tests.execution import Start
from tests.workflow.conftest import make_event
from workflow.callback_helper import parse_answer


def test_the_approvers_are_shown_how_many_items_there_are(start: Start) -> None:
    message = start(make_event("a", "b")).question.message

    assert message["evidence"]["items"] == 2
    assert message["approval"] == "approval"
    assert message["answerWith"] == f"make approve TENANT=acme TOKEN={message['token']}"


def test_reads_an_approval() -> None:
    approval = parse_answer(
        '{"decision": "APPROVED", "decidedBy": "ada", "comment": "fine", "x": 1}'
    )

    assert approval.goes_on
    assert approval.to_wire() == {"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"}
    assert parse_answer(json.dumps(approval.to_wire())) == approval  # what the approver sends on


def test_reads_a_rejection() -> None:
    approval = parse_answer('{"decision": "REJECTED"}')

    assert not approval.goes_on
    assert approval.to_wire() == {"decision": "REJECTED", "decidedBy": None, "comment": None}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "APPROVED",
        '"APPROVED"',
        "true",
        "[]",
        "{}",
        '{"approved": true}',
        '{"decision": true}',
        '{"decision": "approved"}',
        '{"decision": "APPROVED "}',
        '{"decision": "APPROVED\\n"}',
        '{"decision": "TIMED_OUT"}',
        '{"decision": ["APPROVED"]}',
        '{"decision": "REJECTED", "decision": "APPROVED"}',
        '{"decision": "APPROVED", "decidedBy": 7}',
        '{"decision": "APPROVED", "comment": "' + "x" * 1001 + '"}',
        '{"decision": "APPROVED"',
        '{"decision": "APPROVED", "comment": "\\ud83d"}',
        '{"decision": "APPROVED", "other": ' + "[" * 100 + "]" * 100 + "}",
        "[" * 100_000,
    ],
)
def test_anything_else_is_refused(answer: str | None) -> None:
    with pytest.raises(InvalidAnswerError) as error:
        parse_answer(answer)

    assert "\n" not in str(error.value)
