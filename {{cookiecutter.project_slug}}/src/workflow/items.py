"""The map over the items: each has a checkpoint of its own, unless the stack says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from aws_durable_execution_sdk_python import BatchResult, DurableContext
from aws_durable_execution_sdk_python.concurrency.models import BatchItem, CompletionReason
from aws_durable_execution_sdk_python.config import BatchItemStatus

from workflow import data_processor, limits, policies, steps
from workflow.models import (
    FailedItem,
    ItemOutcome,
    ItemOutcomes,
    ProcessedItem,
    TooManyItemsFailedError,
    WorkItem,
)
from workflow.settings import Settings


def process_items(
    context: DurableContext, items: list[WorkItem], settings: Settings
) -> ItemOutcomes:
    """Process every item, some of them at the same time.

    Raises:
        TooManyItemsFailedError: the share of failed items is larger than the stack tolerates.
    """
    batches = data_processor.batches(items, settings["items_per_checkpoint"])
    results: BatchResult[list[ItemOutcome]] = context.map(
        batches, _process_batch, name="process-items", config=policies.items(settings)
    )
    outcomes = sort_out(
        [
            pair
            for entry in results.all
            if entry.status is not BatchItemStatus.STARTED
            for pair in _outcomes(batches[entry.index], entry)
        ]
    )
    if results.completion_reason is CompletionReason.FAILURE_TOLERANCE_EXCEEDED:
        raise too_many_failed(
            outcomes,
            len(items),
            settings,
            f"{results.started_count} left in progress, "
            f"{len(batches) - results.total_count} not started: ",
        )
    require_tolerable(outcomes, settings)
    return outcomes


def sort_out(outcomes: list[tuple[WorkItem, ItemOutcome]]) -> ItemOutcomes:
    """Those that succeeded, and those that failed: the more there are, the shorter the reasons."""
    failures = [(item, outcome) for item, outcome in outcomes if "error" in outcome]
    longest = limits.share_of_errors(len(failures))
    results = [
        ProcessedItem(id=item["id"], **outcome["result"])
        for item, outcome in outcomes
        if "result" in outcome
    ]
    failed_items = [
        FailedItem(id=item["id"], error=limits.shorten(outcome["error"], longest))
        for item, outcome in failures
    ]
    return ItemOutcomes(
        succeeded=len(results),
        failed=len(failures),
        results=results,
        failed_items=failed_items,
    )


def require_tolerable(outcomes: ItemOutcomes, settings: Settings) -> None:
    """Judge by the items when all are done.

    Raises:
        TooManyItemsFailedError: the share of failed items is larger than the stack tolerates.
    """
    items = outcomes.succeeded + outcomes.failed
    if 100 * outcomes.failed > settings["tolerated_item_failure_percentage"] * items:
        raise too_many_failed(outcomes, items, settings)


def too_many_failed(
    outcomes: ItemOutcomes, items: int, settings: Settings, unfinished: str = ""
) -> TooManyItemsFailedError:
    """The error that names the first of them."""
    reasons = "; ".join(f"{item['id']}: {item['error']}" for item in outcomes.failed_items[:10])
    #% if cookiecutter.fan_out == "yes"
    if outcomes.results_ref:
        unfinished = f"what came of each is in {outcomes.results_ref}: "
    #% endif
    return TooManyItemsFailedError(
        f"{outcomes.failed} of {items} items failed, "
        f"{settings['tolerated_item_failure_percentage']} % tolerated, {unfinished}{reasons}"
    )


def _outcomes(
    batch: list[WorkItem], entry: BatchItem[list[ItemOutcome]]
) -> Iterator[tuple[WorkItem, ItemOutcome]]:
    error = (entry.error.message if entry.error else None) or "no reason given"
    outcomes = entry.result or [ItemOutcome(error=error) for _ in batch]
    return zip(batch, outcomes, strict=True)


def _process_batch(
    context: DurableContext, batch: list[WorkItem], _index: int, _batches: object
) -> list[ItemOutcome]:
    return context.step(
        steps.process_batch(batch),
        name=data_processor.batch_name(batch),
        config=policies.RETRY_TRANSIENT,
    )
