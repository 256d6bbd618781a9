"""What ``python -m ops tenant`` does, on the table of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chassis.tenancy.profile import Profile, concurrent_invocations, read_tiers
from chassis.wire import JsonObject
from ops import stack, tenants
from ops.__main__ import main
from tests.chassis import sample
from tests.chassis.aws import TABLE, Add, admit

Run = Callable[..., int]
TIERS = read_tiers(sample.definition().tiers)


class Account:
    """The Lambda API, as far as it speaks of concurrency."""

    unreserved = 1_000
    reserved: int | None = None
    error: str | None = None

    def get_account_settings(self) -> JsonObject:
        if self.error:
            raise ClientError({"Error": {"Code": self.error}}, "GetAccountSettings")
        return {
            "AccountLimit": {
                "ConcurrentExecutions": 1_000,
                "UnreservedConcurrentExecutions": self.unreserved,
            }
        }

    def get_function_concurrency(self, FunctionName: str) -> JsonObject:  # noqa: N803
        assert FunctionName == "arn:aws:lambda:us-east-1:123456789012:function:workflow"
        return {"ReservedConcurrentExecutions": self.reserved} if self.reserved else {}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, with the tiers of the sample."""
    monkeypatch.setattr(tenants, "tiers", lambda: TIERS)
    return lambda *arguments: main(["tenant", *arguments])


@pytest.fixture(autouse=True)
def _stack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack has the table, for the tests that need one."""
    if "table" in request.fixturenames:
        table = request.getfixturevalue("table")
        monkeypatch.setattr(
            stack, "client", lambda service: Account() if service == "lambda" else table
        )
        outputs = {
            "TenantTableName": TABLE,
            "WorkflowAliasArn": "arn:aws:lambda:us-east-1:123456789012:function:workflow:live",
        }
        monkeypatch.setattr(stack, "output", outputs.__getitem__)


def test_adding_twice_changes_nothing(
    run: Run, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    acme = add("acme", "large")

    assert run("add", "globex", "--tier", "small", "--limits", "map_concurrency=1") == 0
    assert run("add", "acme", "--tier", "small") == 1
    assert "there already: nothing was changed" in capsys.readouterr().err
    assert acme.profile() == Profile("acme", "ACTIVE", "large", {})
    assert run("show", "globex") == 0
    assert json.loads(capsys.readouterr().out)["limits"]["map_concurrency"] == 1


def test_suspend_and_resume(run: Run, add: Add) -> None:
    acme = add("acme")
    assert run("suspend", "acme") == 0
    assert acme.profile().status == "SUSPENDED"
    assert run("resume", "acme") == 0
    assert acme.profile().status == "ACTIVE"


def test_set_changes_what_is_given_and_keeps_the_rest(run: Run, add: Add) -> None:
    acme = add("acme", "small", items_per_execution=9)
    admit(acme, "acme_1")
    assert run("set", "acme", "--tier", "large") == 0
    kept = {"running": 1, "starts": 1}
    own = {"items_per_execution": 9}
    assert acme.profile() == Profile("acme", "ACTIVE", "large", own, **kept)
    assert run("set", "acme", "--limits", "map_concurrency=3 running_executions=50") == 0
    changed = {"map_concurrency": 3, "running_executions": 50}
    assert acme.profile() == Profile("acme", "ACTIVE", "large", changed, **kept)
    assert run("set", "acme", "--limits", "none") == 0
    assert acme.profile().limits(TIERS) == TIERS["large"]


@pytest.mark.parametrize(
    "arguments", [["suspend"], ["resume"], ["show"], ["set", "--tier", "small"]]
)
@pytest.mark.usefixtures("table")
def test_an_unknown_tenant(
    run: Run, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments[0], "nobody", *arguments[1:]) == 1
    assert capsys.readouterr().err.startswith("tenant nobody is unknown")


def test_show_and_list(run: Run, add: Add, capsys: pytest.CaptureFixture[str]) -> None:
    add("acme", "small", items_per_execution=9)
    add("globex")
    assert run("show", "acme") == 0
    assert json.loads(capsys.readouterr().out) == {
        "tenantId": "acme",
        "status": "ACTIVE",
        "tier": "small",
        "running": 0,
        "limits": {**TIERS["small"], "items_per_execution": 9},
    }
    assert run("list") == 0
    *lines, total = capsys.readouterr().out.splitlines()
    small, large = (str(concurrent_invocations(TIERS[name])) for name in ("small", "large"))
    assert [line.split() for line in sorted(lines)] == [
        ["acme", "ACTIVE", "small", "0", "running,", small, "at", "a", "time"],
        ["globex", "ACTIVE", "large", "0", "running,", large, "at", "a", "time"],
    ]
    both = int(small) + int(large)
    assert total == (
        f"all tenants can have {both} concurrent invocations of the workflow; there are 1000"
    )
    assert run("list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["tenantId"]: row["tier"] for row in rows} == {"acme": "small", "globex": "large"}


NEEDED = concurrent_invocations({**TIERS["small"], "running_executions": 2 + 7})


@pytest.mark.parametrize(
    ("account", "warning"),
    [
        ({"unreserved": NEEDED}, ""),
        ({"unreserved": NEEDED - 1}, f"all tenants can have {NEEDED} concurrent invocations of "),
        ({"reserved": NEEDED - 1}, f"; there are {NEEDED - 1}\n"),
        ({"reserved": NEEDED, "unreserved": NEEDED - 1}, ""),
        ({"error": "AccessDeniedException"}, "; how many there are: AccessDeniedException\n"),
    ],
)
def test_who_gives_tenants_more_than_there_is_hears_of_it(
    run: Run,
    add: Add,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    account: JsonObject,
    warning: str,
) -> None:
    """A warning, and it is done: a row that somebody has broken has no share."""
    add("broken", "gold")
    for name, value in account.items():
        monkeypatch.setattr(Account, name, value)

    assert run("add", "acme", "--tier", "small") == 0
    capsys.readouterr()
    assert run("add", "globex", "--tier", "small", "--limits", "running_executions=7") == 0
    added = capsys.readouterr().err
    assert run("set", "globex", "--tier", "small") == 0
    assert capsys.readouterr().err == added
    assert added.startswith("warning: ") is bool(warning)
    assert warning in added


def test_show_says_what_is_wrong_with_a_row_that_somebody_has_edited(
    run: Run, add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    add("acme", "gold")
    assert run("show", "acme") == 1
    assert "the tier 'gold', expected small" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "ACME"], "the tenant is 'ACME', expected 3 to 24 of a-z and 0-9"),
        (["add"], "the tenant is '', expected 3 to 24 of a-z and 0-9"),
        (["add", "acme"], "the tier is '', expected one of small, large"),
        (["add", "acme", "--tier", "gold"], "the tier is 'gold', expected one of"),
        (["set", "acme"], "nothing to set"),
        (["set", "acme", "--tier", "gold"], "the tier is 'gold', expected one of"),
        (["set", "acme", "--limits", "items=5"], "there is no limit 'items'"),
        (["set", "acme", "--limits", "map_concurrency"], "expected a number from 1"),
        (["set", "acme", "--limits", "map_concurrency=0"], "expected a number from 1"),
    ],
)
def test_misuse(
    run: Run, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


def test_the_file_of_the_tiers_is_the_workflows() -> None:
    """Whatever the owner calls them, ``tenant add`` offers them."""
    tiers = tenants.tiers()

    assert tiers
    assert all(set(limits) == set(tenants.LIMITS) for limits in tiers.values())


def test_the_types_of_the_client_do_not_matter(table: Any) -> None:
    """A registry of another table, as the tests of a deployed stack use it."""
    registry = tenants.Registry(table, TABLE)
    registry.add(Profile("acme", "ACTIVE", "large", {}))

    assert [profile.tenant_id for profile in registry.every()] == ["acme"]
