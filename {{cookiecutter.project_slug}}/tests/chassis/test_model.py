"""What the input may be, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from chassis.model import Approval, Decision, InvalidInputError, input_fields, request_fields
from tests.chassis.sample import parse_request
from tests.execution import make_event


def nested(levels: int) -> Any:
    """Lists within lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def test_deep_nesting_is_fine_up_to_the_limit() -> None:
    assert parse_request(make_event(nested(100))).items == [nested(100)]


def test_unknown_keys_are_ignored_and_not_passed_on() -> None:
    event = make_event("a") | {"startTime": 1, "metadata": {}}
    event["inputData"] = event["inputData"] | {"more": 1}

    request = parse_request(event)

    assert (request.workflow_id, request.tenant_id, request.items) == ("wf-1", "acme", ["a"])
    assert request.event == make_event("a")
    assert request.identity() == {"workflowId": "wf-1", "tenantId": "acme"}


def test_a_redrive_numbers_its_items_as_they_were() -> None:
    of_first = {"redriveOf": {"executionArn": "arn", "items": [2, 7]}}

    request = parse_request(make_event("b", "g") | of_first)

    assert list(request.numbered()) == [(2, "b"), (7, "g")]
    assert list(parse_request(make_event("b", "g")).numbered()) == [(1, "b"), (2, "g")]
    assert request.identity() == {"workflowId": "wf-1", "tenantId": "acme", "redriveOf": "arn"}
    assert request.event == make_event("b", "g") | of_first


@pytest.mark.parametrize(
    "redrive",
    [
        "arn",
        {"executionArn": "arn"},
        {"items": [1, 2]},
        *({"executionArn": arn, "items": [1, 2]} for arn in (1, "", "x" * 1001, None)),
        *(
            {"executionArn": "arn", "items": numbers}
            for numbers in (
                *([1], [1, 2, 3], [2, 1], [1, 1], [0, 1], [-1, 1], [True, 2], [1.0, 2]),
                *(["1", "2"], [1, 1_000_001], [1, None], "12", {"1": 2}, None),
            )
        ),
    ],
)
def test_a_redrive_that_is_malformed(redrive: Any) -> None:
    kind = "'arn'" if redrive == "arn" else "of type object"
    with pytest.raises(InvalidInputError, match=rf"^redriveOf is {kind}, expected an executionArn"):
        parse_request(make_event("a", "b") | {"redriveOf": redrive})
    with pytest.raises(InvalidInputError, match=r"^inputData.items is .*; redriveOf is "):
        parse_request(make_event() | {"inputData": {}, "redriveOf": redrive})


#% if cookiecutter.fan_out == "yes"
STORED = make_event() | {"inputData": {"inputRef": "in.jsonl"}}


def test_a_redrive_names_the_lines_of_a_stored_input() -> None:
    of_first = {"executionArn": "arn", "items": [], "lines": [[2, 2], [4, 6]]}

    request = parse_request(STORED | {"redriveOf": of_first})

    assert [line for line in range(1, 9) if request.wants(line)] == [2, 4, 5, 6]
    assert all(map(parse_request(STORED).wants, (1, 10**7)))
    assert request.event == STORED | {"redriveOf": of_first}


@pytest.mark.parametrize(
    "lines",
    [
        *("1", {}, [], 7, [1, 2], [[1]], [[1, 2, 3]], ["12"], [[0, 1]], [[2, 1]], [[True, 2]]),
        *([[1.0, 2]], [["1", "2"]], [[1, None]], [[1, 2], [2, 3]], [[5, 6], [1, 2]]),
        [[2 * number, 2 * number] for number in range(1, 1_002)],
    ],
    ids=lambda lines: str(lines)[:20],
)
def test_lines_that_are_malformed(lines: Any) -> None:
    of_first = {"executionArn": "arn", "items": [], "lines": lines}

    with pytest.raises(InvalidInputError, match=r"^redriveOf.lines is .*, expected the numbers"):
        parse_request(STORED | {"redriveOf": of_first})
    of_first["lines"] = lines[:1000] if len(str(lines)) > 1000 else [[1, 2], [3, 3]]
    assert parse_request(STORED | {"redriveOf": of_first}).lines == of_first["lines"]


#% endif
@pytest.mark.parametrize(
    ("event", "message"),
    [
        (None, "the event is missing or null, expected a JSON object"),
        ([], "the event is of type array, expected a JSON object"),
        ("x", "the event is 'x', expected a JSON object"),
        (make_event() | {"workflowId": ""}, "workflowId is ''"),
        (make_event() | {"workflowId": "a/b"}, "workflowId is 'a/b'"),
        (make_event() | {"workflowId": "x" * 65}, "workflowId is 'xxx"),
        (make_event() | {"workflowId": 7}, "workflowId is of type number"),
        (make_event() | {"tenantId": None}, "tenantId is missing or null, expected 3 to 24"),
        (make_event() | {"tenantId": "ACME"}, "tenantId is 'ACME'"),
        (make_event() | {"tenantId": "acme\n"}, "tenantId is 'acme\\n'"),
        (make_event() | {"tenantId": "аcme"}, "tenantId is"),  # noqa: RUF001 - a Cyrillic letter
        (make_event() | {"inputData": None}, "inputData is missing"),
        (make_event() | {"inputData": []}, "inputData is of type array"),
        (make_event() | {"inputData": {}}, "inputData.items is missing or null, expected a list"),
        (make_event() | {"inputData": {"items": "abc"}}, "inputData.items is 'abc'"),
        (make_event("a", {"b": float("inf")}), "inputData.items[1] has a number that does not fit"),
        (make_event([float("nan")]), "inputData.items[0] has a number that does not fit"),
        (make_event(10**400), "inputData.items[0] has a number that does not fit"),
        (make_event(nested(101)), "inputData.items[0] is nested more than 100 levels deep"),
        (make_event("a", "\ud83d"), "inputData.items[1] has half of a surrogate pair"),
        (make_event() | {"workflowId": "\ud83d"}, "workflowId is '\\ud83d', expected"),
    ],
)
def test_says_what_is_wrong_and_where(event: Any, message: str) -> None:
    with pytest.raises(InvalidInputError) as error:
        parse_request(event)

    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_names_every_problem_at_once_also_of_the_workflows_own_fields() -> None:
    fields = input_fields({"requestedBy": 7})
    fields.text("requestedBy")

    with pytest.raises(InvalidInputError) as error:
        request_fields(fields)

    assert [problem.split(" ")[0] for problem in str(error.value).split("; ")] == [
        "requestedBy",
        "workflowId",
        "tenantId",
        "inputData",
    ]


def test_a_field_of_the_workflows_own_is_passed_on() -> None:
    fields = input_fields(make_event("a") | {"requestedBy": "ada", "other": 1})
    fields.text("requestedBy")

    assert request_fields(fields)["event"] == make_event("a") | {"requestedBy": "ada"}


def test_an_approval_is_written_like_this() -> None:
    approval = Approval(Decision.TIMED_OUT, goes_on=True)

    assert approval.to_wire() == {"decision": "TIMED_OUT", "decidedBy": None, "comment": None}
