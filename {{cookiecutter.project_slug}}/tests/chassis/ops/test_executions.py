"""Executions of the stack: started, answered and shown, over the APIs that AWS has."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from chassis import JsonObject
from chassis.functions import history, reconciler
from chassis.functions.approver import approver
from chassis.model import Approval, Decision
from chassis.tenancy import stores
from chassis.tenancy.approvals import Approvals
from chassis.tenancy.credentials import tenant_client
from chassis.tenancy.registry import TablePartition
from ops import executions, inbox, stack
from ops.__main__ import STATES, main
from tests.chassis import sample
from tests.chassis.aws import NOWHERE, TABLE, Add, ask
from tests.chassis.ops.lambda_api import lambda_api
from tests.execution import Execution, Start, make_event

Calls = list[tuple[str, Any]]
Serve = Callable[..., Execution]
ME = "arn:aws:sts::123456789012:user/moto"
"""Whoever asks this AWS who it is."""


@pytest.fixture(autouse=True)
def _a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack of the tests' own, whatever samconfig.toml names."""
    for name, value in {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "LOCAL": "",
    }.items():
        monkeypatch.setenv(name, value)
    known = {"stack_name": "sample", "region": "us-east-1"}
    monkeypatch.setattr(stack, "parameters", lambda: known)
    monkeypatch.setattr(executions, "POLL_SECONDS", 0.02)


def test_approvals_are_listed_with_who_has_decided(
    table: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stack, "client", {"dynamodb": table}.__getitem__)
    monkeypatch.setattr(stack, "output", {"TenantTableName": TABLE}.__getitem__)
    names = ("one", "two", "three")
    asked = [ask(table, approval=name, asked_at=at) for at, name in enumerate(names)]
    ask(table, "globex", approval="another tenant's")
    decided = Approval(Decision.REJECTED, goes_on=False, decided_by="ada")
    Approvals("acme", table, TABLE).close(asked[1].id, decided, "service", 7)

    assert main(["approvals", "--tenant", "acme"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1970-01-01T00:00:02.000Z  PENDING  wf-1  three",
        "1970-01-01T00:00:00.000Z  PENDING  wf-1  one",
    ]
    monkeypatch.setattr(executions, "PAGE", 1)
    assert main(["approvals", "--tenant", "acme", "--limit", "2"]) == 0
    printed = capsys.readouterr()
    assert (len(printed.out.splitlines()), printed.err) == (2, "")
    assert main(["approvals", "--tenant", "acme", "--limit", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith("  three\n")
    assert printed.err == "there are more: --limit 2\n"
    assert main(["approvals", "--tenant", "acme", "--state", "closed"]) == 0
    assert capsys.readouterr().out == "1970-01-01T00:00:01.000Z  REJECTED by ada  wf-1  two\n"
    assert main(["approvals", "--tenant", "acme", "--state", "closed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == asked[1].id


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Functions of the stack that are called, with their events; all of them agree."""
    noted: Calls = []

    def call(function: str, event: Any) -> Any:
        noted.append((function, event))
        return {"accepted": True, "started": True, "executionArn": "arn"}

    monkeypatch.setattr(stack, "output", lambda name: name)
    monkeypatch.setattr(stack, "call", call)
    return noted


@pytest.fixture
def serve(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start an execution of the sample, behind the Lambda API."""
    with ExitStack() as served:

        def start_it(event: Any, **options: Any) -> Execution:
            execution = start(event, **options)
            address = served.enter_context(lambda_api(execution))
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", address)
            return execution

        yield start_it


@pytest.fixture
def event(tmp_path: Path) -> str:
    """An event in a file."""
    path = tmp_path / "event.json"
    path.write_text(json.dumps(make_event("a")), encoding="utf-8")
    return str(path)


def test_start_sends_the_event_for_the_tenant(
    calls: Calls, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "--tenant", "globex", "--event", event]) == 0
    assert capsys.readouterr().out == "started arn\n"
    assert main(["start", "--tenant", "globex", "--event", event, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["executionArn"] == "arn"

    sent = ("StarterFunctionName", {**make_event("a"), "tenantId": "globex"})
    assert calls == [sent, sent]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read the event"), ("{", "cannot read the event"), ("[]", "not a JSON object")],
)
def test_an_event_that_cannot_be_read_is_not_sent(
    calls: Calls,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    message: str,
) -> None:
    path = tmp_path / "event.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    assert main(["start", "--tenant", "acme", "--event", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert calls == []


def test_a_start_that_is_refused(
    calls: Calls, event: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del calls
    monkeypatch.setattr(stack, "call", lambda *_: {"started": False, "reason": "suspended"})

    assert main(["start", "--tenant", "acme", "--event", event, "--json"]) == 1
    assert capsys.readouterr() == ("", "suspended\n")


def test_an_execution_is_shown_from_its_question_to_its_end(
    serve: Serve,
    calls: Calls,
    event: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del calls
    execution = serve(make_event("a"), approvals=("one", "two"))
    started = {"started": True, "executionArn": execution.arn}
    monkeypatch.setattr(stack, "call", lambda *_: started)
    begin = ["start", "--tenant", "acme", "--event", event, "--wait"]

    assert main(begin) == 0
    assert capsys.readouterr() == ("it waits for: one\n", f"started {execution.arn}\n")
    assert executions.pending_approvals(execution.arn) == ["one"]
    execution.approve()
    second = execution.asked_next()

    assert main([*begin, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["Status"], shown["waitsFor"]) == ("RUNNING", ["two"])
    assert main(["show", execution.arn]) == 0
    heading, *_, waits = capsys.readouterr().out.splitlines()
    assert heading.endswith(" is RUNNING")
    assert waits == "it waits for: two"
    execution.answer(second, {"decision": "REJECTED"})

    assert execution.output()["approvals"][1]["decision"] == "REJECTED"
    assert executions.pending_approvals(execution.arn) == []
    assert main(["show", execution.arn]) == 0
    heading, _, rest = capsys.readouterr().out.partition("\n")
    assert heading.endswith(" is SUCCEEDED")
    assert rest.endswith(f"\n{json.dumps(execution.output(), indent=2)}\n")
    assert main(["show", execution.arn, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["Status"], shown["waitsFor"]) == ("SUCCEEDED", [])
    assert json.loads(shown["Result"]) == execution.output()


def test_an_execution_that_has_failed_is_shown_and_not_waited_for(
    serve: Serve,
    calls: Calls,
    event: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del calls
    execution = serve(make_event("a"))
    execution.answer_with("nonsense")
    kind, message = execution.error()
    monkeypatch.setattr(stack, "call", lambda *_: {"started": True, "executionArn": execution.arn})

    assert main(["show", execution.arn]) == 0
    printed = capsys.readouterr()
    assert " is FAILED\nFAILED after " in printed.out
    assert printed.err.startswith("FAILED ")
    assert printed.err.endswith(f"{kind}: {message}\n")
    assert main(["start", "--tenant", "acme", "--event", event, "--wait"]) == 1


def test_an_execution_that_was_refused_is_no_success(
    serve: Serve,
    calls: Calls,
    event: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del calls
    execution = serve({"tenantId": "acme"})
    assert execution.refusal().startswith("workflowId is missing")
    monkeypatch.setattr(stack, "call", lambda *_: {"started": True, "executionArn": execution.arn})

    assert main(["start", "--tenant", "acme", "--event", event, "--wait"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "REFUSED"


def test_an_execution_that_is_not_there(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    serve({"tenantId": "acme"})

    assert main(["show", "nowhere/nothing"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Durable Execution does not exist" in line


def test_a_history_is_read_to_its_last_page(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The approval that waits is on the last page."""
    monkeypatch.setattr(history, "PAGE", 60)

    def items_first(execution: Any) -> JsonObject:
        plan = execution.prepare_work()
        execution.process_items(plan)
        approval = execution.ask_for_approval(plan, "late", {}, sample.parse_answer)
        return {"goesOn": approval.goes_on}

    execution = serve(make_event(*range(50)), run=items_first)
    assert execution.question.message["approval"] == "late"

    events = list(executions.history(execution.arn))
    assert len(events) > history.PAGE
    assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
    assert executions.pending_approvals(execution.arn) == ["late"]
    execution.approve()
    assert execution.output() == {"goesOn": True}


@pytest.mark.usefixtures("table")
def test_a_token_is_answered_through_the_approver(
    calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whom AWS says that it is, if nobody else is named; a heartbeat is nobody's."""
    arguments = ["--tenant", "acme", "--token", "t"]

    assert main(["approve", *arguments, "--by", "ada", "--comment", "fine"]) == 0
    assert main(["reject", *arguments]) == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", NOWHERE)
    assert main(["heartbeat", *arguments]) == 0

    asked, by_hand = {"tenantId": "acme", "token": "t"}, {"identifiedBy": "operator"}
    approved = {"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"}
    rejected = {"decision": "REJECTED", "decidedBy": ME}
    assert calls == [
        ("ApproverFunctionName", {**asked, **by_hand, "answer": approved}),
        ("ApproverFunctionName", {**asked, **by_hand, "answer": rejected}),
        ("ApproverFunctionName", asked),
    ]
    printed = capsys.readouterr()
    assert printed.err == "approve: accepted\nreject: accepted\nheartbeat: accepted\n"
    assert main(["heartbeat", *arguments, "--json"]) == 0
    assert capsys.readouterr() == (
        '{"accepted": true, "started": true, "executionArn": "arn"}\n',
        "",
    )


def test_an_answer_that_the_approver_refuses(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del calls
    monkeypatch.setattr(stack, "call", lambda *_: {"accepted": False, "reason": "no such token"})

    assert main(["approve", "--tenant", "acme", "--token", "t", "--by", "ada"]) == 1
    assert capsys.readouterr().err == "approve: no such token\n"
    assert main(["reject", "--tenant", "acme", "--token", "t", "--by", "ada", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"accepted": False, "reason": "no such token"}


def test_an_answer_to_a_stack_needs_a_token(
    calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approve", "--tenant", "acme"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("give --tenant and --token")
    assert calls == []
    with pytest.raises(stack.UsageError):
        executions.answer(Namespace(verb="reject", tenant="acme", token="", by="", comment=""))


class Uncounted(TablePartition):
    """A tenant's partition that lets executions run that no starter has counted."""

    def note_arn(self, execution_arn: str) -> str | None:
        del execution_arn
        return None


@pytest.fixture
def topic(aws: str, add: Add, new_clients: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The topic of the approvers in a local AWS, with its inbox, the registry and the approver."""
    del new_clients
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", aws)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", aws)
    monkeypatch.setenv("LOCAL", "1")
    monkeypatch.setattr(stack, "use_local_aws", lambda: None)
    handlers = {"ApproverFunctionName": approver(sample.parse_answer)}
    monkeypatch.setattr(stack, "output", lambda name: name)
    monkeypatch.setattr(stack, "call", lambda function, event: handlers[function](event, None))
    topic = str(boto3.client("sns").create_topic(Name="approval-topic")["TopicArn"])
    cloudformation, client = boto3.client("cloudformation"), stack.client
    detail = {
        "LogicalResourceId": "ApprovalTopic",
        "PhysicalResourceId": topic,
        "ResourceType": "AWS::SNS::Topic",
        "LastUpdatedTimestamp": 0,
        "ResourceStatus": "CREATE_COMPLETE",
    }
    with Stubber(cloudformation) as stub, monkeypatch.context() as patch:
        sent = {"StackName": "sample", "LogicalResourceId": "ApprovalTopic"}
        stub.add_response("describe_stack_resource", {"StackResourceDetail": detail}, sent)
        known = {"cloudformation": cloudformation}
        patch.setattr(stack, "client", lambda service: known.get(service) or client(service))
        inbox.subscribe()
    add("acme")
    yield topic
    boto3.client("sns").delete_topic(TopicArn=topic)
    boto3.client("sqs").delete_queue(QueueUrl=inbox.url())


def test_the_local_aws_answers_what_was_asked_first(
    topic: str, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["approve"]) == 1
    assert capsys.readouterr().err.startswith("nothing waits for an approval: make local-start")
    # What cannot be answered any more, and what is no question.
    for message in ({"token": "gone", "approval": "old"}, {"announced": True}):
        stores.publish(topic, "subject", {"tenantId": "acme", "executionArn": "x", **message})
    aws = replace(
        stores.AWS,
        partition=lambda tenant: Uncounted(tenant, tenant_client("dynamodb", tenant), TABLE),
    )
    execution = serve(
        make_event("a"), approvals=("one", "two"), stores=aws, APPROVAL_TOPIC_ARN=topic
    )
    assert executions.wait(execution.arn) == 0
    assert capsys.readouterr().out == "it waits for: one\n"

    for _ in range(2):  # it removes nothing that waits
        assert main(["heartbeat"]) == 0
    assert main(["approve", "--by", "ada", "--comment", "fine"]) == 0
    assert capsys.readouterr() == ("it waits for: two\n", "approve one: accepted\n")
    assert main(["reject", "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "reject two: accepted\n"
    approvals = json.loads(json.loads(printed.out)["Result"])["approvals"]
    assert approvals == [
        {"decision": "APPROVED", "decidedBy": "ada", "comment": "fine"},
        {"decision": "REJECTED", "decidedBy": ME, "comment": "rejected"},
    ]
    assert main(["heartbeat"]) == 1
    assert list(inbox.messages()) == []


def test_every_status_of_an_execution_is_known() -> None:
    """As the service's own model has them: it is over, or it is not."""
    statuses = boto3.Session("x", "x").client("lambda", region_name="us-east-1").meta
    known = set(statuses.service_model.shape_for("ExecutionStatus").enum)
    ended = reconciler.ENDED - {"NOT_STARTED", "FORGOTTEN"}  # our own

    assert ended | executions.ACTIVE == known
    assert {*STATES} == known - {"DELETED"}
    assert not ended & executions.ACTIVE


def test_nobody_is_waited_for_who_has_not_been_asked_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers what an execution waits for finds the question in the inbox."""
    recorded = json.loads(Path(__file__).with_name("history.json").read_text(encoding="utf-8"))
    events = [each for each in recorded["Events"] if each["EventType"] != "CallbackSucceeded"]
    kinds = [(each["EventType"], each.get("Name")) for each in events]
    told = kinds.index(("StepSucceeded", "approval submitter"))
    assert told > kinds.index(("CallbackStarted", "approval create callback id"))
    for seen, waits_for in ((told, []), (told + 1, ["approval"])):
        monkeypatch.setattr(executions, "history", lambda _, seen=seen: iter(events[:seen]))
        assert executions.pending_approvals("arn") == waits_for


def test_an_execution_that_runs_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = list[float]()
    monkeypatch.setattr(executions, "time", SimpleNamespace(sleep=looks.append))
    said = iter(["RUNNING", "RUNNING", "SUCCEEDED"])
    monkeypatch.setattr(executions, "status_of", lambda _: {"Status": next(said), "waitsFor": []})

    assert executions.wait("arn") == 0
    assert looks == [executions.POLL_SECONDS] * 2


def test_a_paused_execution_is_not_over(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, and its approval is shown."""
    execution = start(make_event("a"))
    asked = execution.question.message["approval"]
    seen = iter(["PAUSED", "PAUSING"])
    monkeypatch.setattr(executions, "pending_approvals", lambda _: [asked])

    class Lambda:
        def get_durable_execution(self, **_: Any) -> Any:
            return {"Status": next(seen), "ResponseMetadata": {}}

    monkeypatch.setattr(stack, "client", lambda _: Lambda())

    assert executions.status_of(execution.arn)["waitsFor"] == [asked]
    assert executions.wait(execution.arn) == 0
