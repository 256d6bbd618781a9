"""The approval: what the approvers are shown, and how their answer is read."""

from __future__ import annotations

import re

from chassis import Approval, Decision, Fields, InvalidAnswerError, JsonObject, Plan

DECISION = re.compile("APPROVED|REJECTED")


def evidence(plan: Plan) -> JsonObject:
    """What the approvers are shown, beside who asks; keep it small."""
    return {"items": plan["item_count"]}


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
