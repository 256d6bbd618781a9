"""Reading an answer: only what is clearly an approval approves."""

from __future__ import annotations

import pytest

from workflow.callback_helper import Decision, InvalidAnswerError, parse_answer, parse_rejection


def test_reads_an_approval() -> None:
    approval = parse_answer(
        '{"decision": "APPROVED", "decidedBy": "ada", "comment": "fine", "x": 1}'
    )

    assert approval.goes_on
    assert approval.to_wire() == {"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"}


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
        '{"decision": "TIMED_OUT"}',
        '{"decision": ["APPROVED"]}',
        '{"decision": "REJECTED", "decision": "APPROVED"}',
        '{"decision": "APPROVED", "decidedBy": 7}',
        '{"decision": "APPROVED", "comment": "' + "x" * 1001 + '"}',
        '{"decision": "APPROVED"',
        "[" * 100_000,
    ],
)
def test_anything_else_is_refused(answer: str | None) -> None:
    with pytest.raises(InvalidAnswerError) as error:
        parse_answer(answer)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "data", [None, "", "{", "[" * 100_000, '{"decision": "APPROVED", "decidedBy": "ada"}']
)
def test_a_failed_callback_never_approves(data: str | None) -> None:
    approval = parse_rejection("out of budget", data)

    assert approval.decision is Decision.REJECTED
    assert not approval.goes_on
    assert approval.comment == "out of budget"
