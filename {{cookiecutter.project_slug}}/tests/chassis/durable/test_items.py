"""The map over the items, and what the end says of them."""

from __future__ import annotations

import re
import threading
from collections import Counter
from datetime import datetime
from typing import Any

import pytest
from aws_durable_execution_sdk_python.lambda_service import OperationUpdate

from chassis import Attempt, Check, ItemError, JsonObject, TransientError
from chassis.quotas import MAX_CHECKPOINT_BYTES
from chassis.settings import Nesting
from chassis.wire import json_size
from ops.client import WatchedClient, invoke
from tests.chassis import sample
from tests.chassis.conftest import Failing
from tests.execution import Start, make_event


class Recorder:
    """Two steps of an item that note what they are told; an item that is "bad" fails the first."""

    def __init__(self, *, first_fails: int = 0, second_fails: int = 0) -> None:
        """Fail so often for the item that is "later" in the one step or the other."""
        self.seen: list[tuple[str, str, Attempt]] = []
        self._fails = {"first": first_fails, "second": second_fails}
        self._lock = threading.Lock()

    def first_step(self, item: JsonObject, attempt: Attempt) -> JsonObject:
        self._note("first", item, attempt)
        if item["data"] == "bad":
            raise ItemError("bad from the start")
        return {"from": "first", "data": item["data"]}

    def second_step(self, item: JsonObject, attempt: Attempt) -> JsonObject:
        self._note("second", item, attempt)
        return {"from": "second", "previous": attempt.previous}

    def calls(self) -> Counter[tuple[str, str]]:
        """How often each step ran for each item."""
        return Counter((step, item_id) for step, item_id, _ in self.seen)

    def _note(self, step: str, item: JsonObject, attempt: Attempt) -> None:
        with self._lock:
            self.seen.append((step, item["id"], attempt))
        if item["data"] == "later" and attempt.number <= self._fails[step]:
            raise TransientError("try later")


def approve_and_finish(start: Start, event: JsonObject, **options: Any) -> JsonObject:
    """The output of an execution that is approved."""
    execution = start(event, **options)
    execution.approve()
    return execution.output()


def test_the_output_names_every_item(start: Start) -> None:
    step = Failing(ItemError("out of stock"), "c")

    output = approve_and_finish(start, make_event("a", {"sku": 7}, "c"), steps=(step,))

    assert output["tenantId"] == "acme"
    items = output["mapResults"]
    assert (items["succeeded"], items["failed"]) == (2, 1)
    assert items["results"] == [{"id": "item-1", "size": 1}, {"id": "item-2", "size": 10}]
    assert items["failedItems"] == [{"id": "item-3", "error": "out of stock"}]


def test_the_metrics_are_measured(start: Start) -> None:
    step = Failing(ItemError("out of stock"), "d")
    execution = start(make_event(*"abcd"), steps=(step,), TOLERATED_ITEM_FAILURE_PERCENTAGE="25")
    execution.approve()
    metrics = execution.output()["metrics"]

    assert (metrics["done"], metrics["checks"]) == (3, len(sample.CHECKS))
    started, finished = (
        datetime.fromisoformat(metrics[key].replace("Z", "+00:00"))
        for key in ("startedAt", "finishedAt")
    )
    assert (finished - started).total_seconds() == pytest.approx(
        metrics["durationSeconds"], abs=0.002
    )
    # Not when the last step has started: that is noted when its checkpoint is saved, perhaps late.
    prepared = execution.ended.get_step("prepare-work").end_timestamp
    processed = execution.ended.get_context("process-items").end_timestamp
    assert prepared is not None
    assert processed is not None
    assert metrics["durationSeconds"] + 0.002 >= (processed - prepared).total_seconds() > 0


def test_failures_within_the_tolerance_do_not_stop_the_others(start: Start) -> None:
    step = Failing(ValueError("broken"), "b", "d")

    output = approve_and_finish(
        start, make_event(*"abcd"), steps=(step,), TOLERATED_ITEM_FAILURE_PERCENTAGE="50"
    )

    assert [item["id"] for item in output["mapResults"]["failedItems"]] == ["item-2", "item-4"]
    assert output["mapResults"]["succeeded"] == 2


def test_failures_beyond_the_tolerance_fail_the_execution_and_name_the_items(start: Start) -> None:
    step = Failing(ValueError("broken"), "b", "d")
    execution = start(
        make_event(*"abcd"),
        steps=(step,),
        TOLERATED_ITEM_FAILURE_PERCENTAGE="49",
        MAP_MAX_CONCURRENCY="1",
    )
    execution.approve()

    assert execution.error() == (
        "TooManyItemsFailedError",
        "2 of 4 items failed, 49 % tolerated, item-2: broken; item-4: broken",
    )


def test_items_are_left_alone_once_too_many_have_failed(start: Start) -> None:
    step = Failing(ValueError("broken"), "b")
    execution = start(
        make_event(*"bbaa"),
        steps=(step,),
        TOLERATED_ITEM_FAILURE_PERCENTAGE="25",
        MAP_MAX_CONCURRENCY="1",
    )
    execution.approve()

    assert execution.error()[1].startswith(
        "2 of 4 items failed, 25 % tolerated, 2 not finished: item-1: broken"
    )
    assert step.calls == {"item-1": 1, "item-2": 1}


def test_a_transient_error_is_tried_again(start: Start) -> None:
    step = Failing(TransientError("try later"), "b", attempts=2)
    execution = start(make_event("a", "b", "c"), steps=(step,))
    execution.approve()

    assert execution.output()["mapResults"]["succeeded"] == 3
    assert step.calls == {"item-1": 1, "item-2": 3, "item-3": 1}
    assert execution.ended.get_context("process-items").get_step("item-2").attempt == 3


@pytest.mark.parametrize(
    ("error", "calls"), [(TransientError("try later"), 3), (KeyError("sku"), 1)]
)
def test_a_transient_error_is_given_up_after_three_attempts_and_another_at_once(
    start: Start, error: Exception, calls: int
) -> None:
    step = Failing(error, "b")

    output = approve_and_finish(start, make_event("a", "b", "c"), steps=(step,))

    assert step.calls["item-2"] == calls
    assert output["mapResults"]["failedItems"] == [{"id": "item-2", "error": str(error)}]


def test_a_step_is_told_which_attempt_it_is(start: Start) -> None:
    recorder = Recorder(first_fails=2)
    steps = (recorder.first_step, recorder.second_step)
    arns = set()
    for _ in range(2):
        execution = start(make_event("a", "later"), steps=steps)
        execution.approve()
        assert execution.output()["mapResults"]["succeeded"] == 2
        arns.add(execution.arn)

    assert {attempt.tenant_id for *_, attempt in recorder.seen} == {"acme"}
    assert {attempt.execution_arn for *_, attempt in recorder.seen} == arns
    numbers: dict[tuple[str, str, str], list[int]] = {}
    keys: dict[tuple[str, str, str], set[str]] = {}
    for step, item_id, attempt in recorder.seen:
        where = (attempt.execution_arn, item_id, step)
        numbers.setdefault(where, []).append(attempt.number)
        keys.setdefault(where, set()).add(attempt.idempotency_key)
    assert numbers == {
        (arn, item_id, step): [1, 2, 3] if (item_id, step) == ("item-2", "first") else [1]
        for arn in arns
        for item_id in ("item-1", "item-2")
        for step in ("first", "second")
    }
    # The same at every attempt; another for each step of each item of each execution.
    assert all(len(of_a_step) == 1 for of_a_step in keys.values())
    different = set.union(*keys.values())
    assert len(different) == len(keys) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in different)


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_each_step_of_an_item_has_a_checkpoint_of_its_own(start: Start, nesting: Nesting) -> None:
    recorder = Recorder(second_fails=1)
    execution = start(
        make_event("a", "later", "bad"),
        steps=(recorder.first_step, recorder.second_step),
        NESTING=nesting,
    )
    execution.approve()

    items = execution.output()["mapResults"]
    assert items["results"] == [
        {"id": f"item-{n}", "from": "second", "previous": {"from": "first", "data": data}}
        for n, data in ((1, "a"), (2, "later"))
    ]
    assert items["failedItems"] == [{"id": "item-3", "error": "bad from the start"}]
    assert {a.previous for step, _, a in recorder.seen if step == "first"} == {None}
    # The second was tried again without the first; the item that failed did not get that far.
    assert recorder.calls() == {
        ("first", "item-1"): 1,
        ("first", "item-2"): 1,
        ("first", "item-3"): 1,
        ("second", "item-1"): 1,
        ("second", "item-2"): 2,
    }
    steps = [
        operation.name
        for operation in execution.ended.get_all_operations()
        if operation.operation_type.value == "STEP" and "item-" in (operation.name or "")
    ]
    assert sorted(map(str, steps)) == [
        "item-1",
        "item-1 second-step",
        "item-2",
        "item-2 second-step",
        "item-3",
    ]


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_an_item_that_failed_is_left_alone_by_the_next_step_of_its_checkpoint(
    start: Start, nesting: Nesting
) -> None:
    recorder = Recorder(second_fails=1)
    execution = start(
        make_event("a", "bad", "later", "b"),
        steps=(recorder.first_step, recorder.second_step),
        NESTING=nesting,
        ITEMS_PER_CHECKPOINT="3",
    )
    execution.approve()

    items = execution.output()["mapResults"]
    assert items["failedItems"] == [{"id": "item-2", "error": "bad from the start"}]
    assert [item["id"] for item in items["results"]] == ["item-1", "item-3", "item-4"]
    assert {item["from"] for item in items["results"]} == {"second"}
    assert [item["previous"]["data"] for item in items["results"]] == ["a", "later", "b"]
    assert recorder.calls() == {
        ("first", "item-1"): 1,
        ("first", "item-2"): 1,
        ("first", "item-3"): 1,
        ("first", "item-4"): 1,
        ("second", "item-1"): 2,  # with its neighbour, which was tried again
        ("second", "item-3"): 2,
        ("second", "item-4"): 1,
    }
    names = {operation.name for operation in execution.ended.get_all_operations()}
    assert {"item-1 to item-3", "item-1 to item-3 second-step", "item-4 second-step"} <= names


def test_items_that_share_a_checkpoint_fail_alone_and_are_tried_again_together(
    start: Start,
) -> None:
    calls = Counter[str]()

    def process(item: JsonObject, attempt: Attempt) -> JsonObject:
        calls[item["id"]] += 1
        if item["data"] == "later" and attempt.number == 1:
            raise TransientError("try later")
        if item["data"] == "never":
            raise TransientError("never")
        return sample.process(item, attempt)

    event = make_event("a", {}, "later", "b", "never", "c", "d")
    output = approve_and_finish(start, event, steps=(process,), ITEMS_PER_CHECKPOINT="3")

    ids = [f"item-{n}" for n in range(1, 8)]
    succeeded = [ids[0], ids[2], ids[3], ids[5], ids[6]]
    assert [item["id"] for item in output["mapResults"]["results"]] == succeeded
    assert output["mapResults"]["failedItems"] == [
        {"id": ids[1], "error": "empty"},
        {"id": ids[4], "error": "never"},
    ]
    assert [calls[item_id] for item_id in ids] == [2, 2, 2, 3, 3, 1, 1]


@pytest.mark.parametrize("items_per_checkpoint", ["1", "100"])
def test_the_longest_errors_fit_into_the_checkpoints_and_the_output(
    start: Start, items_per_checkpoint: str
) -> None:
    """An emoji takes twelve bytes of JSON."""
    step = Failing(ItemError("\U0001f4a5" * 1_000), "a")

    output = approve_and_finish(
        start,
        make_event(*["a"] * 300),
        steps=(step,),
        ITEMS_PER_CHECKPOINT=items_per_checkpoint,
    )

    assert len(output["mapResults"]["failedItems"]) == 300
    assert json_size(output) <= MAX_CHECKPOINT_BYTES


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
    output = approve_and_finish(
        start,
        make_event(*"abcdefghij", {}),
        ITEMS_PER_CHECKPOINT="10",
        TOLERATED_ITEM_FAILURE_PERCENTAGE="10",
    )

    assert (output["mapResults"]["succeeded"], output["mapResults"]["failed"]) == (10, 1)


def test_a_result_or_an_error_that_no_checkpoint_can_hold_fails_its_item_alone(
    start: Start,
) -> None:
    calls = Counter[str]()

    def process(item: JsonObject, attempt: Attempt) -> JsonObject:
        calls[item["id"]] += 1
        if item["data"] == "error":
            raise ValueError("x" * 300_000)
        if item["data"] == "result":
            return {"text": "x" * 300_000}
        return sample.process(item, attempt)

    output = approve_and_finish(start, make_event("a", "error", "result"), steps=(process,))

    assert calls == {"item-1": 1, "item-2": 1, "item-3": 1}
    assert output["mapResults"]["succeeded"] == 1
    long_error, too_large = output["mapResults"]["failedItems"]
    assert long_error == {"id": "item-2", "error": "x" * 498}
    assert too_large["id"] == "item-3"
    assert "the result of item-3 takes 300012 bytes" in too_large["error"]


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
def test_no_checkpoint_is_larger_than_the_service_takes(start: Start, nesting: Nesting) -> None:
    """With the largest input, and the largest result for every item and every check."""
    largest = {"content": "x" * (MAX_CHECKPOINT_BYTES - len('{"content": ""}'))}
    half = {"content": "x" * (MAX_CHECKPOINT_BYTES // 4 - 20)}
    checks: dict[str, Check] = dict.fromkeys(sample.CHECKS, lambda _: half)
    sizes: list[int] = []

    def process(item: JsonObject, attempt: Attempt) -> JsonObject:
        del item, attempt
        return largest

    class Measuring(WatchedClient):
        def after(self, updates: list[OperationUpdate]) -> None:
            sizes.extend(len(update.payload or "") for update in updates)

    def wrap(handler: Any) -> Any:
        return lambda event, context: invoke(
            handler, event, context, Measuring(event.service_client)
        )

    execution = start(
        make_event(*["y" * 60_000] * 4), steps=(process,), checks=checks, wrap=wrap, NESTING=nesting
    )
    execution.approve()
    output = execution.output()

    assert output["mapResults"]["succeeded"] == 4
    assert output["mapResults"]["results"] is None
    assert max(sizes) <= 256 * 1024
    assert sum(size > 249_000 for size in sizes) >= 4
    assert json_size(output) <= 256 * 1024


@pytest.mark.parametrize("nesting", ["FLAT", "NESTED"])
@pytest.mark.parametrize("items_per_checkpoint", [1, 3])
def test_the_number_of_operations_is_the_one_that_is_planned_with(
    start: Start, nesting: Nesting, items_per_checkpoint: int
) -> None:
    recorder = Recorder()
    execution = start(
        make_event(*"abcdefg"),
        steps=(recorder.first_step, recorder.second_step),
        NESTING=nesting,
        ITEMS_PER_CHECKPOINT=str(items_per_checkpoint),
    )
    execution.approve()
    execution.output()

    checkpoints = -(-7 // items_per_checkpoint)
    names = [str(operation.name) for operation in execution.ended.get_all_operations()]
    of_items = [name for name in names if name.startswith("item-")]
    assert len(of_items) == checkpoints * (2 + (nesting == "NESTED"))


#% if cookiecutter.fan_out == "no"
@pytest.mark.parametrize(("steps", "most"), [(1, 900), (2, 450)])
def test_fails_before_more_items_are_processed_than_one_execution_can(
    start: Start, steps: int, most: int
) -> None:
    recorder = Recorder()
    known = {"acme": {**sample.TENANTS["acme"], "overrides": {"items_per_execution": 5_000}}}
    execution = start(
        make_event(*[1] * (most + 1)),
        steps=(recorder.first_step, recorder.second_step)[:steps],
        known=known,
    )

    message = execution.refusal()

    assert f"fit into 3000 durable operations: send at most {most} items" in message
    # How many there may be is a setting, which the first step reads.
    assert execution.names() == ["prepare-work"]
    assert execution.ended.get_step("prepare-work").attempt == 1
    assert recorder.seen == []


#% endif
def test_as_many_items_as_the_tier_allows_and_no_more(start: Start) -> None:
    """This tenant's own number stands in front of its tier's."""
    execution = start(make_event(*range(101)) | {"tenantId": "demo"})

    assert execution.refusal() == (
        "the input has 101 items, more than the tenant's tier allows: send at most 100 items"
    )
    assert execution.names() == ["prepare-work"]
    assert execution.ended.get_step("prepare-work").attempt == 1
    allowed = start(make_event(*range(100)) | {"tenantId": "demo"})
    allowed.reject()
    assert allowed.output()["approvals"][0]["decision"] == "REJECTED"
