"""The approval: what the approvers are shown, and how their answer is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from chassis import (
    Approval,
    Decision,
    Fields,
    InvalidAnswerError,
    JsonObject,
    canonical_json,
    json_type,
)
from workflow.data_processor import WorkItem

DECISION = re.compile("APPROVED|REJECTED")
SHOWN = 3
"""Items that the approvers see."""


def evidence(items: Iterable[WorkItem]) -> JsonObject:
    """What the approvers are shown, beside who asks: how many items of which kind, and the first.

    >>> from workflow.data_processor import work_item
    >>> evidence([work_item(1, "a"), work_item(2, {"sku": 7})])
    {'items': 2, 'kinds': {'string': 1, 'object': 1}, 'bytes': 12, 'first': ['a', {'sku': 7}]}
    """
    kinds, first, size = Counter[str](), list[Any](), 0
    for item in items:
        kinds[json_type(item["data"])] += 1
        size += len(canonical_json(item["data"]))
        if len(first) < SHOWN:
            first.append(item["data"])
    return {"items": kinds.total(), "kinds": dict(kinds), "bytes": size, "first": first}


def parse_answer(answer: str | None) -> Approval:
    """Read an answer; anything that is not clearly a decision is refused.

    >>> parse_answer('{"decision": "APPROVED", "decidedBy": "ada"}').decision
    <Decision.APPROVED: 'APPROVED'>

    Raises:
        InvalidAnswerError: the message says what is wrong and what would be right.
    """
    fields = Fields.from_json(answer or "", "the answer", InvalidAnswerError)
    decision = fields.text("decision", DECISION, "APPROVED or REJECTED")
    decided_by = fields.optional_text("decidedBy")
    comment = fields.optional_text("comment")
    fields.done()
    return Approval(Decision(decision), decision == Decision.APPROVED, decided_by, comment)
