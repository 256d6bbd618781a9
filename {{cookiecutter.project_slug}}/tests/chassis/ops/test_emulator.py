"""The front of the local AWS, before a MiniStack and an emulator that note what they are asked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from aws_durable_execution_sdk_python_testing.invoker import INVOCATION_MARKER_HEADER
from botocore.exceptions import ClientError
from werkzeug.test import Client

from chassis import JsonObject
from ops import emulator, local, stack
from ops.emulator import ARN_HEADER, NAME_HEADER, Front, MiniStack

Sent = tuple[str, str, Any]
START = "/2015-03-31/functions/{}/invocations"
ALIAS = "arn:aws:lambda:eu-west-1:000000000000:function:flow:live"
EMULATED = "emulated/1"


class Answers:
    """Whoever is behind the front; ``say`` answers with a status and a body."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.headers: list[dict[str, str]] = []
        self.say: Callable[[str], tuple[int, Any]] = lambda _: (200, {})

    def request(
        self, method: str, url: str, body: bytes = b"", headers: Any = (), json: Any = None
    ) -> Any:
        self.sent.append((method, url, json if json is not None else bytes(body)))
        self.headers.append(dict(headers))
        status, said = self.say(url)
        text = dumps(said)
        of_hop = ("Connection", "Content-Length", "Date", "Server", "Transfer-Encoding")
        kept = {"X-Kept": "yes", **dict.fromkeys(of_hop, "of this hop")}
        return SimpleNamespace(status=status, data=text, headers=kept, json=lambda: said)


class Events:
    """Rules: one with a schedule, one for another event, one for this."""

    def __init__(self) -> None:
        self.tested: list[JsonObject] = []
        self.invoked: list[JsonObject] = []
        self.error = False

    def list_rules(self) -> Any:
        if self.error:
            raise ClientError({"Error": {"Code": "Throttled"}}, "ListRules")
        return {"Rules": [{"Name": "rate"}, *({"Name": n, "EventPattern": n} for n in "ab")]}

    def test_event_pattern(self, EventPattern: str, Event: str) -> Any:  # noqa: N803
        self.tested.append(json.loads(Event))
        return {"Result": EventPattern == "b"}

    def list_targets_by_rule(self, Rule: str) -> Any:  # noqa: N803
        return {"Targets": [{"Arn": f"target of {Rule}"}]}

    def invoke(self, **request: Any) -> None:
        self.invoked.append(request)


def dumps(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture
def behind(monkeypatch: pytest.MonkeyPatch) -> Answers:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    return Answers()


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def front(behind: Answers, events: Events) -> Client:
    ministack = MiniStack("http://ministack", "eu-west-1")
    ministack._events = ministack._lambda = events
    application = Front(ministack, "http://emulator", "eu-west-1")
    application._http = ministack._http = behind  # type: ignore[assignment]
    return Client(application)


def begin(front: Client, behind: Answers, payload: str = "{}", function: str = ALIAS) -> Any:
    """Start the execution acme_1 of version 7."""
    behind.say = lambda _: (200, {"FunctionVersion": "7", "ExecutionArn": EMULATED})
    path = START.format(quote(function, safe=""))
    return front.post(path, data=payload, headers={NAME_HEADER: "acme_1"})


def test_it_says_whose_it_is(front: Client, behind: Answers) -> None:
    assert front.get(stack.IDENTITY).get_json(force=True) == {
        "project": str(local.ROOT),
        "process": os.getpid(),
    }
    assert behind.sent == []


@pytest.mark.parametrize("function", [ALIAS, "flow:live"])
def test_an_execution_is_started_once_for_its_name(
    front: Client, behind: Answers, function: str
) -> None:
    first, again = (begin(front, behind, '{"a": 1}', function) for _ in range(2))
    other = begin(front, behind, '{"a": 2}', function)

    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    assert other.headers["X-Amzn-ErrorType"] == "DurableExecutionAlreadyStartedException"
    arn = first.headers[ARN_HEADER]
    assert again.headers[ARN_HEADER] == arn
    before, _, identifier = arn.rpartition("/")
    function = "arn:aws:lambda:eu-west-1:000000000000:function:flow:7"
    assert before == f"{function}/durable-execution/acme_1"
    durable = local.template()["Resources"]["WorkflowFunction"]["Properties"]["DurableConfig"]
    assert behind.sent == [
        ("GET", "http://ministack/2015-03-31/functions/flow/aliases/live", b""),
        (
            "POST",
            "http://emulator/start-durable-execution",
            {
                "AccountId": "000000000000",
                "FunctionName": "flow",
                "FunctionQualifier": "7",
                "ExecutionName": "acme_1",
                "ExecutionTimeoutSeconds": durable["ExecutionTimeout"],
                "ExecutionRetentionPeriodDays": 1,
                "InvocationId": identifier,
                "Input": '{"a": 1}',
            },
        ),
    ]


def test_an_execution_is_spoken_of_as_on_aws(front: Client, behind: Answers) -> None:
    arn = begin(front, behind).headers[ARN_HEADER]
    behind.say = lambda _: (200, {"DurableExecutionArn": EMULATED})
    behind.sent.clear()

    for end in ("", "/history?Max=1"):
        said = front.get(f"/2025-12-01/durable-executions/{quote(arn, safe='')}{end}")
        assert said.get_json(force=True) == {"DurableExecutionArn": arn}
    front.get(f"/2025-12-01/durable-executions/{quote(arn, safe='')}?IncludeExecutionData=true")
    front.get("/2025-12-01/durable-executions/unknown")
    ours = f"http://emulator/2025-12-01/durable-executions/{quote(EMULATED, safe='')}"
    assert [url for _, url, _ in behind.sent] == [
        ours,
        f"{ours}/history?Max=1",
        f"{ours}?IncludeExecutionData=true",
        "http://emulator/2025-12-01/durable-executions/unknown",
    ]


@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "PENDING"])
def test_the_end_of_an_execution_is_published(
    front: Client, behind: Answers, events: Events, status: str
) -> None:
    arn = begin(front, behind).headers[ARN_HEADER]
    behind.say = lambda _: (200, {"Status": status})
    for emulated in ("of a chunk", EMULATED):
        invocation = {"DurableExecutionArn": emulated, "InitialExecutionState": {}}
        headers = {INVOCATION_MARKER_HEADER: "1", "X-Own": "kept"}
        path = START.format("flow:7")
        said = front.post(path, data=json.dumps(invocation), headers=headers)
        assert said.get_json(force=True) == {"Status": status}
        assert said.headers["X-Kept"] == "yes"
        assert "of this hop" not in said.headers.values()

    of_chunk, of_ours = (json.loads(body) for _, _, body in behind.sent[-2:])
    assert of_chunk["DurableExecutionArn"] == "of a chunk"
    assert of_ours == {"DurableExecutionArn": arn, "InitialExecutionState": {}}
    assert behind.headers[-1]["X-Own"] == "kept"
    assert not {INVOCATION_MARKER_HEADER, "Host", "Content-Length"} & set(behind.headers[-1])
    if status == "PENDING":
        assert events.tested == events.invoked == []
        return
    event = events.tested[-1]
    assert len(events.tested) == 2  # by each rule with a pattern, of ours alone
    assert (event["source"], event["detail-type"], event["region"]) == (
        "aws.lambda",
        "Durable Execution Status Change",
        "eu-west-1",
    )
    assert event["detail"] == {
        "durableExecutionArn": arn,
        "durableExecutionName": "acme_1",
        "functionArn": "arn:aws:lambda:eu-west-1:000000000000:function:flow",
        "status": status,
    }
    (invoked,) = events.invoked
    assert json.loads(invoked.pop("Payload")) == event
    assert invoked == {"FunctionName": "target of b", "InvocationType": "Event"}


def test_executions_are_listed_the_newest_first_with_their_arns(
    front: Client, behind: Answers
) -> None:
    arn = begin(front, behind).headers[ARN_HEADER]
    behind.say = lambda _: (200, {"DurableExecutions": [EMULATED, "of a chunk"]})
    path = "/2025-12-01/functions/flow/durable-executions"

    for asked in (path, f"{path}?Statuses=FAILED"):
        listed = front.get(asked).get_json(force=True)
        assert listed == {"DurableExecutions": [arn, "of a chunk"]}
    assert [url for _, url, _ in behind.sent[-2:]] == [
        f"http://emulator{path}?ReverseOrder=true",
        f"http://emulator{path}?Statuses=FAILED&ReverseOrder=true",
    ]


def test_a_status_event_that_is_lost_changes_nothing(
    front: Client, behind: Answers, events: Events
) -> None:
    begin(front, behind)
    behind.say = lambda _: (200, {"Status": "SUCCEEDED"})
    events.error = True
    body = json.dumps({"DurableExecutionArn": EMULATED})

    said = front.post(START.format("flow:7"), data=body, headers={INVOCATION_MARKER_HEADER: "1"})

    assert said.get_json(force=True) == {"Status": "SUCCEEDED"}


def test_everything_else_is_for_ministack(front: Client, behind: Answers) -> None:
    behind.say = lambda _: (404, b"nothing there")

    path = "/2015-03-31/functions/flow/code?a=b%2Fc"
    said = front.put(path, data=b"zip")

    assert (said.status_code, said.data) == (404, b"nothing there")
    assert said.headers["X-Kept"] == "yes"
    assert behind.sent == [("PUT", f"http://ministack{path}", b"zip")]


def test_what_the_workflow_invokes_is_known_by_the_name_that_it_has_in_the_stack() -> None:
    name = stack.parameters()["stack_name"]
    for function in getattr(emulator, "invoked_functions", dict)():
        assert function.startswith(f"{name}-")
        assert "$" not in function
