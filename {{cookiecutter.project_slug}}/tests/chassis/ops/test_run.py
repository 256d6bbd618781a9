"""``make run``: JSON on standard output, everything else on standard error."""

from __future__ import annotations

import io
import json
import logging
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from aws_durable_execution_sdk_python.plugin import InvocationEndInfo, InvocationStatus

from ops import local, run
from tests.chassis import sample
from tests.execution import make_event

Run = Callable[..., int]


@pytest.fixture
def run_sample(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run the sample: ``run_sample("approve", event=..., approvals=...)``."""
    monkeypatch.setattr(local, "tenants", lambda: sample.TENANTS)
    path = tmp_path / "event.json"

    def run_it(
        answer: str = "ask",
        *,
        event: Any = None,
        tenant: str | None = None,
        approvals: tuple[str, ...] = ("approval",),
        **settings: str,
    ) -> int:
        monkeypatch.setattr(local, "environment", lambda: {**sample.SETTINGS, **settings})
        sent = make_event("a", "") if event is None else event
        path.write_text(json.dumps(sent), encoding="utf-8")
        options = Namespace(event=str(path), answer=answer, tenant=tenant)
        return run.run(options, sample.definition(), sample.phases(approvals=approvals))

    return run_it


class Terminal(io.StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def test_approve(run_sample: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sample("approve") == 0

    printed = capsys.readouterr()
    output = json.loads(printed.out)
    assert printed.out == json.dumps(output, indent=2) + "\n"
    assert output["tenantId"] == "acme"
    assert output["metrics"]["done"] == 1
    heading, *rows, last = printed.err[printed.err.index("\noperation ") :].strip().splitlines()
    assert heading.split() == ["operation", "type", "status", "attempts", "seconds"]
    assert re.fullmatch(rf"{len(rows)} durable operations in \d invocations", last)
    assert any(row.split()[:3] == ["item-2", "STEP", "FAILED"] for row in rows)
    assert "  succeeded  prepare-work\n" in printed.err


def test_the_picture_is_for_whoever_sits_at_a_terminal(
    run_sample: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(run, "RUNS", tmp_path / "runs")
    assert run_sample("approve") == 0
    assert not run.RUNS.exists()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for _ in range(2):  # the last one is kept
        assert run_sample("approve") == 0
        (picture,) = run.RUNS.iterdir()
        assert capsys.readouterr().err.endswith(f"\nThe timeline: {picture}\n")
    assert "item-2 (Step): FAILED" in picture.read_text(encoding="utf-8")


def test_what_the_sdk_logs_does_not_stand_between(run_sample: Run) -> None:
    names = ("aws_durable_execution_sdk_python", "aws_durable_execution_sdk_python_testing")
    for name in names:
        logging.getLogger(name).setLevel(logging.INFO)

    assert run_sample("approve") == 0
    assert {logging.getLogger(name).level for name in names} == {logging.CRITICAL}


def test_a_rejection_is_an_output(run_sample: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sample("reject", event={**make_event("a"), "tenantId": "acme"}, tenant="demo") == 0

    output = json.loads(capsys.readouterr().out)
    assert output["approvals"][0]["decision"] == "REJECTED"
    assert output["tenantId"] == "demo"  # the one of the command line


@pytest.mark.parametrize("user", ["grace", None])
def test_whoever_sits_there_has_decided(
    run_sample: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    user: str | None,
) -> None:
    monkeypatch.delenv("USER", raising=False)
    if user:
        monkeypatch.setenv("USER", user)
    assert run_sample("approve") == 0

    (approval,) = json.loads(capsys.readouterr().out)["approvals"]
    assert approval["decidedBy"] == (user or "somebody")


def test_nobody_answers_in_time(run_sample: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sample("timeout", CALLBACK_TIMEOUT_ACTION="fail", CALLBACK_HEARTBEAT="1m") == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "ApprovalTimedOutError: TIMED_OUT: no sign of the approver for 1 s" in printed.err


@pytest.mark.parametrize(
    ("status", "expected"),
    [("COMPLETED", 0), ("COMPLETED_WITH_FAILURES", 0), ("REJECTED", 1), ("TIMED_OUT", 1)],
)
def test_the_exit_status_is_that_of_the_output(
    run_sample: Run, monkeypatch: pytest.MonkeyPatch, status: str, expected: int
) -> None:
    monkeypatch.setattr(sample, "phases", lambda **_: lambda _execution: {"status": status})

    assert run_sample("approve") == expected


def test_the_person_at_the_terminal_is_asked_for_each_approval(
    run_sample: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("what?\ny\nn\n"))

    assert run_sample(approvals=("one", "two")) == 0

    printed = capsys.readouterr()
    assert printed.err.count("Approval wanted:") == 2
    assert printed.err.count("Approve it? [y/n]") == 3
    for shown in ('"approval": "one"', '"approval": "two"', '"count": 2', '"tenantId": "acme"'):
        assert shown in printed.err
    assert "token" not in printed.err.lower()
    approvals = json.loads(printed.out)["approvals"]
    assert [approval["decision"] for approval in approvals] == ["APPROVED", "REJECTED"]


def test_nobody_to_ask(
    run_sample: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    assert run_sample() == 2
    assert "give --answer approve, reject or timeout" in capsys.readouterr().err


def test_the_person_is_too_late(
    run_sample: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
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

    assert run_sample(CALLBACK_TIMEOUT="1s") == 0
    printed = capsys.readouterr()
    assert "too late: the approval is over" in printed.err
    assert json.loads(printed.out)["approvals"][0]["decision"] == "TIMED_OUT"


def test_the_person_leaves(
    run_sample: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))

    assert run_sample() == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "no answer: the execution is abandoned" in printed.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the event"),
        ("{", "is not JSON"),
        ('{"a": 1, "a": 2}', "event.json is not JSON: a key is given twice"),
        ("\ufeff{}", "event.json is not JSON: it is UTF-8 with a byte order mark"),
    ],
)
def test_an_event_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "event.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    options = Namespace(event=str(path), answer="approve", tenant=None)

    with pytest.raises(SystemExit) as exit_:
        run.run(options, sample.definition(), sample.phases())

    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def last(printed: Any) -> str:
    """The last line for people."""
    line: str = printed.err.splitlines()[-1]
    return line


@pytest.mark.parametrize("event", [{}, ["a"]])
def test_an_event_that_the_workflow_refuses(
    run_sample: Run, capsys: pytest.CaptureFixture[str], event: Any
) -> None:
    assert run_sample("approve", event=event) == 1

    printed = capsys.readouterr()
    assert json.loads(printed.out)["status"] == "REFUSED"
    assert re.search(r"^REFUSED: (workflowId is missing|the event is of type array)", last(printed))
