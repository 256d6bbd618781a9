"""Every way in which asking for the approval can end."""

from __future__ import annotations

import json
import logging

import boto3
import pytest
from botocore.stub import ANY, Stubber

from tests.execution import Start, make_event
from workflow import steps
from workflow.models import JsonObject


def test_approved(start: Start) -> None:
    execution = start(make_event("a", {"sku": 7}))
    execution.approve()

    output = execution.output()

    assert output["status"] == "COMPLETED"
    assert output["callbackResult"] == {
        "decision": "APPROVED",
        "decidedBy": "ada",
        "comment": "fine",
    }
    assert output["mapResults"]["succeeded"] == 2


def test_rejected_by_an_answer(start: Start) -> None:
    execution = start(make_event("a"))
    execution.answer('{"decision": "REJECTED", "decidedBy": "bob", "comment": "no"}')

    output = execution.output()

    assert output["status"] == "REJECTED"
    assert output["callbackResult"]["decidedBy"] == "bob"
    assert_nothing_was_processed(output)


def test_rejected_by_a_failed_callback(start: Start) -> None:
    execution = start(make_event("a"))
    execution.fail_callback("no budget", '{"decision": "REJECTED", "decidedBy": "bob"}')

    output = execution.output()

    assert output["status"] == "REJECTED"
    assert output["callbackResult"] == {
        "decision": "REJECTED",
        "decidedBy": "bob",
        "comment": "no budget",
    }
    assert_nothing_was_processed(output)


@pytest.mark.parametrize(
    ("variables", "decision"),
    [
        ({"CALLBACK_TIMEOUT": "1s", "CALLBACK_HEARTBEAT": "0m"}, "TIMED_OUT"),
        ({"CALLBACK_TIMEOUT": "60s", "CALLBACK_HEARTBEAT": "1s"}, "HEARTBEAT_LOST"),
    ],
)
def test_nobody_answers(start: Start, variables: dict[str, str], decision: str) -> None:
    executions = {}
    for action in ("reject", "continue", "fail"):
        executions[action] = start(make_event("a"), CALLBACK_TIMEOUT_ACTION=action, **variables)
        executions[action].wait_until_prepared()

    rejected = executions["reject"].output()
    assert rejected["status"] == "TIMED_OUT"
    assert rejected["callbackResult"]["decision"] == decision
    assert_nothing_was_processed(rejected)

    continued = executions["continue"].output()
    assert continued["status"] == "COMPLETED"
    assert continued["callbackResult"]["decision"] == decision
    assert continued["mapResults"]["succeeded"] == 1

    assert executions["fail"].error() == (
        "ApprovalTimedOutError",
        f"{decision}: no sign of the approver for 1 s",
    )


@pytest.mark.parametrize("answer", [None, "yes", "{}", '{"approved": true}'])
def test_a_malformed_answer_fails_the_execution(start: Start, answer: str | None) -> None:
    execution = start(make_event("a"))
    execution.answer(answer)

    error, message = execution.error()

    assert error == "InvalidAnswerError"
    assert "\n" not in message
    names = {operation.name for operation in execution.result.get_all_operations()}
    assert not names & {"run-checks", "process-items"}


@pytest.fixture
def sns(monkeypatch: pytest.MonkeyPatch) -> Stubber:
    """A real SNS client whose requests are validated and answered here."""
    client = boto3.client(
        "sns", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
    monkeypatch.setattr(steps, "_sns", lambda: client)
    stubber = Stubber(client)
    stubber.activate()
    return stubber


TOPIC = "arn:aws:sns:us-east-1:123456789012:approvals"


def test_the_approvers_are_told_but_not_the_callback_id(
    start: Start, sns: Stubber, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # of every logger, as LogLevel does
    sns.add_response(
        "publish",
        {"MessageId": "1"},
        {"TopicArn": TOPIC, "Subject": ANY, "Message": ANY, "MessageAttributes": ANY},
    )
    sent: list[str] = []
    sns.client.meta.events.register(
        "provide-client-params.sns.Publish",
        lambda params, **_: sent.append(params["Subject"] + params["Message"]),
    )
    execution = start(make_event("a", "b"), APPROVAL_TOPIC_ARN=TOPIC)
    callback_id = execution.callback_id()
    execution.approve()
    output = execution.output()

    sns.assert_no_pending_responses()
    message = json.loads(sent[0][sent[0].index("{") :])
    token = message.pop("token")
    assert message == {
        "workflowId": "wf-1",
        "tenantId": "acme",
        "items": 2,
        "executionArn": execution.arn,
        "answerWith": f"make approve TENANT=acme TOKEN={token}",
    }
    # The local runner stands in for the service, which knows the id.
    lines = [str(vars(record)) for record in caplog.records if "_testing" not in record.name]
    assert any("approval requested" in line for line in lines)
    for text in [*sent, *lines, json.dumps(output)]:
        assert callback_id not in text
    for text in [*lines, json.dumps(output)]:
        assert token not in text


def test_the_request_is_sent_again_when_the_topic_is_throttled(start: Start, sns: Stubber) -> None:
    sns.add_client_error("publish", "Throttled", http_status_code=400)
    sns.add_response("publish", {"MessageId": "1"})
    execution = start(make_event("a"), APPROVAL_TOPIC_ARN=TOPIC)
    execution.approve()

    assert execution.output()["status"] == "COMPLETED"
    submitter = execution.result.get_context("approval").get_step("approval submitter")
    assert submitter.attempt == 2


def test_nobody_can_be_asked(start: Start, sns: Stubber) -> None:
    for _ in range(3):
        sns.add_client_error("publish", "NotFound", "no such topic")

    error, message = start(make_event("a"), APPROVAL_TOPIC_ARN=TOPIC).error()

    assert error == "ApprovalNotRequestedError"
    assert "no such topic" in message
    sns.assert_no_pending_responses()


def assert_nothing_was_processed(output: JsonObject) -> None:
    assert output["metrics"]["itemsProcessed"] == 0
    assert output["metrics"]["checksRun"] == 0
    assert output["parallelResults"] == []
    assert output["mapResults"]["succeeded"] == output["mapResults"]["failed"] == 0
    assert output["mapResults"]["results"] == output["mapResults"]["failedItems"] == []
