"""The business logic, as plain functions."""

from __future__ import annotations

from typing import Any

import pytest

from workflow.checks import CHECKS
from workflow.data_processor import (
    aggregate,
    canonical_json,
    generate_work_items,
    process_item,
)
from workflow.items import sort_out
from workflow.models import ItemError, ItemOutcome


def test_work_items_are_numbered_and_take_their_priority_from_the_index() -> None:
    items = generate_work_items(["a", "b", "c", "d"])

    assert [item["id"] for item in items] == [f"work-item-{n}" for n in (1, 2, 3, 4)]
    assert [item["priority"] for item in items] == [1, 2, 3, 1]
    assert {item["status"] for item in items} == {"pending"}


def test_the_order_of_keys_does_not_change_an_item() -> None:
    one, two = generate_work_items([{"a": 1, "b": 2}, {"b": 2, "a": 1}])

    assert process_item(one)["digest"] == process_item(two)["digest"]


@pytest.mark.parametrize("data", [0, False, 2.5, "x", [None], {"a": {}}, "\ud800", "日本"])
def test_processes_any_json_value(data: Any) -> None:
    result = process_item(generate_work_items([data])[0])

    assert result["bytes"] == len(canonical_json(data))


@pytest.mark.parametrize("data", [None, "", " \n", [], {}])
def test_refuses_an_item_without_content(data: Any) -> None:
    with pytest.raises(ItemError, match="nothing to process"):
        process_item(generate_work_items([data])[0])


@pytest.mark.parametrize("name", CHECKS)
def test_checks_take_any_items(name: str) -> None:
    check = CHECKS[name]

    assert isinstance(check([]), dict)
    assert isinstance(check(generate_work_items([None, "", "a@b.c", 1, True, {"a": [[]]}])), dict)


def test_counts_what_happened() -> None:
    items = generate_work_items(["a", "b", "c", "d"])
    results = [ItemOutcome(result=process_item(item)) for item in items[:3]]
    outcomes = sort_out(list(zip(items, [*results, ItemOutcome(error="x")], strict=True)))
    assert outcomes.failed_items == [{"id": "work-item-4", "error": "x"}]

    metrics = aggregate(outcomes, 2, "s", "f", 1.5)

    assert metrics["itemsProcessed"] == 4
    assert metrics["itemsFailed"] == 1
    assert metrics["successRate"] == 0.75
    assert metrics["checksRun"] == 2


def test_there_is_no_success_rate_without_items() -> None:
    assert aggregate(sort_out([]), 0, "s", "f", 0.0)["successRate"] is None
