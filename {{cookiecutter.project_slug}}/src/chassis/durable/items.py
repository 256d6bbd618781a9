"""The map over the items: each has a checkpoint of its own, unless the stack says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

from aws_durable_execution_sdk_python import BatchResult, DurableContext
from aws_durable_execution_sdk_python.concurrency.models import BatchItem, CompletionReason
from aws_durable_execution_sdk_python.config import BatchItemStatus

from chassis import quotas
from chassis.durable import policies
from chassis.model import ItemOutcome, ItemOutcomes, ItemStep, TooManyItemsFailedError
from chassis.settings import Settings
from chassis.steps import work
from chassis.wire import JsonObject, shorten

Items = list[JsonObject]


def process_items(
    context: DurableContext,
    items: Items,
    steps: tuple[ItemStep, ...],
    settings: Settings,
    tenant_id: str,
    execution_arn: str,
) -> ItemOutcomes:
    """Process every item, some of them at the same time.

    Raises:
        TooManyItemsFailedError: the share of failed items is larger than the stack tolerates.
    """
    size = settings["items_per_checkpoint"]
    batches = [items[first : first + size] for first in range(0, len(items), size)]
    names = [batch_name(batch) for batch in batches]

    def process(
        item_context: DurableContext, batch: Items, index: int, _batches: object
    ) -> list[ItemOutcome]:
        outcomes = [ItemOutcome() for _ in batch]
        for step in steps:
            label = step.__name__.replace("_", "-")
            outcomes = item_context.step(
                work.process_batch(step, batch, outcomes, tenant_id, execution_arn),
                name=names[index] if step is steps[0] else f"{names[index]} {label}",
                config=policies.RETRY_TRANSIENT,
            )
        return outcomes

    results: BatchResult[list[ItemOutcome]] = context.map(
        batches, process, name="process-items", config=policies.items(settings, names)
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


def batch_name(batch: Items) -> str:
    """What the history calls the items that share a checkpoint.

    >>> batch_name([{"id": "work-item-1"}]), batch_name([{"id": "a"}, {"id": "b"}])
    ('work-item-1', 'a to b')
    """
    first, last = str(batch[0]["id"]), str(batch[-1]["id"])
    return first if len(batch) == 1 else f"{first} to {last}"


def sort_out(outcomes: list[tuple[JsonObject, ItemOutcome]]) -> ItemOutcomes:
    """Those that succeeded, and those that failed: the more there are, the shorter the reasons."""
    failures = [(item, outcome) for item, outcome in outcomes if "error" in outcome]
    longest = quotas.share_of_errors(len(failures))
    results = [
        {"id": item["id"], **outcome["result"]} for item, outcome in outcomes if "result" in outcome
    ]
    failed_items = [
        {"id": item["id"], "error": shorten(outcome["error"], longest)}
        for item, outcome in failures
    ]
    return ItemOutcomes(
        succeeded=len(results), failed=len(failures), results=results, failed_items=failed_items
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
    batch: Items, entry: BatchItem[list[ItemOutcome]]
) -> Iterator[tuple[JsonObject, ItemOutcome]]:
    error = (entry.error.message if entry.error else None) or "no reason given"
    outcomes = entry.result or [ItemOutcome(error=error) for _ in batch]
    return zip(batch, outcomes, strict=True)
