"""A DynamoDB and an STS on this machine: moto, behind a server that takes one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from moto.backends import get_backend

from chassis.functions import reconciler, starter
from chassis.tenancy import credentials, stores
from chassis.tenancy.approvals import Approvals, Asked, approval_id
from chassis.tenancy.profile import Limits, Profile, read_tiers
from chassis.tenancy.registry import NewRun, TablePartition
from ops import local
from ops.tenants import Registry
from tests.chassis import sample

ACCOUNT_ID, REGION, TABLE = "123456789012", "us-east-1", "tenants"
TENANT_ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/tenant"
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there: what is asked of another service fails."""

TOKEN = approval_id("arn", "approval") + 32 * "5"
"""Answers what ``ask`` asks, unless it is told otherwise."""

CLIENTS = (
    credentials._client,
    credentials._credentials,
    starter._lambda,
    reconciler._client,
    stores._sns,
)
"""What keeps clients of the addresses that were there first."""

Add = Callable[..., TablePartition]


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of the server; one request at a time, which makes its transactions atomic."""
    with local.aws_server() as address:
        yield address


@pytest.fixture(scope="session")
def dynamodb(aws: str) -> Any:
    """A client, and the table of the template: to make them takes longer than most tests."""
    access = {"region_name": REGION, "aws_access_key_id": "x", "aws_secret_access_key": "x"}
    client = boto3.client("dynamodb", endpoint_url=aws, **access)
    local.create_table(client, TABLE)
    return client


@pytest.fixture
def table(aws: str, dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The table of the template, empty, and the environment of the stack's functions."""
    for name, value in {
        "AWS_ENDPOINT_URL": NOWHERE,
        "AWS_ENDPOINT_URL_DYNAMODB": aws,
        "AWS_ENDPOINT_URL_STS": aws,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "TENANT_TABLE": TABLE,
        "TENANT_ROLE_ARN": TENANT_ROLE,
        "NESTING": "FLAT",
        "ITEMS_PER_CHECKPOINT": "1",
        "TENANCY": "pool",
        "TENANT_ID": "",
        "WORKFLOW_ALIAS_ARN": "arn:aws:lambda:us-east-1:123456789012:function:workflow:live",
    }.items():
        monkeypatch.setenv(name, value)
    yield dynamodb
    get_backend("dynamodb")[ACCOUNT_ID][REGION].tables[TABLE].items.clear()


def forget_clients() -> None:
    """Let each module make clients anew, for other addresses."""
    for made in CLIENTS:
        made.cache_clear()


@pytest.fixture
def new_clients() -> Iterator[None]:
    """For a test with other clients than the others: it keeps none, and leaves none."""
    forget_clients()
    yield
    forget_clients()


#% if cookiecutter.fan_out == "yes"
@pytest.fixture
def bucket(table: Any, aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket, and the environment of the functions that use it."""
    del table  # it sets the rest of the environment
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws)
    monkeypatch.setenv("BUCKET", "objects")
    resource = boto3.resource("s3").create_bucket(Bucket="objects")
    yield resource
    resource.objects.delete()
    resource.delete()


#% endif
@pytest.fixture
def add(table: Any) -> Add:
    """Add a tenant: ``add("acme", running_executions=1)`` overrides a number of its tier."""
    registry = Registry(table, TABLE)

    def add_tenant(tenant_id: str, tier: str = "large", **overrides: int) -> TablePartition:
        registry.add(Profile(tenant_id, "ACTIVE", tier, overrides))
        return TablePartition(tenant_id, table, TABLE)

    return add_tenant


def admit(
    partition: TablePartition,
    name: str,
    now: int = 0,
    *,
    content: str = "same",
    limits: Mapping[str, int] | None = None,
) -> bool:
    """Count a start as the starter does; ``limits`` stand instead of those of the tier "large"."""
    tier = read_tiers(sample.definition().tiers)["large"]
    allowed = cast("Limits", {**tier, **(limits or {})})
    run = NewRun(name=name, workflow_id="wf-1", content=content)
    return partition.admit(run, partition.profile(), allowed, now)


def ask(client: Any, tenant_id: str = "acme", secret: str = 32 * "5", **of: Any) -> Asked:
    """Ask for an approval as the workflow does; ``of`` are fields of what is asked."""
    fields = {
        "workflow_id": "wf-1",
        "execution_arn": "arn",
        "approval": "approval",
        "asked_at": 0,
        "expires_at": 2**32,
        "started_by": None,
        "evidence": {"count": 1},
    }
    asked = Asked(**{**fields, **of})
    approvals = Approvals(tenant_id, client, TABLE)
    approvals.ask(asked, "the-callback", asked.id + secret, kept_days=400)
    return asked


def running(client: Any, tenant_id: str) -> int:
    """How many executions of a tenant are counted as running."""
    return TablePartition(tenant_id, client, TABLE).profile().running


def stop_clock(monkeypatch: pytest.MonkeyPatch, module: ModuleType, now: float) -> None:
    """Let one module read this time, in seconds; everybody else reads the real one."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now))
