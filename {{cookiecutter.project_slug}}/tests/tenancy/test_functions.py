"""The starter, the approver and the reconciler: two tenants, and a Lambda that notes its calls."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.execution import make_event
from tests.tenancy.test_registry import running
from workflow import approver, credentials, reconciler, starter
from workflow.registry import TablePartition
from workflow.tenants import execution_name, tenant_of_name

Add = Callable[..., TablePartition]


class Lambda:
    """Notes what it is asked to do; ``error`` is the code that every call fails with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: str | None = None
        self.http_status = 400
        self.status: str | None = None

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.calls.append((operation, request))
            if self.error:
                response = {
                    "Error": {"Code": self.error, "Message": "no"},
                    "ResponseMetadata": {"HTTPStatusCode": self.http_status},
                }
                raise ClientError(response, operation)
            if operation == "get_durable_execution":
                return {"Status": self.status}
            return {"DurableExecutionArn": arn_of(request.get("DurableExecutionName", ""))}

        return call


@pytest.fixture
def lambda_(table: Any, monkeypatch: pytest.MonkeyPatch) -> Lambda:
    """The Lambda API, in the place of the real one, for every function of the stack."""
    stand_in = Lambda()
    tenant_client = credentials.tenant_client

    def client(service: str, tenant_id: str) -> Any:
        return stand_in if service == "lambda" else tenant_client(service, tenant_id)

    monkeypatch.setattr(approver, "tenant_client", client)
    monkeypatch.setattr(starter, "_lambda", lambda: stand_in)
    monkeypatch.setattr(
        reconciler, "_client", lambda service: stand_in if service == "lambda" else table
    )
    return stand_in


class Context:
    """Of a Lambda invocation that has time for a number of looks."""

    def __init__(self, looks: int = 100) -> None:
        self.looks = looks

    def get_remaining_time_in_millis(self) -> int:
        self.looks -= 1
        return 300_000 if self.looks >= 0 else 0


def arn_of(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/{name}/id"


def event_of(tenant_id: str, *items: Any) -> dict[str, Any]:
    return make_event(*items) | {"tenantId": tenant_id}


class TestStarter:
    """The only way to start an execution."""

    def test_names_and_counts_the_execution(self, table: Any, add: Add, lambda_: Lambda) -> None:
        add("acme")

        answer = starter.handler(event_of("acme", "a"), None)

        ((operation, request),) = lambda_.calls
        assert answer["started"] is True
        assert operation == "invoke"
        assert request["InvocationType"] == "Event"
        assert request["FunctionName"].endswith(":live")
        assert request["DurableExecutionName"] == answer["executionName"]
        assert tenant_of_name(answer["executionName"]) == "acme"
        assert json.loads(request["Payload"])["tenantId"] == "acme"
        assert "TenantId" not in request
        assert running(table, "acme") == 1

    def test_passes_the_tenant_on_where_it_is_isolated(
        self, add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TENANCY", "isolated")
        add("acme")
        starter.handler(event_of("acme"), None)

        assert lambda_.calls[0][1]["TenantId"] == "acme"

    def test_the_same_request_is_one_execution(self, table: Any, add: Add, lambda_: Lambda) -> None:
        add("acme")
        answers = [starter.handler(event_of("acme", "a"), None) for _ in range(3)]

        assert len({answer["executionName"] for answer in answers}) == 1
        assert running(table, "acme") == 1
        assert len(lambda_.calls) == 3

    def test_the_same_key_of_two_tenants_is_two_executions(self, add: Add, lambda_: Lambda) -> None:
        add("acme")
        add("globex")
        names = {
            starter.handler(event_of(tenant_id) | {"requestKey": "k"}, None)["executionName"]
            for tenant_id in ("acme", "globex")
        }

        assert len(names) == 2
        assert len(lambda_.calls) == 2

    def test_a_tenant_at_its_limit_is_refused_and_others_start(
        self, add: Add, lambda_: Lambda
    ) -> None:
        add("acme", running_executions=1)
        add("globex", running_executions=1)
        starter.handler(event_of("acme", 1), None)

        refused = starter.handler(event_of("acme", 2), None)
        other = starter.handler(event_of("globex", 2), None)

        assert refused["started"] is False
        assert refused["reason"].startswith("tenant acme has 1 running executions")
        assert other["started"] is True
        assert len(lambda_.calls) == 2

    @pytest.mark.parametrize(
        ("event", "reason"),
        [
            (event_of("nobody"), "tenant nobody is unknown"),
            (event_of("../x"), "tenantId is '../x'"),
            ({}, "workflowId is missing"),
            (event_of("acme", *range(21)), "more than the tenant's tier allows"),
        ],
    )
    def test_refusals(self, add: Add, lambda_: Lambda, event: Any, reason: str) -> None:
        add("acme", items_per_execution=20)

        assert reason in starter.handler(event, None)["reason"]
        assert lambda_.calls == []

    def test_a_start_that_failed_can_be_sent_again_and_is_counted_once(
        self, table: Any, add: Add, lambda_: Lambda
    ) -> None:
        add("acme", running_executions=1)
        lambda_.error = "TooManyRequestsException"
        with pytest.raises(ClientError):
            starter.handler(event_of("acme"), None)
        lambda_.error = None

        assert starter.handler(event_of("acme"), None)["started"] is True
        assert running(table, "acme") == 1

    def test_a_request_key_that_is_used_for_something_else(self, add: Add, lambda_: Lambda) -> None:
        add("acme")
        lambda_.error = "DurableExecutionAlreadyStartedException"

        assert "another content" in starter.handler(event_of("acme"), None)["reason"]

    @pytest.mark.parametrize("key", [1, "", "x" * 257, ["k"], False])
    def test_a_request_key_of_another_kind(self, add: Add, lambda_: Lambda, key: Any) -> None:
        add("acme")
        event = event_of("acme") | {"requestKey": key}

        assert "requestKey is no text" in starter.handler(event, None)["reason"]
        assert lambda_.calls == []

    #% if cookiecutter.fan_out == "yes"
    def test_a_reference_needs_a_key(self, add: Add, lambda_: Lambda) -> None:
        """Another content under the same reference is another request."""
        add("acme")
        event = event_of("acme") | {"inputData": {"inputRef": "in.jsonl"}}

        assert "needs a requestKey" in starter.handler(event, None)["reason"]
        assert starter.handler(event | {"requestKey": "monday"}, None)["started"] is True
        assert json.loads(lambda_.calls[0][1]["Payload"])["inputData"] == event["inputData"]

    #% endif
    def test_what_the_workflow_ignores_is_not_sent(self, add: Add, lambda_: Lambda) -> None:
        add("acme")
        starter.handler(event_of("acme", "a") | {"junk": "x" * 2_000_000}, None)

        assert set(json.loads(lambda_.calls[0][1]["Payload"])) == {
            "inputData",
            "tenantId",
            "workflowId",
        }

    def test_a_request_that_has_ended_is_not_started_uncounted(
        self, table: Any, add: Add, lambda_: Lambda
    ) -> None:
        acme = add("acme")
        name = starter.handler(event_of("acme"), None)["executionName"]
        acme.release(name, "SUCCEEDED", 0)

        reason = starter.handler(event_of("acme"), None)["reason"]

        assert reason.startswith("this request has been processed before (SUCCEEDED)")
        assert running(table, "acme") == 0
        assert len(lambda_.calls) == 1

    def test_a_silo_starts_for_its_own_tenant_only(
        self, add: Add, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TENANT_ID", "globex")
        add("acme")

        assert "different tenants" in starter.handler(event_of("acme"), None)["reason"]
        assert lambda_.calls == []


class TestApprover:
    """Answers what is pending for the tenant that answers."""

    @pytest.fixture(autouse=True)
    def pending(self, add: Add) -> TablePartition:
        """An approval of acme."""
        add("globex")
        acme = add("acme")
        acme.put_approval("the-token", "the-callback", "arn", expires_at=2**40)
        return acme

    def answer(self, tenant_id: str, decision: str | None, token: str = "the-token") -> Any:  # noqa: S107
        event: dict[str, Any] = {"tenantId": tenant_id, "token": token}
        if decision:
            event["answer"] = {"decision": decision, "decidedBy": "ada"}
        return approver.handler(event, None)

    def test_approves_once(self, lambda_: Lambda) -> None:
        assert self.answer("acme", "APPROVED") == {"accepted": True}
        assert self.answer("acme", "APPROVED")["accepted"] is False

        ((operation, request),) = lambda_.calls
        assert operation == "send_durable_execution_callback_success"
        assert request["CallbackId"] == "the-callback"
        assert json.loads(request["Result"])["decision"] == "APPROVED"

    def test_rejects(self, lambda_: Lambda) -> None:
        assert self.answer("acme", "REJECTED") == {"accepted": True}
        assert lambda_.calls[0][0] == "send_durable_execution_callback_failure"

    def test_a_heartbeat_consumes_nothing(self, lambda_: Lambda) -> None:
        assert self.answer("acme", None) == {"accepted": True}
        assert self.answer("acme", "APPROVED") == {"accepted": True}
        assert [operation for operation, _ in lambda_.calls] == [
            "send_durable_execution_callback_heartbeat",
            "send_durable_execution_callback_success",
        ]

    def test_another_tenants_token_is_not_found(self, lambda_: Lambda) -> None:
        reason = self.answer("globex", "APPROVED")["reason"]

        assert reason == self.answer("acme", "APPROVED", token="unknown")["reason"]
        assert lambda_.calls == []

    @pytest.mark.parametrize("event", [{}, [], {"tenantId": "acme"}, {"token": "the-token"}])
    def test_an_incomplete_request(self, lambda_: Lambda, event: Any) -> None:
        assert approver.handler(event, None)["accepted"] is False
        assert lambda_.calls == []

    def test_a_malformed_answer_consumes_nothing(self, lambda_: Lambda) -> None:
        assert "expected APPROVED or REJECTED" in self.answer("acme", "maybe")["reason"]
        assert self.answer("acme", "APPROVED") == {"accepted": True}
        assert len(lambda_.calls) == 1

    def test_an_answer_that_could_not_be_sent_can_be_sent_again(self, lambda_: Lambda) -> None:
        for error in ("TooManyRequestsException", "the-callback"):  # the second quotes the id
            lambda_.error = error
            with pytest.raises(approver.AnswerNotSentError) as raised:
                self.answer("acme", "APPROVED")
            assert raised.value.__cause__ is None
        lambda_.error = None

        assert self.answer("acme", "APPROVED") == {"accepted": True}

    def test_no_secret_is_logged_also_when_everything_is(
        self,
        table: Any,
        aws: str,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """With real clients; the server has no such operation, so the answer is refused."""
        del table
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", aws)
        with caplog.at_level(logging.DEBUG), pytest.raises(approver.AnswerNotSentError) as raised:
            self.answer("acme", "APPROVED")

        functions = [record for record in caplog.records if record.name != "werkzeug"]
        logged = " ".join([str(raised.value), *(record.getMessage() for record in functions)])
        credentials_of_acme = credentials.tenant_client("lambda", "acme")._request_signer
        for secret in (
            "the-callback",
            "the-token",
            credentials_of_acme._credentials.secret_key,
            credentials_of_acme._credentials.token,
        ):
            assert secret not in logged

    def test_an_answer_of_null_is_no_heartbeat(self, lambda_: Lambda) -> None:
        event = {"tenantId": "acme", "token": "the-token", "answer": None}

        assert approver.handler(event, None)["accepted"] is False
        assert lambda_.calls == []

    def test_an_approval_that_the_service_has_closed(self, lambda_: Lambda) -> None:
        lambda_.error = "CallbackTimeoutException"

        assert self.answer("acme", "APPROVED")["accepted"] is False

    def test_a_silo_answers_for_its_own_tenant_only(
        self, lambda_: Lambda, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TENANT_ID", "globex")

        assert "different tenants" in self.answer("acme", "APPROVED")["reason"]
        assert lambda_.calls == []


class TestReconciler:
    """Counts down once for each execution, whatever arrives."""

    NAME = execution_name("acme", "wf-1", "k")

    def ended(self, name: str) -> dict[str, Any]:
        return {"detail": {"durableExecutionName": name, "status": "SUCCEEDED"}}

    def test_an_event_that_comes_twice(self, table: Any, add: Add, lambda_: Lambda) -> None:
        add("acme").admit(self.NAME, 5, 0)
        add("globex").admit(execution_name("globex", "wf-1", "k"), 5, 0)

        released = [reconciler.handler(self.ended(self.NAME), None)["released"] for _ in range(3)]

        assert released == [1, 0, 0]
        assert (running(table, "acme"), running(table, "globex")) == (0, 1)
        assert lambda_.calls == []

    def test_an_execution_that_the_starter_has_not_started(self, lambda_: Lambda) -> None:
        assert reconciler.handler(self.ended("by-hand"), None) == {"released": 0}
        assert lambda_.calls == []

    @pytest.mark.parametrize("detail_type", ["RUNNING", "PAUSED"])
    def test_an_execution_that_is_not_over(
        self, table: Any, add: Add, lambda_: Lambda, detail_type: str
    ) -> None:
        add("acme").admit(self.NAME, 5, 0)
        event = {"detail": {"durableExecutionName": self.NAME, "status": detail_type}}

        assert reconciler.handler(event, None) == {"released": 0}
        assert running(table, "acme") == 1
        assert lambda_.calls == []

    def test_the_sweep_gives_up_what_nobody_has_seen_start(
        self, table: Any, add: Add, lambda_: Lambda
    ) -> None:
        add("acme").admit(self.NAME, 5, 0)

        assert reconciler.handler({}, Context()) == {"looked": 1, "released": 1}
        assert running(table, "acme") == 0
        assert lambda_.calls == []

    @pytest.mark.parametrize(
        ("status", "left"), [("RUNNING", 1), ("PAUSED", 1), ("TIMED_OUT", 0), ("STOPPED", 0)]
    )
    def test_the_sweep_asks_for_the_execution_and_not_again_soon(
        self, table: Any, add: Add, lambda_: Lambda, status: str, left: int
    ) -> None:
        acme = add("acme")
        acme.admit(self.NAME, 5, 0)
        acme.note_arn(arn_of(self.NAME))
        lambda_.status = status

        replies = [reconciler.handler({}, Context()) for _ in range(2)]

        assert replies == [
            {"looked": 1, "released": 1 - left},
            {"looked": 0, "released": 0},
        ]
        assert lambda_.calls[0][1]["DurableExecutionArn"] == arn_of(self.NAME)
        assert running(table, "acme") == left

    def test_an_execution_that_the_service_has_forgotten(
        self, table: Any, add: Add, lambda_: Lambda
    ) -> None:
        acme = add("acme")
        acme.admit(self.NAME, 5, 0)
        acme.note_arn(arn_of(self.NAME))
        lambda_.error = "ResourceNotFoundException"

        assert reconciler.handler({}, Context()) == {"looked": 1, "released": 1}
        assert running(table, "acme") == 0

    def test_a_sweep_goes_on_where_the_last_one_ran_out_of_time(
        self, add: Add, lambda_: Lambda
    ) -> None:
        """Long approvals are not asked for again before everybody else has been."""
        acme = add("acme")
        lambda_.status = "RUNNING"
        for number in range(5):
            name = execution_name("acme", "wf-1", str(number))
            acme.admit(name, 10, number)
            acme.note_arn(arn_of(name))

        looks = [reconciler.handler({}, Context(looks=2))["looked"] for _ in range(4)]

        assert looks == [2, 2, 1, 0]
        asked = [request["DurableExecutionArn"] for _, request in lambda_.calls]
        assert asked == [arn_of(execution_name("acme", "wf-1", str(n))) for n in range(5)]

    def test_one_that_fails_does_not_stop_the_sweep_and_is_not_kept_quiet(
        self, table: Any, add: Add, lambda_: Lambda
    ) -> None:
        acme, globex = add("acme"), add("globex")
        acme.admit(self.NAME, 5, 0)
        acme.note_arn(arn_of(self.NAME))
        globex.admit(execution_name("globex", "wf-1", "k"), 5, 1)
        lambda_.error = "TooManyRequestsException"

        with pytest.raises(reconciler.NotSweptError, match="1 of 2 executions"):
            reconciler.handler({}, Context())

        assert (running(table, "acme"), running(table, "globex")) == (1, 0)
        assert len(lambda_.calls) == 1
        lambda_.error = None
        assert reconciler.handler({}, Context()) == {"looked": 0, "released": 0}  # others first

    def test_the_sweep_leaves_new_executions_alone(
        self, table: Any, add: Add, lambda_: Lambda
    ) -> None:
        add("acme").admit(self.NAME, 5, int(time.time()))

        assert reconciler.handler({}, Context()) == {"looked": 0, "released": 0}
        assert running(table, "acme") == 1
        assert lambda_.calls == []
