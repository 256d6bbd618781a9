"""Every way in which asking for an approval can end."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.stub import ANY, Stubber

from chassis.durable.approval import read_rejection
from chassis.model import Decision
from chassis.tenancy import stores
from chassis.tenancy.stores import Stores
from chassis.wire import MAX_TEXT_LENGTH, JsonObject
from ops import local
from ops.local import Question
from tests.chassis import sample
from tests.execution import SECONDS, Execution, Start, make_event

TOPIC = "arn:aws:sns:us-east-1:123456789012:approvals"
BOB = '{"decision": "REJECTED", "decidedBy": "bob", "comment": "no"}'


def assert_nothing_was_processed(execution: Execution) -> None:
    output = execution.output()
    assert not {"run-checks", "process-items"} & set(execution.names())
    assert (output["checks"], output["metrics"]["done"], output["metrics"]["checks"]) == ([], 0, 0)
    assert output["mapResults"]["succeeded"] == output["mapResults"]["failed"] == 0
    assert output["mapResults"]["results"] == output["mapResults"]["failedItems"] == []


def test_approved(start: Start) -> None:
    execution = start(make_event("a", {"sku": 7}))
    execution.approve()

    output = execution.output()

    assert output["approvals"] == [{"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"}]
    assert output["mapResults"]["succeeded"] == 2
    assert len(output["checks"]) == len(sample.CHECKS)


def test_nobody_is_asked_to_approve_nothing(start: Start) -> None:
    execution = start(make_event(), approvals=("one", "two"))

    assert execution.next_question(SECONDS) is None
    assert execution.messages == []
    assert execution.names() == ["prepare-work", *sample.ENDING]
    assert execution.output()["approvals"] == [
        {"decision": "NOT_NEEDED", "decidedBy": None, "comment": None}
    ]
    assert_nothing_was_processed(execution)


def test_rejected_by_an_answer(start: Start) -> None:
    execution = start(make_event("a"))
    execution.answer_with(BOB)

    assert execution.output()["approvals"] == [json.loads(BOB)]
    assert_nothing_was_processed(execution)


def test_rejected_by_a_failed_callback(start: Start) -> None:
    execution = start(make_event("a"))
    execution.fail_callback("no budget", '{"decision": "REJECTED", "decidedBy": "bob"}')

    assert execution.output()["approvals"] == [
        {"decision": "REJECTED", "decidedBy": "bob", "comment": "no budget"}
    ]
    assert_nothing_was_processed(execution)


@pytest.mark.parametrize(
    "data", [None, "", "{", "[" * 100_000, '{"decision": "APPROVED", "decidedBy": "ada"}']
)
def test_a_failed_callback_never_approves(data: str | None) -> None:
    approval = read_rejection("out of budget", data, sample.parse_answer)

    assert approval.decision is Decision.REJECTED
    assert not approval.goes_on
    assert approval.comment == "out of budget"


@pytest.mark.parametrize(
    ("message", "data", "comment"),
    [
        ("out of budget", BOB, "no"),
        ("x" * 2_000, None, "x" * MAX_TEXT_LENGTH),
        ("", None, None),
        (None, None, None),
    ],
)
def test_the_reason_of_a_rejection_is_the_comment_or_else_the_message(
    message: str | None, data: str | None, comment: str | None
) -> None:
    assert read_rejection(message, data, sample.parse_answer).comment == comment


def test_nobody_answers(start: Start) -> None:
    timeouts = {
        "TIMED_OUT": {"CALLBACK_TIMEOUT": "1s", "CALLBACK_HEARTBEAT": "0m"},
        "HEARTBEAT_LOST": {"CALLBACK_TIMEOUT": "60s", "CALLBACK_HEARTBEAT": "1s"},
    }
    executions: dict[tuple[str, str], Execution] = {}
    for decision, variables in timeouts.items():
        for action in ("reject", "continue", "fail"):
            execution = start(make_event("a"), CALLBACK_TIMEOUT_ACTION=action, **variables)
            execution.wait_until_prepared()
            executions[decision, action] = execution

    for decision in timeouts:
        unanswered = [{"decision": decision, "decidedBy": None, "comment": None}]

        rejected = executions[decision, "reject"]
        assert rejected.output()["approvals"] == unanswered
        assert_nothing_was_processed(rejected)

        continued = executions[decision, "continue"].output()
        assert continued["approvals"] == unanswered
        assert continued["mapResults"]["succeeded"] == 1

        assert executions[decision, "fail"].error() == (
            "ApprovalTimedOutError",
            f"{decision}: no sign of the approver for 1 s",
        )


@pytest.mark.parametrize("answer", [None, "yes", "{}", '{"approved": true}'])
def test_a_malformed_answer_fails_the_execution(start: Start, answer: str | None) -> None:
    execution = start(make_event("a"))
    execution.answer_with(answer)

    error, message = execution.error()

    assert error == "InvalidAnswerError"
    assert "\n" not in message
    assert execution.names() == ["prepare-work", "approval"]


def test_two_approvals_are_asked_one_after_the_other(start: Start) -> None:
    execution = start(make_event("a"), approvals=("budget", "release"))
    first = execution.asked_next()
    assert len(execution.messages) == 1
    execution.answer(first, {"decision": "APPROVED", "comment": "enough money"})
    second = execution.asked_next()
    execution.answer(second, {"decision": "APPROVED", "comment": "it is Monday"})

    output = execution.output()

    assert [approval["comment"] for approval in output["approvals"]] == [
        "enough money",
        "it is Monday",
    ]
    assert output["mapResults"]["succeeded"] == 1
    assert [question.message["approval"] for question in (first, second)] == ["budget", "release"]
    assert first.callback_id != second.callback_id
    assert first.message["token"] != second.message["token"]
    assert execution.names()[1:5] == ["budget", "budget recorded", "release", "release recorded"]


def test_after_a_rejection_nobody_is_asked_again(start: Start) -> None:
    execution = start(make_event("a"), approvals=("budget", "release"))
    execution.reject()

    assert [approval["decision"] for approval in execution.output()["approvals"]] == ["REJECTED"]
    assert_nothing_was_processed(execution)
    assert [message["approval"] for _, message in execution.messages] == ["budget"]
    assert execution.names() == ["prepare-work", "budget", "budget recorded", *sample.ENDING]


def test_waiting_for_a_question_of_a_failed_execution_raises_its_error(start: Start) -> None:
    execution = start(make_event("a") | {"tenantId": "globex"})

    with pytest.raises(AssertionError, match=r"asked nobody.*tenant globex is suspended"):
        execution.asked_next()


class Published:
    """An execution whose approvers are told by SNS, and what they are told."""

    def __init__(self, start: Start, event: JsonObject) -> None:
        callbacks: dict[str, str] = {}
        sent: SimpleQueue[JsonObject] = SimpleQueue()

        def notify(topic_arn: str, subject: str, message: JsonObject) -> None:
            stores.publish(topic_arn, subject, message)
            sent.put(message)

        self.execution = start(
            event,
            stores=Stores(
                partition=partial(local.LocalPartition, sample.TENANTS),
                approvals=partial(local.LocalApprovals, callbacks),
                #% if cookiecutter.front_door == "http_api"
                runs=lambda tenant_id: local.LocalRuns(tenant_id, None, ""),
                #% endif
                #% if cookiecutter.fan_out == "yes"
                objects=partial(local.FileObjects, local.OBJECTS),
                #% endif
                notify=notify,
            ),
            APPROVAL_TOPIC_ARN=TOPIC,
        )
        self._sent, self._callbacks = sent, callbacks

    def question(self) -> Question:
        """What was published next."""
        message = self._sent.get(timeout=30)
        return Question(self._callbacks[message["token"]], message)


Publish = Callable[[JsonObject], Published]


@pytest.fixture
def publish(start: Start) -> Publish:
    """Start an execution that publishes its questions."""
    return partial(Published, start)


@pytest.fixture
def sns(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SNS client of the stores; it reaches nobody."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    stores._sns.cache_clear()
    yield stores._sns()
    stores._sns.cache_clear()


@pytest.fixture
def stubber(sns: Any) -> Iterator[Stubber]:
    """What SNS answers; requests are validated."""
    with Stubber(sns) as stubber:
        yield stubber


class Body:
    """The body of a response of SNS."""

    def stream(self) -> Iterator[bytes]:
        yield b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult>"
        yield b"</PublishResponse>"


def test_the_approvers_are_told_but_not_the_callback_id(
    publish: Publish, sns: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # of every logger, as LogLevel does
    requests: list[JsonObject] = []
    sns.meta.events.register(
        "provide-client-params.sns.Publish", lambda params, **_: requests.append(params)
    )
    # The last moment before the request leaves: all of botocore has run, and logged.
    sns.meta.events.register(
        "before-send.sns.Publish", lambda request, **_: AWSResponse(request.url, 200, {}, Body())
    )
    published = publish(make_event("a", "b"))
    question = published.question()
    published.execution.approve(question)
    output = published.execution.output()

    (request,) = requests
    message = json.loads(request["Message"])
    token = message["token"]
    assert message == {
        "workflowId": "wf-1",
        "tenantId": "acme",
        "executionArn": published.execution.arn,
        "approval": "approval",
        "startedBy": None,
        "evidence": {"count": 2, "first": "a"},
        "token": token,
        "answerWith": f"make approve TENANT=acme TOKEN={token}",
    }
    assert request["TopicArn"] == TOPIC
    assert request["Subject"] == "Approval wanted: wf-1"
    assert request["MessageAttributes"] == {
        "tenantId": {"DataType": "String", "StringValue": "acme"},
        "approval": {"DataType": "String", "StringValue": "approval"},
    }
    # The local runner stands in for the service, which knows the id.
    lines = [str(vars(record)) for record in caplog.records if "_testing" not in record.name]
    assert any("approval requested" in line for line in lines)
    for text in [str(requests), *lines, json.dumps(output)]:
        assert question.callback_id not in text
    for text in [*lines, json.dumps(output)]:
        assert token not in text


def test_the_request_is_sent_again_when_the_topic_is_throttled(
    publish: Publish, stubber: Stubber
) -> None:
    stubber.add_client_error("publish", "Throttled", http_status_code=400)
    expected = {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY, "MessageAttributes": ANY}
    stubber.add_response("publish", {"MessageId": "1"}, expected)
    published = publish(make_event("a"))
    published.execution.approve(published.question())

    assert published.execution.output()["approvals"][0]["decision"] == "APPROVED"
    stubber.assert_no_pending_responses()
    asked = published.execution.ended.get_context("approval")
    assert asked.get_step("approval submitter").attempt == 2


def test_nobody_can_be_asked(publish: Publish, stubber: Stubber) -> None:
    for _ in range(3):
        stubber.add_client_error("publish", "NotFound", "no such topic")

    error, message = publish(make_event("a")).execution.error()

    assert error == "ApprovalNotRequestedError"
    assert "no such topic" in message
    stubber.assert_no_pending_responses()


def test_a_message_that_is_no_question_has_no_attribute_of_an_approval(stubber: Stubber) -> None:
    expected = {
        "TopicArn": TOPIC,
        "Subject": "s",
        "Message": ANY,
        "MessageAttributes": {"tenantId": {"DataType": "String", "StringValue": "acme"}},
    }
    stubber.add_response("publish", {"MessageId": "1"}, expected)

    stores.AWS.notify(TOPIC, "s", {"tenantId": "acme", "status": "COMPLETED"})

    stubber.assert_no_pending_responses()
