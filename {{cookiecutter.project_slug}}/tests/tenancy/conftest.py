"""A DynamoDB and an STS on this machine: moto, behind a server that takes one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from ops import local, tenant
from workflow import credentials, reconciler, starter
from workflow.registry import TablePartition

TABLE = "tenants"
TENANT_ROLE = "arn:aws:iam::123456789012:role/tenant"
EVERYTHING_ELSE = "http://127.0.0.1:9"  # nothing listens there


@pytest.fixture(scope="session")
def aws() -> Iterator[str]:
    """The address of the server; one request at a time, which makes its transactions atomic."""
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
        "AWS_ENDPOINT_URL": EVERYTHING_ELSE,
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
    credentials._client.cache_clear()
    credentials._credentials.cache_clear()
    starter._lambda.cache_clear()
    reconciler._client.cache_clear()
    client = boto3.client("dynamodb")
    properties = local.template()["Resources"]["TenantTable"]["Properties"]
    wanted = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    client.create_table(TableName=TABLE, **{name: properties[name] for name in wanted})
    yield client
    client.delete_table(TableName=TABLE)


@pytest.fixture
def add(table: Any) -> Callable[..., TablePartition]:
    """Add a tenant: ``add("acme", running_executions=1)`` overrides a number of its tier."""

    def add_tenant(tenant_id: str, tier: str = "standard", **overrides: int) -> TablePartition:
        tenant.add(table, TABLE, tenant_id, tier)
        table.update_item(
            TableName=TABLE,
            Key=tenant._key(tenant_id),
            UpdateExpression="SET overrides = :overrides",
            ExpressionAttributeValues={
                ":overrides": {"M": {name: {"N": str(n)} for name, n in overrides.items()}}
            },
        )
        return TablePartition(tenant_id, table)

    return add_tenant
