"""A DynamoDB and an STS on this machine: moto, behind a server that takes one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import boto3
import pytest

from chassis.functions import reconciler, starter
from chassis.tenancy import credentials, stores
from chassis.tenancy.profile import Limits, Profile, read_tiers
from chassis.tenancy.registry import TablePartition
from ops import local
from ops.tenants import Registry
from tests.chassis import sample

TABLE = "tenants"
TENANT_ROLE = "arn:aws:iam::123456789012:role/tenant"
NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there: what is asked of another service fails."""

Add = Callable[..., TablePartition]


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of the server; one request at a time, which makes its transactions atomic."""
    # Only a worker that needs moto should take the time to import it.
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app))
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def table(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The table of the template, empty, and the environment of the stack's functions."""
    for name, value in {
        "AWS_ENDPOINT_URL": NOWHERE,
        "AWS_ENDPOINT_URL_DYNAMODB": aws,
        "AWS_ENDPOINT_URL_STS": aws,
        "AWS_DEFAULT_REGION": "us-east-1",
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
    for made in (
        credentials._client,
        credentials._credentials,
        starter._lambda,
        reconciler._client,
        stores._sns,
    ):
        made.cache_clear()
    client = boto3.client("dynamodb")
    properties = local.template()["Resources"]["TenantTable"]["Properties"]
    wanted = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    client.create_table(TableName=TABLE, **{name: properties[name] for name in wanted})
    yield client
    client.delete_table(TableName=TABLE)


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


def admit(partition: TablePartition, name: str, now: int = 0, **limits: int) -> bool:
    """Count a start as the starter does; ``limits`` stand instead of those of the tier "large"."""
    tier = read_tiers(sample.definition().tiers)["large"]
    return partition.admit(name, partition.profile(), cast("Limits", {**tier, **limits}), now)


def running(client: Any, tenant_id: str) -> int:
    """How many executions of a tenant are counted as running."""
    return TablePartition(tenant_id, client, TABLE).profile().running


def stop_clock(monkeypatch: pytest.MonkeyPatch, module: ModuleType, now: float) -> None:
    """Let one module read this time, in seconds; everybody else reads the real one."""
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: now))
