"""The parallel branches, the map over the items, and what the end says of them."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aws_durable_execution_sdk_python.lambda_service import OperationUpdate

from ops.client import WatchedClient, invoke
from tests.conftest import LOCAL_HANDLER
from tests.execution import FailItems, Start, make_event
from workflow import data_processor, limits
from workflow.checks import CHECKS
from workflow.limits import operations_needed
from workflow.models import ItemError, ItemResult, JsonObject, TransientError, WorkItem
from workflow.settings import Nesting, Shape

EVENTS = Path(__file__).parent.parent.parent / "events"


def approve_and_finish(start: Start, event: JsonObject, **variables: str) -> JsonObject:
    """The output of an execution that is approved and, unless it says so, fails for no item."""
    execution = start(event, **{"TOLERATED_ITEM_FAILURE_PERCENTAGE": "100"} | variables)
    execution.approve()
    return execution.output()


@pytest.mark.parametrize("name", sorted(path.name for path in EVENTS.iterdir()))
def test_every_event_runs(start: Start, name: str) -> None:
    event = {"tenantId": "demo"} | json.loads((EVENTS / name).read_text(encoding="utf-8"))

    output = approve_and_finish(start, event)

    assert output["status"].startswith("COMPLETED")
    assert output["workflowId"] == event["workflowId"]
    assert output["metrics"]["itemsProcessed"] == len(event["inputData"]["items"])


def test_the_output_names_every_check_and_item(start: Start, fail_items: FailItems) -> None:
    fail_items(ItemError("out of stock"), "c")

    output = approve_and_finish(start, make_event("a", {"sku": 7}, "c"))

    assert output["tenantId"] == "acme"
    assert output["status"] == "COMPLETED_WITH_FAILURES"
    assert [check["name"] for check in output["parallelResults"]] == list(CHECKS)
    assert all(check["result"] for check in output["parallelResults"])
    assert [item["id"] for item in output["mapResults"]["results"]] == [
        "work-item-1",
        "work-item-2",
    ]
    assert output["mapResults"]["failedItems"] == [{"id": "work-item-3", "error": "out of stock"}]


def test_the_metrics_are_measured(start: Start, fail_items: FailItems) -> None:
    fail_items(ItemError("out of stock"), "d")
    execution = start(make_event(*"abcd"), TOLERATED_ITEM_FAILURE_PERCENTAGE="25")
    execution.approve()
    metrics = execution.output()["metrics"]

    assert metrics["itemsProcessed"] == 4
    assert metrics["itemsFailed"] == 1
    assert metrics["successRate"] == 0.75
    assert metrics["checksRun"] == len(CHECKS)
    started, finished = (
        datetime.fromisoformat(metrics[key].replace("Z", "+00:00"))
        for key in ("startedAt", "finishedAt")
    )
    assert (finished - started).total_seconds() == pytest.approx(
        metrics["durationSeconds"], abs=0.002
    )
    prepared = execution.result.get_step("prepare-work").end_timestamp
    aggregated = execution.result.get_step("aggregate-results").end_timestamp
    assert prepared is not None
    assert aggregated is not None
    measured = (aggregated - prepared).total_seconds()
    #% if cookiecutter.__wait
    measured -= 60  # the cool-down, which the runner skips
    #% endif
    assert metrics["durationSeconds"] == pytest.approx(measured, abs=0.5)


def test_no_items_is_fine(start: Start) -> None:
    output = approve_and_finish(start, make_event())

    assert output["status"] == "COMPLETED"
    assert output["metrics"]["itemsProcessed"] == 0
    assert output["metrics"]["successRate"] is None


def test_failures_within_the_tolerance_do_not_stop_the_others(
    start: Start, fail_items: FailItems
) -> None:
    fail_items(ValueError("broken"), "b", "d")

    output = approve_and_finish(start, make_event(*"abcd"), TOLERATED_ITEM_FAILURE_PERCENTAGE="50")

    assert [item["id"] for item in output["mapResults"]["failedItems"]] == [
        "work-item-2",
        "work-item-4",
    ]
    assert output["mapResults"]["succeeded"] == 2


def test_failures_beyond_the_tolerance_fail_the_execution_and_name_the_items(
    start: Start, fail_items: FailItems
) -> None:
    fail_items(ValueError("broken"), "b", "d")
    execution = start(
        make_event(*"abcd"), TOLERATED_ITEM_FAILURE_PERCENTAGE="49", MAP_MAX_CONCURRENCY="1"
    )
    execution.approve()

    assert execution.error() == (
        "TooManyItemsFailedError",
        "2 of 4 items failed, 49 % tolerated, 0 left in progress, 0 not started: "
        "work-item-2: broken; work-item-4: broken",
    )


def test_a_transient_error_is_tried_again(start: Start, fail_items: FailItems) -> None:
    calls = fail_items(TransientError("try later"), "b", attempts=2)
    execution = start(make_event("a", "b", "c"))
    execution.approve()

    assert execution.output()["status"] == "COMPLETED"
    assert calls == {"work-item-1": 1, "work-item-2": 3, "work-item-3": 1}
    item = execution.result.get_context("process-items").get_step("work-item-2")
    assert item.attempt == 3


def test_a_transient_error_is_given_up_after_three_attempts(
    start: Start, fail_items: FailItems
) -> None:
    calls = fail_items(TransientError("try later"), "b")

    output = approve_and_finish(start, make_event("a", "b", "c"))

    assert calls["work-item-2"] == 3
    assert output["mapResults"]["failedItems"] == [{"id": "work-item-2", "error": "try later"}]


def test_items_that_share_a_checkpoint_fail_alone_and_are_tried_again_together(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, calls = data_processor.process_item, Counter[str]()

    def process_item(item: WorkItem) -> ItemResult:
        calls[item["id"]] += 1
        if item["data"] == "later" and calls[item["id"]] == 1:
            raise TransientError("try later")
        if item["data"] == "never":
            raise TransientError("never")
        return process(item)

    monkeypatch.setattr(data_processor, "process_item", process_item)
    event = make_event("a", {}, "later", "b", "never", "c", "d")
    output = approve_and_finish(start, event, ITEMS_PER_CHECKPOINT="3")

    ids = [f"work-item-{n}" for n in range(1, 8)]
    succeeded = [ids[0], ids[2], ids[3], ids[5], ids[6]]
    assert [item["id"] for item in output["mapResults"]["results"]] == succeeded
    assert {item["id"]: item["error"] for item in output["mapResults"]["failedItems"]} == {
        ids[1]: "nothing to process: the item is {}",
        ids[4]: "never",
    }
    assert [calls[item_id] for item_id in ids] == [2, 2, 2, 3, 3, 1, 1]


@pytest.mark.parametrize("items_per_checkpoint", ["1", "100"])
def test_the_longest_errors_fit_into_the_checkpoints_and_the_output(
    start: Start, fail_items: FailItems, items_per_checkpoint: str
) -> None:
    """An emoji takes twelve bytes of JSON."""
    fail_items(ItemError("\U0001f4a5" * 1_000), "a")

    output = approve_and_finish(
        start, make_event(*["a"] * 300), ITEMS_PER_CHECKPOINT=items_per_checkpoint
    )

    assert len(output["mapResults"]["failedItems"]) == 300
    assert limits.json_size(output) <= limits.MAX_CHECKPOINT_BYTES


@pytest.mark.parametrize(("tolerated", "ends"), [("58", "well"), ("57", "badly")])
def test_items_that_share_a_checkpoint_are_judged_one_by_one(
    start: Start, tolerated: str, ends: str
) -> None:
    execution = start(
        make_event("a", {}, "b", {}, {}, {}, "c"),
        ITEMS_PER_CHECKPOINT="3",
        TOLERATED_ITEM_FAILURE_PERCENTAGE=tolerated,
    )
    execution.approve()
    if ends == "well":
        assert execution.output()["mapResults"]["failed"] == 4
    else:
        assert execution.error()[1].startswith("4 of 7 items failed, 57 % tolerated")


def test_an_item_that_is_alone_at_the_end_weighs_no_more_than_the_others(start: Start) -> None:
    event = make_event(*"abcdefghij", {})

    output = approve_and_finish(
        start, event, ITEMS_PER_CHECKPOINT="10", TOLERATED_ITEM_FAILURE_PERCENTAGE="10"
    )

    assert (output["mapResults"]["succeeded"], output["mapResults"]["failed"]) == (10, 1)


def test_a_permanent_error_is_not_tried_again(start: Start, fail_items: FailItems) -> None:
    calls = fail_items(KeyError("sku"), "b")

    output = approve_and_finish(start, make_event("a", "b", "c"))

    assert calls["work-item-2"] == 1
    assert output["mapResults"]["failed"] == 1


def test_a_result_that_no_checkpoint_can_hold_fails_its_item(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        data_processor, "process_item", lambda item: {"text": item["data"] * 300_000}
    )

    output = approve_and_finish(start, make_event("a"), TOLERATED_ITEM_FAILURE_PERCENTAGE="100")

    error = output["mapResults"]["failedItems"][0]["error"]
    assert "the result of work-item-1 takes 300012 bytes" in error


def test_an_error_that_no_checkpoint_can_hold_fails_its_item_alone(
    start: Start, fail_items: FailItems
) -> None:
    calls = fail_items(ValueError("x" * 300_000), "b")

    output = approve_and_finish(start, make_event("a", "b", "c"))

    assert calls == {"work-item-1": 1, "work-item-2": 1, "work-item-3": 1}
    assert output["mapResults"]["failedItems"] == [{"id": "work-item-2", "error": "x" * 498}]


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_no_checkpoint_is_larger_than_the_service_takes(
    start: Start, nesting: Nesting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the largest input, and the largest result for every item and every check."""
    largest = {"content": "x" * (limits.MAX_CHECKPOINT_BYTES - len('{"content": ""}'))}
    monkeypatch.setattr(data_processor, "process_item", lambda _: largest)
    for name in CHECKS:
        most = limits.MAX_CHECKPOINT_BYTES // (2 * len(CHECKS))
        monkeypatch.setitem(CHECKS, name, lambda _: {"content": "x" * (most - 20)})  # noqa: B023
    sizes: list[int] = []

    class Measuring(WatchedClient):
        def after(self, updates: list[OperationUpdate]) -> None:
            sizes.extend(len(update.payload or "") for update in updates)

    def measured(event: Any, context: Any) -> Any:
        return invoke(LOCAL_HANDLER, event, context, Measuring(event.service_client))

    execution = start(make_event(*["y" * 60_000] * 4), handler=measured, NESTING=nesting)
    execution.approve()
    output = execution.output()

    assert output["mapResults"]["succeeded"] == 4
    assert output["mapResults"]["results"] is None
    assert max(sizes) <= 256 * 1024
    assert sum(size > 249_000 for size in sizes) >= 4
    assert limits.json_size(output) <= 256 * 1024


def test_no_more_items_at_a_time_than_the_stack_allows(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, running, most = threading.Lock(), 0, 0
    process = data_processor.process_item

    def watched(item: WorkItem) -> ItemResult:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return process(item)

    monkeypatch.setattr(data_processor, "process_item", watched)
    approve_and_finish(start, make_event(*"abcdefgh"), MAP_MAX_CONCURRENCY="2")

    assert most == 2


def test_a_check_that_fails_fails_the_execution(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = list(CHECKS)[-1]
    monkeypatch.setitem(CHECKS, name, lambda _: 1 // 0)
    execution = start(make_event("a"), TOLERATED_CHECK_FAILURES="0")
    execution.approve()

    error, message = execution.error()

    assert error == "ChecksFailedError"
    assert message.startswith(f"1 of {len(CHECKS)} checks failed, 0 tolerated: {name}: ")
    names = {operation.name for operation in execution.result.get_all_operations()}
    assert "process-items" not in names


def test_a_check_that_fails_can_be_tolerated(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    name = list(CHECKS)[-1]
    monkeypatch.setitem(CHECKS, name, lambda _: 1 // 0)

    output = approve_and_finish(start, make_event("a"), TOLERATED_CHECK_FAILURES="1")

    assert output["status"] == "COMPLETED_WITH_FAILURES"
    assert output["parallelResults"][-1]["name"] == name
    assert "division" in output["parallelResults"][-1]["error"]


@pytest.mark.parametrize("item_count", [0, 1, 7])
@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
@pytest.mark.parametrize("items_per_checkpoint", [1, 3])
def test_the_number_of_operations_is_the_one_that_is_planned_with(
    start: Start,
    item_count: int,
    nesting: Nesting,
    items_per_checkpoint: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="workflow")
    execution = start(
        make_event(*["a"] * item_count),
        NESTING=nesting,
        ITEMS_PER_CHECKPOINT=str(items_per_checkpoint),
    )
    execution.approve()
    execution.output()

    operations = execution.result.get_all_operations()
    #% if cookiecutter.__wait_for_condition
    billed = len(operations) + 2  # the execution, and the poll
    #% else
    billed = len(operations) + 1  # the execution
    #% endif
    assert billed == operations_needed(
        item_count,
        len(CHECKS),
        Shape(nesting=nesting, items_per_checkpoint=items_per_checkpoint),
    )
    ended = [vars(record) for record in caplog.records if record.message == "execution ended"]
    assert [line["durableOperations"] for line in ended] == [len(operations)]
    assert ended[0]["executionStatus"] == "SUCCEEDED"
    assert ended[0]["retries"] == 0


def test_the_tier_is_the_only_dimension_of_the_metrics(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="workflow")
    approve_and_finish(start, make_event("a"))

    (line,) = [vars(record) for record in caplog.records if hasattr(record, "_aws")]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [["tier"]]
    assert line["tier"] == "standard"
    assert all(line[metric["Name"]] is not None for metric in directive["Metrics"])


def test_every_line_names_the_tenant(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="workflow")
    approve_and_finish(start, make_event("a", "b"))

    lines = [vars(record) for record in caplog.records if record.name == "workflow"]
    assert {line["message"] for line in lines} >= {
        "work prepared",
        "approval requested",
        "check done",
        "item processed",
        "results aggregated",
        "execution ended",
    }
    assert {line["tenantId"] for line in lines} == {"acme"}
    assert {line["workflowId"] for line in lines} == {"wf-1"}
    assert all(line["executionArn"] for line in lines)
