"""Fixtures: the sample workflow on the SDK's own runner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from functools import wraps
#% if cookiecutter.fan_out == "yes"
from pathlib import Path
#% endif
from typing import Any

import pytest

from chassis import Attempt, Check, ItemStep, JsonObject
from chassis.settings import load
from chassis.steps import work
from ops import local
from tests.chassis import sample
#% if cookiecutter.fan_out == "yes"
from tests.chassis.aws import add, aws, bucket, dynamodb, new_clients, table
from tests.execution import Execution, Start

__all__ = ["add", "aws", "bucket", "dynamodb", "new_clients", "table"]  # fixtures


@pytest.fixture(autouse=True)
def _own_objects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test has a folder of its own for the tenants' objects."""
    monkeypatch.setattr(local, "OBJECTS", tmp_path)


#% else
from tests.chassis.aws import add, aws, dynamodb, new_clients, table
from tests.execution import Execution, Start

__all__ = ["add", "aws", "dynamodb", "new_clients", "table"]  # fixtures


#% endif
@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an execution of the sample: ``start(event, CALLBACK_TIMEOUT="1s")`` changes a setting.

    ``steps``, ``checks`` and ``approvals`` are the sample's, what else is not in capitals is an
    option of ``LocalExecution``.
    """
    executions: list[Execution] = []
    for name, value in sample.SETTINGS.items():
        monkeypatch.setenv(name, value)

    def start_execution(
        event: Any,
        *,
        steps: tuple[ItemStep, ...] = (),
        checks: Mapping[str, Check] = sample.CHECKS,
        approvals: Iterable[str] = ("approval",),
        run: Callable[[Any], JsonObject] | None = None,
        **options: Any,
    ) -> Execution:
        for name in [name for name in options if name.isupper()]:
            monkeypatch.setenv(name, options.pop(name))
        execution = Execution(
            sample.definition(*steps),
            run or sample.phases(checks, approvals),
            event,
            **{"known": sample.TENANTS, "poll_interval": 0.005, **options},
        )
        executions.append(execution)
        return execution

    yield start_execution
    for execution in executions:
        execution.runner.close()  # type: ignore[no-untyped-call]


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often the body of each of the sample's steps runs; an item has its id."""
    counter: Counter[str] = Counter()

    def counted(function: Any, name: str = "") -> Any:
        @wraps(function)
        def count(*arguments: Any, **keywords: Any) -> Any:
            counter[name or arguments[0]["id"]] += 1
            return function(*arguments, **keywords)

        return count

    monkeypatch.setattr(work, "load", counted(load, "prepare-work"))
    monkeypatch.setattr(Execution, "notify", counted(Execution.notify, "approval submitter"))
    close = counted(local.LocalApprovals.close, "approval recorded")
    monkeypatch.setattr(local.LocalApprovals, "close", close)
    #% if cookiecutter.front_door == "http_api"
    put_result = counted(local.LocalRuns.put_result, "record-result")
    monkeypatch.setattr(local.LocalRuns, "put_result", put_result)
    #% endif
    monkeypatch.setattr(sample, "process", counted(sample.process))
    monkeypatch.setattr(sample, "aggregate", counted(sample.aggregate, "aggregate-results"))
    for name, check in sample.CHECKS.items():
        monkeypatch.setitem(sample.CHECKS, name, counted(check, name))
    return counter


class Failing:
    """A step that fails for the items with some data, for so many attempts; it counts its calls."""

    __name__ = "process"

    def __init__(self, error: Exception, *data: Any, attempts: int = 100) -> None:
        self.calls: dict[str, int] = {}
        self._error = error
        self._data = data
        self._attempts = attempts

    def __call__(self, item: JsonObject, attempt: Attempt) -> JsonObject:
        self.calls[item["id"]] = self.calls.get(item["id"], 0) + 1
        if item["data"] in self._data and self.calls[item["id"]] <= self._attempts:
            raise copy(self._error)  # one that is raised again has a longer traceback each time
        return sample.process(item, attempt)
