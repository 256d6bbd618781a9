"""Fixtures: the real workflow on the SDK's own runner, with the environment of the template."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import copy
#% if cookiecutter.fan_out == "yes"
from pathlib import Path
#% endif
from typing import Any

import pytest
from aws_durable_execution_sdk_python import durable_execution, state
from aws_durable_execution_sdk_python_testing import DurableFunctionTestRunner
from aws_durable_execution_sdk_python_testing.executor import Executor

from ops import local
from tests.execution import Execution, FailItems, Start
from workflow import data_processor
from workflow.handler import PLUGINS
from workflow.models import ItemResult, WorkItem

LambdaHandler = Callable[[Any, Any], Any]
LOCAL_HANDLER = durable_execution(local.handler, plugins=PLUGINS)


@pytest.fixture(autouse=True, scope="session")
def _do_not_wait_between_invocations() -> Iterator[None]:
    """There is nothing to see in these waits.

    Each invocation of the SDK waits up to 100 ms for a thread to see that it should stop. After one
    that has failed the runner waits five seconds, as Lambda waits; so it does when a retry becomes
    due in the moment in which an invocation suspends.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "_STOP_SIGNAL_POLL_SECONDS", 0.005)
        patch.setattr(Executor, "RETRY_BACKOFF_SECONDS", 0)
        yield


#% if cookiecutter.fan_out == "yes"
@pytest.fixture(autouse=True)
def _own_objects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test has a folder of its own for the tenants' objects."""
    monkeypatch.setattr(local, "OBJECTS", tmp_path)


#% endif
@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an execution: ``start(event, CALLBACK_TIMEOUT="1s")`` changes the environment."""
    runners: list[DurableFunctionTestRunner] = []
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)

    def start_execution(
        event: Any, *, handler: LambdaHandler = LOCAL_HANDLER, **variables: str
    ) -> Execution:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        runner = local.runner(handler, poll_interval=0.005)
        runners.append(runner)
        tenant_id = event.get("tenantId") if isinstance(event, dict) else None
        return Execution(runner, runner.run_async(json.dumps(event), tenant_id=tenant_id))

    yield start_execution
    for runner in runners:
        runner.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def fail_items(monkeypatch: pytest.MonkeyPatch) -> FailItems:
    """Make the items whose data is in ``data`` raise ``error`` for a number of attempts."""

    def install(error: Exception, *data: Any, attempts: int = 100) -> dict[str, int]:
        calls: dict[str, int] = {}
        process = data_processor.process_item

        def failing(item: WorkItem) -> ItemResult:
            calls[item["id"]] = calls.get(item["id"], 0) + 1
            if item["data"] in data and calls[item["id"]] <= attempts:
                raise copy(error)  # one that is raised again has a longer traceback each time
            return process(item)

        monkeypatch.setattr(data_processor, "process_item", failing)
        return calls

    return install
