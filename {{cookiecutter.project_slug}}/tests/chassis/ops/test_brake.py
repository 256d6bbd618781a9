"""A tenant is held and released: its executions by the model of the API, its row in a table.

The emulator can neither pause an execution nor resume one.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from chassis.model import TenantRefusedError
from ops import brake, executions
from ops.__main__ import main
from tests.chassis.aws import Add, admit
from tests.chassis.ops.lambda_api import Service


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "POLL_SECONDS", 0)


def test_a_tenant_is_braked_and_released(
    service: Service, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was paused or is over for another reason, and other tenants, are left alone."""
    acme = add("acme")
    runs, by_hand = service.has("acme", "1", "RUNNING"), service.has("acme", "2", "PAUSED")
    service.reason[by_hand] = "the warehouse is down"
    others = [service.has("acme", "3", "FAILED"), service.has("globex", "4", "RUNNING")]
    paused = [runs]
    #% if cookiecutter.fan_out == "yes"
    paused.append(service.has("acme", "5", "RUNNING", invoked_by=runs))
    others.append(service.has("acme", "6", "SUCCEEDED", invoked_by=runs))
    #% endif
    before = [service.status[arn] for arn in others]

    assert main(["tenant", "brake", "acme"]) == 0
    assert capsys.readouterr().out == f"brake: {len(paused)} executions\n"
    assert {service.status[arn] for arn in paused} == {"PAUSED"}
    with pytest.raises(TenantRefusedError, match=r"^tenant acme is suspended$"):
        admit(acme, "acme_1")
    assert main(["tenant", "brake", "acme", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "tenant": "acme",
        "asked": "brake",
        "executions": 0,
    }

    assert main(["tenant", "release", "acme"]) == 0
    assert capsys.readouterr().out == f"release: {len(paused)} executions\n"
    assert {service.status[arn] for arn in paused} == {"RUNNING"}
    assert service.status[by_hand] == "PAUSED"
    assert [service.status[arn] for arn in others] == before
    assert service.calls == [("Pause", arn) for arn in paused] + [("Resume", arn) for arn in paused]
    assert admit(acme, "acme_1")


@pytest.mark.parametrize("verb", ["brake", "release"])
def test_an_interrupted_one_goes_on(
    service: Service, add: Add, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """And what is over since it was listed is no error."""
    acme = add("acme")
    arns = [service.has("acme", str(number), "RUNNING") for number in range(3)]
    if verb == "release":
        assert main(["tenant", "brake", "acme"]) == 0
    service.errors = ["ResourceConflictException", "TooManyRequestsException"]

    assert main(["tenant", verb, "acme"]) == 1
    assert "TooManyRequestsException" in capsys.readouterr().err
    assert acme.profile().status == ("SUSPENDED" if verb == "brake" else "ACTIVE")
    assert main(["tenant", verb, "acme"]) == 0
    expected = "PAUSED" if verb == "brake" else "RUNNING"
    assert {service.status[arn] for arn in arns} == {expected}


def test_what_is_started_meanwhile_is_paused_too(
    service: Service, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("acme")
    service.has("acme", "1", "RUNNING")
    pause: Callable[..., object] = service.pause_durable_execution
    late = list[str]()

    def pause_it(*arguments: object) -> object:
        if not late:
            late.append(service.has("acme", "2", "RUNNING"))
        return pause(*arguments)

    monkeypatch.setattr(service, "pause_durable_execution", pause_it)

    assert main(["tenant", "brake", "acme"]) == 0
    assert set(service.status.values()) == {"PAUSED"}


def test_what_does_not_pause_in_time_is_said(
    service: Service,
    add: Add,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(brake, "BRAKE_SECONDS", -1)
    add("acme")
    service.is_slow = True
    service.has("acme", "1", "RUNNING")

    assert main(["tenant", "brake", "acme"]) == 1
    said = "1 executions of acme are not paused yet: run this again\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("verb", ["brake", "release"])
@pytest.mark.usefixtures("service")
def test_a_tenant_that_is_unknown(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tenant", verb, "nobody"]) == 1
    assert capsys.readouterr().err == "tenant nobody is unknown\n"
