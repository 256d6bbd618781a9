"""The business logic: pure functions, no SDK, no I/O, no clock. Start changing here."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from workflow.models import (
    ItemError,
    ItemOutcomes,
    ItemResult,
    Metrics,
    WorkItem,
    json_type,
)


def generate_work_items(items: list[Any], first: int = 1) -> list[WorkItem]:
    """Turn the input into work items; the same input always gives the same items.

    >>> generate_work_items(["a", {"sku": 7}])[1]
    {'id': 'work-item-2', 'data': {'sku': 7}, 'priority': 2, 'status': 'pending'}
    """
    return [
        WorkItem(
            id=f"work-item-{number}", data=data, priority=(number - 1) % 3 + 1, status="pending"
        )
        for number, data in enumerate(items, start=first)
    ]


def batches(items: list[WorkItem], size: int) -> list[list[WorkItem]]:
    """The items in groups that share a checkpoint; the last one may be smaller.

    >>> items = generate_work_items(["a", "b", "c"])
    >>> [len(batch) for batch in batches(items, 2)]
    [2, 1]
    """
    return [items[first : first + size] for first in range(0, len(items), size)]


def batch_name(batch: list[WorkItem]) -> str:
    """What the history calls the step that processes these items.

    >>> items = generate_work_items(["a", "b", "c"])
    >>> batch_name(items[:1]), batch_name(items)
    ('work-item-1', 'work-item-1 to work-item-3')
    """
    first, last = batch[0]["id"], batch[-1]["id"]
    return first if len(batch) == 1 else f"{first} to {last}"


def process_item(item: WorkItem) -> ItemResult:
    """Process one item: replace the body with what your business does to it.

    The result is checkpointed: keep it small, and return keys instead of content.

    Raises:
        ItemError: there is nothing in the item to process.
    """
    data = item["data"]
    if is_empty(data):
        raise ItemError(f"nothing to process: the item is {json.dumps(data)[:20]}")
    content = canonical_json(data)
    return ItemResult(
        kind=json_type(data),
        bytes=len(content),
        digest=hashlib.sha256(content).hexdigest()[:16],
    )


def aggregate(
    outcomes: ItemOutcomes,
    checks_run: int,
    started_at: str,
    finished_at: str,
    duration_seconds: float,
) -> Metrics:
    """Count what has happened; ``successRate`` is null when there was nothing to process."""
    succeeded, failed = outcomes.succeeded, outcomes.failed
    return Metrics(
        itemsProcessed=succeeded + failed,
        itemsFailed=failed,
        successRate=succeeded / (succeeded + failed) if succeeded + failed else None,
        checksRun=checks_run,
        startedAt=started_at,
        finishedAt=finished_at,
        durationSeconds=duration_seconds,
    )


def is_empty(data: Any) -> bool:
    """Whether there is nothing in it: null, blank text, an empty list or object.

    >>> is_empty("  "), is_empty([]), is_empty(0)
    (True, True, False)
    """
    if isinstance(data, str):
        return not data.strip()
    return data is None or (isinstance(data, list | dict) and not data)


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value, in UTF-8, whatever the order of its keys was.

    >>> canonical_json({"b": 1, "a": "x"})
    b'{"a":"x","b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")  # JSON may hold half a surrogate pair
