"""The stack of samconfig.toml, and a local AWS that is not up."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import boto3
import pytest

from ops import stack
from tests.chassis.aws import TABLE
from tests.chassis.ops.lambda_api import FUNCTION, Service, client


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Each test has an environment of its own, with a stack, and without a local AWS."""
    known = {"ENV": next(iter(stack.sections())), "LOCAL_PORT": str(free_ports())}
    with patch.dict(os.environ, known):
        os.environ.pop("LOCAL", None)
        yield


@pytest.fixture(autouse=True)
def _own_levels() -> Iterator[None]:
    """What a verb turns down in the log of its process is as it was for the next test."""
    sdk = "aws_durable_execution_sdk_python"
    loggers = [logging.getLogger(name) for name in ("workflow", "werkzeug", sdk, f"{sdk}_testing")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def service(table: Any, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A stack with the table of this machine, and executions that can be paused and deleted."""
    found = Service()
    clients = {"lambda": client("lambda"), "dynamodb": table}
    monkeypatch.setattr(clients["lambda"], "_make_api_call", found.call)
    monkeypatch.setattr(stack, "client", lambda name: clients.get(name) or boto3.client(name))
    outputs = {
        "TenantTableName": TABLE,
        "WorkflowAliasArn": f"{FUNCTION}:live",
        #% if cookiecutter.fan_out == "yes"
        "ObjectBucketName": "objects",
        #% endif
    }
    monkeypatch.setattr(stack, "output", outputs.__getitem__)
    days = {"LogRetentionDays": "7", "HistoryRetentionDays": "9"}
    monkeypatch.setattr(stack, "parameter", days.__getitem__)
    return found


def free_ports() -> int:
    """A port that nobody listens at, nor at the next."""
    while True:
        with socket.create_server((stack.HOST, 0)) as first:
            port = int(first.getsockname()[1])
        if port < 65_534:
            try:
                socket.create_server((stack.HOST, port + 1)).close()
            except OSError:
                continue
            return port
