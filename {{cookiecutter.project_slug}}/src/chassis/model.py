"""What passes between the phases of a workflow, and the errors that end them.

What a step returns is checkpointed as JSON, so it is described by a ``TypedDict``.
"""

from __future__ import annotations

import re
#% if cookiecutter.fan_out == "yes"
from bisect import bisect_right
#% endif
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
#% if cookiecutter.fan_out == "yes"
from itertools import count, pairwise
#% else
from itertools import count
#% endif
from pathlib import Path  # noqa: TID251 - names a file, reads none
from typing import Any, Generic, NotRequired, TypeAlias, TypedDict, TypeVar

from chassis.settings import Settings
from chassis.wire import MAX_TEXT_LENGTH, Fields, JsonObject, problem_inside, show

#% if cookiecutter.fan_out == "yes"
# No "..", nothing hidden, at most 200 characters.
INPUT_REF = re.compile(r"(?!.{201})[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)
#% endif
WORKFLOW_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
TENANT_ID = re.compile(r"[a-z0-9]{3,24}")
MAX_NUMBER = 1_000_000
"""The highest number that an item of a redrive can have had."""

#% if cookiecutter.fan_out == "yes"
MAX_PARTS = 1_000
"""Parts of a stored input that a redrive can name: each of its chunks is told all of them."""

#% endif

REFUSED = "REFUSED"
"""The ``status`` of an output that is a ``refusal``."""


class InvalidInputError(Exception):
    """The event cannot be processed; the message says what is wrong, and where."""


class InvalidAnswerError(Exception):
    """The answer to an approval is malformed: it approves nothing."""


class ItemError(Exception):
    """This item cannot be processed, and trying again would not help."""


class TransientError(Exception):
    """Something is not available just now: the step that raises it is retried."""


class TenantRefusedError(Exception):
    """The tenant may not do this, or it is not clear which tenant it is."""


class ApprovalNotRequestedError(Exception):
    """Nobody could be asked, so nobody can have approved."""


class ApprovalTimedOutError(Exception):
    """Nobody answered in time, and the stack is set to fail then."""


class ChecksFailedError(Exception):
    """More checks failed than the stack tolerates."""


class TooManyItemsFailedError(Exception):
    """A larger share of the items failed than the stack tolerates."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A valid input event. A workflow with input fields of its own adds them in a subclass.

    Attributes:
        workflow_id: 1 to 64 of ``A-Z a-z 0-9 _ -``.
        tenant_id: 3 to 24 of ``a-z 0-9``.
        items: any JSON values; each becomes a work item.
        redrive_of: the ARN of the execution that has first had these items, if this one has them
            again; calls for them have the keys that they had there.
        numbers: of the items in that execution, from 1.
        #% if cookiecutter.fan_out == "yes"
        input_ref: the key of a stored input, whose lines are the items; empty, if there is none.
        input_sha256: of the stored input in that execution, in hexadecimal.
        lines: of the stored input that are processed, the first and the last of each part; empty
            for all.
        #% endif
        event: the fields that were read, as they were sent: what a starter passes on.
    """

    workflow_id: str
    tenant_id: str
    items: list[Any]
    #% if cookiecutter.fan_out == "yes"
    input_ref: str = ""
    input_sha256: str | None = None
    lines: list[list[int]] = field(default_factory=list)
    #% endif
    redrive_of: str = ""
    numbers: list[int] = field(default_factory=list)
    event: JsonObject

    def identity(self) -> JsonObject:
        """What names the request wherever it is spoken of: on the wire and on every log line."""
        redrive = {"redriveOf": self.redrive_of} if self.redrive_of else {}
        return {"workflowId": self.workflow_id, "tenantId": self.tenant_id, **redrive}

    #% if cookiecutter.fan_out == "yes"
    def wants(self, line: int) -> bool:
        """Whether this line of the stored input is processed."""
        at = bisect_right(self.lines, line, key=lambda part: part[0])
        return not self.lines or (at > 0 and line <= self.lines[at - 1][1])

    #% endif
    def numbered(self) -> Iterator[tuple[int, Any]]:
        """Each item with its number, which the work item is made of."""
        return zip(self.numbers or count(1), self.items, strict=False)


def input_fields(event: Any) -> Fields:
    """Read the fields of an input event, to be finished with ``request_fields``.

    Raises:
        InvalidInputError: the event is not a JSON object.
    """
    return Fields(event, "the event", InvalidInputError)


def request_fields(fields: Fields) -> dict[str, Any]:
    """Read what every input has, and return it as the arguments of ``Request``.

    Raises:
        InvalidInputError: one line that names every problem of the event, also of the fields that
            were read before.
    """
    known: dict[str, Any] = {
        "workflow_id": fields.text(
            "workflowId", WORKFLOW_ID, "1 to 64 of A-Z, a-z, 0-9, '_' and '-'"
        ),
        "tenant_id": fields.text("tenantId", TENANT_ID, "3 to 24 of a-z and 0-9"),
    }
    input_data = fields.unchecked("inputData")
    if isinstance(input_data, dict):
        known |= _read_input_data(input_data, fields)
    else:
        fields.refuse(f"inputData is {show(input_data)}, expected an object with a list 'items'")
    if (redrive := fields.value("redriveOf")) is not None:
        known |= _read_redrive(redrive, known.get("items"), fields)
        #% if cookiecutter.fan_out == "yes"
        if known.get("input_ref"):
            known["lines"] = _read_lines(redrive, fields)
        #% endif
    fields.done()
    return {**known, "event": fields.read}


def _read_input_data(input_data: JsonObject, fields: Fields) -> dict[str, Any]:
    items = input_data.get("items")
    #% if cookiecutter.fan_out == "yes"
    input_ref = input_data.get("inputRef")
    if input_ref is not None and items is not None:
        fields.refuse("inputData has both items and inputRef, expected one of them")
    elif input_ref is not None:
        if not isinstance(input_ref, str) or not INPUT_REF.fullmatch(input_ref):
            fields.refuse(
                f"inputData.inputRef is {show(input_ref)}, expected a key below the tenant's "
                "prefix, of names of A-Z, a-z, 0-9, '_', '-' and '.' with '/' between them"
            )
        fields.read["inputData"] = {"inputRef": input_ref}
        return {"items": [], "input_ref": input_ref}
    #% endif
    if isinstance(items, list):
        for index, item in enumerate(items):
            if problem := problem_inside(item):
                fields.refuse(f"inputData.items[{index}] {problem}")
                break
    else:
        fields.refuse(f"inputData.items is {show(items)}, expected a list")
    fields.read["inputData"] = {"items": items}
    return {"items": items}


def _read_redrive(redrive: Any, items: Any, fields: Fields) -> dict[str, Any]:
    given = redrive if isinstance(redrive, dict) else {}
    arn, numbers = given.get("executionArn"), given.get("items")
    is_arn = isinstance(arn, str) and 0 < len(arn) <= MAX_TEXT_LENGTH
    if not is_arn or not _are_numbers_of(numbers, items):
        fields.refuse(
            f"redriveOf is {show(redrive)}, expected an executionArn, and in items the number "
            "that each of inputData.items had there, in ascending order"
        )
    return {
        "redrive_of": arn,
        "numbers": numbers,
        #% if cookiecutter.fan_out == "yes"
        "input_sha256": given.get("sha256"),
        #% endif
    }


def _are_numbers_of(numbers: Any, items: Any) -> bool:
    return (
        isinstance(numbers, list)
        and isinstance(items, list)
        and len(numbers) == len(items)
        and all(type(number) is int and 1 <= number <= MAX_NUMBER for number in numbers)
        and numbers == sorted(set(numbers))
    )


#% if cookiecutter.fan_out == "yes"
def _read_lines(redrive: Any, fields: Fields) -> list[list[int]]:
    lines: list[list[int]] | None = redrive.get("lines") if isinstance(redrive, dict) else None
    if lines is not None and not _are_parts(lines):
        fields.refuse(
            f"redriveOf.lines is {show(lines)}, expected the numbers of the first and the last "
            f"line of each part, in ascending order, and at most {MAX_PARTS} parts"
        )
    return lines or []


def _are_parts(lines: Any) -> bool:
    return (
        isinstance(lines, list)
        and 0 < len(lines) <= MAX_PARTS
        and all(isinstance(part, list) and len(part) == 2 for part in lines)
        and all(type(number) is int and number >= 1 for part in lines for number in part)
        and all(first <= last for first, last in lines)
        and all(part[1] < after[0] for part, after in pairwise(lines))
    )


#% endif
def claimed_identity(event: Any) -> JsonObject:
    """What names an event that may be invalid, as far as it does so in the right form."""
    patterns = {"workflowId": WORKFLOW_ID, "tenantId": TENANT_ID}
    claimed = event if isinstance(event, dict) else {}
    return {
        name: claimed[name]
        for name, pattern in patterns.items()
        if isinstance(claimed.get(name), str) and pattern.fullmatch(claimed[name])
    }


def refusal(identity: JsonObject, execution_arn: str, reason: str) -> JsonObject:
    """The output of an execution that could not process its event, and has done nothing."""
    return {**identity, "executionArn": execution_arn, "status": REFUSED, "reason": reason}


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What a step of an item is told beside the item.

    A step runs at least once: a crash after its work and before its checkpoint runs it again. So a
    call that must not happen twice carries the key, and the system that is called looks at it.

    Attributes:
        tenant_id: of the execution.
        execution_arn: of the execution that asked for approval, also where a chunk of it runs in
            another one; in a redrive, of the execution that has first had the item.
        number: 1, and higher in a retry.
        idempotency_key: 32 hexadecimal digits; the same at every attempt of this step for this
            item of this execution, and at no other.
        previous: the result of the item's step before this one; None in the first.
    """

    tenant_id: str
    execution_arn: str
    number: int
    idempotency_key: str
    previous: Any = None


ItemStep: TypeAlias = Callable[[Any, Attempt], Any]
"""A step of an item: takes the work item, returns a small JSON object."""

Check: TypeAlias = Callable[[Iterable[Any]], JsonObject]
"""A check: goes through all work items once, returns a small JSON object."""

R = TypeVar("R", bound=Request, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Definition(Generic[R]):
    """What the chassis has to know of a workflow.

    Attributes:
        parse_request: validates an event; raises ``InvalidInputError``.
        work_item: makes a work item of its number, from 1, and its data; the same arguments always
            give the same item. It is JSON, and has an ``id`` that no other item has.
        item_steps: run for each item, in this order, each with a checkpoint of its own. What the
            last one returns is the result of the item.
        evidence: what the approvers are shown, of all work items; called once, in the first step.
        tiers: the file that says what a tenant of each tier may use.
    """

    parse_request: Callable[[Any], R]
    work_item: Callable[[int, Any], Mapping[str, Any]]
    item_steps: tuple[ItemStep, ...]
    evidence: Callable[[Iterable[Any]], JsonObject]
    tiers: Path


#% if cookiecutter.fan_out == "yes"
class Cut(TypedDict):
    """Some lines of a large input, their bytes, and the SHA-256 of these in base64.

    ``count`` is how many of them are items to be processed: all, but for a redrive.
    """

    lines: int
    count: int
    size: int
    sha256: str


class Chunk(Cut):
    """A cut in its place: its number, the number of its first line, and where its bytes start."""

    number: int
    first: int
    start: int


class StoredInput(TypedDict):
    """A large input as it was when it was cut, also as a whole: nothing else is ever processed."""

    ref: str
    sha256: str
    cuts: list[Cut]


#% endif
class Plan(TypedDict):
    """What the initial step fixes for the rest of the execution."""

    started_at: str
    started_by: str | None
    tier: str
    settings: Settings
    #% if cookiecutter.fan_out == "yes"
    stored: StoredInput | None
    #% endif
    item_count: int
    items: list[Any]
    evidence: JsonObject


class Decision(StrEnum):
    """What came of asking.

    NOT_NEEDED where nobody was asked, because there are no items; WITHDRAWN where the execution
    has ended before anybody answered: only the record of an approval has it.
    """

    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    TIMED_OUT = "TIMED_OUT"
    HEARTBEAT_LOST = "HEARTBEAT_LOST"
    NOT_NEEDED = "NOT_NEEDED"
    WITHDRAWN = "WITHDRAWN"


@dataclass(frozen=True)
class Approval:
    """A decision, who made it, and whether the workflow goes on."""

    decision: Decision
    goes_on: bool
    decided_by: str | None = None
    comment: str | None = None

    def to_wire(self) -> JsonObject:
        """The approval as the workflow's output has it."""
        return {
            "decision": self.decision.value,
            "decidedBy": self.decided_by,
            "comment": self.comment,
        }


IDENTIFIED_BY = ("claim", "operator", "service")
"""How it is known who has decided: a token that was verified, or who has sent the answer."""


def identified_by(answer: str | None) -> str:
    """How the answer says that it is known who has decided."""
    try:
        fields = Fields.from_json(answer or "", "the answer", InvalidAnswerError)
    except InvalidAnswerError:
        return "service"
    said = fields.value("identifiedBy")
    return said if said in IDENTIFIED_BY else "service"


ParseAnswer: TypeAlias = Callable[[str | None], Approval]
"""Reads an answer; raises ``InvalidAnswerError`` for anything that is not clearly a decision."""


class CheckResult(TypedDict):
    """The outcome of one parallel check: ``result``, or ``error`` if it failed."""

    name: str
    result: NotRequired[JsonObject]
    error: NotRequired[str]


class ItemOutcome(TypedDict):
    """What a checkpoint holds of one item: ``result``, or ``error`` if it failed."""

    result: NotRequired[Any]
    error: NotRequired[str]


@dataclass(frozen=True, kw_only=True)
class ItemOutcomes:
    """What the map over the items came to.

    Attributes:
        succeeded: items.
        failed: items.
        unfinished: items that were left because too many others had failed.
        results: the result of each item that succeeded, with its ``id``; None if they are stored.
        failed_items: ``id`` and ``error`` of the items that failed, or of the first of many.
    """

    succeeded: int = 0
    failed: int = 0
    unfinished: int = 0
    #% if cookiecutter.fan_out == "yes"
    results_ref: str | None = None
    #% endif
    results: list[JsonObject] | None = field(default_factory=list)
    failed_items: list[JsonObject] = field(default_factory=list)

    def to_wire(self) -> JsonObject:
        """The ``mapResults`` of the workflow's output."""
        return {
            "succeeded": self.succeeded,
            "failed": self.failed,
            "results": self.results,
            "failedItems": self.failed_items,
            #% if cookiecutter.fan_out == "yes"
            "resultsRef": self.results_ref,
            #% endif
        }
