"""How the results of a map are written, and that every setting reaches the durable operations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from aws_durable_execution_sdk_python import BatchResult
from aws_durable_execution_sdk_python.concurrency.models import BatchItem, CompletionReason
from aws_durable_execution_sdk_python.config import BatchItemStatus
from aws_durable_execution_sdk_python.lambda_service import (
    CallbackOptions,
    ErrorObject,
    OperationUpdate,
)
from aws_durable_execution_sdk_python.serdes import SerDesContext

from chassis import Attempt, Check, ItemError, JsonObject
from chassis.durable import policies
from chassis.durable.policies import BatchSerDes
from chassis.model import ItemOutcome
from chassis.settings import load
from ops.client import WatchedClient, invoke
from tests.chassis import sample
from tests.execution import Start, make_event

CONTEXT = SerDesContext("1", "arn")


def test_the_checks_and_the_items_are_written_like_this() -> None:
    settings = load(sample.SETTINGS)

    for config in (policies.checks(settings), policies.items(settings, [])):
        assert isinstance(config.serdes, BatchSerDes)


def test_the_results_of_2500_items_fit_into_a_checkpoint() -> None:
    """With more than 256 KB the SDK would run the code of every item again at each resume."""
    result = ItemOutcome(result={"kind": "string", "digest": "0123456789abcdef"})
    results = [BatchItem(index, BatchItemStatus.SUCCEEDED, [result]) for index in range(2_500)]
    batch = BatchResult(results, CompletionReason.ALL_COMPLETED)

    written = BatchSerDes().serialize(batch, CONTEXT)

    assert len(written) <= 256 * 1024
    assert " " not in written
    assert BatchSerDes().deserialize(written, CONTEXT) == batch


def test_what_has_not_succeeded_is_read_as_it_was() -> None:
    failed = ErrorObject(message="SUCCEEDED", type="ItemError", data=None, stack_trace=None)
    batch: BatchResult[str] = BatchResult(
        [
            BatchItem(0, BatchItemStatus.FAILED, error=failed),
            BatchItem(1, BatchItemStatus.STARTED),
            BatchItem(2, BatchItemStatus.SUCCEEDED, "SUCCEEDED"),
        ],
        CompletionReason.FAILURE_TOLERANCE_EXCEEDED,
    )

    assert BatchSerDes().deserialize(BatchSerDes().serialize(batch, CONTEXT), CONTEXT) == batch


class Together:
    """A step that goes on when so many run at the same time; it fails for some items.

    Attributes:
        most: that have run at the same time.
    """

    __name__ = "process"

    def __init__(self, parties: int, *failing: Any) -> None:
        self.most = 0
        self._barrier = threading.Barrier(parties, timeout=20)
        self._parties = parties
        self._failing = failing
        self._running = 0
        self._go_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, item: JsonObject, attempt: Attempt) -> JsonObject:
        with self._lock:
            self._running += 1
            self.most = max(self.most, self._running)
            if self._running > self._parties:
                self._go_on.set()
        self._barrier.wait()
        self._go_on.wait(0.1)  # the first of all give one more the time to begin, if it may
        with self._lock:
            self._go_on.set()
            self._running -= 1
        if item["data"] in self._failing:
            raise ItemError("empty")
        return sample.process(item, attempt)


class Callbacks:
    """A durable handler that notes with what options callbacks are made."""

    def __init__(self, handler: Callable[[Any, Any], Any], seen: list[CallbackOptions]) -> None:
        self._handler, self._seen = handler, seen

    def __call__(self, event: Any, context: Any) -> Any:
        seen = self._seen

        class Client(WatchedClient):
            def after(self, updates: list[OperationUpdate]) -> None:
                seen.extend(
                    update.callback_options for update in updates if update.callback_options
                )

        return invoke(self._handler, event, context, Client(event.service_client))


def test_every_setting_reaches_the_durable_operations(start: Start) -> None:
    def broken(_: Any) -> JsonObject:
        raise ItemError("broken")

    callbacks: list[CallbackOptions] = []
    # Of six checkpoints with two items each, three are processed at a time.
    step = Together(3, 1, 3, 5, 7, 9)
    checks: dict[str, Check] = {**sample.CHECKS, **{f"broken-{n}": broken for n in range(4)}}
    execution = start(
        make_event(*range(1, 13)),
        steps=(step,),
        checks=checks,
        wrap=lambda handler: Callbacks(handler, callbacks),
        NESTING="NESTED",
        ITEMS_PER_CHECKPOINT="2",
        MAP_MAX_CONCURRENCY="3",
        CALLBACK_TIMEOUT="17m",
        CALLBACK_HEARTBEAT="1s",
        CALLBACK_TIMEOUT_ACTION="continue",
        TOLERATED_CHECK_FAILURES="4",
        TOLERATED_ITEM_FAILURE_PERCENTAGE="41",
        APPROVAL_TOPIC_ARN="arn:topic",
    )

    # Nobody answers, so the heartbeat is lost; four checks fail; and then too many items.
    assert execution.error() == (
        "TooManyItemsFailedError",
        "5 of 12 items failed, 41 % tolerated, "
        + "; ".join(f"item-{number}: empty" for number in (1, 3, 5, 7, 9)),
    )
    assert callbacks == [CallbackOptions(timeout_seconds=17 * 60, heartbeat_timeout_seconds=1)]
    assert [topic for topic, _ in execution.messages] == ["arn:topic"]
    assert step.most == 3
    contexts = execution.ended.get_context("process-items")
    pairs = [f"item-{number} to item-{number + 1}" for number in range(1, 13, 2)]
    for pair in pairs:
        assert [step.name for step in contexts.get_context(pair).child_operations] == [pair]
    assert len(contexts.child_operations) == len(pairs)


def test_the_tier_narrows_an_execution(start: Start) -> None:
    callbacks: list[CallbackOptions] = []
    step = Together(2)
    execution = start(
        make_event(*"abcdef") | {"tenantId": "demo"},
        steps=(step,),
        wrap=lambda handler: Callbacks(handler, callbacks),
        MAP_MAX_CONCURRENCY="6",
        CALLBACK_TIMEOUT="90m",
    )
    execution.approve()

    assert execution.output()["mapResults"]["succeeded"] == 6
    assert step.most == 2
    assert callbacks == [CallbackOptions(timeout_seconds=60 * 60, heartbeat_timeout_seconds=0)]


def test_the_stack_is_never_exceeded(start: Start) -> None:
    callbacks: list[CallbackOptions] = []
    step = Together(1)
    execution = start(
        make_event(*"abc"),
        steps=(step,),
        wrap=lambda handler: Callbacks(handler, callbacks),
        MAP_MAX_CONCURRENCY="1",
        CALLBACK_TIMEOUT="5m",
    )
    execution.approve()

    assert execution.output()["mapResults"]["succeeded"] == 3
    assert step.most == 1
    assert callbacks == [CallbackOptions(timeout_seconds=5 * 60, heartbeat_timeout_seconds=0)]
