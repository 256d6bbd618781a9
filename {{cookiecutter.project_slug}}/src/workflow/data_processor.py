"""The business: what a work item is, what happens to it, and what is counted in the end.

All but ``work_item`` runs inside durable steps, so it may call other systems and read the clock and
the environment. A step runs at least once: docs/change.md says how to call a system just once.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypedDict

from chassis import (
    Attempt,
    CheckResult,
    ItemError,
    ItemOutcomes,
    JsonObject,
    canonical_json,
    json_type,
)


class WorkItem(TypedDict):
    """One unit of work."""

    id: str
    data: Any
    priority: int
    status: str


class ItemResult(TypedDict):
    """What is kept of a processed item; small, because every result is checkpointed."""

    kind: str
    bytes: int
    digest: str


def work_item(number: int, data: Any) -> WorkItem:
    """Make a work item; the same number and data always make the same one.

    >>> work_item(2, {"sku": 7})
    {'id': 'work-item-2', 'data': {'sku': 7}, 'priority': 2, 'status': 'pending'}
    """
    return WorkItem(
        id=f"work-item-{number}", data=data, priority=(number - 1) % 3 + 1, status="pending"
    )


def process_item(item: WorkItem, attempt: Attempt) -> ItemResult:
    """Process one item: replace the body with what your business does to it.

    Args:
        item: as ``work_item`` has made it.
        attempt: whose item it is, and a key for calls that must not happen twice.

    Raises:
        ItemError: there is nothing in the item to process. It fails, and the others do not.
        TransientError: raise it when another system is not available: the step is tried again.
    """
    del attempt  # nothing is called here
    data = item["data"]
    if is_empty(data):
        raise ItemError(f"nothing to process: the item is {json.dumps(data)[:20]}")
    content = canonical_json(data)
    return ItemResult(
        kind=json_type(data),
        bytes=len(content),
        digest=hashlib.sha256(content).hexdigest()[:16],
    )


def aggregate(items: ItemOutcomes, checks: list[CheckResult]) -> JsonObject:
    """Count what has happened; ``successRate`` is null when there was nothing to process."""
    processed = items.succeeded + items.failed
    return {
        "itemsProcessed": processed,
        "itemsFailed": items.failed,
        "successRate": items.succeeded / processed if processed else None,
        "checksRun": len(checks),
    }


def is_empty(data: Any) -> bool:
    """Whether there is nothing in it: null, blank text, an empty list or object.

    >>> is_empty("  "), is_empty([]), is_empty(0)
    (True, True, False)
    """
    if isinstance(data, str):
        return not data.strip()
    return data is None or (isinstance(data, list | dict) and not data)
