"""The registry: counted exactly, never overwritten, and no tenant reaches another's items."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config

from ops import stack, tenant
from tests.tenancy.conftest import TABLE
from workflow import credentials
from workflow.registry import ApprovalNotFoundError, TablePartition
from workflow.tenants import TIERS, TenantRefusedError

Add = Callable[..., TablePartition]
Run = Callable[..., int]
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:1/durable-execution/acme_1/id"


def running(client: Any, tenant_id: str) -> int:
    item = client.get_item(TableName=TABLE, Key=tenant._key(tenant_id), ConsistentRead=True)["Item"]
    return int(item["running"]["N"])


def test_200_starts_of_two_tenants_end_with_exactly_their_limits(table: Any, add: Add) -> None:
    add("acme")
    add("globex")
    client = boto3.client("dynamodb", config=Config(max_pool_connections=200))

    def admit(number: int) -> str | None:
        tenant_id = ("acme", "globex")[number % 2]
        try:
            TablePartition(tenant_id, client).admit(f"{tenant_id}_{number}", 10, number)
        except TenantRefusedError:
            return None
        return tenant_id

    with ThreadPoolExecutor(200) as threads:
        admitted = list(threads.map(admit, range(200)))

    assert (admitted.count("acme"), admitted.count("globex")) == (10, 10)
    assert (running(table, "acme"), running(table, "globex")) == (10, 10)


def test_the_same_execution_is_counted_once(table: Any, add: Add) -> None:
    acme = add("acme")

    assert acme.admit("acme_1", 5, 0) is True
    assert acme.admit("acme_1", 5, 0) is False
    assert running(table, "acme") == 1


def test_an_end_is_counted_once(table: Any, add: Add) -> None:
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    acme.admit("acme_2", 5, 0)

    assert acme.release("acme_1", "SUCCEEDED", 0) is True
    assert acme.release("acme_1", "FAILED", 0) is False
    assert acme.release("acme_unknown", "FAILED", 0) is False
    assert running(table, "acme") == 1


def test_an_execution_that_is_not_counted_may_not_run(add: Add) -> None:
    acme = add("acme")
    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(ARN)
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)
    acme.note_arn(ARN)  # a step may run twice
    acme.release("acme_1", "SUCCEEDED", 0)

    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(ARN)


def test_another_execution_of_a_counted_name_may_not_run(table: Any, add: Add) -> None:
    """As when the service has forgotten one whose end nobody has heard of."""
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)

    with pytest.raises(TenantRefusedError, match="not counted as running"):
        acme.note_arn(f"{ARN}2")
    assert acme.release("acme_1", "FAILED", 0, f"{ARN}2") is False
    assert running(table, "acme") == 1
    assert acme.release("acme_1", "SUCCEEDED", 0, ARN) is True
    assert running(table, "acme") == 0


def test_one_that_was_given_up_and_has_ended_since_is_not_started_again(
    table: Any, add: Add
) -> None:
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    assert acme.release("acme_1", "NOT_STARTED", 0) is True
    assert acme.release("acme_1", "FAILED", 0, ARN) is False  # its first step was refused

    with pytest.raises(TenantRefusedError, match=r"processed before \(FAILED\)"):
        acme.admit("acme_1", 5, 0)
    assert running(table, "acme") == 0


def test_an_execution_that_was_seen_is_not_given_up(table: Any, add: Add) -> None:
    """Its start and the reconciler can meet: the one or the other is done."""
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)

    assert acme.release("acme_1", "NOT_STARTED", 0) is False
    assert running(table, "acme") == 1


def test_a_suspended_tenant_starts_nothing(table: Any, add: Add) -> None:
    acme = add("acme")
    tenant.set_status(table, TABLE, "acme", "SUSPENDED")

    with pytest.raises(TenantRefusedError):
        acme.admit("acme_1", 5, 0)
    with pytest.raises(TenantRefusedError, match="tenant acme is suspended"):
        acme.profile().require_active()


def test_a_row_may_override_a_number_of_its_tier(add: Add) -> None:
    limits = add("acme", "free", running_executions=7).profile().limits()

    assert (limits["running_executions"], limits["map_concurrency"]) == (7, 2)


def test_an_approval_is_found_under_its_own_tenant_only(add: Add) -> None:
    acme, globex = add("acme"), add("globex")
    acme.put_approval("token", "callback", "arn", expires_at=100)

    assert acme.find_approval("token", now=99) == "callback"
    for partition, token, now in ((globex, "token", 99), (acme, "other", 99), (acme, "token", 101)):
        with pytest.raises(ApprovalNotFoundError):
            partition.find_approval(token, now)


def test_an_approval_is_consumed_once(table: Any, add: Add) -> None:
    acme = add("acme")
    acme.put_approval("token", "the-callback", "arn", expires_at=100)
    acme.close_approval("token")

    with pytest.raises(ApprovalNotFoundError):
        acme.find_approval("token", now=1)
    assert "the-callback" not in str(table.scan(TableName=TABLE)["Items"])


def test_an_execution_ends_also_when_there_is_nothing_to_count_down(table: Any, add: Add) -> None:
    acme = add("acme")
    acme.admit("acme_1", 5, 0)
    table.delete_item(TableName=TABLE, Key=tenant._key("acme"))

    assert acme.release("acme_1", "FAILED", 0) is True
    assert acme.release("acme_1", "FAILED", 0) is False


def test_transactions_that_meet_are_tried_again(
    table: Any, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("acme")
    write, conflicts = table.transact_write_items, [1, 1, 1]

    def conflicting(**request: Any) -> Any:
        if conflicts:
            conflicts.pop()
            reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
            raise table.exceptions.TransactionCanceledException(
                {"Error": {"Code": "x"}, "CancellationReasons": reasons}, "TransactWriteItems"
            )
        return write(**request)

    monkeypatch.setattr(table, "transact_write_items", conflicting)

    assert TablePartition("acme", table).admit("acme_1", 5, 0) is True
    assert conflicts == []


@pytest.mark.parametrize(
    ("name", "number"),
    [("callback_timeout_minutes", 0), ("callback_timeout_minutes", -1), ("concurrency", 5)],
)
def test_an_override_that_would_limit_nothing_is_refused(add: Add, name: str, number: int) -> None:
    with pytest.raises(TenantRefusedError, match=f"the override {name}={number}, expected 1"):
        add("acme", **{name: number}).profile().limits()


def test_an_unknown_tier_is_refused(add: Add) -> None:
    with pytest.raises(TenantRefusedError, match="the tier 'gold', expected free, standard"):
        add("acme", "gold").profile().limits()


def test_the_token_is_not_in_the_table(table: Any, add: Add) -> None:
    add("acme").put_approval("the-token", "callback", "arn", expires_at=100)

    assert "the-token" not in str(table.scan(TableName=TABLE)["Items"])


def test_every_key_that_is_asked_for_is_the_tenants_own(table: Any, add: Add) -> None:
    add("acme")
    keys: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        text = json.dumps(params)
        keys.extend(part.split('"')[0] for part in text.split("TENANT#")[1:])

    table.meta.events.register("before-parameter-build.dynamodb", note)
    acme = TablePartition("acme", table)
    acme.profile()
    acme.admit("acme_1", 5, 0)
    acme.note_arn(ARN)
    acme.arn_of("acme_1")
    acme.look_again("acme_1", 1)
    acme.release("acme_1", "SUCCEEDED", 0)
    acme.put_approval("token", "callback", "arn", expires_at=100)
    acme.find_approval("token", now=1)
    acme.close_approval("token")

    assert len(keys) == 11
    assert set(keys) == {"acme"}


def test_credentials_are_the_tenants_own_and_cached(
    table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del table
    tags: list[Any] = []
    make_client = boto3.client

    def client(service: str, **keywords: Any) -> Any:
        made = make_client(service, **keywords)
        if service == "sts":
            made.meta.events.register(
                "provide-client-params.sts.AssumeRole",
                lambda params, **_: tags.append((params["RoleSessionName"], params["Tags"])),
            )
        return made

    monkeypatch.setattr(boto3, "client", client)
    first = credentials.tenant_client("dynamodb", "acme")
    again = credentials.tenant_client("lambda", "acme")
    other = credentials.tenant_client("dynamodb", "globex")

    def key(made: Any) -> str:
        return str(made._request_signer._credentials.access_key)

    assert tags == [
        (f"tenant-{name}", [{"Key": "TenantId", "Value": name}]) for name in ("acme", "globex")
    ]
    assert key(first) == key(again) != key(other)


class TestAdministration:
    """What ``make tenant-...`` does."""

    @pytest.fixture
    def run(self, table: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
        """The command, on the table of this machine."""
        monkeypatch.setattr(stack, "client", lambda _: table)
        monkeypatch.setattr(stack, "output", lambda _: TABLE)
        return lambda *arguments: tenant.main(list(arguments))

    def test_adding_twice_changes_nothing(self, table: Any, add: Add) -> None:
        add("acme", "premium")

        with pytest.raises(tenant.NotDoneError, match="there already"):
            tenant.add(table, TABLE, "acme", "free")
        assert TablePartition("acme", table).profile().tier == "premium"

    def test_suspend_and_resume(self, run: Run, add: Add) -> None:
        acme = add("acme")
        assert run("suspend", "--tenant", "acme") == 0
        assert acme.profile().status == "SUSPENDED"
        assert run("resume", "--tenant", "acme") == 0
        assert acme.profile().status == "ACTIVE"

    def test_set_changes_what_is_given_and_keeps_the_rest(self, run: Run, add: Add) -> None:
        acme = add("acme", "free", items_per_execution=9)
        assert run("set", "--tenant", "acme", "--tier", "premium") == 0
        assert acme.profile().limits()["items_per_execution"] == 9
        assert acme.profile().tier == "premium"
        assert run("set", "--tenant", "acme", "--limits", "map_concurrency=3") == 0
        assert dict(acme.profile().overrides) == {"map_concurrency": 3}
        assert acme.profile().tier == "premium"
        assert run("set", "--tenant", "acme", "--limits", "none") == 0
        assert acme.profile().limits() == TIERS["premium"]
        assert acme.profile().status == "ACTIVE"

    @pytest.mark.parametrize(
        "arguments", [["suspend"], ["resume"], ["remove"], ["show"], ["set", "--tier", "free"]]
    )
    def test_an_unknown_tenant(
        self, run: Run, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(*arguments, "--tenant", "nobody") == 1
        assert capsys.readouterr().err.startswith("tenant nobody is unknown")

    def test_a_tenant_with_running_executions_is_not_removed(
        self, run: Run, add: Add, capsys: pytest.CaptureFixture[str]
    ) -> None:
        acme = add("acme")
        acme.admit("acme_1", 5, 0)

        assert run("remove", "--tenant", "acme") == 1
        assert "nothing was removed" in capsys.readouterr().err
        acme.release("acme_1", "SUCCEEDED", 0)
        assert run("remove", "--tenant", "acme") == 0
        with pytest.raises(TenantRefusedError, match="unknown"):
            acme.profile()

    def test_show_and_list(self, run: Run, add: Add, capsys: pytest.CaptureFixture[str]) -> None:
        add("acme", "free", items_per_execution=9)
        assert run("show", "--tenant", "acme") == 0
        assert json.loads(capsys.readouterr().out)["limits"]["items_per_execution"] == 9
        assert run("list") == 0
        assert capsys.readouterr().out.split() == ["acme", "ACTIVE", "free", "0", "running"]

    def test_show_says_what_is_wrong_with_a_row_that_somebody_has_edited(
        self, run: Run, add: Add, capsys: pytest.CaptureFixture[str]
    ) -> None:
        add("acme", "gold")
        assert run("show", "--tenant", "acme") == 1
        assert "the tier 'gold', expected free" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["add", "--tenant", "ACME"], "expected 3 to 24 of a-z and 0-9"),
            (["add", "--tenant", "acme"], "expected one of free, standard, premium"),
            (["add", "--tenant", "acme", "--tier", "gold"], "--tier is 'gold', expected one of"),
            (["set", "--tenant", "acme"], "nothing to set"),
            (["set", "--tenant", "acme", "--tier", "gold"], "--tier is 'gold', expected one of"),
            (["set", "--tenant", "acme", "--limits", "items=5"], "there is no limit 'items'"),
            (["set", "--tenant", "acme", "--limits", "map_concurrency"], "a whole number from 1"),
            (["set", "--tenant", "acme", "--limits", "map_concurrency=0"], "a whole number from 1"),
        ],
    )
    def test_misuse(
        self, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as exit_:
            tenant.main(arguments)
        assert exit_.value.code == 2
        assert message in " ".join(capsys.readouterr().err.split())
