"""``make run``: JSON on standard output, everything else on standard error."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from aws_durable_execution_sdk_python.plugin import InvocationEndInfo, InvocationStatus

from ops import local, run
from ops.local import environment


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def test_approve(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--answer", "approve"]) == 0

    printed = capsys.readouterr()
    output = json.loads(printed.out)
    assert output["status"] == "COMPLETED_WITH_FAILURES"
    heading, *rows, last = printed.err[printed.err.index("\noperation ") :].strip().splitlines()
    assert heading.split() == ["operation", "type", "status", "attempts", "seconds"]
    assert re.fullmatch(rf"{len(rows)} durable operations in [2-4] invocations", last)
    assert "work-item-1" in printed.err


@pytest.mark.parametrize("answer", ["reject", "timeout"])
def test_a_workflow_that_did_not_complete(capsys: pytest.CaptureFixture[str], answer: str) -> None:
    os.environ["CALLBACK_TIMEOUT_ACTION"] = "ignored: the template decides"
    status = run.main(["--answer", answer])

    printed = capsys.readouterr()
    outcome = json.loads(printed.out)["status"] if printed.out else "FAILED"
    if answer == "reject":
        assert outcome == "REJECTED"
    else:
        action = environment()["CALLBACK_TIMEOUT_ACTION"]
        expected = {"reject": "TIMED_OUT", "continue": "COMPLETED_WITH_FAILURES", "fail": "FAILED"}
        assert outcome == expected[action]
    assert status == (0 if outcome.startswith("COMPLETED") else 1)


def test_asks_the_person_at_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("what?\ny\n"))

    assert run.main(["--event", "events/demo.json"]) == 0

    printed = capsys.readouterr()
    assert printed.err.count("Approve it? [y/n]") == 2
    assert json.loads(printed.out)["tenantId"] == "demo"


def test_nobody_to_ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    with pytest.raises(SystemExit) as exit_:
        run.main([])

    assert exit_.value.code == 2
    assert "give --answer approve, reject or timeout" in capsys.readouterr().err


def test_the_person_is_too_late(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = environment() | {"CALLBACK_TIMEOUT": "1s", "CALLBACK_TIMEOUT_ACTION": "reject"}
    monkeypatch.setattr(local, "environment", lambda: variables)

    over, on_invocation_end = Event(), run.Progress.on_invocation_end

    def note(progress: run.Progress, info: InvocationEndInfo) -> None:
        if info.status is not InvocationStatus.PENDING:
            over.set()
        on_invocation_end(progress, info)

    class Slow(Terminal):
        def readline(self, *arguments: Any) -> Any:
            assert over.wait(20)
            return super().readline(*arguments)

    monkeypatch.setattr(run.Progress, "on_invocation_end", note)
    monkeypatch.setattr("sys.stdin", Slow("y\n"))

    assert run.main([]) == 1
    printed = capsys.readouterr()
    assert "too late: the approval is over" in printed.err
    assert json.loads(printed.out)["status"] == "TIMED_OUT"


def test_the_person_leaves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))

    assert run.main([]) == 1
    assert "no answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot read the event"), ("{", "is not JSON")]
)
def test_an_event_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "event.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    with pytest.raises(SystemExit) as exit_:
        run.main(["--event", str(path), "--answer", "approve"])

    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_an_event_that_the_workflow_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "event.json"
    path.write_text("{}", encoding="utf-8")

    assert run.main(["--event", str(path), "--answer", "approve"]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "FAILED workflow.models.InvalidInputError: workflowId is missing" in printed.err
