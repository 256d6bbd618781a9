"""The approver answers what is pending for the tenant that answers."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

import pytest

from chassis.functions import approver as approver_module
from chassis.functions.approver import AnswerNotSentError, approver
from chassis.steps import work
from chassis.tenancy import credentials
from chassis.tenancy.registry import TablePartition
from chassis.tenancy.stores import AWS, table_approvals
from chassis.wire import JsonObject
from tests.chassis import sample
from tests.chassis.aws import TABLE, TOKEN, Add, ask, stop_clock
from tests.chassis.functions.conftest import Lambda
from tests.execution import SECONDS, Start, make_event

HANDLER = approver(sample.parse_answer)


@pytest.fixture(autouse=True)
def _pending(table: Any) -> None:
    """An approval of acme."""
    ask(table)


def answer(tenant_id: str, decision: str | None, token: str = TOKEN) -> JsonObject:
    event: JsonObject = {"tenantId": tenant_id, "token": token}
    if decision:
        event["answer"] = {"decision": decision, "decidedBy": "ada"}
    return HANDLER(event, None)


def asked(answer: Any) -> JsonObject:
    return {"tenantId": "acme", "token": TOKEN, "answer": answer}


def test_an_approval_is_given_once(lambda_: Lambda) -> None:
    assert answer("acme", "APPROVED") == {"accepted": True}
    assert answer("acme", "APPROVED")["accepted"] is False

    ((operation, request),) = lambda_.calls
    assert operation == "send_durable_execution_callback_success"
    assert request["CallbackId"] == "the-callback"
    assert json.loads(request["Result"]) == {
        "decision": "APPROVED",
        "decidedBy": "ada",
        "identifiedBy": "service",
    }


def test_a_rejection_fails_the_callback(lambda_: Lambda) -> None:
    assert answer("acme", "REJECTED") == {"accepted": True}

    ((operation, request),) = lambda_.calls
    assert operation == "send_durable_execution_callback_failure"
    error = request["Error"]
    assert (error["ErrorType"], error["ErrorMessage"]) == ("Rejected", "rejected")
    assert json.loads(error["ErrorData"])["decidedBy"] == "ada"


def test_a_heartbeat_consumes_nothing(lambda_: Lambda) -> None:
    assert answer("acme", None) == {"accepted": True}
    assert answer("acme", "APPROVED") == {"accepted": True}
    assert [operation for operation, _ in lambda_.calls] == [
        "send_durable_execution_callback_heartbeat",
        "send_durable_execution_callback_success",
    ]


def test_another_tenants_token_is_not_found(lambda_: Lambda) -> None:
    reason = answer("globex", "APPROVED")["reason"]

    assert reason == answer("acme", "APPROVED", token="unknown")["reason"]
    assert lambda_.calls == []


@pytest.mark.parametrize(
    "event",
    [{}, [], {"tenantId": "acme"}, {"token": TOKEN}, {"tenantId": "acme", "token": 7}],
)
def test_an_incomplete_request(lambda_: Lambda, event: Any) -> None:
    assert HANDLER(event, None)["accepted"] is False
    assert lambda_.calls == []


def test_a_malformed_answer_consumes_nothing(lambda_: Lambda) -> None:
    assert "expected APPROVED or REJECTED" in answer("acme", "maybe")["reason"]
    assert answer("acme", "APPROVED") == {"accepted": True}
    assert len(lambda_.calls) == 1


def test_an_answer_that_could_not_be_sent_can_be_sent_again(lambda_: Lambda) -> None:
    for error in ("TooManyRequestsException", "the-callback"):  # the second quotes the id
        lambda_.error = error
        with pytest.raises(AnswerNotSentError) as raised:
            answer("acme", "APPROVED")
        assert raised.value.__cause__ is None
    lambda_.error = None

    assert answer("acme", "APPROVED") == {"accepted": True}


@pytest.mark.usefixtures("table", "new_clients")
def test_no_secret_is_logged_even_when_everything_is(
    aws: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With real clients; the server has no such operation, so the answer is refused."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", aws)
    with caplog.at_level(logging.DEBUG), pytest.raises(AnswerNotSentError) as raised:
        answer("acme", "APPROVED")

    functions = [record for record in caplog.records if record.name != "werkzeug"]
    logged = " ".join([str(raised.value), *(record.getMessage() for record in functions)])
    credentials_of_acme = credentials.tenant_client("lambda", "acme")._request_signer
    for secret in (
        "the-callback",
        TOKEN,
        credentials_of_acme._credentials.secret_key,
        credentials_of_acme._credentials.token,
    ):
        assert secret not in logged


def test_what_is_sent_is_what_was_parsed(lambda_: Lambda) -> None:
    sent = {"junk": "x" * 20_000, "decision": "APPROVED", "decidedBy": "ada", "comment": None}

    assert HANDLER(asked(sent), None) == {"accepted": True}
    assert json.loads(lambda_.calls[0][1]["Result"]) == {
        "decision": "APPROVED",
        "decidedBy": "ada",
        "identifiedBy": "service",
    }


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"anwser": {}}, "the event has the field 'anwser', expected answer, identifiedBy, te"),
        ({"x" * 600_000: 1}, "the event has the field 'xxx"),
        ({"answer": {"decision": "APPROVED", "x": "y" * 600_000}}, "the answer takes 6000"),
        ({"answer": {"decision": "APPROVED", "x": nested(200)}}, "the answer is nested more than"),
        ({"answer": nested(100_000)}, "the answer is nested more than 100 levels"),
    ],
    ids=["misspelt", "long key", "large", "deep", "very deep"],
)
def test_what_is_unknown_or_too_large_is_refused(
    lambda_: Lambda, more: JsonObject, reason: str
) -> None:
    reply = HANDLER({"tenantId": "acme", "token": TOKEN, **more}, None)

    assert reply["reason"].startswith(reason)
    assert len(reply["reason"]) < 200
    assert lambda_.calls == []


def test_every_request_writes_one_line_without_a_secret(
    lambda_: Lambda, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "workflow"):
        answer("acme", "the-answer")
        answer("acme", None)
        answer("acme", "APPROVED")
        answer("acme", "APPROVED")
        HANDLER({"token": TOKEN}, None)

    records = [vars(record) for record in caplog.records if record.name == "workflow"]
    lines = [(line["message"], line["tenantId"], line.get("reason")) for line in records]
    assert lines == [
        ("answer refused", "acme", "malformed"),
        ("heartbeat accepted", "acme", None),
        ("answer accepted", "acme", None),
        ("answer refused", "acme", "this approval has been answered already"),
        ("answer refused", None, "the event names no tenant"),
    ]
    for secret in (TOKEN, "the-callback", "the-answer"):
        assert secret not in str(records)
    assert len(lambda_.calls) == 2


def test_an_answer_of_null_is_no_heartbeat(lambda_: Lambda) -> None:
    event = {"tenantId": "acme", "token": TOKEN, "answer": None}

    assert HANDLER(event, None)["accepted"] is False
    assert lambda_.calls == []


@pytest.mark.parametrize("levels", [99, 400, 900, 5_000])
def test_an_answer_that_is_nested_too_deep_is_no_answer(lambda_: Lambda, levels: int) -> None:
    """Wherever Python's own JSON gives up."""
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    given = {"decision": "APPROVED", "other": [deep]}

    reply = HANDLER({"tenantId": "acme", "token": TOKEN, "answer": given}, None)

    assert reply["reason"] == "the answer is nested more than 100 levels deep"
    assert lambda_.calls == []


def test_an_approval_that_the_service_has_closed(lambda_: Lambda) -> None:
    lambda_.error = "CallbackTimeoutException"

    assert answer("acme", "APPROVED")["accepted"] is False


def test_a_silo_answers_for_its_own_tenant_only(
    lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANT_ID", "globex")

    assert "different tenants" in answer("acme", "APPROVED")["reason"]
    assert lambda_.calls == []


class Uncounted(TablePartition):
    """The table of the stack, for an execution that no starter has counted."""

    def note_arn(self, execution_arn: str) -> str | None:
        del execution_arn
        return None


@pytest.mark.parametrize(
    ("tier", "of_the_stack", "seconds"), [("large", "11m", 660), ("small", "90m", 3_600)]
)
def test_what_the_workflow_asks_can_be_answered_until_its_callback_times_out(
    table: Any,
    add: Add,
    start: Start,
    lambda_: Lambda,
    monkeypatch: pytest.MonkeyPatch,
    tier: str,
    of_the_stack: str,
    seconds: int,
) -> None:
    """The timeout is the stack's, or the tier's where that is shorter."""
    now = 1_000_000_000
    add("initech", tier)
    monkeypatch.setattr(work, "_now", lambda: float(now))
    told: SimpleQueue[JsonObject] = SimpleQueue()

    def notify(topic_arn: str, subject: str, message: JsonObject) -> None:
        del topic_arn, subject
        told.put(message)

    def partition(tenant_id: str) -> Uncounted:
        return Uncounted(tenant_id, table, TABLE)

    execution = start(
        make_event("a") | {"tenantId": "initech"},
        stores=replace(AWS, partition=partition, notify=notify),
        approvals=("first", "second"),
        CALLBACK_TIMEOUT=of_the_stack,
    )

    tokens = []
    for _ in range(2):
        tokens.append(told.get(timeout=SECONDS)["token"])
        asked = table_approvals("initech").find(tokens[-1]).asked
        assert asked.expires_at == now + seconds
        assert asked.look_at == now + seconds - max(seconds // 4, 30 * 60)
        stop_clock(monkeypatch, approver_module, now + seconds)
        assert answer("initech", "APPROVED", tokens[-1])["accepted"] is False
        stop_clock(monkeypatch, approver_module, now + seconds - 1)
        assert answer("initech", "APPROVED", tokens[-1]) == {"accepted": True}
        request = lambda_.calls[-1][1]
        execution.runner.send_callback_success(request["CallbackId"], request["Result"])

    approvals = execution.output()["approvals"]
    assert [approval["decision"] for approval in approvals] == ["APPROVED", "APPROVED"]
    updates = execution.runner._store.load(execution.arn).updates
    callbacks = [update.callback_options for update in updates if update.callback_options]
    assert [callback.timeout_seconds for callback in callbacks] == [seconds, seconds]
    assert all(re.fullmatch(r"[0-9a-f]{64}", token) for token in tokens)
    assert tokens[0] != tokens[1]
