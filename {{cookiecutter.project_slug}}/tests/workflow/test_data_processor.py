"""What happens to an item, and what is counted; the doctests in the module are examples."""

from __future__ import annotations

from typing import Any

import pytest

from chassis import Attempt, CheckResult, ItemError, ItemOutcomes
from workflow.data_processor import aggregate, process_item, work_item

ATTEMPT = Attempt(tenant_id="acme", execution_arn="arn", number=1, idempotency_key="0" * 32)


def test_the_result_depends_on_the_content_and_not_on_the_order_of_keys() -> None:
    one = process_item(work_item(1, {"sku": 7, "quantity": 2}), ATTEMPT)
    two = process_item(work_item(2, {"quantity": 2, "sku": 7}), ATTEMPT)

    assert one == two
    assert one["kind"] == "object"
    assert one["bytes"] == len('{"quantity":2,"sku":7}')
    assert len(one["digest"]) == 16
    assert one["digest"] != process_item(work_item(1, {"sku": 8}), ATTEMPT)["digest"]


@pytest.mark.parametrize("data", [None, "", "  ", [], {}])
def test_an_item_without_content_fails(data: Any) -> None:
    with pytest.raises(ItemError, match="nothing to process"):
        process_item(work_item(1, data), ATTEMPT)


@pytest.mark.parametrize("data", [0, False, "x", [None], {"a": None}, "日本"])
def test_anything_else_is_processed(data: Any) -> None:
    assert process_item(work_item(1, data), ATTEMPT)["bytes"] > 0


@pytest.mark.parametrize(("succeeded", "failed", "rate"), [(3, 1, 0.75), (0, 2, 0.0), (0, 0, None)])
def test_the_results_are_counted(succeeded: int, failed: int, rate: float | None) -> None:
    items = ItemOutcomes(succeeded=succeeded, failed=failed)

    assert aggregate(items, [CheckResult(name="x", result={})]) == {
        "itemsProcessed": succeeded + failed,
        "itemsFailed": failed,
        "successRate": rate,
        "checksRun": 1,
    }
