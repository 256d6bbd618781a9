"""Commands that speak to the stack: how they find it, and what they say when it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops import callback, stack, start, tenant

Calls = list[tuple[str, Any]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Functions of the stack that are called, with their events; all of them agree."""
    noted: Calls = []

    def call(function: str, event: Any) -> Any:
        noted.append((function, event))
        return {"accepted": True, "started": True}

    monkeypatch.setattr(stack, "output", lambda name: name)
    monkeypatch.setattr(stack, "call", call)
    return noted


@pytest.mark.parametrize("section", stack.sections())
def test_the_stack_is_the_one_of_samconfig(monkeypatch: pytest.MonkeyPatch, section: str) -> None:
    monkeypatch.setenv("ENV", section)

    assert stack.parameters()["stack_name"]
    assert stack.parameters()["region"]


def test_an_unknown_stack_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENV", "nowhere")

    assert tenant.main(["list"]) == 1
    assert "samconfig.toml names no stack for ENV=nowhere" in capsys.readouterr().err


def test_start_sends_the_event_for_the_tenant(calls: Calls) -> None:
    assert start.main(["--tenant", "globex", "--event", "events/order.json"]) == 0

    ((function, event),) = calls
    assert function == "StarterFunctionName"
    assert event["tenantId"] == "globex"
    assert event["inputData"]["items"]


def test_a_token_is_answered_through_the_approver(calls: Calls) -> None:
    arguments = ["--tenant", "acme", "--token", "t", "--by", "ada"]

    assert callback.main(["approve", *arguments]) == 0
    assert callback.main(["heartbeat", *arguments]) == 0

    answer = {"decision": "APPROVED", "decidedBy": "ada"}
    assert json.loads(json.dumps(calls)) == [
        ["ApproverFunctionName", {"tenantId": "acme", "token": "t", "answer": answer}],
        ["ApproverFunctionName", {"tenantId": "acme", "token": "t"}],
    ]
