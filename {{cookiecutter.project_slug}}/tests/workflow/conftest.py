"""Fixtures: the workflow on the SDK's own runner, as ``template.yaml`` would deploy it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chassis import ItemStep, JsonObject
from ops import local
from ops.cost import stand_in
from tests.execution import Execution, Start
from workflow.definition import DEFINITION
from workflow.workflow import run

EVENTS = sorted((local.ROOT / "events").glob("*.json"))
TENANTS = {"acme": {"status": "ACTIVE", "tier": "premium"}}


def read(path: Path) -> JsonObject:
    """One of the events, for the tenant of the tests."""
    return {**json.loads(path.read_text(encoding="utf-8")), "tenantId": "acme"}


def make_event(*items: Any) -> JsonObject:
    """The event order.json with other items."""
    return {**read(local.ROOT / "events" / "order.json"), "inputData": {"items": list(items)}}


#% if cookiecutter.fan_out == "yes"
@pytest.fixture(autouse=True)
def _own_objects(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test has a folder of its own for the tenants' objects."""
    monkeypatch.setattr(local, "OBJECTS", tmp_path)


#% endif
@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the workflow's function, with the defaults of ``template.yaml``."""
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an execution: ``start(event, CALLBACK_TIMEOUT="1s")`` changes the environment.

    The steps of an item are stand-ins, unless ``steps`` are given: so these tests stay fast and
    call nobody, whatever ``process_item`` does.
    """
    executions: list[Execution] = []

    def start_execution(
        event: JsonObject, *, steps: tuple[ItemStep, ...] | None = None, **options: Any
    ) -> Execution:
        for name in [name for name in options if name.isupper()]:
            monkeypatch.setenv(name, options.pop(name))
        steps = steps or tuple(map(stand_in, DEFINITION.item_steps))
        definition = replace(DEFINITION, item_steps=steps)
        options = {"known": TENANTS, "poll_interval": 0.005, **options}
        executions.append(Execution(definition, run, event, **options))
        return executions[-1]

    yield start_execution
    for execution in executions:
        execution.runner.close()  # type: ignore[no-untyped-call]
