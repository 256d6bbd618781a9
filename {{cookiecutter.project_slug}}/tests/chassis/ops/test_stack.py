"""The stack: how it is found, and what is said when it refuses."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from ops import stack
from ops.__main__ import main

Stub = Callable[[str], Stubber]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """Stub a service of AWS: what is sent to it is checked against the service's own model."""
    made: dict[str, Stubber] = {}

    def add(service: str) -> Stubber:
        client = boto3.Session("x", "x").client(service, region_name="us-east-1")
        made[service] = Stubber(client)
        made[service].activate()
        return made[service]

    monkeypatch.setattr(stack, "client", lambda service: made[service].client)
    yield add
    for stubber in made.values():
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize("section", stack.sections())
def test_the_stack_is_the_one_of_samconfig(section: str) -> None:
    os.environ["ENV"] = section

    assert stack.parameters()["stack_name"]
    assert stack.parameters()["region"]


def test_an_unknown_stack_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ["ENV"] = "nowhere"

    assert main(["tenant", "list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("samconfig.toml names no stack for ENV=nowhere, expected one of")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("http://127.0.0.1:9", "Could not connect to the endpoint URL"),
        ("localhost:9000", "cannot reach AWS: Invalid endpoint: localhost:9000"),
    ],
)
def test_aws_cannot_be_reached(
    endpoint: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ |= {
        "AWS_ENDPOINT_URL_LAMBDA": endpoint,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_MAX_ATTEMPTS": "1",
    }

    assert main(["show", "arn:aws:lambda:eu-west-1:1:x"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_an_output_of_the_stack(stub: Stub) -> None:
    outputs = [{"OutputKey": name, "OutputValue": f"the {name}"} for name in "AB"]
    about = {"StackName": "x", "CreationTime": 0, "StackStatus": "CREATE_COMPLETE"}
    cloudformation = stub("cloudformation")
    for _ in range(2):
        cloudformation.add_response(
            "describe_stacks",
            {"Stacks": [{**about, "Outputs": outputs}]},
            {"StackName": stack.parameters()["stack_name"]},
        )

    assert stack.output("B") == "the B"
    with pytest.raises(stack.StackError, match="has no output C: deploy it again"):
        stack.output("C")


@pytest.mark.parametrize("error", [{}, {"FunctionError": "Unhandled"}])
def test_a_function_of_the_stack_is_called(stub: Stub, error: dict[str, str]) -> None:
    reply = json.dumps({"errorMessage": "no disk"}).encode()
    payload: Any = StreamingBody(io.BytesIO(reply), len(reply))
    sent = {"FunctionName": "starter", "Payload": b'{"a": 1}'}
    stub("lambda").add_response("invoke", {"Payload": payload, **error}, sent)

    if not error:
        assert stack.call("starter", {"a": 1}) == {"errorMessage": "no disk"}
    else:
        with pytest.raises(stack.StackError, match="starter failed: no disk"):
            stack.call("starter", {"a": 1})


@pytest.mark.parametrize(
    ("error", "status"), [(stack.StackError("no"), 1), (stack.UsageError("no"), 2)]
)
def test_a_refusal_is_one_line(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> int:
        raise error

    assert stack.report(refuse) == status
    assert capsys.readouterr() == ("", "no\n")


def test_what_aws_refuses_is_one_line(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub("cloudformation").add_client_error("describe_stacks", "ValidationError", "no such stack")

    assert stack.report(lambda: len(stack.output("A"))) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("no such stack")
