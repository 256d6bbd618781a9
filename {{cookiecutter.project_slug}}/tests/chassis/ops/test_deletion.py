"""Deletion: what runs is stopped first, and nothing is deleted that nobody has agreed to."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_durable_execution_sdk_python_testing.invoker import DEFAULT_TEST_FUNCTION_NAME
from botocore.stub import Stubber

from ops import deletion, executions, stack
from ops.__main__ import main
from tests.chassis.ops.lambda_api import lambda_api
from tests.execution import Start, make_event

FUNCTION = "sample-workflow"


@cache
def client(service: str) -> Any:
    """A client whose requests a stub takes; to make one takes a while."""
    return boto3.Session("x", "x").client(service, region_name="us-east-1")


class Stack:
    """The stack in the APIs of AWS, whose own models check what is sent and answered."""

    def __init__(self, sam: Path) -> None:
        self.clients = {name: client(name) for name in ("cloudformation", "lambda")}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        self.sam = sam

    def has(self, **resources: str) -> None:
        """It has these resources, and one that is gone."""
        about = {"ResourceType": "AWS::X::Y", "Timestamp": 0}
        found = [
            {"LogicalResourceId": name, "ResourceStatus": "CREATE_COMPLETE", **about}
            | {"PhysicalResourceId": physical}
            for name, physical in resources.items()
        ]
        gone = {"LogicalResourceId": "LogGroup", "ResourceStatus": "DELETE_COMPLETE", **about}
        self.stubs["cloudformation"].add_response(
            "describe_stack_resources",
            {"StackResources": [*found, gone]},
            {"StackName": "sample"},
        )

    def runs(self, *pages: list[str]) -> None:
        """It is asked for all executions that are not over, and has these."""
        sent = {"FunctionName": FUNCTION, "Statuses": ["PAUSED", "PAUSING", "RUNNING"]}
        for number, names in enumerate(pages, start=1):
            page = {"DurableExecutions": [summary(name) for name in names]}
            more = {"NextMarker": str(number)} if number < len(pages) else {}
            self.stubs["lambda"].add_response(
                "list_durable_executions_by_function", {**page, **more}, sent
            )
            sent = {**sent, "Marker": str(number)}

    def is_told_to_stop(self, *names: str) -> None:
        """These, in this order."""
        for name in names:
            error = {"ErrorType": "StoppedByOperator", "ErrorMessage": "the stack is deleted"}
            sent = {"DurableExecutionArn": summary(name)["DurableExecutionArn"], "Error": error}
            self.stubs["lambda"].add_response("stop_durable_execution", {"StopTimestamp": 0}, sent)

    def deleted_with(self) -> list[str]:
        """The command lines that the SAM CLI was given."""
        return self.sam.with_suffix(".log").read_text().splitlines() if self.deleted else []

    @property
    def deleted(self) -> bool:
        """Whether the SAM CLI was called."""
        return self.sam.with_suffix(".log").exists()


def summary(name: str) -> dict[str, Any]:
    """An execution as the API lists it."""
    function = f"arn:aws:lambda:us-east-1:123456789012:function:{FUNCTION}:1"
    return {
        "DurableExecutionArn": f"{function}/durable-execution/{name}/id",
        "DurableExecutionName": name,
        "FunctionArn": function,
        "Status": "RUNNING",
        "StartTimestamp": 0,
    }


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A stack, and a SAM CLI that only notes how it is called."""
    sam = tmp_path / "sam"
    sam.write_text(f'#!/bin/sh\necho "$@" >> {sam}.log\nexit $SAM_STATUS\n')
    sam.chmod(0o755)
    found = Stack(sam)
    known = {"stack_name": "sample", "region": "us-east-1"}
    monkeypatch.setattr(stack, "parameters", lambda: known)
    monkeypatch.setattr(stack, "client", lambda service: found.clients[service])
    monkeypatch.setattr(executions, "POLL_SECONDS", 0)
    for stubber in found.stubs.values():
        stubber.activate()
    yield found
    for stubber in found.stubs.values():
        stubber.deactivate()
        stubber.assert_no_pending_responses()


def delete(deployed: Stack, *arguments: str) -> int:
    return main(["delete", f"--sam={deployed.sam}", *arguments])


def test_what_runs_is_stopped_also_what_is_started_meanwhile(
    deployed: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.has(WorkflowFunction=FUNCTION, TenantTable="the-table", ApprovalTopic="the-topic")
    deployed.runs(["a", "b"], ["c"])
    deployed.runs(["a", "b"], ["c"])
    deployed.is_told_to_stop("a", "b")
    deployed.stubs["lambda"].add_client_error(  # over since it was listed
        "stop_durable_execution", "ResourceNotFoundException", "no such execution"
    )
    deployed.runs(["d"])
    deployed.is_told_to_stop("d")
    deployed.runs([])

    assert delete(deployed, "--yes") == 0

    said = capsys.readouterr().out
    assert "sample: 3 executions run" in said
    assert "\nLost: the functions, all executions with their histories, " in said
    assert "Kept: TenantTable the-table\n" in said
    (command,) = deployed.deleted_with()
    assert command == "delete --no-prompts --stack-name sample --region us-east-1"


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1), (None, 1)])
def test_somebody_has_to_agree(
    deployed: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str | None,
    status: int,
) -> None:
    def ask(question: str) -> str:
        assert question == "Delete sample? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", ask)
    deployed.has(WorkflowFunction=FUNCTION)
    deployed.runs(["a"])
    if status == 0:
        deployed.runs([])

    assert delete(deployed) == status
    assert deployed.deleted is (status == 0)
    assert capsys.readouterr().err == "nothing has been deleted\n" * status


def test_a_stack_without_a_function_is_deleted(deployed: Stack) -> None:
    """One that could not be created."""
    deployed.has()

    assert delete(deployed, "--yes") == 0
    assert deployed.deleted


def test_what_does_not_stop_is_not_deleted(
    deployed: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deletion, "STOP_SECONDS", -1)
    deployed.has(WorkflowFunction=FUNCTION)
    deployed.runs(["a"])
    deployed.runs(["a"])

    assert delete(deployed, "--yes") == 1
    assert capsys.readouterr().err.startswith("1 executions run after -1 s of stopping, and noth")
    assert not deployed.deleted


def test_the_sam_cli_fails_or_is_not_there(
    deployed: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAM_STATUS", "3")
    for _ in range(2):
        deployed.has()

    assert delete(deployed, "--yes") == 1
    deployed.sam.unlink()
    assert delete(deployed, "--yes") == 1
    assert capsys.readouterr().err.startswith("there is no SAM CLI")


def test_a_real_execution_is_stopped(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the emulator, which has it wait for an approval."""
    execution = start(make_event("a"))
    assert execution.question
    with lambda_api(execution) as address:
        emulator = boto3.Session("x", "x").client("lambda", "us-east-1", endpoint_url=address)
        monkeypatch.setattr(stack, "client", lambda _: emulator)
        function = DEFAULT_TEST_FUNCTION_NAME

        (active,) = deletion.active(function)
        assert active["DurableExecutionArn"] == execution.arn
        deletion.stop(function)

        assert list(deletion.active(function)) == []
        found = emulator.get_durable_execution(DurableExecutionArn=execution.arn)
        assert found["Status"] == "STOPPED"
