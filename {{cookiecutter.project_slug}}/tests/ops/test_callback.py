"""``ops/callback.py`` against the SDK's own emulator of the Lambda API, over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from aws_durable_execution_sdk_python_testing.web.server import WebServer, WebServiceConfig

from ops import callback
from tests.execution import Execution, Start, make_event


@pytest.fixture
def execution(start: Start, monkeypatch: pytest.MonkeyPatch) -> Iterator[Execution]:
    """An execution that waits for its approval, behind the Lambda API."""
    execution = start(make_event("a"), CALLBACK_TIMEOUT="60s")
    execution.callback_id()
    executor = execution.runner._executor
    with WebServer(WebServiceConfig(host="127.0.0.1", port=0), executor) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        for name, value in {
            "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{server.server_address[1]}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
        }.items():
            monkeypatch.setenv(name, value)
        yield execution
        server.shutdown()
        thread.join()


def test_approve(execution: Execution) -> None:
    arguments = ["approve", "--execution", execution.arn, "--by", "ada", "--comment", "fine"]

    assert callback.main(arguments) == 0
    assert execution.output()["callbackResult"] == {
        "decision": "APPROVED",
        "decidedBy": "ada",
        "comment": "fine",
    }


def test_reject(execution: Execution) -> None:
    arguments = ["reject", "--execution", execution.arn, "--by", "bob", "--comment", "no"]

    assert callback.main(arguments) == 0
    output = execution.output()
    assert output["status"] == "REJECTED"
    assert output["callbackResult"] == {"decision": "REJECTED", "decidedBy": "bob", "comment": "no"}


def test_heartbeat_leaves_the_approval_open(execution: Execution) -> None:
    assert callback.main(["heartbeat", "--execution", execution.arn]) == 0
    assert callback.main(["approve", "--execution", execution.arn]) == 0
    assert execution.output()["status"] == "COMPLETED"


def test_an_answered_approval_is_not_answered_again(
    execution: Execution, capsys: pytest.CaptureFixture[str]
) -> None:
    callback.main(["reject", "--execution", execution.arn])
    assert execution.output()["status"] == "REJECTED"

    assert callback.main(["approve", "--execution", execution.arn]) == 1
    assert "nothing was sent: this approval has been rejected" in capsys.readouterr().err


def test_two_answers_race_and_one_wins(
    execution: Execution, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    callback_id = execution.callback_id()
    callback.main(["approve", "--execution", execution.arn])
    monkeypatch.setattr(callback, "pending_callback", lambda *_: callback_id)

    assert callback.main(["reject", "--execution", execution.arn]) == 1
    assert callback_id not in capsys.readouterr().err
    assert execution.output()["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("{", "not JSON"),
        ('{"approved": true}', "expected APPROVED or REJECTED"),
        ('{"decision": "REJECTED"}', "the answer's decision is not APPROVED"),
    ],
)
def test_a_bad_answer_is_not_sent(
    execution: Execution, capsys: pytest.CaptureFixture[str], answer: str, message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        callback.main(["approve", "--execution", execution.arn, "--answer", answer])

    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert "nothing was sent" in error
    assert message in error
    callback.main(["approve", "--execution", execution.arn])
    assert execution.output()["status"] == "COMPLETED"


@pytest.mark.usefixtures("execution")
def test_an_unknown_execution(capsys: pytest.CaptureFixture[str]) -> None:
    assert callback.main(["approve", "--execution", "nowhere/nothing"]) == 1
    assert "there is no such execution" in capsys.readouterr().err


def test_the_callback_id_is_in_no_error() -> None:
    text = callback.without("a+b/c=", "POST /callbacks/a%2Bb%2Fc%3D/succeed failed for a+b/c=")

    assert text == "POST /callbacks/.../succeed failed for ..."


@pytest.mark.parametrize("arn", ["arn:aws:lambda::1:x", "arn:aws:lambda:eu-west-1:1:x"])
def test_the_region_is_that_of_the_execution(arn: str) -> None:
    assert callback.region_of(arn) == (arn.split(":")[3] or None)


def test_an_endpoint_that_is_no_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "localhost:9000")

    assert callback.main(["approve", "--execution", "arn:aws:lambda:eu-west-1:1:x"]) == 1
    assert "cannot reach AWS" in capsys.readouterr().err


def test_no_execution_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        callback.main(["approve", "--execution", ""])

    assert "give --tenant and --token" in capsys.readouterr().err


def test_aws_cannot_be_reached(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    assert callback.main(["approve", "--execution", "x"]) == 1
    assert "cannot reach AWS" in capsys.readouterr().err
