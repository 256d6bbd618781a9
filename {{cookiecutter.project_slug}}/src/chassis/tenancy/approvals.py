"""The record of each approval: what was asked, and what came of it.

A row of the tenant's, which outlives the answer. The callback id in it is the right to answer: it
goes when an answer has been taken.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chassis.model import Approval, Decision
from chassis.tenancy.guard import execution_name_of
from chassis.tenancy.registry import LOOK_AFTER_SECONDS
from chassis.tenancy.rows import Rows
from chassis.wire import JsonObject, wire_time

ID_LENGTH = 32
APPROVAL = "APPROVAL#"
"""What the sort key of an approval begins with."""

PENDING = "PENDING"
A_DAY = 24 * 60 * 60
ANSWERED = "this approval has been answered already"


class ApprovalNotFoundError(Exception):
    """The tenant has no such approval: unknown, or another tenant's."""


class ApprovalClosedError(Exception):
    """The approval has been answered, or its time is up (``is_expired``)."""

    def __init__(self, message: str, *, is_expired: bool = False) -> None:
        """Take the message."""
        super().__init__(message)
        self.is_expired = is_expired


def approval_id(execution_arn: str, approval: str) -> str:
    """The id of an approval: 32 hexadecimal digits, of which all of an execution share 16."""
    return "".join(_hash(part)[: ID_LENGTH // 2] for part in (execution_arn, approval))


def new_token(approval: str) -> str:
    """A token that answers the approval with this id: the id, and a secret of 128 bits."""
    return approval + secrets.token_hex(16)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked.

    Attributes:
        workflow_id: of the request.
        execution_arn: of the execution that waits.
        approval: its name in the workflow.
        asked_at: in seconds.
        expires_at: in seconds: until then it can be answered.
        started_by: who has started the execution, if that is known.
        evidence: what the approvers are shown.
    """

    workflow_id: str
    execution_arn: str
    approval: str
    asked_at: float
    expires_at: int
    started_by: str | None
    evidence: JsonObject

    @property
    def id(self) -> str:
        """The id of the approval."""
        return approval_id(self.execution_arn, self.approval)

    @property
    def look_at(self) -> int:
        """When the reconciler looks whether it still waits, in seconds.

        That is when a quarter of its time is left, and two sweeps at least.
        """
        timeout = self.expires_at - int(self.asked_at)
        return self.expires_at - max(timeout // 4, 2 * LOOK_AFTER_SECONDS)


@dataclass(frozen=True, kw_only=True)
class Record:
    """An approval as it is stored.

    Attributes:
        asked: what was asked.
        state: PENDING, or the decision.
        callback_id: the right to answer; a secret. None once it is closed.
        decided_at: in seconds.
        decided_by: who has decided.
        identified_by: how that is known: ``claim``, ``operator`` or ``service``.
        comment: why.
    """

    asked: Asked
    state: str
    callback_id: str | None = None
    decided_at: float | None = None
    decided_by: str | None = None
    identified_by: str | None = None
    comment: str | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Record:
        """Read what ``Approvals`` has written."""
        text = {name: value["S"] for name, value in row.items() if "S" in value}
        number = {name: float(value["N"]) for name, value in row.items() if "N" in value}
        return cls(
            asked=Asked(
                workflow_id=text["workflowId"],
                execution_arn=text["executionArn"],
                approval=text["approval"],
                asked_at=number["askedAt"],
                expires_at=int(number["answerBy"]),
                started_by=text.get("startedBy"),
                evidence=json.loads(text["evidence"]),
            ),
            state=text["state"],
            callback_id=text.get("callbackId"),
            decided_at=number.get("decidedAt"),
            decided_by=text.get("decidedBy"),
            identified_by=text.get("identifiedBy"),
            comment=text.get("comment"),
        )

    def require_open(self, now: float) -> None:
        """Check that it can be answered.

        Raises:
            ApprovalClosedError: it has been, or its time is up.
        """
        if self.state in {Decision.APPROVED, Decision.REJECTED}:
            raise ApprovalClosedError(ANSWERED)
        if self.state == Decision.WITHDRAWN:
            raise ApprovalClosedError("the execution has ended without an answer", is_expired=True)
        if self.state != PENDING or self.asked.expires_at <= now:
            raise ApprovalClosedError("the time for this approval is up", is_expired=True)

    def to_wire(self, now: float) -> JsonObject:
        """The record as people and programs see it; without the callback id."""
        is_over = self.state == PENDING and self.asked.expires_at <= now
        return {
            "id": self.asked.id,
            "workflow": execution_name_of(self.asked.execution_arn),
            "workflowId": self.asked.workflow_id,
            "approval": self.asked.approval,
            "state": Decision.TIMED_OUT.value if is_over else self.state,
            "askedAt": wire_time(self.asked.asked_at),
            "expiresAt": wire_time(self.asked.expires_at),
            "startedBy": self.asked.started_by,
            "evidence": self.asked.evidence,
            "decidedAt": None if self.decided_at is None else wire_time(self.decided_at),
            "decidedBy": self.decided_by,
            "identifiedBy": self.identified_by,
            "comment": self.comment,
        }


class Approvals(Rows):
    """The approvals of a tenant."""

    def ask(self, asked: Asked, callback_id: str, token: str, kept_days: int) -> bool:
        """Store that an answer is wanted; False if there is one already.

        A step that asks again adds its token: each one that was sent answers.

        Args:
            asked: what is asked.
            callback_id: what completes the callback.
            token: what its holder answers with; its hash is stored.
            kept_days: how long the record is kept after the time to answer is up.
        """
        values = {
            "state": {"S": PENDING},
            "listed": {"S": f"APPROVAL#{PENDING}#{wire_time(asked.asked_at)}#{asked.id}"},
            "workflowId": {"S": asked.workflow_id},
            "executionArn": {"S": asked.execution_arn},
            "approval": {"S": asked.approval},
            "askedAt": {"N": str(asked.asked_at)},
            "answerBy": {"N": str(asked.expires_at)},
            "expiresAt": {"N": str(asked.expires_at + kept_days * A_DAY)},
            "evidence": {"S": json.dumps(asked.evidence)},
            "callbackId": {"S": callback_id},
            "lookAt": {"N": str(asked.look_at)},
        }
        if asked.started_by is not None:
            values["startedBy"] = {"S": asked.started_by}
        is_pending = {":pending": {"S": PENDING}}
        condition = "attribute_not_exists(pk) OR #state = :pending"
        token_hash = {"tokens": {"SS": [_hash(token)]}}
        key = APPROVAL + asked.id
        return bool(self.update(key, values, add=token_hash, condition=condition, given=is_pending))

    def get(self, approval: str) -> Record:
        """The approval with this id.

        Raises:
            ApprovalNotFoundError: the tenant has none.
        """
        row = self.read(APPROVAL + approval)
        if not row:
            raise ApprovalNotFoundError("there is no such approval")
        return Record.from_row(row)

    def find(self, token: str) -> Record:
        """The approval that this token answers.

        Raises:
            ApprovalNotFoundError: the tenant has none.
        """
        row = self.read(APPROVAL + token[:ID_LENGTH])
        if not row or _hash(token) not in row["tokens"]["SS"]:
            raise ApprovalNotFoundError("there is no such approval")
        return Record.from_row(row)

    def close(self, approval: str, answer: Approval, identified_by: str | None, now: float) -> bool:
        """Record what came of it; False if that has been done before, or nobody was asked.

        Args:
            approval: its id.
            answer: the decision.
            identified_by: how it is known who has decided.
            now: in seconds.
        """
        values = {
            "state": {"S": answer.decision.value},
            "listed": {"S": f"APPROVAL#CLOSED#{wire_time(now)}#{approval}"},
            "decidedAt": {"N": str(now)},
        }
        for name, value in {
            "decidedBy": answer.decided_by,
            "identifiedBy": identified_by,
            "comment": answer.comment,
        }.items():
            if value is not None:
                values[name] = {"S": value}
        closed = self.update(
            APPROVAL + approval,
            values,
            remove=["callbackId", "lookAt"],
            condition="#state = :pending",
            given={":pending": {"S": PENDING}},
        )
        return bool(closed)

    def note_warned(self, sort_key: str, now: float) -> Asked | None:
        """Look at an approval no more, and return it if it still waits for an answer."""
        row = self.update(
            sort_key,
            {},
            remove=["lookAt"],
            condition="#state = :pending",
            given={":pending": {"S": PENDING}},
        )
        asked = Record.from_row(row).asked if row else None
        return asked if asked and asked.expires_at > now else None

    def pending(self, execution_arn: str) -> list[str]:
        """The ids of what an execution has asked and that is still open."""
        prefix = approval_id(execution_arn, "")[: ID_LENGTH // 2]
        keys = self.keys_of(APPROVAL + prefix, PENDING)
        return [key.removeprefix(APPROVAL) for key in keys]

    def withdraw(self, execution_arn: str, now: float) -> None:
        """Close what an execution has asked and that is still open, because it has ended."""
        withdrawn = Approval(Decision.WITHDRAWN, goes_on=False)
        for approval in self.pending(execution_arn):
            self.close(approval, withdrawn, None, now)

    def in_state(
        self, state: str, limit: int, after: str | None
    ) -> tuple[list[Record], str | None]:
        """Some of the pending or closed approvals, the newest first.

        Args:
            state: ``pending`` or ``closed``.
            limit: how many.
            after: what the page before has returned, or None for the first.

        Returns:
            the records, and what the next page begins after; None if there is none.
        """
        page = self.page(f"APPROVAL#{state.upper()}#", limit, after)
        return [Record.from_row(row) for row in page.rows], page.after
