"""The checks; the doctests in the module are examples of each."""

from __future__ import annotations

import json

import pytest

from tests.execution import Start
from tests.workflow.conftest import make_event
from workflow.checks import CHECKS
from workflow.data_processor import work_item

ITEMS = [{"sku": 7}, {"sku": 7}, "text", 2.5, None, {"deep": [[1]]}, "ada@example.com", "a\x00b"]


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("items", [[], ITEMS, ["x" * 50] * 2_000], ids=["none", "all", "many"])
def test_a_check_goes_through_the_items_once_and_keeps_little(name: str, items: list[str]) -> None:
    once = (work_item(number, data) for number, data in enumerate(items, start=1))

    assert len(json.dumps(CHECKS[name](once))) < 5_000


def test_every_check_is_run(start: Start) -> None:
    execution = start(make_event(*ITEMS))
    execution.approve_all()

    results = execution.output()["parallelResults"]
    assert [check["name"] for check in results] == list(CHECKS)
    assert all(check["result"] for check in results)
    branches = execution.ended.get_context("run-checks").child_operations
    assert {branch.name for branch in branches} == set(CHECKS)
