"""Credentials that can reach one tenant's data and executions, and nothing else.

The tenant role's policy speaks of ``${aws:PrincipalTag/TenantId}``; the tag is set here, when the
role is assumed, and cannot be changed afterwards.
"""

from __future__ import annotations

import logging
import os
import time
from functools import cache, lru_cache
from typing import Any

import boto3
from botocore.config import Config

SESSION_SECONDS = 15 * 60
"""The shortest session that STS gives (AWS STS API reference, AssumeRole, read 2026-11-22)."""

PERIOD_SECONDS = 10 * 60
"""How long a client is used: it has at least five minutes left when it is given out."""

# A function of the stack has 30 seconds, and has to say itself when AWS does not answer.
CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard"})

# LogLevel is the workflow's: at DEBUG these would log callback ids, tokens and credentials.
for name in ("aws_durable_execution_sdk_python", "boto3", "botocore", "urllib3"):
    logging.getLogger(name).setLevel(logging.INFO)


def tenant_client(service: str, tenant_id: str) -> Any:
    """A client of an AWS service that acts for one tenant."""
    return _client(service, tenant_id, int(time.time()) // PERIOD_SECONDS)


@lru_cache(maxsize=64)
def _client(service: str, tenant_id: str, period: int) -> Any:
    credentials = _credentials(tenant_id, period)
    return _session().client(
        service,
        config=CONFIG,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )


@lru_cache(maxsize=256)
def _credentials(tenant_id: str, period: int) -> Any:
    del period  # a new one makes new credentials
    return boto3.client("sts", config=CONFIG).assume_role(
        RoleArn=os.environ["TENANT_ROLE_ARN"],
        RoleSessionName=f"tenant-{tenant_id}",
        DurationSeconds=SESSION_SECONDS,
        Tags=[{"Key": "TenantId", "Value": tenant_id}],
    )["Credentials"]


@cache
def _session() -> boto3.Session:
    """One for all clients: a session holds the models of the services, which are large."""
    return boto3.Session()
