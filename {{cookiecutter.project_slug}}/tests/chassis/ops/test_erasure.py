"""A tenant is removed: executions by the model of the API, because the emulator deletes none."""

from __future__ import annotations

import json
from typing import Any

#% if cookiecutter.fan_out == "yes"
import pytest
from botocore.stub import Stubber

#% else
import pytest

#% endif
from chassis.tenancy.registry import PROFILE, TablePartition
from ops import erasure, executions, local, stack
from ops.__main__ import main
from ops.tenants import Registry
from tests.chassis.aws import TABLE, Add, admit, ask
from tests.chassis.ops.lambda_api import Service


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "POLL_SECONDS", 0)


def fill(table: Any, partition: TablePartition) -> None:
    """Each kind of row beside the profile."""
    admit(partition, f"{partition.tenant_id}_1")
    #% if cookiecutter.__invoke
    partition.put_usage("arn", "2026", 3, 1)
    #% endif
    ask(table, partition.tenant_id)


def rows(table: Any) -> dict[str, int]:
    """How many rows each tenant has."""
    registry = Registry(table, TABLE)
    return {name: len(registry.sort_keys(name)) for name in ("acme", "globex")}


#% if cookiecutter.fan_out == "yes"
@pytest.fixture(autouse=True)
def _objects(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects of one tenant, and one of a tenant whose id begins alike."""
    monkeypatch.setattr(erasure, "AT_ONCE", 2)
    for number in range(3):
        bucket.put_object(Key=f"tenants/acme/results/{number}", Body=b"")
    bucket.put_object(Key="tenants/acmes/input.jsonl", Body=b"")


#% endif
def test_all_that_is_kept_of_a_tenant_goes(
    #% if cookiecutter.fan_out == "yes"
    bucket: Any,
    #% endif
    service: Service,
    add: Add,
    table: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What runs is stopped first; other tenants keep what they have."""
    for tenant_id in ("acme", "globex"):
        fill(table, add(tenant_id))
    before = rows(table)
    arns = [service.has("acme", key, status) for key, status in (("1", "RUNNING"), ("2", "FAILED"))]
    running = arns[:1]
    #% if cookiecutter.fan_out == "yes"
    arns.append(service.has("acme", "3", "SUCCEEDED", invoked_by=arns[1]))
    arns.append(service.has("acme", "4", "PAUSED", invoked_by=arns[0]))
    running.append(arns[3])
    #% endif
    other = service.has("globex", "5", "RUNNING")
    service.has("acme", "6", "DELETING")

    assert main(["tenant", "remove", "acme", "--yes", "--json"]) == 0
    printed = capsys.readouterr()
    receipt = json.loads(printed.out)
    assert list(service.status) == [other]
    assert service.calls[: len(running)] == [("Stop", arn) for arn in running]
    assert sorted(service.calls[len(running) :]) == sorted(("Delete", arn) for arn in arns)
    kept = 0
    #% if cookiecutter.__invoke
    kept = 1
    assert receipt["stays"].pop("1 usage records") == "until: tenant remove acme --usage"
    #% endif
    assert rows(table) == {"acme": kept, "globex": before["globex"]}
    gone = {"executions": len(arns), "rows": before["acme"] - kept}
    #% if cookiecutter.fan_out == "yes"
    gone["objects"] = 3
    assert [each.key for each in bucket.objects.all()] == ["tenants/acmes/input.jsonl"]
    #% endif
    assert (receipt["tenant"], receipt["removed"]) == ("acme", gone)
    assert receipt["stays"]["logs"] == "for 7 days from when a line was written"
    charged = receipt["stays"]["what Lambda charges for the storage of executions"]
    assert charged == "for 9 days from when one ended"
    assert f"acme has {len(arns)} executions, " in printed.err
    assert f". {len(running)} run, and are stopped.\n" in printed.err
    #% if cookiecutter.__invoke
    assert main(["tenant", "remove", "acme", "--yes", "--usage"]) == 0
    assert "usage" not in capsys.readouterr().out
    assert rows(table)["acme"] == 0
    #% endif
    assert main(["tenant", "remove", "acme", "--yes"]) == 1
    assert capsys.readouterr().err == "tenant acme is unknown: there is nothing to remove\n"


def test_an_interrupted_removal_goes_on(
    service: Service, add: Add, table: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was started meanwhile goes, too; and no start is accepted from the beginning on."""
    acme = add("acme")
    arns = [service.has("acme", str(number), "RUNNING") for number in range(3)]
    service.errors = ["ResourceNotFoundException", "TooManyRequestsException"]

    assert main(["tenant", "remove", "acme", "--yes"]) == 1
    assert "TooManyRequestsException" in capsys.readouterr().err
    assert acme.profile().status == "SUSPENDED"
    Registry(table, TABLE).delete("acme", PROFILE)  # as if that had come first
    assert main(["tenant", "remove", "acme", "--yes"]) == 0
    assert service.status == {}
    out = capsys.readouterr().out
    assert out.startswith(f"removed of acme: {len(arns)} executions, ")
    assert "\nstays: dead letters, for 14 days from when an execution failed or was stop" in out


def test_nothing_goes_that_nobody_has_agreed_to(
    service: Service,
    add: Add,
    table: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = list[str]()

    def ask(text: str) -> str:
        asked.append(text)
        return "n"

    monkeypatch.setattr("builtins.input", ask)
    fill(table, add("acme"))
    service.has("acme", "1", "RUNNING")
    before = rows(table)

    assert main(["tenant", "remove", "acme"]) == 1
    assert asked == ["Remove acme? It cannot be brought back. [y/N] "]
    assert capsys.readouterr().err.endswith("nothing has been removed\n")
    assert (rows(table), service.calls) == (before, [])


def test_what_does_not_stop_is_not_deleted(
    service: Service,
    add: Add,
    table: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erasure, "STOP_SECONDS", -1)
    add("acme")
    service.has("acme", "1", "RUNNING")

    assert main(["tenant", "remove", "acme", "--yes"]) == 1
    assert capsys.readouterr().err.endswith("1 executions are still there: run this again\n")
    assert rows(table)["acme"] == 1


def test_the_local_aws_keeps_executions_until_it_is_down(
    service: Service, add: Add, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "use_local_aws", lambda: None)
    monkeypatch.setenv("LOCAL", "1")
    add("acme")
    arn = service.has("acme", "1", "RUNNING")

    assert main(["tenant", "remove", "acme", "--yes", "--json"]) == 0
    receipt = json.loads(capsys.readouterr().out)
    assert receipt["removed"]["executions"] == 0
    assert receipt["stays"]["executions"] == "until the local AWS is down"
    assert service.status == {arn: "STOPPED"}


#% if cookiecutter.fan_out == "yes"
def test_a_chunk_is_found_by_whoever_goes_on(
    service: Service, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    """So it goes before the execution whose history tells of it."""
    add("acme")
    outer = service.has("acme", "1", "FAILED")
    chunk = service.has("acme", "2", "FAILED", invoked_by=outer)
    service.errors = ["", "TooManyRequestsException"]

    assert main(["tenant", "remove", "acme", "--yes"]) == 1
    assert "TooManyRequestsException" in capsys.readouterr().err
    assert main(["tenant", "remove", "acme", "--yes"]) == 0
    assert service.status == {}
    assert service.calls[0] == ("Delete", chunk)


def test_an_object_that_cannot_be_deleted_is_said(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 answers that it has succeeded, and names what has not."""
    del service
    s3 = stack.client("s3")
    monkeypatch.setattr(stack, "client", {"s3": s3}.__getitem__)
    monkeypatch.setattr(erasure, "objects_of", lambda _: ["tenants/acme/a"])
    with Stubber(s3) as stub:
        error = {"Key": "tenants/acme/a", "Code": "AccessDenied"}
        stub.add_response("delete_objects", {"Errors": [error]})
        with pytest.raises(stack.StackError, match="tenants/acme/a could not be deleted: AccessD"):
            erasure.delete_objects("acme")


#% endif
def test_the_receipt_speaks_of_this_stack() -> None:
    """How long it keeps what no verb deletes."""
    resources = local.template()["Resources"]
    seconds = erasure.DEAD_LETTER_DAYS * 24 * 60 * 60
    recovery = resources["TenantTable"]["Properties"]["PointInTimeRecoverySpecification"]

    assert resources["DeadLetterQueue"]["Properties"]["MessageRetentionPeriod"] == seconds
    assert recovery == {"PointInTimeRecoveryEnabled": True}
    assert erasure.BACKUP_DAYS == 35  # if it is not said
