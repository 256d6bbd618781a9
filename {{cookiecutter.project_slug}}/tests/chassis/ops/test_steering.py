"""Executions of the stack: found, looked at and steered, over HTTP where the emulator can."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from aws_durable_execution_sdk_python_testing.invoker import DEFAULT_TEST_FUNCTION_NAME
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from werkzeug.serving import make_server

from chassis import TransientError
from chassis.functions.history import Operation, read_history
from chassis.tenancy.guard import execution_name
#% if cookiecutter.fan_out == "yes"
from chassis.wire import JsonObject
#% endif
from ops import emulator, executions, stack, steering
from ops.__main__ import main
from tests.chassis.conftest import Failing
from tests.chassis.ops.lambda_api import lambda_api
from tests.execution import Execution, Start, make_event

ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/acme_1/id"
Serve = Callable[..., Execution]


@pytest.fixture(autouse=True)
def _a_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack of the tests' own, whatever samconfig.toml names."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setattr(stack, "parameters", lambda: {"stack_name": "s", "region": "us-east-1"})
    alias = f"arn:aws:lambda:us-east-1:123456789012:function:{DEFAULT_TEST_FUNCTION_NAME}:live"
    monkeypatch.setattr(stack, "output", {"WorkflowAliasArn": alias}.__getitem__)
    monkeypatch.setattr(steering, "WATCH_SECONDS", 0.02)


@pytest.fixture
def serve(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start an execution of the sample, behind the front of the local AWS."""
    with ExitStack() as served:

        def start_it(event: Any, **options: Any) -> Execution:
            execution = start(event, **options)
            behind = served.enter_context(lambda_api(execution))
            ministack = emulator.MiniStack(behind, "us-east-1")
            front = make_server(stack.HOST, 0, emulator.Front(ministack, behind, "us-east-1"))
            thread = Thread(target=front.serve_forever, args=(0.02,))
            thread.start()
            served.callback(thread.join)
            served.callback(front.shutdown)
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://{stack.HOST}:{front.port}")
            return execution

        yield start_it


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Lambda's own API, whose model checks what is sent and answered."""
    client = boto3.Session("x", "x").client("lambda", region_name="us-east-1")
    monkeypatch.setattr(stack, "client", lambda _: client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def listing(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The names that ``list`` prints, in their order."""
    assert main(["list", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    return [execution["DurableExecutionName"] for execution in found]


def test_list_on_the_emulator(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest first, by state, tenant and age; it lists what is of other states, too."""
    execution = serve(make_event("a"))
    assert execution.question
    names = [execution_name(tenant, "wf", "k") for tenant in ("acme", "globex")]
    for name in names:
        event = {"tenantId": "acme"}  # refused, and so it is over at once
        arn = execution.runner.run_async(json.dumps(event), execution_name=name)
        execution.runner.wait_for_result(arn)
    first, acme, globex = "execution-name", *names

    assert listing(capsys) == [globex, acme, first]
    assert listing(capsys, "--limit", "2") == [globex, acme]
    assert listing(capsys, "--state", "running") == [first]
    assert listing(capsys, "--tenant", "globex", "--since", "1h") == [globex]
    assert listing(capsys, "--since", "0s") == []
    assert main(["list", "--limit", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.split()[:2] == ["SUCCEEDED", "globex"]
    assert printed.out.endswith(f"{arn}\n")
    assert printed.err == "there are more: --limit 2\n"


def test_list_on_aws(stub: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    """By the model of the API: no page is asked for that is older than what is wanted."""
    now = datetime.now(UTC)
    ages = [1, 50, 70]
    page = [
        {
            "DurableExecutionArn": ARN,
            "DurableExecutionName": f"{minutes}-minutes",
            "FunctionArn": ARN.partition("/")[0],
            "Status": "FAILED",
            "StartTimestamp": now - timedelta(minutes=minutes),
        }
        for minutes in ages
    ]
    sent = {"FunctionName": DEFAULT_TEST_FUNCTION_NAME, "Statuses": ["FAILED"]}
    stub.add_response(
        "list_durable_executions_by_function",
        {"DurableExecutions": page, "NextMarker": "more"},
        sent,
    )

    found = listing(capsys, "--state", "FAILED", "--since", "1h")

    assert found == ["1-minutes", "50-minutes"]


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("2m", timedelta(minutes=2)),
        ("30h", timedelta(hours=30)),
        ("4d", timedelta(days=4)),
    ],
)
def test_how_long_ago(text: str, ago: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    monkeypatch.setattr(steering, "datetime", SimpleNamespace(now=lambda _: now))

    assert steering.read_age(text) == now - ago


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--since yesterday", "--since is 'yesterday', expected a number with s, m, h or d: 2h\n"),
        ("--limit 0", "--limit is 0, expected 1 or more\n"),
    ],
)
def test_what_cannot_be_listed(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", *arguments.split()]) == 2
    assert capsys.readouterr().err == message


def test_show_on_the_emulator(
    serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its operations as a tree, and as a picture; what came of them only if it is asked for."""
    twice = Failing(TransientError("not yet"), "a", attempts=1)
    execution = serve(make_event("a", ""), steps=(twice,), skip_time=True)
    assert execution.question
    svg, html = (str(tmp_path / f"a.{kind}") for kind in ("svg", "html"))
    assert main(["show", execution.arn, "--svg", svg]) == 0
    assert "1 waiting: approval create callback id." in capsys.readouterr().out
    assert "RUNNING for " in Path(svg).read_text(encoding="utf-8")
    execution.approve()
    assert execution.output()

    assert main(["show", execution.arn, "--svg", svg, "--html", html]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    (at,) = (number for number, line in enumerate(lines) if "process-items  " in line)
    assert ", 2 attempts  " in lines[at + 1]
    assert lines[at + 2].split() == [
        *("item-2", "failed", lines[at + 2].split()[2], "ms", "chassis.model.ItemError:"),
        "empty",
    ]
    assert printed.err == f"drawn: {svg}\ndrawn: {html}\n"
    drawn = [Path(path).read_text(encoding="utf-8") for path in (svg, html)]
    size = "{&quot;size&quot;:"
    assert all("item-2" in text and size not in text for text in drawn)
    assert main(["show", execution.arn, "--html", html, "--payloads"]) == 0
    assert size in Path(html).read_text(encoding="utf-8")
    capsys.readouterr()

    for asked in (False, True):
        assert main(["show", execution.arn, "--json", *["--payloads"] * asked]) == 0
        shown = json.loads(capsys.readouterr().out)
        (items,) = (each for each in shown["operations"] if each["name"] == "process-items")
        first, second = items["children"]
        assert (first["name"], first["status"], "size" in first["payload"]) == (
            *("item-1", "SUCCEEDED"),
            asked,
        )
        assert (second["status"], second["error"]) == ("FAILED", "chassis.model.ItemError: empty")


def test_the_runner_and_the_api_tell_the_same(serve: Serve) -> None:
    execution = serve(make_event(*range(60)))
    execution.approve()
    assert execution.output()

    def told(events: Any) -> list[tuple[str, str, str, int]]:
        operations: Iterator[Operation] = read_history(events, payloads=True).root.everything()
        return [(o.name, o.kind, o.payload, len(o.children)) for o in operations]

    here = told(execution.history())
    assert len(here) > 60
    assert told(executions.history(execution.arn, payloads=True)) == here


@pytest.mark.parametrize(("size", "rows"), [("1", 3), ("2", 2)])
def test_watch_on_the_emulator(
    serve: Serve,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    size: str,
    rows: int,
) -> None:
    """Each change is a line, until it is over; at a terminal the last ones are replaced."""
    execution = serve(make_event("a", "b", ""), ITEMS_PER_CHECKPOINT=size)
    assert execution.question
    looks: list[float] = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:  # nothing has changed until now
            execution.approve()
            assert execution.output()

    monkeypatch.setattr(steering, "time", SimpleNamespace(sleep=look))
    assert main(["watch", execution.arn]) == 0
    waits, ended = capsys.readouterr().out.splitlines()
    assert waits.startswith("RUNNING for ")
    assert "1 waiting: approval create callback id." in waits
    assert f"process-items: {rows} of {rows} done. 1 failed: item-3." in ended
    assert len(looks) == 3

    assert main(["watch", execution.arn, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0].startswith("SUCCEEDED after ")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(executions, "ACTIVE", {"SUCCEEDED"})  # it looks again
    again = SimpleNamespace(sleep=lambda _: executions.ACTIVE.clear())
    monkeypatch.setattr(steering, "time", again)
    assert main(["watch", execution.arn]) == 0
    first, second = capsys.readouterr().out.split("\x1b[")[:2]
    assert second.startswith(f"{len(first.splitlines())}A")


def test_watch_says_what_it_cannot_know() -> None:
    """A plan that is cut, or that is not there yet."""
    cut = {"EventType": "StepSucceeded", "Name": "prepare-work", "StepSucceededDetails": {}}

    assert steering.rows_of_map([]) is None
    assert steering.rows_of_map([cut]) is None
    cut["StepSucceededDetails"] = {"Result": {"Payload": '{"item_co', "Truncated": True}}
    assert steering.rows_of_map([cut]) is None


#% if cookiecutter.fan_out == "yes"
def test_chunks_are_rows_of_the_map() -> None:
    plan = {"stored": {"cuts": [{}, {}]}, "item_count": 9, "settings": {"items_per_checkpoint": 2}}
    done = {"EventType": "StepSucceeded", "Name": "prepare-work"}
    details = {"StepSucceededDetails": {"Result": {"Payload": json.dumps(plan)}}}

    assert steering.rows_of_map([done | details]) == 2


@pytest.fixture(autouse=True)
def chunks(monkeypatch: pytest.MonkeyPatch) -> list[JsonObject]:
    """The chunks that every execution has."""
    found: list[JsonObject] = []
    monkeypatch.setattr(executions, "chunks_of", lambda _: found)
    return found


def test_what_is_done_to_an_execution_is_done_to_its_chunks(
    stub: Stubber, chunks: list[JsonObject]
) -> None:
    """AWS acts on one execution, and not on those that it has invoked."""
    chunks += [
        {"Status": status, "DurableExecutionArn": f"{ARN}-{status.lower()}"}
        for status in ("RUNNING", "SUCCEEDED")
    ]
    execution = {
        "DurableExecutionArn": ARN,
        "DurableExecutionName": "acme_1",
        "FunctionArn": ARN.partition("/")[0],
        "StartTimestamp": 0,
        "Status": "RUNNING",
    }
    stub.add_response("get_durable_execution", execution)
    error = {"ErrorType": "StoppedByOperator", "ErrorMessage": "why"}
    for arn in (ARN, f"{ARN}-running"):
        sent = {"DurableExecutionArn": arn, "Error": error}
        stub.add_response("stop_durable_execution", {"StopTimestamp": 0}, sent)
    for verb, more in (("pause", {"ExecutionTimeoutPaused": True}), ("resume", {})):
        about = {"Reason": "why", **more}
        stub.add_response(f"{verb}_durable_execution", {}, {"DurableExecutionArn": ARN, **about})
        of_chunk = {"DurableExecutionArn": f"{ARN}-running", **about}
        stub.add_client_error(
            f"{verb}_durable_execution", "ResourceConflictException", expected_params=of_chunk
        )

    assert main(["stop", ARN, "--yes", "--reason", "why"]) == 0
    assert main(["pause", ARN, "--reason", "why"]) == 0
    assert main(["resume", ARN, "--reason", "why"]) == 0


#% endif

@pytest.mark.parametrize(("answer", "status"), [("y", "STOPPED"), ("n", "RUNNING")])
def test_stop_on_the_emulator(
    serve: Serve,
    answer: str,
    status: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody has to agree; and it is stopped once."""
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return answer

    monkeypatch.setattr("builtins.input", ask)
    execution = serve(make_event("a"))
    assert execution.question
    stopped = status == "STOPPED"

    assert main(["stop", execution.arn]) == (0 if stopped else 1)
    printed = capsys.readouterr()
    assert executions.status_of(execution.arn)["Status"] == status
    assert asked == ["Stop execution-name? It cannot go on later. [y/N] "]
    assert printed == (("stop: accepted\n", "") if stopped else ("", "nothing has been stopped\n"))
    if stopped:
        assert main(["stop", execution.arn, "--yes"]) == 1
        assert capsys.readouterr().err == "it is over already: STOPPED\n"
        assert main(["watch", execution.arn]) == 1


def test_stop_on_aws(stub: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    """By the model of the API, because the emulator does not keep the reason."""
    about = {"DurableExecutionArn": ARN}
    execution = {
        "DurableExecutionName": "acme_1",
        "FunctionArn": ARN.partition("/")[0],
        "StartTimestamp": 0,
        "Status": "PAUSED",
    }
    sent = about | {"IncludeExecutionData": False}
    stub.add_response("get_durable_execution", about | execution, sent)
    error = {"ErrorType": "StoppedByOperator", "ErrorMessage": "wrong prices"}
    stub.add_response("stop_durable_execution", {"StopTimestamp": 0}, about | {"Error": error})

    assert main(["stop", ARN, "--yes", "--json", "--reason", "wrong prices"]) == 0
    assert json.loads(capsys.readouterr().out) == {"execution": ARN, "asked": "stop"}


def test_pause_and_resume_on_aws(stub: Stubber, capsys: pytest.CaptureFixture[str]) -> None:
    """By the model of the API, because the emulator has neither."""
    about = {"DurableExecutionArn": ARN}
    kept = {"Reason": "deploying", "ExecutionTimeoutPaused": False}
    stub.add_response("pause_durable_execution", {}, about | {"ExecutionTimeoutPaused": True})
    stub.add_response("pause_durable_execution", {}, about | kept)
    stub.add_response("resume_durable_execution", {}, about)
    stub.add_client_error("resume_durable_execution", "ResourceConflictException", "it runs")

    assert main(["pause", ARN]) == 0
    assert main(["pause", ARN, "--keep-timeout", "--reason", "deploying"]) == 0
    assert main(["resume", ARN]) == 0
    assert main(["resume", ARN]) == 1
    printed = capsys.readouterr()
    assert printed.out == "pause: accepted\npause: accepted\nresume: accepted\n"
    assert "it runs" in printed.err


def test_the_emulator_cannot_pause(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    execution = serve(make_event("a"))
    with pytest.raises(ClientError, match="the local AWS cannot delete an execution"):
        stack.client("lambda").delete_durable_execution(DurableExecutionArn=execution.arn)
    for verb in ("pause", "resume"):
        assert main([verb, execution.arn]) == 1
        assert capsys.readouterr().err.endswith(f": the local AWS cannot {verb} an execution\n")


def test_export_on_the_emulator(
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An event on each line, for the owner's eyes; nobody can answer with it."""
    execution = serve(make_event("secret"))
    assert execution.question
    path = tmp_path / "history.jsonl"

    assert main(["export", execution.arn, str(path)]) == 0
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert capsys.readouterr().out == f"{len(events)} events in {path}\n"
    assert [event["EventId"] for event in events] == list(range(1, len(events) + 1))
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text(encoding="utf-8")
    assert "secret" not in text
    assert execution.question.callback_id not in text
    for event in events:
        datetime.fromisoformat(event["EventTimestamp"])

    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert main(["export", execution.arn, str(path), "--payloads"]) == 1
    assert capsys.readouterr().err == "nothing has been written\n"
    assert path.read_text(encoding="utf-8") == text
    assert main(["export", execution.arn, str(path), "--payloads", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["file"] == str(path)
    assert main(["export", execution.arn, str(path / "x")]) == 1
    assert main(["show", execution.arn, "--svg", str(path / "x")]) == 1
    assert capsys.readouterr().err.count(f"cannot write {path / 'x'}: ") == 2
    assert "secret" in path.read_text(encoding="utf-8")
    assert execution.question.callback_id not in path.read_text(encoding="utf-8")
