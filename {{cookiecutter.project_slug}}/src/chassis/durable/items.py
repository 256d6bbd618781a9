"""The map over the items: each has a checkpoint of its own, unless the stack says otherwise."""

from __future__ import annotations

#% if cookiecutter.front_door == "http_api"
from collections.abc import Callable, Iterator
from functools import partial

#% else
from collections.abc import Iterator

#% endif
from aws_durable_execution_sdk_python import BatchResult, DurableContext
from aws_durable_execution_sdk_python.concurrency.models import BatchItem
from aws_durable_execution_sdk_python.config import BatchItemStatus

from chassis import quotas
from chassis.durable import policies
from chassis.model import ItemOutcome, ItemOutcomes, ItemStep, TooManyItemsFailedError
from chassis.settings import Settings
from chassis.steps import work
from chassis.wire import JsonObject, shorten

#% if cookiecutter.front_door == "http_api"
PROGRESS_WRITES = 10
"""How often the progress of an execution{% if cookiecutter.fan_out == "yes" %} or a chunk{% endif %} is written, about."""

#% endif
Items = list[JsonObject]


def process_items(
    context: DurableContext,
    items: Items,
    steps: tuple[ItemStep, ...],
    settings: Settings,
    tenant_id: str,
    execution_arn: str,
    #% if cookiecutter.front_door == "http_api"
    count_done: Callable[[int], None],
    #% endif
) -> ItemOutcomes:
    """Process every item, some of them at the same time; ``require_tolerable`` judges."""
    batches = in_batches(items, settings)
    #% if cookiecutter.front_door == "http_api"
    shares = shares_of([len(batch) for batch in batches])

    def note(share: int) -> None:
        if share:
            count_done(share)

    #% endif
    names = [batch_name(batch) for batch in batches]

    def process(
        item_context: DurableContext, batch: Items, index: int, _batches: object
    ) -> list[ItemOutcome]:
        outcomes = [ItemOutcome() for _ in batch]
        for step in steps:
            #% if cookiecutter.front_door == "http_api"
            progress = step is steps[-1], partial(note, shares[index])
            body = work.process_batch(step, batch, outcomes, tenant_id, execution_arn, *progress)
            #% else
            body = work.process_batch(step, batch, outcomes, tenant_id, execution_arn)
            #% endif
            outcomes = item_context.step(
                body,
                name=step_name(names[index], step, steps),
                config=policies.RETRY_TRANSIENT,
            )
        return outcomes

    results: BatchResult[list[ItemOutcome]] = context.map(
        batches, process, name="process-items", config=policies.items(settings, names)
    )
    ended = [
        pair
        for entry in results.all
        if entry.status is not BatchItemStatus.STARTED
        for pair in _outcomes(batches[entry.index], entry)
    ]
    return sort_out(ended, unfinished=len(items) - len(ended))


#% if cookiecutter.front_door == "http_api"
def shares_of(sizes: list[int]) -> list[int]:
    """How many items each batch stands for when it is counted: some 10 of them are, for all.

    >>> shares_of([1, 1, 1]), shares_of([10] * 21)[:3]
    ([1, 1, 1], [0, 20, 0])
    """
    every = max(1, len(sizes) // PROGRESS_WRITES)
    shares = [0] * len(sizes)
    for first in range(0, len(sizes), every):
        group = sizes[first : first + every]
        shares[first + len(group) - 1] = sum(group)
    return shares


#% endif
def in_batches(items: Items, settings: Settings) -> list[Items]:
    """The items, those together that share a checkpoint."""
    size = settings["items_per_checkpoint"]
    return [items[first : first + size] for first in range(0, len(items), size)]


def step_name(batch: str, step: ItemStep, steps: tuple[ItemStep, ...]) -> str:
    """What the history calls a step of a batch: the first one has the name of the batch."""
    return batch if step is steps[0] else f"{batch} {step.__name__.replace('_', '-')}"


def batch_name(batch: Items) -> str:
    """What the history calls the items that share a checkpoint.

    >>> batch_name([{"id": "work-item-1"}]), batch_name([{"id": "a"}, {"id": "b"}])
    ('work-item-1', 'a to b')
    """
    first, last = str(batch[0]["id"]), str(batch[-1]["id"])
    return first if len(batch) == 1 else f"{first} to {last}"


def sort_out(outcomes: list[tuple[JsonObject, ItemOutcome]], unfinished: int = 0) -> ItemOutcomes:
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
        succeeded=len(results),
        failed=len(failures),
        unfinished=unfinished,
        results=results,
        failed_items=failed_items,
    )


def require_tolerable(outcomes: ItemOutcomes, settings: Settings) -> None:
    """Judge by the items: the map leaves some unfinished only when too many others have failed.

    Raises:
        TooManyItemsFailedError: the share of failed items is larger than the stack tolerates. The
            message names the first of them.
    """
    tolerated = settings["tolerated_item_failure_percentage"]
    items = outcomes.succeeded + outcomes.failed + outcomes.unfinished
    if not outcomes.unfinished and 100 * outcomes.failed <= tolerated * items:
        return
    reasons = "; ".join(f"{item['id']}: {item['error']}" for item in outcomes.failed_items[:10])
    more = f"{outcomes.unfinished} not finished: " if outcomes.unfinished else ""
    #% if cookiecutter.fan_out == "yes"
    if outcomes.results_ref:
        more = f"what came of each is in {outcomes.results_ref}: "
    #% endif
    raise TooManyItemsFailedError(
        f"{outcomes.failed} of {items} items failed, {tolerated} % tolerated, {more}{reasons}"
    )


def _outcomes(
    batch: Items, entry: BatchItem[list[ItemOutcome]]
) -> Iterator[tuple[JsonObject, ItemOutcome]]:
    error = (entry.error.message if entry.error else None) or "no reason given"
    outcomes = entry.result or [ItemOutcome(error=error) for _ in batch]
    return zip(batch, outcomes, strict=True)
