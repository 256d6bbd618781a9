"""Each tenant has credentials of its own, which STS is asked for once."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from chassis.tenancy import credentials
from tests.chassis.aws import TENANT_ROLE, stop_clock

pytestmark = pytest.mark.usefixtures("table", "new_clients")


def test_credentials_are_the_tenants_own_and_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    make_client = boto3.client

    def client(service: str, **keywords: Any) -> Any:
        made = make_client(service, **keywords)
        if service == "sts":
            made.meta.events.register(
                "provide-client-params.sts.AssumeRole",
                lambda params, **_: asked.append(params),
            )
        return made

    monkeypatch.setattr(boto3, "client", client)
    first = credentials.tenant_client("dynamodb", "acme")
    again = credentials.tenant_client("lambda", "acme")
    other = credentials.tenant_client("dynamodb", "globex")

    def key(made: Any) -> str:
        return str(made._request_signer._credentials.access_key)

    assert asked == [
        {
            "RoleArn": TENANT_ROLE,
            "RoleSessionName": f"tenant-{name}",
            "DurationSeconds": 900,
            "Tags": [{"Key": "TenantId", "Value": name}],
        }
        for name in ("acme", "globex")
    ]
    assert key(first) == key(again) != key(other)


def test_a_client_is_given_out_with_five_minutes_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are made anew when a period begins, whenever in it they were made."""
    last_second = credentials.PERIOD_SECONDS - 1
    clients = []
    for now in (0, last_second, last_second + 1):
        stop_clock(monkeypatch, credentials, now)
        clients.append(credentials.tenant_client("dynamodb", "acme"))

    assert clients[0] is clients[1] is not clients[2]
    assert credentials.SESSION_SECONDS - last_second > 5 * 60
